"""Parts of a split: so many posts, a share of them, or so many mentions a type; seeded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from mner.errors import DataError, UsageError
from mner.posts import Post
from mner.tags import Convention


def sample_posts(
    posts: Sequence[Post], *, count: int | None = None, share: float | None = None, seed: int
) -> list[Post]:
    """Draw posts without putting any back.

    A smaller sample of the same posts with the same seed is part of a larger one, so that a curve over sizes
    adds posts and does not exchange them.

    Args:
        posts: Where to draw from.
        count: How many posts to draw.
        share: Which share of the posts to draw instead, over 0 and up to 1; rounded, at least one post.
        seed: Which sample.

    Returns:
        The drawn posts, in the order in which `posts` has them.

    Raises:
        UsageError: Neither or both of `count` and `share` are given, or one is out of its range.
        DataError: There are fewer posts than `count`, or none.
    """
    if (count is None) == (share is None):
        raise UsageError(
            "A sample needs its size.", expected="either a count of posts or a share of them, and not both"
        )
    if share is not None:
        if not 0 < share <= 1:
            raise UsageError(
                "A sample's share is out of range.", expected="over 0, up to 1", got=f"{share:g}"
            )
        count = max(1, round(share * len(posts)))
    assert count is not None
    if count < 1:
        raise UsageError("A sample's size is out of range.", expected="one post or more", got=str(count))
    if count > len(posts):
        raise DataError(
            "There are fewer posts than a sample of them asks for.",
            expected=f"{count} posts or more",
            got=str(len(posts)),
            hint="Ask for fewer, or for a share of them.",
        )
    return [posts[place] for place in sorted(_shuffled(len(posts), seed)[:count])]


Bound = Literal["at-most", "at-least"]
"""Whether a number of shots is the most mentions that a type may have in a sample, or the fewest."""


def sample_shots(
    posts: Sequence[Post],
    shots: int,
    seed: int,
    convention: Convention | str = Convention.CONLL,
    bound: Bound = "at-most",
) -> list[Post]:
    """Draw posts that have about `shots` mentions of each type.

    The types are served from the rarest to the most frequent one; each takes posts that have it, in seeded
    order. What a post has of other types counts for those.

    With the bound `at-most` no type gets more than `shots` mentions, and no post with a mention could be
    added to the result. With `at-least` a type takes posts until it has `shots` mentions, and types that come
    along may have many more: so Yang and Katiyar (2020, algorithm 1) draw for NNShot and StructShot. A type
    that the posts mention less often keeps what it has. Posts without a mention are not drawn.

    Args:
        posts: Annotated posts to draw from.
        shots: The greatest number of mentions of a type, or the smallest.
        seed: Which sample.
        convention: What stray tags mean.
        bound: Which of the two.

    Returns:
        The drawn posts, in the order in which `posts` has them.

    Raises:
        UsageError: `shots` is under one.
        DataError: A post is not annotated, none has a mention, or every post has more mentions of a type than
            there may be.
    """
    if shots < 1:
        raise UsageError("A number of shots is out of range.", expected="one or more", got=str(shots))
    mentions = [Counter(entity.label for entity in post.gold(convention)) for post in posts]
    total: Counter[str] = Counter()
    for counts in mentions:
        total.update(counts)
    order = _shuffled(len(posts), seed)
    taken: set[int] = set()
    drawn: Counter[str] = Counter()

    def wanted(label: str, counts: Counter[str]) -> bool:
        if bound == "at-least":
            return drawn[label] < shots
        # A post that did not fit once never will: what was drawn only grows.
        return all(drawn[other] + more <= shots for other, more in counts.items())

    for label in sorted(total, key=lambda name: (total[name], name)):
        for place in order:
            counts = mentions[place]
            if label in counts and place not in taken and wanted(label, counts):
                taken.add(place)
                drawn.update(counts)
    if not taken:
        most = "" if bound == "at-least" else f", and at most {shots} of a type"
        raise DataError(
            f"No post can be drawn for {shots} mentions a type.",
            expected=f"posts with one mention or more{most}",
            got=f"{len(posts)} posts with {total.total()} mentions",
            hint="Ask for more mentions a type." if total else None,
        )
    return [posts[place] for place in sorted(taken)]


def count_mentions(posts: Iterable[Post], convention: Convention | str = Convention.CONLL) -> dict[str, int]:
    """How many mentions of each type posts have, types by name."""
    counts = Counter(entity.label for post in posts for entity in post.gold(convention))
    return dict(sorted(counts.items()))


def _shuffled(length: int, seed: int) -> list[int]:
    # Of the random module, Python promises the same numbers in all versions for `random()` alone.
    source = random.Random(seed)
    keys = [source.random() for _ in range(length)]
    return sorted(range(length), key=keys.__getitem__)
