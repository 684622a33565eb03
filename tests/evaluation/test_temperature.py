"""Temperature scaling against a grid of temperatures, enumeration of sequences, and an independent ECE."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from mner.errors import DataError
from mner.evaluation.temperature import fit_temperature, measured
from mner.posts import Post
from tests.contract.tiny import POSTS, tiny


@pytest.fixture(scope="module")
def recognizer():
    """A recogniser that guesses, and is far too sure of its guesses."""
    torch.manual_seed(2)
    made = tiny("bert-crf")
    with torch.no_grad():
        made.model.decoder.linear.weight.mul_(40.0)
    return made


def judged(recognizer, posts):
    pairs = []
    for post, found in zip(posts, recognizer.predict(posts), strict=True):
        gold = {(entity.start, entity.end, entity.label) for entity in post.gold()}
        pairs += [(entity.score, (entity.start, entity.end, entity.label) in gold) for entity in found]
    return pairs


def test_the_temperature_is_likelier_than_any_of_a_grid(recognizer):
    fitted = fit_temperature(recognizer, POSTS)
    assert recognizer.temperature == 1.0

    def loss(temperature):
        recognizer.temperature = temperature
        found = judged(recognizer, POSTS)
        recognizer.temperature = 1.0
        return -sum(math.log(max(score if right else 1 - score, 1e-6)) for score, right in found) / len(found)

    grid = np.geomspace(0.26, 7.9, 40)
    assert loss(fitted) <= min(map(loss, grid)) + 1e-3


def test_a_temperature_changes_no_entity_but_its_score(recognizer):
    before = recognizer.predict(POSTS)
    recognizer.temperature = 3.0
    after = recognizer.predict(POSTS)
    recognizer.temperature = 1.0
    spans = [[[(e.start, e.end, e.label) for e in found] for found in result] for result in (before, after)]
    assert spans[0] == spans[1]
    scores = [[e.score for found in result for e in found] for result in (before, after)]
    assert np.mean(scores[0]) > np.mean(scores[1]) + 0.01


def test_a_span_has_the_probability_of_its_tags_on_the_tempered_chain(recognizer):
    post = Post.from_text("Ada reads in")
    tags = recognizer.encoder.tags
    with torch.no_grad():
        output = recognizer.model(recognizer.encode([post]))
    emissions, chain = output.emissions[0].double(), [part.double() for part in output.chain]
    weights = {}
    for path in itertools.product(range(len(tags)), repeat=3):
        score = chain[0][path[0]] + chain[2][path[-1]] + sum(emissions[i, tag] for i, tag in enumerate(path))
        score = score + sum(chain[1][a, b] for a, b in itertools.pairwise(path))
        weights[path] = math.exp(float(score) / 2.5)
    total = sum(weights.values())
    recognizer.temperature = 2.5
    found = recognizer.decode(output)[0]
    recognizer.temperature = 1.0
    best = max(weights, key=weights.get)
    assert found
    for span in found:
        inside = range(span.start, span.end)

        def same(path, span=span, inside=inside):
            ends = span.end == 3 or not tags[path[span.end]].startswith("I-")
            return ends and all(path[i] == best[i] for i in inside)

        wanted = sum(weight for path, weight in weights.items() if same(path)) / total
        assert span.score == pytest.approx(wanted, abs=1e-4)


def test_the_measured_error_is_that_of_plain_bins(recognizer):
    found = judged(recognizer, POSTS)
    total = 0.0
    for low in range(10):
        inside = [(s, r) for s, r in found if low / 10 < s <= (low + 1) / 10 or (low == 0 and s == 0)]
        if inside:
            gap = abs(sum(s for s, _ in inside) - sum(r for _, r in inside))
            total += gap / len(found)
    assert measured(recognizer, POSTS).expected_error == pytest.approx(total, abs=1e-6)


def test_a_recogniser_keeps_its_temperature(recognizer, tmp_path):
    from mner.recognizer import Recognizer

    recognizer.temperature = 1.25
    recognizer.save_pretrained(tmp_path / "run")
    recognizer.temperature = 1.0
    assert Recognizer.from_pretrained(tmp_path / "run").temperature == 1.25


def test_posts_without_entities_calibrate_nothing(recognizer):
    with pytest.raises(DataError, match="No entity"):
        fit_temperature(recognizer, [Post.from_words([], tags=())])
