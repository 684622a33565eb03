"""Data sets of the hub library (`datasets`), in and out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mner.data.dataset import Dataset
from mner.data.formats import split_named
from mner.data.jsonl import align, post_of_record
from mner.errors import DataError, MissingExtraError, UsageError, did_you_mean, shown
from mner.posts import Post
from mner.progress import Reporter, silent
from mner.tags import BIO, Convention, Scheme, guess_scheme, parse, tag_names

if TYPE_CHECKING:
    import datasets

# What the columns are called in data sets of the hub.
WORD_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("ner_tags", "tags", "labels", "ner")
TEXT_COLUMNS = ("text", "sentence")
IMAGE_COLUMNS = ("image", "picture", "img")


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("A data set of the hub library", "data") from None
    return datasets


def from_hub(
    source: datasets.DatasetDict | datasets.Dataset | Path | str,
    *,
    name: str | None = None,
    scheme: Scheme | None = None,
    progress: Reporter = silent,
) -> Dataset:
    """A data set of the hub library as ours.

    Each split needs ``tokens`` and ``ner_tags`` (class labels, or the tags as strings), or ``text`` or
    ``tokens`` with ``entities`` (a list of start, end, label by characters); ``id``, ``image`` (a path or
    an image) and ``alt`` may be there too. Pictures are not decoded.

    Args:
        source: The data set, a folder written by ``save_to_disk``, or a name on the hub.
        name: What to call it.
        scheme: The scheme of its tags; recognised on all splits together where None.
        progress: Told about each post.

    Raises:
        MissingExtraError: The library `datasets` is not installed.
        DataError: It cannot be loaded, or its columns are not those above.
    """
    library = _library()
    loaded, known_as = _load(source, library)
    parts: Mapping[str, Any] = loaded if isinstance(loaded, library.DatasetDict) else {"train": loaded}
    tables = {split: _Table(part, split, library) for split, part in parts.items()}
    rows: dict[str, list[Post]] = {split: [] for split in parts}
    for split, table in tables.items():
        with progress(f"reading {split}", len(table)) as advance:
            for post in table.posts():
                rows[split].append(post)
                advance()
    if scheme is None:
        scheme = guess_scheme([post.tags for posts in rows.values() for post in posts if post.tags])
    splits = {
        split_named(split): [post.with_fields(scheme=scheme) for post in posts]
        for split, posts in rows.items()
    }
    return Dataset(name or known_as, splits)


def _load(source: Any, library: Any) -> tuple[Any, str]:
    if not isinstance(source, str | Path):
        return source, "hub"
    try:
        if Path(source).exists():
            return library.load_from_disk(str(source)), Path(source).name
        return library.load_dataset(str(source)), str(source)
    except (OSError, ValueError, ConnectionError, RuntimeError) as error:
        raise DataError(
            f"The data set {source} cannot be loaded.",
            expected="a folder written by save_to_disk, or the name of a data set that is in the hub's cache",
            got=shown(str(error), 200),
        ) from error


class _Table:
    """One split of a hub data set, read as posts."""

    def __init__(self, part: Any, split: str, library: Any) -> None:
        self.split = split
        names: Sequence[str] = part.column_names
        self.words = next((column for column in WORD_COLUMNS if column in names), None)
        self.text = next((column for column in TEXT_COLUMNS if column in names), None)
        self.tags = next((column for column in TAG_COLUMNS if column in names), None)
        self.image = next((column for column in IMAGE_COLUMNS if column in names), None)
        self.entities = "entities" if "entities" in names else None
        if not (self.words or self.text) or (self.tags and not self.words and not self.entities):
            raise DataError(
                f"The split {split!r} has no columns that make posts.",
                expected="'tokens' and 'ner_tags', or 'text' and 'entities'",
                got=", ".join(names),
                hint="Rename the columns with rename_column.",
            )
        self.class_names: Sequence[str] | None = None
        if self.tags is not None:
            feature = getattr(part.features[self.tags], "feature", part.features[self.tags])
            self.class_names = getattr(feature, "names", None)
        if self.image is not None and isinstance(part.features[self.image], library.Image):
            part = part.cast_column(self.image, library.Image(decode=False))
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def posts(self) -> Iterable[Post]:
        for number, row in enumerate(self.part):
            yield self._post(row, f"split {self.split!r}, row {number}")

    def _post(self, row: Mapping[str, Any], where: str) -> Post:
        record = {
            "id": row.get("id"),
            "alt": row.get("alt"),
            "text": row[self.text] if self.text else None,
            "words": row[self.words] if self.words else None,
            "entities": _without_nothing(row[self.entities]) if self.entities else None,
        }
        words, text = record["words"], record["text"]
        if words and text and record["entities"] is None and align(words, text) is None:
            # The columns come from different tokenisations; the words are what is tagged.
            record["text"] = None
        post = post_of_record(record, base=None, where=where)
        fields: dict[str, Any] = {}
        if self.tags is not None and record["entities"] is None and row[self.tags] is not None:
            fields["tags"] = self._tags(row[self.tags], len(post.words), where)
        if self.image is not None:
            fields["image"], fields["image_problem"] = _picture(row[self.image])
        return post.with_fields(**fields) if fields else post

    def _tags(self, values: Sequence[Any], words: int, where: str) -> tuple[str, ...]:
        if len(values) != words:
            raise DataError(
                f"{where}: the tags do not fit the words.", expected=f"{words} tags", got=f"{len(values)}"
            )
        tags = []
        for value in values:
            if isinstance(value, int):
                if self.class_names is None:
                    raise DataError(
                        f"{where}: the tags are numbers without names.",
                        expected="a column of ClassLabel, or the tags as strings",
                        got=shown(values),
                        hint="Cast the column: Sequence(ClassLabel(names=[...])).",
                    )
                value = self.class_names[value]
            parse(value)
            tags.append(value)
        return tuple(tags)


def _without_nothing(entities: Any) -> Any:
    # Arrow gives every record of a column the same keys, None where it had none; and a sequence of
    # records comes back as a record of sequences from older files.
    if isinstance(entities, Mapping):
        columns = zip(*entities.values(), strict=True)
        entities = [dict(zip(entities, values, strict=True)) for values in columns]
    if not isinstance(entities, list):
        return entities
    return [{key: value for key, value in entity.items() if value is not None} for entity in entities]


def _picture(value: Any) -> tuple[Path | bytes | None, str | None]:
    if value is None:
        return None, None
    if isinstance(value, bytes):
        return value, None
    if isinstance(value, Mapping):
        if value.get("bytes"):
            return value["bytes"], None
        value = value.get("path")
        if value is None:
            return None, None
    path = Path(str(value))
    return (path, None) if path.is_file() else (None, f"no file {value}")


def to_hub(
    dataset: Dataset,
    *,
    pictures: str = "paths",
    convention: Convention | str = Convention.CONLL,
) -> datasets.DatasetDict:
    """A data set of ours for the hub library.

    Columns: ``id``, ``text``, ``tokens``, ``image``, ``alt`` and the gold: ``ner_tags`` (class labels, as
    they stand) where all posts have tags of one scheme, otherwise ``entities`` by characters.

    Args:
        dataset: The data set.
        pictures: ``paths`` writes pictures' paths as strings, ``bytes`` the files' bytes as images.
        convention: What stray tags mean where they are written as entities.

    Raises:
        MissingExtraError: The library `datasets` is not installed.
        UsageError: `pictures` is neither.
        DataError: A picture's file cannot be read.
    """
    if pictures not in ("paths", "bytes"):
        raise UsageError(
            f"Pictures cannot be written as {pictures!r}.", hint=did_you_mean(pictures, ["paths", "bytes"])
        )
    library = _library()
    everything = [post for posts in dataset.splits.values() for post in posts]
    schemes = {post.scheme.name for post in everything}
    tagged = all(post.tags is not None and post.entities is None for post in everything) and len(schemes) == 1
    string, offset = library.Value("string"), library.Value("int64")
    features: dict[str, Any] = {
        "id": string,
        "text": string,
        "tokens": library.Sequence(string),
        "image": library.Image() if pictures == "bytes" else string,
        "alt": string,
    }
    if tagged:
        scheme = everything[0].scheme if everything else BIO
        names = list(tag_names(dataset.labels, scheme))
        features["ner_tags"] = library.Sequence(library.ClassLabel(names=names))
    else:
        features["entities"] = library.List({"start": offset, "end": offset, "label": string})
    parts = {}
    for split, posts in dataset.splits.items():
        columns: dict[str, list[Any]] = {column: [] for column in features}
        for post in posts:
            columns["id"].append(post.id)
            columns["text"].append(post.text)
            columns["tokens"].append(list(post.words))
            columns["alt"].append(post.alt)
            columns["image"].append(_image(post, pictures))
            if tagged:
                columns["ner_tags"].append(list(post.tags or ()))
            else:
                columns["entities"].append(_gold(post, convention))
        name = "validation" if split == "valid" else split
        parts[name] = library.Dataset.from_dict(columns, features=library.Features(features))
    return library.DatasetDict(parts)


def _gold(post: Post, convention: Convention | str) -> list[dict[str, Any]] | None:
    if not post.is_annotated:
        return None
    return [{"start": e.start, "end": e.end, "label": e.label} for e in post.gold(convention)]


def _image(post: Post, pictures: str) -> Any:
    if post.image is None:
        return None
    if pictures == "paths":
        if isinstance(post.image, bytes):
            raise DataError(
                f"The picture of the post {shown(post.id)} is in memory.", hint="Ask for pictures='bytes'."
            )
        return str(post.image)
    if isinstance(post.image, bytes):
        return {"bytes": post.image, "path": None}
    try:
        return {"bytes": post.image.read_bytes(), "path": post.image.name}
    except OSError as error:
        raise DataError(f"{post.image} cannot be read.", got=error.strerror or str(error)) from error
