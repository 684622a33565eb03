"""Entity scores: exact span and exact type, counted over all posts (micro), overall and per type.

An entity is right where start, end and type are all those of a gold entity of the same post, by characters
of the original text. That is what the CoNLL evaluation script counts (Tjong Kim Sang and Buchholz, 2000,
"Introduction to the CoNLL-2000 Shared Task: Chunking"), which counts words instead; on words that do not
overlap the two are the same. Nothing here knows of tags, windows or sub-words, so what an encoder cannot
see still counts as missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mner.errors import DataError
from mner.posts import Entity, Post
from mner.tags import Convention


@dataclass(frozen=True, slots=True)
class Counts:
    """How many entities there are, how many were predicted, and how many of these are right.

    Args:
        gold: Entities in the gold.
        predicted: Entities predicted, the same one twice if it was predicted twice.
        correct: Predicted entities that are right; each gold entity makes at most one right.
    """

    gold: int = 0
    predicted: int = 0
    correct: int = 0

    @property
    def precision(self) -> float:
        """The share of predictions that are right, 0 to 1; 0 where nothing was predicted."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of gold entities that were found, 0 to 1; 0 where there are none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0 to 1; 0 where nothing is right."""
        # 2PR / (P + R) with the fractions cancelled, which is exact and needs no special case but this.
        return 2 * self.correct / (self.gold + self.predicted) if self.correct else 0.0

    def __add__(self, other: Counts) -> Counts:
        """The counts of both together."""
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(self.gold + other.gold, self.predicted + other.predicted, self.correct + other.correct)

    def as_dict(self) -> dict[str, float | int]:
        """Fractions and counts, as JSON writes them."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "gold": self.gold,
            "predicted": self.predicted,
            "correct": self.correct,
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a set of posts.

    Args:
        convention: What stray tags of the gold were taken to mean; no score goes without it.
        overall: All types together.
        per_type: Each type that is in the gold or was predicted, in alphabetical order.
        posts: How many posts were scored.
    """

    convention: Convention
    overall: Counts
    per_type: dict[str, Counts] = field(default_factory=dict)
    posts: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The scores as JSON writes them: fractions from 0 to 1 and the counts behind them."""
        return {
            "convention": self.convention.value,
            "posts": self.posts,
            "overall": self.overall.as_dict(),
            "per_type": {label: counts.as_dict() for label, counts in self.per_type.items()},
        }


def identity(entity: Entity) -> tuple[int, int, str]:
    """What makes two entities of one post the same: start, end and type."""
    return entity.start, entity.end, entity.label


def score(
    gold: Iterable[Sequence[Entity]],
    predicted: Iterable[Sequence[Entity]],
    convention: Convention | str = Convention.CONLL,
) -> Scores:
    """Score predictions against gold, post by post; both may be streams.

    Args:
        gold: For each post its gold entities.
        predicted: For each post, in the same order, the predicted entities.
        convention: The convention under which `gold` was read from tags. It is recorded, not applied:
            entities have no stray tags any more.

    Returns:
        Micro-averaged scores. An entity that was predicted twice counts as predicted twice and as
        correct once.

    Raises:
        DataError: There are more posts in one than in the other.
    """
    convention = Convention(convention)
    posts = 0
    # For each type: gold, predicted, correct.
    tally: dict[str, list[int]] = {}
    for true, found in paired(gold, predicted):
        posts += 1
        wanted, given = Counter(map(identity, true)), Counter(map(identity, found))
        for place, entities in enumerate((wanted, given, wanted & given)):
            for (_, _, label), count in entities.items():
                tally.setdefault(label, [0, 0, 0])[place] += count
    per_type = {label: Counts(*tally[label]) for label in sorted(tally)}
    return Scores(convention, sum(per_type.values(), Counts()), per_type, posts)


def score_posts(
    posts: Iterable[Post],
    predicted: Iterable[Sequence[Entity]],
    convention: Convention | str = Convention.CONLL,
) -> Scores:
    """Score predictions against the posts' own gold, read under `convention`.

    Raises:
        DataError: A post is not annotated, or the numbers of posts differ.
    """
    return score((post.gold(convention) for post in posts), predicted, convention)


def paired(
    gold: Iterable[Sequence[Entity]], predicted: Iterable[Sequence[Entity]]
) -> Iterator[tuple[Sequence[Entity], Sequence[Entity]]]:
    """Each post's gold with the same post's predictions.

    Raises:
        DataError: One of the two ends before the other.
    """
    done = 0
    golds, predictions = iter(gold), iter(predicted)
    end = object()
    while True:
        true, found = next(golds, end), next(predictions, end)
        if true is end and found is end:
            return
        if true is end or found is end:
            short, long = ("gold", "predictions") if true is end else ("predictions", "gold")
            raise DataError(
                "Gold and predictions are not of the same posts, so there is no score.",
                expected="one list of entities a post in both, an empty one where there are none",
                got=f"{short} for {done} posts and {long} for at least {done + 1}",
                hint="Predict for exactly the posts that are scored, in their order.",
            )
        yield true, found  # type: ignore[misc]
        done += 1
