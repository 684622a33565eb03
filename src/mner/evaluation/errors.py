"""What is wrong with predictions: classes of errors, confused types, and where two recognisers differ.

Every gold entity is right or in one class of errors, and so is every prediction, so that the classes add up:

    gold      = right + wrong border + wrong type + both + missed
    predicted = right + wrong border + wrong type + both + spurious

"Right" is what `mner.evaluation.scores` counts. Of what is left, a gold entity and a prediction of the same
post belong together where they share characters, each to one at most: first those with the same span (wrong
type), then those with the same type (wrong border), then the others (both); the pair that shares most comes
first. The classes are those of MUC-5 (Chinchor and Sundheim, 1993, "MUC-5 Evaluation Metrics": missing,
spurious, incorrect), with "incorrect" divided by what is incorrect.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mner.evaluation.scores import identity, paired
from mner.posts import Entity


class ErrorClass(enum.StrEnum):
    """What is wrong with an entity."""

    MISSED = "missed"
    SPURIOUS = "spurious"
    BORDER = "wrong border"
    TYPE = "wrong type"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class EntityError:
    """An entity that is wrong.

    Args:
        kind: What is wrong with it.
        post: The number of its post, from 0.
        gold: What is there; None for what is spurious.
        predicted: What was said; None for what was missed.
    """

    kind: ErrorClass
    post: int
    gold: Entity | None = None
    predicted: Entity | None = None

    @property
    def label(self) -> str:
        """The type under which it is counted: that of the gold, and of the prediction where there is none."""
        entity = self.gold or self.predicted
        assert entity is not None
        return entity.label

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        return {
            "class": self.kind.value,
            "post": self.post,
            "gold": self.gold and self.gold.as_dict(),
            "predicted": self.predicted and self.predicted.as_dict(),
        }


@dataclass(frozen=True)
class ErrorReport:
    """The errors of a set of predictions.

    Args:
        posts: How many posts there are.
        right: For each type how many entities are right.
        errors: What is wrong, in the order of the posts.
    """

    posts: int
    right: Mapping[str, int]
    errors: tuple[EntityError, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The types that are in the gold or were predicted, by name."""
        given = {error.predicted.label for error in self.errors if error.predicted is not None}
        return tuple(sorted({*self.right, *given, *(error.label for error in self.errors)}))

    def counts(self) -> dict[ErrorClass, dict[str, int]]:
        """How many errors of each class there are, by type; every class and every type is there."""
        found = Counter((error.kind, error.label) for error in self.errors)
        return {kind: {label: found[kind, label] for label in self.labels} for kind in ErrorClass}

    def rows(self) -> list[tuple[str | int, ...]]:
        """A table: a row a type and one for all; see `ERROR_COLUMNS`."""
        counts = self.counts()
        rows: list[tuple[str | int, ...]] = [
            (label, self.right.get(label, 0), *(counts[kind][label] for kind in ErrorClass))
            for label in self.labels
        ]
        totals = (sum(of_type.values()) for of_type in counts.values())
        return [*rows, ("all", sum(self.right.values()), *totals)]

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        return {
            "posts": self.posts,
            "right": dict(self.right),
            "counts": {kind.value: of_type for kind, of_type in self.counts().items()},
            "errors": [error.as_dict() for error in self.errors],
        }


ERROR_COLUMNS = ("type", "right", *(kind.value for kind in ErrorClass))
"""The columns of `ErrorReport.rows`."""


def find_errors(gold: Iterable[Sequence[Entity]], predicted: Iterable[Sequence[Entity]]) -> ErrorReport:
    """Say of every entity what is wrong with it.

    Args:
        gold: For each post its gold entities.
        predicted: For each post, in the same order, the predicted entities.

    Raises:
        DataError: There are more posts in one than in the other.
    """
    right: Counter[str] = Counter()
    errors: list[EntityError] = []
    posts = 0
    for number, (true, found) in enumerate(paired(gold, predicted)):
        posts += 1
        wanted, given = _left_over(true, found), _left_over(found, true)
        right.update(entity.label for entity in true)
        right.subtract(entity.label for entity in wanted)
        errors += _classified(number, wanted, given)
    return ErrorReport(posts, {label: many for label, many in sorted(right.items()) if many}, tuple(errors))


def _left_over(entities: Sequence[Entity], others: Sequence[Entity]) -> list[Entity]:
    """The entities without those that also are among the others, each as often as it is there."""
    there = Counter(map(identity, others))
    left = []
    for entity in entities:
        if there[identity(entity)]:
            there[identity(entity)] -= 1
        else:
            left.append(entity)
    return left


def _classified(number: int, wanted: Sequence[Entity], given: Sequence[Entity]) -> list[EntityError]:
    pairs = []
    for i, true in enumerate(wanted):
        for j, found in enumerate(given):
            shared = min(true.end, found.end) - max(true.start, found.start)
            if shared > 0:
                kind = _kind(true, found)
                pairs.append((_PRECEDENCE.index(kind), -shared, i, j))
    matched: dict[int, int] = {}
    errors = []
    for rank, _, i, j in sorted(pairs):
        if i not in matched and j not in matched.values():
            matched[i] = j
            errors.append(EntityError(_PRECEDENCE[rank], number, wanted[i], given[j]))
    errors += [
        EntityError(ErrorClass.MISSED, number, gold=true) for i, true in enumerate(wanted) if i not in matched
    ]
    errors += [
        EntityError(ErrorClass.SPURIOUS, number, predicted=found)
        for j, found in enumerate(given)
        if j not in matched.values()
    ]
    return sorted(errors, key=_place)


