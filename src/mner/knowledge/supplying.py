"""Which knowledge a recogniser was trained with, and how posts get the same again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mner.knowledge.attaching import attach
from mner.knowledge.filed import placeholder_texts
from mner.knowledge.store import KnowledgeStore
from mner.posts import Knowledge, Post

PLACEHOLDER = "a placeholder: the same text for many posts"
"""The problem that stands in place of a placeholder text."""


@dataclass(frozen=True)
class KnowledgeSettings:
    """What is attached to posts before a recogniser reads them; saved with it.

    Args:
        wanted: What to take from a store: kinds, names of providers, or beginnings of a source's key (see
            `mner.knowledge.attaching.attach`).
        placeholders: Texts that say nothing, as training found them: they are marked as failures.
    """

    wanted: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()

    def supply(self, posts: Iterable[Post], store: KnowledgeStore | Path | str) -> Iterator[Post]:
        """Posts with what a store knows about them, in the way that training had it.

        Args:
            posts: Any number of posts.
            store: The store, or its file.

        Raises:
            UsageError: The store has nothing of a wanted name.
            StoreError: The store cannot be read.
        """
        for post in attach(posts, store, self.wanted):
            yield self.without_placeholders(post)

    def without_placeholders(self, post: Post) -> Post:
        """A post whose placeholder texts are marked as failures."""
        if not any(known.text in self.placeholders for known in post.knowledge if known.text is not None):
            return post
        return post.with_fields(
            knowledge=tuple(
                Knowledge(kind=known.kind, origin=known.origin, problem=PLACEHOLDER)
                if known.text is not None and known.text in self.placeholders
                else known
                for known in post.knowledge
            )
        )


def with_placeholders_of(settings: KnowledgeSettings, posts: Iterable[Post]) -> KnowledgeSettings:
    """Settings that also name the texts which stand suspiciously often in the knowledge of posts.

    Args:
        settings: The settings.
        posts: Posts with their knowledge, usually all that are trained on.
    """
    found = dict.fromkeys((*settings.placeholders, *placeholders_in(posts)))
    return replace(settings, placeholders=tuple(found))


def placeholders_in(posts: Iterable[Post]) -> dict[str, int]:
    """The texts that stand suspiciously often in the knowledge of posts, by kind, with how often.

    Args:
        posts: Posts with their knowledge.
    """
    texts: dict[str, list[str]] = {}
    for post in posts:
        for known in post.knowledge:
            # A picture without writing has an empty OCR text, which stands for nothing else.
            if known.problem is None and known.text:
                texts.setdefault(known.kind, []).append(known.text)
    found: dict[str, int] = {}
    for of_kind in texts.values():
        found |= placeholder_texts(of_kind)
    return found


def drop_knowledge(posts: Sequence[Post], share: float, seed: int, but: Sequence[str] = ()) -> list[Post]:
    """Posts of which a random share has lost all knowledge, alternative text included.

    A recogniser that learns from such posts too does not come to rely on what will be missing.

    Args:
        posts: The posts.
        share: The share of posts, 0 to 1.
        seed: Decides which; the same for the same seed and number of posts.
        but: Posts whose id begins with one of these lose nothing.
    """
    lost = np.random.default_rng(seed).random(len(posts)) < share
    return [
        post.with_fields(knowledge=(), alt=None) if gone and not _begins(post, but) else post
        for post, gone in zip(posts, lost, strict=True)
    ]


def _begins(post: Post, beginnings: Sequence[str]) -> bool:
    return post.id is not None and post.id.startswith(tuple(beginnings))


def coverage(posts: Iterable[Post]) -> dict[str, int]:
    """For each kind how many posts have knowledge of it; ``alt`` counts alternative texts."""
    counts: Counter[str] = Counter()
    for post in posts:
        counts.update({known.kind for known in post.knowledge if known.problem is None})
        if post.alt and post.alt.strip():
            counts["alt"] += 1
    return dict(sorted(counts.items()))
