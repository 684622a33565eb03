"""What of the test posts was in the training posts: texts, and mentions seen and unseen.

A mention is an entity's text, case and spaces left out of account. It is *seen* where the training gold has
it with the same type, *seen as another type* where it has it with other types alone, and *unseen* where it
has not got it. Systems do much worse on unseen mentions, and sets differ in how many they have (Augenstein,
Derczynski and Bontcheva, 2017, "Generalisation in Named Entity Recognition: A Quantitative Analysis", who
know seen and unseen by the text alone).

Scores are counted for each of the three apart. A gold entity belongs to the part of its own text and type,
a prediction to that of *its* text and type: recall is over the gold mentions of a part, precision over the
predicted ones. What is right has the text and type of a gold entity, so both count it in the same part. What
has a wrong border or type may belong to another part than the gold entity that it falls short of.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mner.data.checks import Overlap, check_overlap
from mner.evaluation.scores import Counts, paired, score
from mner.posts import Entity, Post
from mner.tags import Convention


class Familiarity(enum.StrEnum):
    """What training had of a mention."""

    SEEN = "seen"
    OTHER_TYPE = "seen as another type"
    UNSEEN = "unseen"


def folded(text: str) -> str:
    """A mention without case, and with single spaces."""
    return " ".join(text.casefold().split())


class Mentions:
    """The mentions of training posts.

    Args:
        gold: For each training post its gold entities.
    """

    def __init__(self, gold: Iterable[Sequence[Entity]]) -> None:
        self.types: dict[str, set[str]] = {}
        for entities in gold:
            for entity in entities:
                self.types.setdefault(folded(entity.text), set()).add(entity.label)

    def familiarity(self, entity: Entity) -> Familiarity:
        """What training had of an entity's mention."""
        types = self.types.get(folded(entity.text))
        if types is None:
            return Familiarity.UNSEEN
        return Familiarity.SEEN if entity.label in types else Familiarity.OTHER_TYPE


@dataclass(frozen=True)
class SeenScores:
    """Scores on mentions that training had and on those that it had not.

    Args:
        convention: What stray tags of the gold were taken to mean.
        parts: The counts of each part; gold and correct by the gold mention, predicted by the predicted one.
    """

    convention: Convention
    parts: Mapping[Familiarity, Counts]

    def rows(self) -> list[tuple[str, float | None, float | None, float | None, int, int, int]]:
        """A table: a row a part; see `SEEN_COLUMNS`. What is not defined, for want of entities, is None."""
        return [
            (
                part.value,
                counts.precision if counts.predicted else None,
                counts.recall if counts.gold else None,
                counts.f1 if counts.gold + counts.predicted else None,
                counts.gold,
                counts.predicted,
                counts.correct,
            )
            for part, counts in self.parts.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it; fractions that are not defined are null."""
        names = ("precision", "recall", "f1", "gold", "predicted", "correct")
        return {
            "convention": self.convention.value,
            "parts": {part: dict(zip(names, values, strict=True)) for part, *values in self.rows()},
        }


SEEN_COLUMNS = ("mentions", "precision", "recall", "F1", "gold", "predicted", "correct")
"""The columns of `SeenScores.rows`; the first three numbers are fractions from 0 to 1."""


def seen_scores(
    mentions: Mentions,
    gold: Iterable[Sequence[Entity]],
    predicted: Iterable[Sequence[Entity]],
    convention: Convention | str = Convention.CONLL,
) -> SeenScores:
    """Score seen and unseen mentions apart.

    Args:
        mentions: Those of the training posts.
        gold: For each test post its gold entities.
        predicted: For each, in the same order, the predicted entities.
        convention: The convention under which gold was read; recorded, not applied.

    Returns:
        The counts of each part; together they are those of all entities.

    Raises:
        DataError: There are more posts in one than in the other.
    """
    posts = [(tuple(true), tuple(found)) for true, found in paired(gold, predicted)]
    parts = {}
    for part in Familiarity:
        chosen = [
            [[entity for entity in entities if mentions.familiarity(entity) is part] for entities in pair]
            for pair in posts
        ]
        parts[part] = score([true for true, _ in chosen], [found for _, found in chosen]).overall
    return SeenScores(Convention(convention), parts)


@dataclass(frozen=True)
class TrainTestOverlap:
    """What of the test posts is in the training posts.

    Args:
        posts: Posts whose text or id is.
        mentions: How many gold mentions are of each kind of familiarity, each as often as it is there.
        different: The same of different mentions (text and type), each once.
    """

    posts: Overlap
    mentions: Mapping[Familiarity, int]
    different: Mapping[Familiarity, int]

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        return {
            "posts": {
                "all": self.posts.posts,
                "by_id": self.posts.by_id,
                "by_text": self.posts.by_text,
                "either": self.posts.either,
            },
            "mentions": {part.value: many for part, many in self.mentions.items()},
            "different_mentions": {part.value: many for part, many in self.different.items()},
        }


def train_test_overlap(
    train: Sequence[Post], test: Sequence[Post], convention: Convention | str = Convention.CONLL
) -> TrainTestOverlap:
    """Count what of the test posts is in the training posts.

    Args:
        train: Annotated posts.
        test: Annotated posts.
        convention: What stray tags mean.

    Raises:
        DataError: A post is not annotated.
    """
    mentions = Mentions(post.gold(convention) for post in train)
    entities = [entity for post in test for entity in post.gold(convention)]
    once = {(folded(entity.text), entity.label): entity for entity in entities}
    every, different = (
        dict.fromkeys(Familiarity, 0) | {part: found.count(part) for part in Familiarity}
        for found in (
            [mentions.familiarity(entity) for entity in entities],
            [mentions.familiarity(entity) for entity in once.values()],
        )
    )
    return TrainTestOverlap(check_overlap(train, test), every, different)
