"""Predictions as a file: what a recogniser said of posts, to be looked at without a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

from mner.data import iterate_jsonl, write_jsonl
from mner.data.folders import open_file
from mner.errors import DataError, shown
from mner.posts import Entity, Post
from mner.tags import Convention


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


def read_predictions(
    path: Path | str, posts: Sequence[Post], convention: Convention | str = Convention.CONLL
) -> list[list[Entity]]:
    """Read what `write_predictions` or ``mner predict --output`` wrote, or what another tool did.

    Args:
        path: JSON lines, or columns with the word first and the predicted tag last.
        posts: The posts of which it speaks, in its order; their texts have to be the same, of columns the
            words.
        convention: What stray tags of columns mean.

    Returns:
        For each post the predicted entities.

    Raises:
        DataError: The file cannot be read, or is not of these posts.
    """
    file = open_file(Path(path))
    columns = not isinstance(file, Path)
    lines = iterate_jsonl(file) if isinstance(file, Path) else file.posts(file.scheme(), None)
    found: list[list[Entity]] = []
    for number, (said, post) in enumerate(zip_longest(lines, posts), start=1):
        if said is None or post is None:
            raise DataError(
                f"The predictions in {path} are not of these posts.",
                expected=f"{len(posts)} posts, in the order of the data",
                got=f"{len(found)} posts" if said is None else f"more than {len(posts)}",
                hint="Is this another split?",
            )
        if said.words != post.words if columns else said.text != post.text:
            raise DataError(
                f"{'Post' if columns else 'Line'} {number} of {path} is not of the post that stands there in "
                "the data.",
                expected=shown(post.text),
                got=shown(said.text),
                hint="`mner evaluate RUN --data FOLDER --predictions FILE` writes a file that fits.",
            )
        if columns:
            # Words of columns stand apart by one character each; where they really stand the data know.
            said = post.with_fields(tags=said.tags, scheme=said.scheme, entities=None)
            found.append(list(said.gold(convention)))
            continue
        if said.entities is None:
            raise DataError(
                f"Post {number} of {path} has no predictions.",
                expected='"entities", an empty list where there are none',
            )
        found.append(list(said.entities))
    return found
