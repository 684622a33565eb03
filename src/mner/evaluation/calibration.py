"""Whether confidences are probabilities: of the entities predicted with 0.8, are eight in ten right?

Predicted entities are put into bins by their score; in each bin the mean score is compared with the share
of entities that are right. The expected calibration error is the mean of those differences, weighted by the
sizes of the bins (Naeini, Cooper and Hauskrecht, 2015, "Obtaining Well Calibrated Probabilities Using
Bayesian Binning", with bins as in Guo et al., 2017, "On Calibration of Modern Neural Networks", Eq. 2, 3
and 5). Bins of equal width are what papers report; bins of equal count (Nguyen and O'Connor, 2015,
"Posterior Calibration and Exploratory Analysis for Natural Language Processing Models") say more where
nearly all scores lie near 1, as those of taggers do.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mner.errors import DataError, UsageError
from mner.evaluation.scores import identity, paired
from mner.posts import Entity


class Binning(enum.StrEnum):
    """How scores are put into bins."""

    EQUAL_WIDTH = "equal-width"
    EQUAL_COUNT = "equal-count"


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of predicted entities.

    Args:
        lower: For equal widths the bin's border, itself outside (but 0 is inside the first); for equal
            counts the least score in the bin.
        upper: For equal widths the bin's border, itself inside; for equal counts the greatest score in it.
        count: Entities in the bin.
        confidence: Their mean score; None in an empty bin.
        accuracy: The share of them that is right; None in an empty bin.
    """

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None

    @property
    def gap(self) -> float:
        """How far the mean score lies from the share that is right, 0 to 1; 0 in an empty bin."""
        if self.confidence is None or self.accuracy is None:
            return 0.0
        return abs(self.accuracy - self.confidence)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well scores agree with being right.

    Args:
        binning: How the bins were made.
        bins: The bins by ascending score; the points of a reliability diagram.
        count: All entities.
        confidence: The mean score of all, None where there are none.
        accuracy: The share of all that is right (the precision), None where there are none.
        brier: The mean squared difference between score and being right (Brier, 1950), None where there
            are none. It needs no bins.
    """

    binning: Binning
    bins: tuple[Bin, ...]
    count: int
    confidence: float | None
    accuracy: float | None
    brier: float | None

    @property
    def expected_error(self) -> float:
        """The expected calibration error, 0 to 1; 0 where there are no entities."""
        return sum(bin.count * bin.gap for bin in self.bins) / self.count if self.count else 0.0

    @property
    def greatest_error(self) -> float:
        """The greatest difference in any bin (the maximum calibration error)."""
        return max((bin.gap for bin in self.bins), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON writes them."""
        return {
            "binning": self.binning.value,
            "expected_error": self.expected_error,
            "greatest_error": self.greatest_error,
            "brier": self.brier,
            "count": self.count,
            "confidence": self.confidence,
            "accuracy": self.accuracy,
            "bins": [
                {
                    "lower": bin.lower,
                    "upper": bin.upper,
                    "count": bin.count,
                    "confidence": bin.confidence,
                    "accuracy": bin.accuracy,
                }
                for bin in self.bins
            ],
        }


def calibration(
    scores: Sequence[float],
    right: Sequence[bool],
    *,
    bins: int = 10,
    binning: Binning | str = Binning.EQUAL_WIDTH,
) -> Calibration:
    """Compare scores with being right.

    Args:
        scores: For each predicted entity its probability, 0 to 1.
        right: For each, whether it is right.
        bins: How many bins. With equal counts there are fewer where there are fewer different scores,
            because equal scores stay in one bin: the result does not depend on the order of entities.
        binning: How to make them.

    Raises:
        DataError: A score is no probability, or the two are not of one length.
        UsageError: The number of bins is not positive.
    """
    binning = Binning(binning)
    if bins < 1:
        raise UsageError("Calibration needs bins.", expected="at least 1", got=str(bins))
    if len(scores) != len(right):
        raise DataError(
            "Scores and verdicts are not of the same entities.",
            expected=f"{len(scores)} verdicts, one a score",
            got=str(len(right)),
        )
    confidence = np.asarray(scores, dtype=np.float64)
    correct = np.asarray(right, dtype=np.float64)
    # Written so that a NaN is found too.
    bad = np.flatnonzero(~((confidence >= 0.0) & (confidence <= 1.0)))
    if bad.size:
        raise DataError("A score is not a probability.", expected="0 to 1", got=str(confidence[bad[0]]))
    order = np.argsort(confidence, kind="stable")
    confidence, correct = confidence[order], correct[order]
    if binning is Binning.EQUAL_WIDTH:
        made = _equal_width(confidence, correct, bins)
    else:
        made = _equal_count(confidence, correct, bins)
    some = len(confidence) > 0
    return Calibration(
        binning=binning,
        bins=tuple(made),
        count=len(confidence),
        confidence=float(confidence.mean()) if some else None,
        accuracy=float(correct.mean()) if some else None,
        brier=float(np.square(confidence - correct).mean()) if some else None,
    )


def entity_calibration(
    gold: Iterable[Sequence[Entity]],
    predicted: Iterable[Sequence[Entity]],
    *,
    bins: int = 10,
    binning: Binning | str = Binning.EQUAL_WIDTH,
) -> Calibration:
    """Compare predicted entities' scores with their being right: start, end and type as in the gold.

    Args:
        gold: For each post its gold entities.
        predicted: For each post, in the same order, the predicted entities with their scores.
        bins: How many bins.
        binning: How to make them.

    Raises:
        DataError: The numbers of posts differ, or a predicted entity has no score.
    """
    scores: list[float] = []
    right: list[bool] = []
    for true, found in paired(gold, predicted):
        wanted = set(map(identity, true))
        for entity in found:
            if entity.score is None:
                raise DataError(
                    f"The predicted entity {entity.text!r} has no score, so it cannot be calibrated.",
                    hint="Are these gold entities?",
                )
            scores.append(entity.score)
            right.append(identity(entity) in wanted)
    return calibration(scores, right, bins=bins, binning=binning)


def _equal_width(confidence: np.ndarray, correct: np.ndarray, bins: int) -> list[Bin]:
    borders = np.arange(bins + 1) / bins
    # Bin m holds the scores in ((m - 1) / M, m / M]; sorted scores make each bin one slice.
    ends = np.searchsorted(confidence, borders[1:], side="right")
    starts = np.concatenate(([0], ends[:-1]))
    return [
        _bin(confidence[start:end], correct[start:end], float(lower), float(upper))
        for start, end, lower, upper in zip(starts, ends, borders[:-1], borders[1:], strict=True)
    ]


def _equal_count(confidence: np.ndarray, correct: np.ndarray, bins: int) -> list[Bin]:
    made = []
    start = 0
    for wanted in (len(confidence) * np.arange(1, bins + 1)) // bins:
        if wanted <= start:
            continue
        # Up to the last score that equals the one at the wanted end.
        end = int(np.searchsorted(confidence, confidence[wanted - 1], side="right"))
        inside = confidence[start:end]
        made.append(_bin(inside, correct[start:end], float(inside[0]), float(inside[-1])))
        start = end
    return made


def _bin(confidence: np.ndarray, correct: np.ndarray, lower: float, upper: float) -> Bin:
    if not len(confidence):
        return Bin(lower, upper, 0, None, None)
    return Bin(lower, upper, len(confidence), float(confidence.mean()), float(correct.mean()))
