"""Prediction beside the bare encoder: how much of the encoder's speed reaches the user.

Both run in this process over the same length-sorted batches, in turn. The bare encoder gets tensors that
are ready; the recogniser gets posts, and tokenises, encodes, decodes and gives entities with offsets and
probabilities. The recogniser forgets the words it has tokenised before every round.

    python benchmarks/prediction.py --model RUN [--data FOLDER] [--dtype float32] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from mner.data import read_folder
from mner.encoding import sorted_batches
from mner.recognizer import BATCH_CELLS, BATCH_POSTS, Recognizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a run folder of bert-crf or another text model")
    parser.add_argument("--data", type=Path, default=Path("examples/posts"), help="a data folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    recognizer = Recognizer.from_pretrained(options.model, dtype=options.dtype)
    posts = read_folder(options.data).split(options.split)
    encoder = recognizer.encoder
    batches = [
        encoder.encode([posts[index] for index in batch])
        for batch in sorted_batches(encoder.lengths(posts), BATCH_POSTS, BATCH_CELLS)
    ]

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                recognizer.model.text_encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask)

    def whole() -> None:
        encoder.forget()
        recognizer.predict(posts)

    times: dict[str, list[float]] = {"bare": [], "whole": []}
    for run in (bare, whole):
        run()
    for _ in range(options.rounds):
        for name, run in (("bare", bare), ("whole", whole)):
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    # Neighbouring rounds share the machine's mood, so their ratio says more than a ratio of medians.
    ratio = statistics.median(a / b for a, b in zip(times["bare"], times["whole"], strict=True))
    rates = {name: len(posts) / statistics.median(found) for name, found in times.items()}
    result = {
        "posts": len(posts),
        "dtype": options.dtype,
        "threads": torch.get_num_threads(),
        "bare encoder, posts a second": round(rates["bare"], 1),
        "recogniser, posts a second": round(rates["whole"], 1),
        "recogniser / bare encoder": round(ratio, 3),
    }
    print(json.dumps(result) if options.json else "\n".join(f"{k:32} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
