"""Reading data sets: one file, or a folder with a file for each split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mner.data.columns import ColumnFile, parse_columns
from mner.data.dataset import Dataset, Source, rename_labels
from mner.data.files import read_text
from mner.data.formats import JSONL, ColumnFormat, Format, format_named, recognise, split_of
from mner.data.jsonl import iterate_jsonl
from mner.data.pictures import PictureFolder, find_pictures
from mner.errors import DataError, shown
from mner.posts import Post
from mner.progress import Reporter, silent
from mner.tags import Scheme, scheme_named

_SPLIT_ORDER = ("train", "valid", "test")


def read_posts(
    path: Path | str,
    format: str | Format | None = None,
    images: Path | str | None = None,
    *,
    scheme: Scheme | str | None = None,
    label_map: Mapping[str, str] | None = None,
) -> list[Post]:
    """Read the posts of one file.

    Args:
        path: The file.
        format: The name of its format; recognised by its content where None.
        images: The folder of its pictures; looked for beside the file where None.
        scheme: The scheme of its tags; recognised where None.
        label_map: New names of types by old ones.

    Raises:
        DataError: The file cannot be read as what it is; the message names file and line.
        UsageError: There is no such format or scheme.
    """
    path = Path(path)
    file = open_file(path, format)
    pictures = PictureFolder(Path(images)) if images is not None else None
    posts, _ = understand(file, pictures, _scheme(scheme), path.parent)
    return rename_labels(posts, label_map) if label_map else posts


def read_folder(
    folder: Path | str,
    format: str | Format | None = None,
    images: Path | str | None = None,
    label_map: Mapping[str, str] | None = None,
    *,
    scheme: Scheme | str | None = None,
    progress: Reporter = silent,
) -> Dataset:
    """Read a data set: the files of a folder that are called like splits.

    The scheme of the tags is recognised on all splits together. Splits that have no file are simply not
    there; `Dataset.split` says so when one is asked for.

    Args:
        folder: The folder.
        format: The name of the files' format; recognised by their content where None.
        images: The folder of the pictures; looked for beside the files where None.
        label_map: New names of types by old ones, such as ``{"OTHER": "MISC"}``.
        scheme: The scheme of the tags; recognised where None.
        progress: Told about each file.

    Raises:
        DataError: The folder or a file in it cannot be read as a data set.
        UsageError: There is no such format or scheme.
    """
    folder = Path(folder)
    paths = find_splits(folder, format)
    files: dict[str, ColumnFile | Path] = {}
    with progress(f"reading {folder.name}", len(paths)) as advance:
        for split, path in paths.items():
            files[split] = open_file(path, format)
            advance(split=split)
    return assemble(folder, files, images, label_map, _scheme(scheme))


def assemble(
    folder: Path,
    files: Mapping[str, ColumnFile | Path],
    images: Path | str | None = None,
    label_map: Mapping[str, str] | None = None,
    scheme: Scheme | None = None,
) -> Dataset:
    """A data set of files that `open_file` gave; see `read_folder`."""
    pictures = PictureFolder(Path(images)) if images is not None else find_pictures(folder)
    if scheme is None:
        scheme = common_scheme([file for file in files.values() if isinstance(file, ColumnFile)])
    splits, sources = {}, {}
    for split, file in files.items():
        given = pictures if images is not None or isinstance(file, ColumnFile) else None
        posts, sources[split] = understand(file, given, scheme, folder)
        splits[split] = rename_labels(posts, label_map) if label_map else posts
    return Dataset(folder.resolve().name, splits, sources)


def find_splits(folder: Path, format: str | Format | None = None) -> dict[str, Path]:
    """The file of each split of a folder, in the order train, valid, test.

    Args:
        folder: The folder.
        format: The format that the user named; it tells apart files for one split (``train.txt`` and
            ``train.jsonl``).

    Raises:
        DataError: There is no such folder, no file in it is called like a split, or two are for one split.
    """
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "nothing there"
        raise DataError(
            f"There is no folder {folder}.",
            expected="a folder with train.txt, valid.txt and test.txt, or the like",
            got=kind,
            hint="Give the folder that holds the file." if folder.exists() else "Check the path.",
        )
    named = format_named(format) if format is not None else None
    found: dict[str, Path] = {}
    names = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in names:
        split = split_of(path.name)
        if split is None:
            continue
        if named is not None and (named is JSONL) != (path.suffix.lower() in JSONL.suffixes):
            continue
        if split in found:
            raise DataError(
                f"{folder} has two files for the split {split!r}.",
                expected="one file a split",
                got=f"{found[split].name} and {path.name}",
                hint="Move one away, or name the format if they differ in it.",
            )
        found[split] = path
    if not found:
        below = sorted(
            child.name
            for child in folder.iterdir()
            if child.is_dir() and any(split_of(path.name) for path in child.iterdir() if path.is_file())
        )
        hint = (
            f"Did you mean {folder / below[0]}?"
            if below
            else "Name the files so; a single file can be read alone."
        )
        raise DataError(
            f"{folder} has no file that is called like a split.",
            expected="train, valid or dev, and test with .txt, .conll, .tsv or .jsonl",
            got=shown(", ".join(path.name for path in names), 200) if names else "no file",
            hint=hint,
        )
    return {split: found[split] for split in _SPLIT_ORDER if split in found}


def open_file(path: Path, format: str | Format | None = None) -> ColumnFile | Path:
    """A file read as columns; the path itself where it is JSONL, which is read a line at a time.

    Raises:
        DataError: The file cannot be read as what it is.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder.", expected="a file", hint="Read it as a folder of splits.")
    named = format_named(format) if format is not None else None
    if named is JSONL or (named is None and path.suffix.lower() in JSONL.suffixes and path.is_file()):
        return path
    text = read_text(path)
    layout = recognise(text, path, named)
    return parse_columns(text, path, layout) if isinstance(layout, ColumnFormat) else path


def understand(
    file: ColumnFile | Path,
    pictures: PictureFolder | None,
    scheme: Scheme | None,
    folder: Path,
) -> tuple[list[Post], Source]:
    """The posts of a file that `open_file` gave, and where they came from.

    Args:
        file: The file.
        pictures: The pictures' folder; looked for beside the file where None.
        scheme: The scheme of the tags; recognised where None.
        folder: The folder beside which pictures are looked for.
    """
    if isinstance(file, Path):
        ignored: dict[str, int] = {}
        base = pictures.folder if pictures is not None else None
        posts = list(iterate_jsonl(file, base=base, ignored=ignored))
        if not posts:
            raise DataError(f"{file} is empty.", expected="at least one post, a JSON object on a line")
        return posts, Source(file, JSONL.name, ignored=ignored)
    if pictures is None and file.format.identified:
        pictures = find_pictures(folder)
    if scheme is None:
        scheme = file.scheme()
    file.check_scheme(scheme)
    source = Source(file.path, file.format.name, scheme.name, file.documents)
    return file.posts(scheme, pictures), source


def common_scheme(files: list[ColumnFile]) -> Scheme | None:
    """The scheme of the tags of several files, taken together; None where there is no file."""
    if not files:
        return None
    rows = [row.tags for file in files for row in file.rows]
    # The formats of a folder's files differ only where one was written by another hand.
    first = files[0].format
    shared = tuple(scheme for scheme in first.schemes if all(scheme in file.format.schemes for file in files))
    return replace(first, schemes=shared or first.schemes).scheme_of(rows)


def _scheme(scheme: Scheme | str | None) -> Scheme | None:
    return scheme_named(scheme) if isinstance(scheme, str) else scheme
