"""Predictions as a file: what a recogniser said of posts, to be looked at without a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from mner.data import iterate_jsonl, write_jsonl
from mner.data.dataset import rename_labels
from mner.data.folders import open_file
from mner.errors import DataError, shown
from mner.posts import Entity, Post
from mner.tags import BIO, IOB1, Convention


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
    path: Path | str,
    posts: Sequence[Post],
    convention: Convention | str = Convention.CONLL,
    label_map: Mapping[str, str] | None = None,
) -> list[list[Entity]]:
    """Read what `write_predictions` or ``mner predict --output`` wrote, or what another tool did.

    Args:
        path: JSON lines, or columns with the word first and the predicted tag last, in BIO or BIOES.
        posts: The posts of which it speaks, in its order; their texts have to be the same, of columns the
            words.
        convention: What stray tags of columns mean.
        label_map: New names of types by old ones.

    Returns:
        For each post the predicted entities.

    Raises:
        DataError: The file cannot be read, or is not of these posts.
    """
    file = open_file(Path(path))
    if isinstance(file, Path):
        columns, lines = False, iterate_jsonl(file)
    else:
        # A tool's tags need not be well-formed, so that where `B-` stands tells nothing of their scheme.
        scheme = file.scheme()
        columns, lines = True, iter(file.posts(BIO if scheme is IOB1 else scheme, None))
    found: list[Post] = []
    for number, (said, post) in enumerate(zip_longest(lines, posts), start=1):
        if said is None or post is None:
            raise DataError(
                f"The predictions in {path} are not of these posts.",
                expected=f"{len(posts)} posts, in the order of the data",
                got=f"{len(found)} posts" if said is None else f"more than {len(posts)}",
                hint="Is this another split?",
            )
        if columns:
            _check_words(path, number, said.words, post.words)
            # Words of columns stand apart by one character each; where they really stand the data know.
            said = post.with_fields(tags=said.tags, scheme=said.scheme, entities=None)
            found.append(said.with_fields(entities=said.gold(convention), tags=None))
            continue
        if said.text != post.text:
            one, other = _from_difference(post.text, said.text)
            raise DataError(
                f"Line {number} of {path} is not of the post that stands there in the data.",
                expected=one,
                got=other,
                hint="`mner evaluate RUN --data FOLDER --predictions FILE` writes a file that fits.",
            )
        if said.entities is None:
            raise DataError(
                f"Post {number} of {path} has no predictions.",
                expected='"entities", an empty list where there are none',
            )
        found.append(said)
    return [list(post.entities or ()) for post in (rename_labels(found, label_map) if label_map else found)]


def _check_words(path: Path | str, number: int, said: Sequence[str], words: Sequence[str]) -> None:
    for place, (one, other) in enumerate(zip_longest(words, said), start=1):
        if one != other:
            raise DataError(
                f"Post {number} of {path} is not of the post that stands there in the data.",
                expected="the post's end" if one is None else f"{shown(one)} as word {place}",
                got="the post's end" if other is None else shown(other),
                hint="Columns have the words as the data set splits them; "
                "`mner data convert DATA FOLDER --to bio` writes these.",
            )


def _from_difference(one: str, other: str) -> tuple[str, str]:
    """Two texts for a message, a little before the place from which they differ."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    start = max(0, same - 20)
    return shown(("…" if start else "") + one[start:]), shown(("…" if start else "") + other[start:])