_PRECEDENCE = (ErrorClass.TYPE, ErrorClass.BORDER, ErrorClass.BOTH)


def _kind(true: Entity, found: Entity) -> ErrorClass:
    if (true.start, true.end) == (found.start, found.end):
        return ErrorClass.TYPE
    return ErrorClass.BORDER if true.label == found.label else ErrorClass.BOTH


def _place(error: EntityError) -> tuple[int, int]:
    entity = error.gold or error.predicted
    assert entity is not None
    return entity.start, entity.end


@dataclass(frozen=True)
class Confusion:
    """Which types were taken for which.

    Args:
        labels: The types.
        matrix: (T + 1, T + 1) how many spans have the gold type of the row and the predicted type of the
            column; the last row and column are for spans that are not there: missed in the last column,
            spurious in the last row.
    """

    labels: tuple[str, ...]
    matrix: NDArray[np.int64]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of rows and columns."""
        return (*self.labels, NO_ENTITY)

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        return {"labels": list(self.labels), "matrix": self.matrix.tolist()}


NO_ENTITY = "none"
"""What stands for no entity in a table of types."""


def confusion(
    gold: Iterable[Sequence[Entity]],
    predicted: Iterable[Sequence[Entity]],
    labels: Sequence[str] | None = None,
) -> Confusion:
    """Count which types were predicted for which, over spans that agree exactly.

    A prediction with another span is spurious here, and the gold entity missed: that is the strict reading,
    under which rows sum to the gold entities and columns to the predicted ones.

    Args:
        gold: For each post its gold entities.
        predicted: For each post, in the same order, the predicted entities.
        labels: The types in their order; those that occur, by name, where None. Types that occur and are
            not among them are put behind them.

    Raises:
        DataError: There are more posts in one than in the other.
    """
    cells: Counter[tuple[str | None, str | None]] = Counter()
    for true, found in paired(gold, predicted):
        spans = dict.fromkeys((entity.start, entity.end) for entity in (*true, *found))
        for span in spans:
            rows, columns = (
                Counter(entity.label for entity in entities if (entity.start, entity.end) == span)
                for entities in (true, found)
            )
            cells.update({(label, label): many for label, many in (rows & columns).items()})
            # One span may have several types only where an annotation says so; what is left goes in order.
            left = sorted((rows - columns).elements())
            right = sorted((columns - rows).elements())
            both = min(len(left), len(right))
            cells.update(zip(left[:both], right[:both], strict=True))
            cells.update((label, None) for label in left[both:])
            cells.update((None, label) for label in right[both:])
    occurring = sorted({label for pair in cells for label in pair if label is not None})
    order = list(dict.fromkeys([*(labels or ()), *occurring]))
    place: dict[str | None, int] = {label: number for number, label in enumerate(order)}
    place[None] = len(order)
    matrix = np.zeros((len(order) + 1, len(order) + 1), dtype=np.int64)
    for (row, column), many in cells.items():
        matrix[place[row], place[column]] += many
    return Confusion(tuple(order), matrix)


@dataclass(frozen=True, slots=True)
class Difference:
    """A post of which two recognisers say different things.

    Args:
        post: The number of the post, from 0.
        gold: Its gold entities.
        first: What the first says of it.
        second: What the second says of it.
    """

    post: int
    gold: tuple[Entity, ...]
    first: tuple[Entity, ...]
    second: tuple[Entity, ...]

    @property
    def first_errors(self) -> int:
        """How many entities the first missed or invented, by exact span and type."""
        return _distance(self.gold, self.first)

    @property
    def second_errors(self) -> int:
        """How many entities the second missed or invented."""
        return _distance(self.gold, self.second)

    @property
    def better(self) -> str:
        """Who has fewer errors: ``first``, ``second`` or ``neither``."""
        if self.first_errors == self.second_errors:
            return "neither"
        return "first" if self.first_errors < self.second_errors else "second"

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        return {
            "post": self.post,
            "better": self.better,
            "first_errors": self.first_errors,
            "second_errors": self.second_errors,
            **{
                name: [entity.as_dict() for entity in entities]
                for name, entities in (("gold", self.gold), ("first", self.first), ("second", self.second))
            },
        }


def _distance(true: Sequence[Entity], found: Sequence[Entity]) -> int:
    return len(_left_over(true, found)) + len(_left_over(found, true))


def differences(
    gold: Iterable[Sequence[Entity]],
    first: Iterable[Sequence[Entity]],
    second: Iterable[Sequence[Entity]],
) -> list[Difference]:
    """The posts of which two recognisers say different things, by exact spans and types.

    Args:
        gold: For each post its gold entities.
        first: For each post what the first predicted.
        second: For each post what the second predicted.

    Raises:
        DataError: They are not of as many posts.
    """
    said = [tuple(entities) for entities in first]
    pairs = [(tuple(true), tuple(one)) for true, one in paired(gold, said)]
    return [
        Difference(number, *pairs[number], tuple(other))
        for number, (one, other) in enumerate(paired(said, second))
        if _distance(one, other)
    ]
