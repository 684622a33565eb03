"""Predictions as a file: what a recogniser said of posts, to be looked at without a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

from mner.data import iterate_jsonl, write_jsonl
from mner.errors import DataError, shown
from mner.posts import Entity, Post


def write_predictions(
    path: Path | str, posts: Iterable[Post], predicted: Iterable[Sequence[Entity]], *, overwrite: bool = False
) -> int:
    """Write posts with their predicted entities as JSONL; a picture in memory is left out.

    Args:
        path: The file.
        posts: The posts.
        predicted: For each the predicted entities.
        overwrite: Replace a file that is there.

    Returns:
        How many posts were written.

    Raises:
        UsageError: The file exists and `overwrite` was not asked for.
        DataError: A post cannot be written as JSON.
    """
    said = (
        # A picture in memory has no name to be written down, and nobody looks for it in predictions.
        post.with_fields(
            entities=tuple(entities), tags=None, image=None if isinstance(post.image, bytes) else post.image
        )
        for post, entities in zip(posts, predicted, strict=True)
    )
    return write_jsonl(said, path, overwrite=overwrite)


def read_predictions(path: Path | str, posts: Sequence[Post]) -> list[list[Entity]]:
    """Read what `write_predictions` or ``mner predict --output`` wrote.

    Args:
        path: The file.
        posts: The posts of which it speaks, in its order; their texts have to be the same.

    Returns:
        For each post the predicted entities.

    Raises:
        DataError: The file cannot be read, or is not of these posts.
    """
    found: list[list[Entity]] = []
    for number, (said, post) in enumerate(zip_longest(iterate_jsonl(Path(path)), posts), start=1):
        if said is None or post is None:
            raise DataError(
                f"The predictions in {path} are not of these posts.",
                expected=f"{len(posts)} posts, in the order of the data",
                got=f"{len(found)} posts" if said is None else f"more than {len(posts)}",
                hint="Is this another split?",
            )
        if said.text != post.text:
            raise DataError(
                f"Line {number} of {path} is not of the post that stands there in the data.",
                expected=shown(post.text),
                got=shown(said.text),
                hint="`mner evaluate RUN --data FOLDER --predictions FILE` writes a file that fits.",
            )
        if said.entities is None:
            raise DataError(
                f"Post {number} of {path} has no predictions.",
                expected='"entities", an empty list where there are none',
            )
        found.append(list(said.entities))
    return found
