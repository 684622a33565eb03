"""Writing data sets: columns or JSONL, one file or a folder; each file complete or not there at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mner.data.annotators import annotator_named
from mner.data.columns import format_columns
from mner.data.dataset import Dataset, rename_labels
from mner.data.files import BOM, refuse_existing, writing
from mner.data.folders import read_folder, read_posts
from mner.data.formats import CP_MNER, CROSSNER, TWITTER, ColumnFormat
from mner.data.jsonl import write_jsonl
from mner.errors import DataError, UsageError, shown
from mner.posts import Post
from mner.progress import Reporter, silent
from mner.tags import BIO, Convention, Scheme, convert, scheme_named, to_tags


@dataclass(frozen=True)
class Written:
    """What a file of columns could not hold.

    Args:
        posts: How many posts were written.
        respaced: Posts whose text is not their words joined as the format joins them.
        widened: Entities whose borders fall inside words, and which took those words whole.
        dropped: Entities left out since they overlap another.
        unnamed: Posts whose id the format has no place for.
    """

    posts: int = 0
    respaced: int = 0
    widened: int = 0
    dropped: int = 0
    unnamed: int = 0


def layout_for(posts: Sequence[Post]) -> ColumnFormat:
    """The column format that keeps most of these posts: their ids, and their text where it can."""
    spaced = all(post.text == " ".join(post.words) for post in posts)
    joined = not spaced and all(post.text == "".join(post.words) for post in posts)
    identified = bool(posts) and all(post.id for post in posts)
    if not identified:
        return CROSSNER
    return CP_MNER if joined else TWITTER


def tags_in(post: Post, scheme: Scheme, convention: Convention | str = Convention.CONLL) -> Sequence[str]:
    """A post's gold as tags of a scheme; tags that are in it already are kept as they stand.

    Raises:
        DataError: The post is not annotated.
    """
    if post.entities is None and post.tags is not None:
        return post.tags if post.scheme == scheme else convert(post.tags, post.scheme, scheme, convention)
    return to_tags(post.gold_spans(convention), len(post.words), scheme)


def write_columns(
    posts: Iterable[Post],
    path: Path | str,
    *,
    scheme: Scheme | str = BIO,
    layout: ColumnFormat | None = None,
    convention: Convention | str = Convention.CONLL,
    overwrite: bool = False,
) -> Written:
    """Write annotated posts as columns.

    Args:
        posts: The posts.
        path: The file.
        scheme: The tag scheme to write.
        layout: The format; the one that keeps most of the posts where None.
        convention: What stray tags mean where they must be rewritten in another scheme.
        overwrite: Whether a file that stands there may be replaced.

    Returns:
        What was written, and what the format could not hold.

    Raises:
        UsageError: The file exists and `overwrite` was not asked for.
        DataError: A post has no gold, or a word, type or id that cannot stand in a column.
    """
    posts = list(posts)
    path = Path(path)
    target = scheme_named(scheme) if isinstance(scheme, str) else scheme
    layout = layout if layout is not None else layout_for(posts)
    for number, post in enumerate(posts, start=1):
        if not post.is_annotated:
            raise DataError(
                f"Post {number} ({shown(post.id)}) has no gold to write as tags.",
                expected="tags or entities",
                hint="Annotate it, or write JSONL, which holds posts without gold too.",
            )
    with writing(path, overwrite=overwrite) as file:
        beginning = True
        for piece in format_columns(posts, layout, lambda post: tags_in(post, target, convention)):
            # A first word that is itself a byte order mark needs another before it to be read back.
            encoded = (BOM + piece if beginning and piece.startswith(BOM) else piece).encode()
            file.write(encoded)
            beginning = False
    return _lost(posts, layout)


def _lost(posts: Sequence[Post], layout: ColumnFormat) -> Written:
    respaced = widened = dropped = unnamed = 0
    for post in posts:
        respaced += post.text != layout.joiner.join(post.words)
        unnamed += bool(post.id) and not layout.identified
        if post.entities is not None:
            kept = post.to_entities(post.gold_spans())
            dropped += len(post.entities) - len(kept)
            exact = {(entity.start, entity.end) for entity in post.entities}
            widened += sum((entity.start, entity.end) not in exact for entity in kept)
    return Written(len(posts), respaced, widened, dropped, unnamed)


def write_folder(
    dataset: Dataset,
    folder: Path | str,
    *,
    to: str = "jsonl",
    layout: ColumnFormat | None = None,
    convention: Convention | str = Convention.CONLL,
    overwrite: bool = False,
    progress: Reporter = silent,
) -> dict[Path, Written]:
    """Write a data set as a folder, a file a split.

    Args:
        dataset: The data set.
        folder: The folder; made where it is missing.
        to: ``jsonl``, the name of a tag scheme for columns, or of an annotation tool.
        layout: The column format; the one that keeps most where None.
        convention: What stray tags mean where they must be rewritten.
        overwrite: Whether files that stand there may be replaced.
        progress: Told about each split.

    Returns:
        For each file written what it holds and lacks.

    Raises:
        UsageError: A file exists and `overwrite` was not asked for, or there is no scheme `to`.
        DataError: A post cannot be written so.
    """
    folder = Path(folder)
    jsonl, tool = to.lower() == "jsonl", annotator_named(to)
    suffix = tool.suffix if tool is not None else ".jsonl" if jsonl else ".txt"
    paths = {split: folder / f"{split}{suffix}" for split in dataset.splits}
    if layout is None and not jsonl and tool is None:
        layout = layout_for([post for posts in dataset.splits.values() for post in posts])
    if not overwrite:
        # Before anything is written, so that no half of a folder comes about.
        for path in paths.values():
            refuse_existing(path)
    written = {}
    with progress(f"writing {folder.name}", len(paths)) as advance:
        for split, posts in dataset.splits.items():
            path = paths[split]
            if tool is not None:
                count = tool.write(posts, path, overwrite=overwrite, convention=convention)
                written[path] = Written(count)
            elif jsonl:
                count = write_jsonl(posts, path, overwrite=overwrite, convention=convention)
                written[path] = Written(count)
            else:
                written[path] = write_columns(
                    posts, path, scheme=to, layout=layout, convention=convention, overwrite=overwrite
                )
            advance(split=split)
    return written


def convert_path(
    source: Path | str,
    target: Path | str,
    *,
    to: str,
    format: str | None = None,
    scheme: Scheme | str | None = None,
    images: Path | str | None = None,
    label_map: Mapping[str, str] | None = None,
    convention: Convention | str = Convention.CONLL,
    overwrite: bool = False,
    progress: Reporter = silent,
) -> dict[Path, Written]:
    """Read a data set and write it in another format: a folder as a folder, a file as a file.

    Args:
        source: The folder or file to read.
        target: The folder or file to write.
        to: ``jsonl``, the name of a tag scheme for columns, or of an annotation tool.
        format: The format of the source; recognised where None. What an annotation tool has exported is
            read where its name is given.
        scheme: The scheme of its tags; recognised where None.
        images: The folder of its pictures; looked for beside the files where None.
        label_map: New names of types by old ones.
        convention: What stray tags mean where they must be rewritten.
        overwrite: Whether files that stand there may be replaced.
        progress: Told about each file.

    Returns:
        For each file written what it holds and lacks.

    Raises:
        UsageError: A target exists and `overwrite` was not asked for, or a name is unknown.
        DataError: The source cannot be read, or a post cannot be written so.
    """
    source, target = Path(source), Path(target)
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise UsageError(f"{target} is a file, and {source} a folder.", hint="Name a folder to write.")
        dataset = read_folder(source, format, images, label_map, scheme=scheme, progress=progress)
        return write_folder(
            dataset, target, to=to, convention=convention, overwrite=overwrite, progress=progress
        )
    if target.is_dir():
        raise UsageError(f"{target} is a folder, and {source} a file.", hint="Name a file to write.")
    made_by = annotator_named(format)
    if made_by is not None:
        posts = rename_labels(made_by.read(source), label_map or {})
    else:
        posts = read_posts(source, format, images, scheme=scheme, label_map=label_map)
    tool = annotator_named(to)
    if tool is not None:
        return {target: Written(tool.write(posts, target, overwrite=overwrite, convention=convention))}
    if to.lower() == "jsonl":
        return {target: Written(write_jsonl(posts, target, overwrite=overwrite, convention=convention))}
    return {target: write_columns(posts, target, scheme=to, convention=convention, overwrite=overwrite)}
