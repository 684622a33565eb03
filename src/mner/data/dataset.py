"""A data set: its splits, the types it annotates, and a fingerprint of what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mner.data.formats import split_named
from mner.errors import DataError
from mner.posts import Post
from mner.tags import OUTSIDE, parse


@dataclass(frozen=True)
class Source:
    """Where a split came from.

    Args:
        path: The file.
        format: The name of its format.
        scheme: The scheme of its tags; None for a format without tags.
        documents: How many document starts it has.
        ignored: Keys of JSONL records that were left out, with how often they stood there.
    """

    path: Path
    format: str
    scheme: str | None = None
    documents: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """Posts by split.

    Args:
        name: What the set is called; its folder's name where it was read from one.
        splits: The posts of each split; the customary ones are ``train``, ``valid`` and ``test``.
        sources: Where splits that were read from files came from.
    """

    name: str
    splits: Mapping[str, list[Post]]
    sources: Mapping[str, Source] = field(default_factory=dict)

    def split(self, name: str) -> list[Post]:
        """The posts of a split; ``dev`` and ``validation`` are taken for ``valid``.

        Raises:
            DataError: There is no such split; the message lists those that are there.
        """
        found = self.splits.get(name, self.splits.get(split_named(name)))
        if found is None:
            there = ", ".join(f"{split} ({len(posts)} posts)" for split, posts in self.splits.items())
            raise DataError(
                f"The data set {self.name} has no split {name!r}.",
                expected="a file such as " + f"{name}.txt or {name}.jsonl",
                got=there or "no split at all",
                hint="Add the file, or name a split that is there.",
            )
        return found

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The types that occur in any split, by name."""
        return labels_of(post for posts in self.splits.values() for post in posts)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what all posts say: text, words, gold, and which have which picture.

        Where the files lie does not count, nor do the bytes of pictures.
        """
        digest = hashlib.sha256()
        for split, posts in self.splits.items():
            digest.update(json.dumps([split, len(posts)]).encode())
            for post in posts:
                digest.update(content_of(post))
        return digest.hexdigest()


def labels_of(posts: Iterable[Post]) -> tuple[str, ...]:
    """The types that these posts' gold has, by name."""
    tags: set[str] = set()
    labels: set[str] = set()
    for post in posts:
        if post.entities is not None:
            labels.update(entity.label for entity in post.entities)
        elif post.tags is not None:
            tags.update(post.tags)
    labels.update(parse(tag)[1] for tag in tags if tag != OUTSIDE)
    return tuple(sorted(labels))


def content_of(post: Post) -> bytes:
    """What a post says as bytes, equal where all of it is: text, words, gold, and which picture it has.

    What is known about it besides, and the bytes of a picture in a file, are not in it.
    """
    image = post.image.name if isinstance(post.image, Path) else None
    if isinstance(post.image, bytes):
        image = hashlib.sha256(post.image).hexdigest()
    entities = post.entities and [(e.start, e.end, e.label, e.score) for e in post.entities]
    return json.dumps(
        [post.id, post.text, post.offsets, post.tags, post.scheme.name, entities, post.alt, image]
    ).encode()


def rename_labels(posts: Iterable[Post], label_map: Mapping[str, str]) -> list[Post]:
    """Posts with types renamed, in tags and in entities; types that the map does not name stay.

    Where two neighbouring entities get the same type, a ``B-`` keeps them apart.

    Args:
        posts: The posts.
        label_map: New names by old ones, such as ``{"OTHER": "MISC"}``.
    """
    result = []
    for post in posts:
        fields: dict[str, Any] = {}
        if post.tags is not None:
            fields["tags"] = _rename_tags(post.tags, label_map)
        if post.entities is not None:
            fields["entities"] = tuple(
                replace(entity, label=label_map.get(entity.label, entity.label)) for entity in post.entities
            )
        result.append(post.with_fields(**fields) if fields else post)
    return result


def _rename_tags(tags: Sequence[str], label_map: Mapping[str, str]) -> tuple[str, ...]:
    renamed = []
    previous = previous_new = ""
    for tag in tags:
        if tag == OUTSIDE:
            previous = previous_new = ""
            renamed.append(tag)
            continue
        prefix, label = parse(tag)
        new = label_map.get(label, label)
        if previous not in ("", label) and previous_new == new:
            prefix = {"I": "B", "E": "S"}.get(prefix, prefix)
        renamed.append(f"{prefix}-{new}")
        previous, previous_new = label, new
    return tuple(renamed)
