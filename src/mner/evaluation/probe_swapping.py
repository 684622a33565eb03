"""Does a recogniser use the picture? The same posts with their own, with another post's and with none.

Whatever came with the picture goes with it: the picture itself, its alternative text and all knowledge. What
a language model wrote after having read the post is knowledge too; a gain from it is then not one from the
picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mner.errors import DataError
from mner.evaluation.scores import Scores, score_posts
from mner.evaluation.significance import Comparison, Interval, compare, f1_interval, post_counts
from mner.posts import Entity, Post
from mner.progress import Reporter, silent
from mner.tags import Convention

MODES = ("own", "swapped", "none")
"""Whose picture a post is given."""


class Predictor(Protocol):
    """What is probed: anything that recognises entities in posts."""

    def predict(self, posts: Sequence[Post], *, progress: Reporter = silent) -> list[list[Entity]]:
        """For each post its entities."""


def has_picture(post: Post) -> bool:
    """Whether there is a picture, or anything said about one."""
    return post.image is not None or post.alt is not None or bool(post.knowledge)


def with_picture_of(post: Post, other: Post) -> Post:
    """A post with the picture of another one, and with what is said about that."""
    return post.with_fields(
        image=other.image, image_problem=other.image_problem, alt=other.alt, knowledge=other.knowledge
    )


def without_picture(post: Post) -> Post:
    """A post without a picture and without anything said about one."""
    return post.with_fields(image=None, image_problem=None, alt=None, knowledge=())


def swapped(posts: Sequence[Post], seed: int = 1) -> list[Post]:
    """Posts whose pictures went round: each that had one has another post's, and each picture is used once.

    Args:
        posts: The posts; those without a picture stay without.
        seed: Decides who gets whose.

    Raises:
        DataError: There are no two different pictures, or one stands for more than half of the posts.
    """
    holders = [index for index, post in enumerate(posts) if has_picture(posts[index])]
    identities = [_identity(posts[index]) for index in holders]
    order = _derangement(identities, np.random.default_rng(seed))
    result = list(posts)
    for holder, donor in zip(holders, order, strict=True):
        result[holder] = with_picture_of(posts[holder], posts[holders[donor]])
    return result


def _identity(post: Post) -> Any:
    # The same picture may stand in several posts, which then must not get it from one another.
    return post.image if post.image is not None else (post.alt, post.knowledge)


def _derangement(identities: Sequence[Any], random: np.random.Generator) -> list[int]:
    """For each place another place, each once, whose identity differs."""
    count = len(identities)
    if not count:
        return []
    numbers: dict[Any, int] = {}
    codes = np.asarray([numbers.setdefault(one, len(numbers)) for one in identities])
    most = int(np.bincount(codes).max())
    if 2 * most > count:
        raise DataError(
            "The pictures cannot be swapped so that every post gets another one.",
            expected="at least two pictures, none of which stands for more than half of the posts",
            got=f"{count} posts with a picture, {most} of them with the same one",
        )
    shuffled = random.permutation(count)
    # Equal pictures side by side, then a shift by as many as there are of the commonest: none meets itself.
    by_picture = shuffled[np.argsort(random.permutation(len(numbers))[codes[shuffled]], kind="stable")]
    donors = np.empty(count, dtype=np.int64)
    donors[by_picture] = np.roll(by_picture, most)
    return [int(donor) for donor in donors]


@dataclass(frozen=True)
class SwapResult:
    """What a recogniser makes of posts with their own, with another post's and with no picture.

    Args:
        posts: How many posts were scored.
        with_picture: How many of them have a picture or something said about one.
        scores: The scores, by mode.
        intervals: The F1 with its interval, by mode.
        differences: Own less swapped and own less none, by the mode that is taken away.
    """

    posts: int
    with_picture: int
    scores: dict[str, Scores]
    intervals: dict[str, Interval]
    differences: dict[str, Comparison]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON writes it; fractions from 0 to 1."""
        return {
            "posts": self.posts,
            "with_picture": self.with_picture,
            "modes": {
                mode: {**self.scores[mode].as_dict(), "f1_interval": self.intervals[mode].as_dict()}
                for mode in self.scores
            },
            "own_less": {mode: found.as_dict() for mode, found in self.differences.items()},
        }


def probe_posts(
    recognizer: Predictor,
    posts: Sequence[Post],
    *,
    convention: Convention | str = Convention.CONLL,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 1,
    progress: Reporter = silent,
) -> SwapResult:
    """Score posts with their own picture, with another post's, and with none.

    Args:
        recognizer: What is probed.
        posts: Annotated posts, with the knowledge that the recogniser reads.
        convention: What stray tags mean in gold.
        samples: Bootstrap samples, and random exchanges for the p-values.
        level: Level of the intervals.
        seed: Decides who gets whose picture, and the samples.
        progress: Told of every post that is done.

    Raises:
        DataError: A post is not annotated, or no post has a picture.
    """
    with_picture = sum(map(has_picture, posts))
    if not with_picture:
        raise DataError(
            "No post has a picture or anything said about one, so there is nothing to probe.",
            hint="Name the folder of the pictures with --images, or a knowledge store with --knowledge.",
        )
    variants = {
        "own": list(posts),
        "swapped": swapped(posts, seed),
        "none": [without_picture(post) for post in posts],
    }
    gold = [post.gold(convention) for post in posts]
    predicted = {mode: recognizer.predict(given, progress=progress) for mode, given in variants.items()}
    counts = {mode: post_counts(gold, found) for mode, found in predicted.items()}
    return SwapResult(
        posts=len(posts),
        with_picture=with_picture,
        scores={mode: score_posts(posts, found, convention) for mode, found in predicted.items()},
        intervals={
            mode: f1_interval(found, samples=samples, level=level, seed=seed)
            for mode, found in counts.items()
        },
        differences={
            mode: compare(counts["own"], counts[mode], samples=samples, level=level, seed=seed)
            for mode in MODES[1:]
        },
    )
