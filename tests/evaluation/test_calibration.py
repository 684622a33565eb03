"""Calibration against slow loops that follow the formulas, and against cases whose answer is known."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner import Entity
from mner.errors import DataError, UsageError
from mner.evaluation.calibration import Binning, calibration, entity_calibration

# Coarse fractions meet the borders of bins and one another; floats do not.
probabilities = st.one_of(st.integers(0, 20).map(lambda n: n / 20), st.floats(0.0, 1.0))
verdicts = st.lists(st.tuples(probabilities, st.booleans()), max_size=60)


def slow_expected_error(groups: list[list[tuple[float, bool]]]) -> tuple[float, float]:
    """Guo et al. (2017), Eq. 5 and the greatest of its terms."""
    total = sum(len(group) for group in groups)
    error = greatest = 0.0
    for group in groups:
        if group:
            accuracy = sum(right for _, right in group) / len(group)
            confidence = sum(score for score, _ in group) / len(group)
            error += len(group) / total * abs(accuracy - confidence)
            greatest = max(greatest, abs(accuracy - confidence))
    return error, greatest


@given(verdicts, st.integers(1, 15))
def test_equal_width_is_the_formula(pairs, bins):
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for score, right in pairs:
        place = next(m for m in range(bins) if score <= (m + 1) / bins)
        groups[place].append((score, right))
    result = calibration([s for s, _ in pairs], [r for _, r in pairs], bins=bins)
    assert [bin.count for bin in result.bins] == [len(group) for group in groups]
    error, greatest = slow_expected_error(groups)
    assert result.expected_error == pytest.approx(error, abs=1e-12)
    assert result.greatest_error == pytest.approx(greatest, abs=1e-12)
    assert [(bin.lower, bin.upper) for bin in result.bins] == [
        (m / bins, (m + 1) / bins) for m in range(bins)
    ]


@given(verdicts, st.integers(1, 15))
def test_equal_count_is_a_walk_along_the_sorted_scores(pairs, bins):
    """A bin is closed once its share of all is reached, but never between equal scores."""
    ordered = sorted(pairs)
    groups: list[list[tuple[float, bool]]] = []
    current: list[tuple[float, bool]] = []
    for done, pair in enumerate(ordered, start=1):
        current.append(pair)
        tied = done < len(ordered) and ordered[done][0] == pair[0]
        before = done - len(current)
        reached = any(before < len(ordered) * m // bins <= done for m in range(1, bins + 1))
        if reached and not tied:
            groups.append(current)
            current = []
    assert not current
    result = calibration([s for s, _ in pairs], [r for _, r in pairs], bins=bins, binning="equal-count")
    assert [bin.count for bin in result.bins] == [len(group) for group in groups]
    assert [(bin.lower, bin.upper) for bin in result.bins] == [(g[0][0], g[-1][0]) for g in groups]
    assert result.expected_error == pytest.approx(slow_expected_error(groups)[0], abs=1e-12)


@given(verdicts, st.integers(1, 15), st.sampled_from(list(Binning)), st.randoms(use_true_random=False))
def test_order_of_entities_does_not_matter_and_every_entity_is_in_one_bin(pairs, bins, binning, shuffle):
    mixed = list(pairs)
    shuffle.shuffle(mixed)
    one = calibration([s for s, _ in pairs], [r for _, r in pairs], bins=bins, binning=binning)
    two = calibration([s for s, _ in mixed], [r for _, r in mixed], bins=bins, binning=binning)
    assert [bin.count for bin in one.bins] == [bin.count for bin in two.bins]
    assert one.expected_error == pytest.approx(two.expected_error, abs=1e-12)
    assert sum(bin.count for bin in one.bins) == one.count == len(pairs)
    if pairs:
        assert one.brier == pytest.approx(math.fsum((s - r) ** 2 for s, r in pairs) / len(pairs))


@pytest.mark.parametrize("binning", list(Binning))
def test_scores_that_are_probabilities_have_a_small_error_and_overconfident_ones_a_large_one(binning):
    draw = random.Random(5)
    scores = [draw.random() for _ in range(20_000)]
    honest = [draw.random() < score for score in scores]
    # Right half as often as claimed: the gap is score / 2, on average 1/4.
    boastful = [draw.random() < score / 2 for score in scores]
    assert calibration(scores, honest, binning=binning).expected_error < 0.015
    assert calibration(scores, boastful, binning=binning).expected_error == pytest.approx(0.25, abs=0.015)


def test_entities_are_right_where_start_end_and_type_are():
    gold = [[Entity("Ann", "PER", 0, 3), Entity("Rome", "LOC", 7, 11)], []]
    predicted = [
        [Entity("Ann", "PER", 0, 3, 0.9), Entity("Rome", "ORG", 7, 11, 0.8)],
        [Entity("Ann", "PER", 0, 3, 0.7)],
    ]
    result = entity_calibration(gold, predicted, bins=1)
    assert result.count == 3
    assert result.accuracy == pytest.approx(1 / 3)
    assert result.confidence == pytest.approx(0.8)
    assert result.expected_error == pytest.approx(0.8 - 1 / 3)


def test_as_dict_is_json_even_with_nothing_in_it():
    empty = json.loads(json.dumps(calibration([], []).as_dict(), allow_nan=False))
    assert (empty["count"], empty["expected_error"], empty["confidence"]) == (0, 0.0, None)
    assert len(empty["bins"]) == 10
    some = json.loads(json.dumps(calibration([0.25, 1.0], [True, True], bins=2).as_dict(), allow_nan=False))
    assert some["bins"] == [
        {"lower": 0.0, "upper": 0.5, "count": 1, "confidence": 0.25, "accuracy": 1.0},
        {"lower": 0.5, "upper": 1.0, "count": 1, "confidence": 1.0, "accuracy": 1.0},
    ]


@pytest.mark.parametrize("score", [-0.1, 1.5, math.nan, math.inf])
def test_what_is_no_probability_is_refused(score):
    with pytest.raises(DataError, match="not a probability"):
        calibration([0.5, score], [True, False])


def test_misuse_is_refused():
    with pytest.raises(DataError, match="not of the same entities"):
        calibration([0.5], [])
    with pytest.raises(UsageError):
        calibration([0.5], [True], bins=0)
    with pytest.raises(DataError, match="has no score"):
        entity_calibration([[]], [[Entity("Ann", "PER", 0, 3)]])
    with pytest.raises(DataError, match="same posts"):
        entity_calibration([[]], [[], []])
