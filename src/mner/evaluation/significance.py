"""Is one recogniser better than another, or are these posts merely kind to it?

Posts are what is sampled: words and entities of one post are not independent of each other. Two tests on the
same posts, as usual for scores that are not means:

* the paired bootstrap (Efron and Tibshirani 1993; Berg-Kirkpatrick et al. 2012): posts are drawn with
  replacement, the same for both, and the percentiles of the score are its interval;
* approximate randomisation (Noreen 1989; Yeh 2000): for each post the two outputs change places or not; how
  often the difference becomes at least as large is the p-value.

Of several runs the mean of their F1 is the score; all their outputs for a post are drawn, and change places,
together. Neither test knows of seeds: that another training run would give the same is not said by them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mner.errors import DataError
from mner.evaluation.scores import identity, paired
from mner.posts import Entity

Counts = NDArray[np.int64]
"""(N, 3) for each post its gold, its predicted and its correct entities; (R, N, 3) of R runs."""

# As many weights of posts are held at once.
_MOST_WEIGHTS = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A value with the interval in which it lies.

    Args:
        value: The value on the posts as they are.
        low: The lower end.
        high: The upper end.
        level: How often such an interval holds the true value, such as 0.95.
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def as_dict(self) -> dict[str, float]:
        """As JSON writes it."""
        return {"value": self.value, "low": self.low, "high": self.high, "level": self.level}


@dataclass(frozen=True)
class Comparison:
    """The F1 of one recogniser less that of another, on the same posts.

    Args:
        difference: The difference with its bootstrap interval.
        p_value: Two-sided, by approximate randomisation.
    """

    difference: Interval
    p_value: float

    def as_dict(self) -> dict[str, float]:
        """As JSON writes it."""
        return {**self.difference.as_dict(), "p_value": self.p_value}


def post_counts(gold: Iterable[Sequence[Entity]], predicted: Iterable[Sequence[Entity]]) -> Counts:
    """For each post how many entities are gold, predicted and correct.

    Args:
        gold: For each post its gold entities.
        predicted: For each post, in the same order, the predicted ones.

    Returns:
        (N, 3).

    Raises:
        DataError: There are more posts in one than in the other.
    """
    rows = []
    for true, found in paired(gold, predicted):
        wanted, given = Counter(map(identity, true)), Counter(map(identity, found))
        rows.append((len(true), len(found), (wanted & given).total()))
    return np.asarray(rows, dtype=np.int64).reshape(-1, 3)


def f1_of(sums: NDArray[Any]) -> NDArray[np.float64]:
    """The F1 (...,) of sums of gold, predicted and correct entities (..., 3); 0 where nothing is right."""
    wanted = sums[..., 0] + sums[..., 1]
    return np.divide(2.0 * sums[..., 2], wanted, out=np.zeros(wanted.shape), where=wanted > 0)


def _of_runs(counts: Counts) -> Counts:
    """(R, N, 3), of one run where none are told apart."""
    return counts[None] if counts.ndim == 2 else counts


def _mean_f1(sums: NDArray[Any]) -> NDArray[np.float64]:
    """The mean F1 (...,) of R runs, of the sums of each (R, ..., 3)."""
    found: NDArray[np.float64] = f1_of(sums).mean(0)
    return found


def _size(counts: Counts) -> str:
    runs, posts = _of_runs(counts).shape[:2]
    return f"{posts} posts" + (f" of {runs} runs" if counts.ndim > 2 else "")


def f1_interval(counts: Counts, *, samples: int = 2000, level: float = 0.95, seed: int = 1) -> Interval:
    """The F1 with its bootstrap interval.

    Args:
        counts: (N, 3), as `post_counts` gives them.
        samples: Bootstrap samples.
        level: Level of the interval.
        seed: Decides the samples.
    """
    drawn = np.concatenate([f1_of(weights @ counts) for weights in _weights(len(counts), samples, seed)])
    return _interval(float(f1_of(counts.sum(0))), drawn, level)


def compare(
    first: Counts, second: Counts, *, samples: int = 2000, level: float = 0.95, seed: int = 1
) -> Comparison:
    """The F1 of the first less that of the second; of several runs the mean of their F1.

    Args:
        first: (N, 3), as `post_counts` gives them, or (R, N, 3) of R runs.
        second: The same of as many runs and posts, in the same order.
        samples: Bootstrap samples, and random exchanges.
        level: Level of the interval.
        seed: Decides the samples.

    Raises:
        DataError: They are not of as many posts and runs.
    """
    if first.shape != second.shape:
        raise DataError(
            "Two recognisers can only be compared on the same posts.",
            expected="counts of as many posts, and of as many runs",
            got=f"{_size(first)} and {_size(second)}",
        )
    one, two = _of_runs(first), _of_runs(second)
    found = float(_mean_f1(one.sum(1)) - _mean_f1(two.sum(1)))
    drawn = np.concatenate(
        [
            _mean_f1(weights @ one) - _mean_f1(weights @ two)
            for weights in _weights(one.shape[1], samples, seed)
        ]
    )
    return Comparison(
        _interval(found, drawn, level), randomisation(first, second, samples=samples, seed=seed)
    )


def randomisation(first: Counts, second: Counts, *, samples: int = 2000, seed: int = 1) -> float:
    """The two-sided p-value of a difference in F1, by approximate randomisation over posts.

    Args:
        first: (N, 3), as `post_counts` gives them, or (R, N, 3) of R runs.
        second: The same of as many runs, of the same posts; the runs of one place are exchanged.
        samples: Random exchanges.
        seed: Decides them.

    Returns:
        (1 + exchanges whose difference is at least as large) / (1 + exchanges).
    """
    random = np.random.default_rng(seed)
    one, two = _of_runs(first), _of_runs(second)
    total = one.sum(1, keepdims=True), two.sum(1, keepdims=True)
    found = np.abs(_mean_f1(total[0]) - _mean_f1(total[1]))
    change = two - one
    posts = one.shape[1]
    as_large = 0
    for size in _chunks(posts, samples):
        moved = random.integers(0, 2, (size, posts)) @ change  # (R, size, 3)
        differences = np.abs(_mean_f1(total[0] + moved) - _mean_f1(total[1] - moved))
        # What is the same difference must not fall short of it by rounding.
        as_large += int((differences >= found - 1e-12).sum())
    return (1 + as_large) / (1 + samples)


def _interval(value: float, drawn: NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


def _weights(posts: int, samples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each post is drawn: (some samples, posts), the same for the same seed."""
    if posts == 0:
        raise DataError("There are no posts to draw from.")
    random = np.random.default_rng(seed)
    for size in _chunks(posts, samples):
        yield random.multinomial(posts, np.full(posts, 1 / posts), size=size)


def _chunks(posts: int, samples: int) -> Iterator[int]:
    most = max(1, _MOST_WEIGHTS // max(posts, 1))
    for start in range(0, samples, most):
        yield min(most, samples - start)
