"""Bootstrap and randomisation against slow loops, enumeration and the normal approximation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mner.errors import DataError
from mner.evaluation.scores import score
from mner.evaluation.significance import compare, f1_interval, f1_of, post_counts, randomisation
from mner.posts import Entity


def random_counts(seed, posts):
    """Gold, predicted and correct entities of some posts."""
    random = np.random.default_rng(seed)
    gold, predicted = random.integers(0, 4, posts), random.integers(0, 4, posts)
    return np.stack([gold, predicted, random.integers(0, np.minimum(gold, predicted) + 1)], axis=1)


def slow_f1(rows):
    gold, predicted, correct = (sum(int(row[place]) for row in rows) for place in range(3))
    if not correct:
        return 0.0
    precision, recall = correct / predicted, correct / gold
    return 2 * precision * recall / (precision + recall)


def entity(start, label):
    return Entity("x", label, start, start + 1)


_ENTITIES = st.lists(st.builds(entity, st.integers(0, 4), st.sampled_from("AB")), max_size=4)


@given(st.lists(st.tuples(_ENTITIES, _ENTITIES), max_size=6))
def test_counts_of_posts_add_up_to_the_score(posts):
    gold, predicted = [a for a, _ in posts], [b for _, b in posts]
    counts = post_counts(gold, predicted).sum(0)
    overall = score(gold, predicted).overall
    assert tuple(counts) == (overall.gold, overall.predicted, overall.correct)
    assert f1_of(counts) == pytest.approx(overall.f1)


def test_the_interval_is_that_of_a_loop_over_drawn_posts():
    counts = random_counts(3, 40)
    weights = np.random.default_rng(7).multinomial(40, [1 / 40] * 40, size=300)
    drawn = sorted(
        slow_f1([row for row, times in zip(counts, sample, strict=True) for _ in range(times)])
        for sample in weights
    )
    found = f1_interval(counts, samples=300, level=0.9, seed=7)
    assert found.value == pytest.approx(slow_f1(counts))
    # Percentiles with linear interpolation between neighbours.
    for value, share in ((found.low, 0.05), (found.high, 0.95)):
        place = share * 299
        low = drawn[math.floor(place)]
        assert value == pytest.approx(low + (place % 1) * (drawn[math.ceil(place)] - low))


def test_both_recognisers_are_drawn_on_the_same_posts():
    first, second = random_counts(1, 30), random_counts(2, 30)
    weights = np.random.default_rng(5).multinomial(30, [1 / 30] * 30, size=200)
    drawn = [
        slow_f1(np.repeat(first, sample, axis=0)) - slow_f1(np.repeat(second, sample, axis=0))
        for sample in weights
    ]
    found = compare(first, second, samples=200, seed=5).difference
    assert found.value == pytest.approx(slow_f1(first) - slow_f1(second))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_an_accuracy_has_the_interval_of_a_proportion():
    # One gold and one predicted entity a post: F1 is the share that is right.
    random = np.random.default_rng(0)
    right = (random.random(2000) < 0.7).astype(np.int64)
    counts = np.stack([np.ones_like(right), np.ones_like(right), right], axis=1)
    found = f1_interval(counts, samples=4000, seed=1)
    share = right.mean()
    reach = 1.96 * math.sqrt(share * (1 - share) / 2000)
    assert found.value == pytest.approx(share)
    assert found.low == pytest.approx(share - reach, abs=0.002)
    assert found.high == pytest.approx(share + reach, abs=0.002)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 9))
def test_randomisation_comes_near_to_trying_all_exchanges(seed, posts):
    first, second = random_counts(seed, posts), random_counts(seed + 1, posts)
    found = abs(slow_f1(first) - slow_f1(second))
    as_large = 0
    for exchanged in itertools.product((False, True), repeat=posts):
        moved = np.asarray(exchanged)[:, None]
        difference = slow_f1(np.where(moved, second, first)) - slow_f1(np.where(moved, first, second))
        as_large += abs(difference) >= found - 1e-12
    exact = as_large / 2**posts
    samples = 4000
    reach = 5 * math.sqrt(exact * (1 - exact) / samples) + 1 / samples
    assert randomisation(first, second, samples=samples, seed=3) == pytest.approx(exact, abs=reach)


def mean_f1(runs):
    return sum(slow_f1(run) for run in runs) / len(runs)


def test_the_mean_f1_of_several_runs_is_drawn_on_the_same_posts():
    first, second = (
        np.stack([random_counts(seed, 25) for seed in seeds]) for seeds in ((1, 2, 3), (4, 5, 6))
    )
    # A run that finds nothing: the F1 of counts added up over runs is another than the mean F1.
    first[2, :, 1:] = 0
    weights = np.random.default_rng(5).multinomial(25, [1 / 25] * 25, size=200)
    drawn = [
        mean_f1(np.repeat(first, sample, axis=1)) - mean_f1(np.repeat(second, sample, axis=1))
        for sample in weights
    ]
    found = compare(first, second, samples=200, seed=5).difference
    assert found.value == pytest.approx(mean_f1(first) - mean_f1(second))
    assert found.value != pytest.approx(slow_f1(first.reshape(-1, 3)) - slow_f1(second.reshape(-1, 3)))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.integers(2, 7))
def test_all_runs_of_a_post_are_exchanged_together(seed, posts):
    first, second = (np.stack([random_counts(seed + n, posts) for n in both]) for both in ((0, 1), (2, 3)))
    found = abs(mean_f1(first) - mean_f1(second))
    as_large = 0
    for exchanged in itertools.product((False, True), repeat=posts):
        moved = np.asarray(exchanged)[:, None]
        difference = mean_f1(np.where(moved, second, first)) - mean_f1(np.where(moved, first, second))
        as_large += abs(difference) >= found - 1e-12
    exact = as_large / 2**posts
    samples = 4000
    reach = 5 * math.sqrt(exact * (1 - exact) / samples) + 1 / samples
    assert randomisation(first, second, samples=samples, seed=3) == pytest.approx(exact, abs=reach)


def test_one_run_among_runs_is_that_run():
    first, second = random_counts(1, 30), random_counts(2, 30)
    assert compare(first[None], second[None], samples=300) == compare(first, second, samples=300)


def test_the_same_twice_does_not_differ():
    counts = random_counts(4, 50)
    found = compare(counts, counts, samples=200)
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert found.p_value == 1.0


def test_always_right_and_always_wrong_differ_for_certain():
    right = np.tile([1, 1, 1], (30, 1))
    wrong = np.tile([1, 1, 0], (30, 1))
    found = compare(right, wrong, samples=999)
    assert (found.difference.low, found.difference.high) == (1, 1)
    assert found.p_value == pytest.approx(1 / 1000)


def test_the_sign_says_which_is_better():
    first, second = random_counts(1, 30), random_counts(2, 30)
    there = compare(first, second, samples=300, seed=2)
    back = compare(second, first, samples=300, seed=2)
    assert there.difference.low == pytest.approx(-back.difference.high)
    assert there.p_value == back.p_value


def test_the_same_seed_gives_the_same_and_chunks_do_not_matter(monkeypatch):
    first, second = random_counts(1, 30), random_counts(2, 30)
    whole = compare(first, second, samples=500, seed=9)
    monkeypatch.setattr("mner.evaluation.significance._MOST_WEIGHTS", 100)
    assert compare(first, second, samples=500, seed=9) == whole
    assert compare(first, second, samples=500, seed=10) != whole


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="same posts"):
        compare(random_counts(1, 3), random_counts(1, 4))
    with pytest.raises(DataError, match="3 posts of 2 runs and 3 posts of 1 runs"):
        compare(np.stack([random_counts(1, 3)] * 2), random_counts(1, 3)[None])
    with pytest.raises(DataError, match="no posts"):
        f1_interval(np.zeros((0, 3), dtype=np.int64))
