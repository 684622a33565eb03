"""Beside other toolkits, in one process on the same posts: posts a second and F1.

Three take turns: this project's recogniser; the token classification pipeline of transformers with the same
encoder and the same weights; the entity recogniser of spaCy, trained here on the train split. What the
recogniser has and a pipeline cannot take over is left out there: the transitions of a CRF, word shapes. So
compare with a run of the model ``bert`` without word shapes (``--set model.word_shape=false``), or read the
pipeline's F1 with that in mind. The pipeline is measured twice: as one calls it with a list, which computes
one post after another, and in batches of 32.

    python benchmarks/peers.py --model RUN --data FOLDER [--threads 2] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForTokenClassification, pipeline
from transformers.pipelines.base import Pipeline

from mner.cli.data import parse_label_map
from mner.data import read_folder
from mner.evaluation.scores import score_posts
from mner.posts import Entity, Post
from mner.recognizer import Recognizer

Answers = list[list[Entity]]


def transformers_pipeline(recognizer: Recognizer) -> Pipeline:
    """The pipeline of transformers around the recogniser's encoder and its scores of tags."""
    model: Any = recognizer.model
    tags = recognizer.encoder.tags
    config = AutoConfig.for_model(**model.config.text_config.to_dict())
    config.id2label = dict(enumerate(tags))
    config.label2id = {tag: index for index, tag in config.id2label.items()}
    peer: Any = AutoModelForTokenClassification.from_config(config)
    peer.base_model.load_state_dict(model.text_encoder.state_dict())
    peer.classifier.load_state_dict(model.decoder.linear.state_dict())
    return pipeline(
        "token-classification",
        model=peer.eval(),
        tokenizer=recognizer.encoder.tokenizer,
        aggregation_strategy="first",
        device="cpu",
    )


def with_transformers(peer: Pipeline, batch_size: int) -> Callable[[Sequence[Post]], Answers]:
    """Prediction with the pipeline, posts sorted by length as ours are."""

    def predict(posts: Sequence[Post]) -> Answers:
        order = sorted(range(len(posts)), key=lambda index: len(posts[index].words))
        found: Answers = [[] for _ in posts]
        texts = [posts[index].text for index in order]
        for index, spans in zip(order, peer(texts, batch_size=batch_size), strict=True):
            text = posts[index].text
            found[index] = [
                Entity(
                    text[s["start"] : s["end"]], s["entity_group"], s["start"], s["end"], float(s["score"])
                )
                for s in spans
            ]
        return found

    return predict


def train_spacy(posts: Sequence[Post], epochs: int) -> Any:
    """The entity recogniser of spaCy, trained on posts with gold."""
    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.util import fix_random_seed, minibatch

    fix_random_seed(1)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")

    def document(post: Post) -> Doc:
        following = [*(start for start, _ in post.offsets[1:]), -1]
        spaces = [end < start for (_, end), start in zip(post.offsets, following, strict=True)]
        return Doc(nlp.vocab, words=list(post.words), spaces=spaces)

    examples = []
    for post in posts:
        if not post.words:
            continue
        gold = document(post)
        gold.set_ents(
            [spacy.tokens.Span(gold, s.start, s.end, label=s.label) for s in post.gold_spans()],
            default="outside",
        )
        examples.append(Example(document(post), gold))
    optimizer = nlp.initialize(lambda: examples)
    order = random.Random(1)
    for _ in range(epochs):
        order.shuffle(examples)
        for batch in minibatch(examples, 64):
            nlp.update(batch, sgd=optimizer, drop=0.2)

    def predict(posts: Sequence[Post]) -> Answers:
        return [
            [Entity(e.text, e.label_, e.start_char, e.end_char) for e in doc.ents]
            for doc in nlp.pipe(map(document, posts), batch_size=256)
        ]

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a run folder of bert or bert-crf")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--label-map", action="append", default=[])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spacy-epochs", type=int, default=10, help="0 leaves spaCy out")
    parser.add_argument("--most", type=int, help="take so many posts of the split")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    dataset = read_folder(options.data, label_map=parse_label_map(options.label_map))
    # A post without words is a text that spaCy's documents cannot say.
    posts = [post for post in dataset.split(options.split) if post.words][: options.most]
    recognizer = Recognizer.from_pretrained(options.model, device="cpu")
    peer = transformers_pipeline(recognizer)
    systems: dict[str, Callable[[Sequence[Post]], Answers]] = {
        f"mner {recognizer.name}": recognizer.predict,
        "transformers pipeline, one by one": with_transformers(peer, 1),
        "transformers pipeline, batches of 32": with_transformers(peer, 32),
    }
    if options.spacy_epochs:
        systems["spaCy ner"] = train_spacy(dataset.split("train"), options.spacy_epochs)
    times: dict[str, list[float]] = {name: [] for name in systems}
    f1 = {}
    for _ in range(options.rounds):
        for name, predict in systems.items():
            recognizer.encoder.forget()
            start = time.perf_counter()
            answers = predict(posts)
            times[name].append(time.perf_counter() - start)
            f1[name] = score_posts(posts, answers).overall.f1
    rows = [
        {
            "system": name,
            "posts a second": round(len(posts) / statistics.median(times[name]), 1),
            "F1": round(100 * f1[name], 2),
        }
        for name in systems
    ]
    if options.json:
        print(json.dumps({"posts": len(posts), "threads": torch.get_num_threads(), "systems": rows}))
        return
    print(f"{len(posts)} posts, {torch.get_num_threads()} threads")
    for row in rows:
        print(f"{row['system']:<40} {row['posts a second']:>8} posts/s   F1 {row['F1']:.2f}")


if __name__ == "__main__":
    main()
