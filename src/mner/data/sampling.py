"""Parts of a split: so many posts, a share of them, or so many mentions a type; seeded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

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


def sample_shots(
    posts: Sequence[Post], shots: int, seed: int, convention: Convention | str = Convention.CONLL
) -> list[Post]:
    """Draw posts that have at most `shots` mentions of each type, and as near to it as whole posts allow.

    The types are served from the rarest to the most frequent one; each takes posts that have it, in seeded
    order, while no type gets more than `shots` mentions. No post with a mention could be added to the result.
    A type with fewer mentions than that keeps what it has, and posts without a mention are not drawn.

    Args:
        posts: Annotated posts to draw from.
        shots: The greatest number of mentions of a type.
        seed: Which sample.
        convention: What stray tags mean.

    Returns:
        The drawn posts, in the order in which `posts` has them.

    Raises:
        UsageError: `shots` is under one.
        DataError: A post is not annotated, or every post has more mentions of a type than `shots`.
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
    for label in sorted(total, key=lambda name: (total[name], name)):
        for place in order:
            counts = mentions[place]
            # A post that did not fit once never will: what was drawn only grows.
            if (
                label in counts
                and place not in taken
                and all(drawn[other] + more <= shots for other, more in counts.items())
            ):
                taken.add(place)
                drawn.update(counts)
    if not taken:
        raise DataError(
            f"No post can be drawn for {shots} mentions a type.",
            expected=f"posts with one mention or more, and at most {shots} of a type",
            got=f"{len(posts)} posts with {total.total()} mentions",
            hint="Ask for more mentions a type.",
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
