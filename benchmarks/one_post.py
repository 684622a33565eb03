"""One post at a time: what a person waits for.

The median over posts of the time for one call in the process, without a picture and with one that is read,
beside the bare encoder over the same sub-words; and the seconds from the start of the command `mner predict`
to its first entity.

    python benchmarks/one_post.py [--model default] [--data FOLDER] [--dtype float32] [--rounds 200]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from mner.data import read_folder
from mner.errors import MissingExtraError
from mner.images import open_picture
from mner.knowledge.provider import Question
from mner.knowledge.providers.ocr import OcrProvider
from mner.posts import Post
from mner.recognizer import Recognizer

PICTURE = Path("examples/pictures/poster.png")
Thing = TypeVar("Thing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="default", help="a run folder, or the bundled recogniser")
    parser.add_argument("--data", type=Path, default=Path("examples/posts"), help="a data folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    started = time.perf_counter()
    recognizer = Recognizer.from_pretrained(options.model, device="cpu", dtype=options.dtype)
    loading = time.perf_counter() - started
    posts = [Post.from_text(post.text) for post in read_folder(options.data).split(options.split)]
    texts = [post.text for post in (posts * (options.rounds // len(posts) + 1))[: options.rounds]]
    found = {"seconds to load, after imports": loading}
    found["milliseconds a post"] = 1000 * _median(texts, recognizer)
    found["milliseconds a post, the bare encoder"] = 1000 * _bare(texts, recognizer)
    found["milliseconds a post with alt text"] = 1000 * _median(
        texts, lambda text: recognizer(text, image=options.picture, alt="a poster with a name on it")
    )
    try:
        reader = OcrProvider(threads=2)
    except MissingExtraError:
        print("The extra 'knowledge' is not installed: no picture was read.", file=sys.stderr)
    else:
        picture = open_picture(options.picture).image

        def read(text: str) -> None:
            # Not through the recogniser's own reader, which remembers the pictures it has read.
            post = Post.from_text(text)
            (answer,) = reader.answer([Question(post, picture)])
            known = (answer.knowledge,) if answer.knowledge is not None else ()
            recognizer.predict([post.with_fields(knowledge=known)])

        found["milliseconds a post with its picture read"] = 1000 * _median(texts[:20], read)
    found["seconds from the command's start to the first entity"] = _command(options.model)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name}: {value:.2f}")


def _median(things: Sequence[Thing], call: Callable[[Thing], Any]) -> float:
    call(things[0])
    times = []
    for thing in things:
        started = time.perf_counter()
        call(thing)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _bare(texts: Sequence[str], recognizer: Recognizer) -> float:
    batches = [recognizer.encoder.encode([Post.from_text(text)]) for text in texts]
    with torch.inference_mode():
        return _median(
            batches,
            lambda batch: recognizer.model.text_encoder(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask
            ),
        )


def _command(model: str) -> float:
    command = [sys.executable, "-m", "mner", "predict", "Kawhi Leonard wins in Toronto", "--model", model]
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
