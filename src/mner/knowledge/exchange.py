"""Knowledge in and out of a store: files of others, and the store's own export as JSONL and Parquet.

An exported row is complete: what was asked, by whom, with which settings, the raw reply and the result.
Rows of two stores can be brought together this way on machines that share no disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mner.errors import DataError, MissingExtraError, shown
from mner.knowledge.keys import Source, canonical_json, knowledge_from_record, knowledge_record, names_of
from mner.knowledge.provider import Answer
from mner.knowledge.providers.files import FileProvider
from mner.knowledge.store import KnowledgeStore, StoredAnswer
from mner.posts import Post
from mner.progress import Reporter, silent

_CHUNK = 1000
_KEY = re.compile(r"[0-9a-f]{64}")
# The columns that are JSON within a Parquet file, whose columns have one type each.
_NESTED = ("source", "request", "result")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "key": str,
    "source": dict,
    "post": str,
    "picture": (str, type(None)),
    "problem": (str, type(None)),
    "raw": str,
    "request": dict,
    "result": (dict, type(None)),
    "made_at": str,
    "duration": (float, int),
    "input_tokens": (int, type(None)),
    "output_tokens": (int, type(None)),
    "cost": (float, int, type(None)),
    "attempts": int,
}


@dataclass(frozen=True)
class ImportReport:
    """What became of a file that was imported.

    Args:
        path: The file.
        source: The source under which its entries stand; None for an exported store.
        entries: How many it has.
        stored: How many rows were written.
        empty: Names whose entry has no content; kept as failures, with that reason.
        repeated: Names that stand more than once; the first counts.
        placeholders: Texts that stand suspiciously often, with how often.
        dropped: How many entries are such texts and were kept as failures.
        unmatched: Names that belong to no post, where posts were given.
        missing: Posts that the file says nothing about, where posts were given.
        posts: How many posts were given; None where none were.
    """

    path: Path
    source: Source | None
    entries: int
    stored: int
    empty: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    placeholders: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    unmatched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    posts: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON writes it."""
        return {
            "file": str(self.path),
            "provider": self.source.provider if self.source else None,
            "kind": self.source.kind if self.source else None,
            "source": self.source.key if self.source else None,
            "entries": self.entries,
            "stored": self.stored,
            "empty": list(self.empty),
            "repeated": list(self.repeated),
            "placeholders": dict(self.placeholders),
            "dropped": self.dropped,
            "posts": self.posts,
            "unmatched": list(self.unmatched),
            "missing": list(self.missing),
        }


def import_file(
    store: KnowledgeStore,
    path: Path | str,
    *,
    posts: Iterable[Post] | None = None,
    kind: str | None = None,
    name: str | None = None,
    content: str | None = None,
    drop_placeholders: bool = False,
) -> ImportReport:
    """Take a file of knowledge, or the export of a store, into a store.

    A file of knowledge replaces what an earlier version of the same file (by name and kind) had brought.
    All its entries are kept, whether they match a post or not: the posts may come later.

    Args:
        store: Where to.
        path: The file: one of the formats of `mner.knowledge.filed`, or an export (``.jsonl``, ``.parquet``).
        posts: The posts that it should be about, so that what does not match can be told.
        kind: The kind of knowledge, where the one that the format suggests is not meant.
        name: What the source is called; the file's name without suffix where None.
        content: For JSONL, the field that holds what is said, where it is not one of the usual ones.
        drop_placeholders: Whether texts that stand suspiciously often are kept as failures.

    Raises:
        DataError: The file cannot be read.
        StoreError: The store cannot be written.
    """
    path = Path(path)
    if is_export(path):
        return _import_export(store, path)
    provider = FileProvider(path, kind=kind, name=name, field=content, drop_placeholders=drop_placeholders)
    filed, source = provider.filed, Source.of(provider)
    rows = []
    for entry in filed.entries.values():
        answer = provider.answer_of(entry)
        (key,) = source.keys_of(Post(text="", words=(), offsets=(), id=entry.name))
        rows.append(StoredAnswer(key=key, source=source, answer=answer, post=entry.name))
    earlier = [
        other
        for other in store.sources(source.kind)
        if other.provider == source.provider and other.settings.get("file") == source.settings["file"]
    ]
    stored = store.replace_sources(earlier, rows)
    unmatched: tuple[str, ...] = ()
    missing: list[str] = []
    count = None
    if posts is not None:
        matched: set[str] = set()
        count = 0
        for post in posts:
            count += 1
            names = [known for known in names_of(post) if known in filed.entries]
            matched.update(names)
            if not names:
                missing.append(post.id or next(iter(names_of(post)), shown(post.text, 40)))
        unmatched = tuple(known for known in filed.entries if known not in matched)
    dropped = sum(filed.placeholders.values()) if drop_placeholders else 0
    return ImportReport(
        path=path,
        source=source,
        entries=len(filed.entries),
        stored=stored,
        empty=filed.empty,
        repeated=filed.repeated,
        placeholders=filed.placeholders,
        dropped=dropped,
        unmatched=unmatched,
        missing=tuple(missing),
        posts=count,
    )


def is_export(path: Path) -> bool:
    """Whether a file is the export of a store rather than somebody's file of knowledge."""
    if path.suffix.lower() == ".parquet":
        return True
    if path.suffix.lower() != ".jsonl" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    try:
        record = json.loads(first)
    except ValueError:
        return False
    return isinstance(record, dict) and {"key", "source", "result"} <= set(record)


def export(
    store: KnowledgeStore, path: Path | str, *, kind: str | None = None, progress: Reporter = silent
) -> int:
    """Write the rows of a store as JSONL or, where the file is called so, Parquet.

    Args:
        store: The store.
        path: The file; written beside it first and then put in its place.
        kind: Only knowledge of this kind.
        progress: Told how far it is.

    Returns:
        How many rows were written.

    Raises:
        MissingExtraError: Parquet is asked for and pyarrow is not installed.
        DataError: The file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        with progress(f"exporting {store.path.name}", len(store) if kind is None else None) as advance:
            records = (record_of(row) for row in store.answers(kind=kind))
            write = _write_parquet if path.suffix.lower() == ".parquet" else _write_jsonl
            for written in write(partial, records):
                count += written
                advance(written)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"The file {path} cannot be written.", got=str(error.strerror or error)) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _import_export(store: KnowledgeStore, path: Path) -> ImportReport:
    entries = stored = 0
    records = iter(_read_parquet(path) if path.suffix.lower() == ".parquet" else _read_jsonl(path))
    while chunk := list(islice(records, _CHUNK)):
        rows = [_row(path, entries + number, record) for number, record in enumerate(chunk, 1)]
        entries += len(rows)
        stored += store.add(rows)
    return ImportReport(path=path, source=None, entries=entries, stored=stored)


def record_of(row: StoredAnswer) -> dict[str, Any]:
    """A row of a store as JSON writes it."""
    answer = row.answer
    return {
        "key": row.key,
        "source": row.source.description(),
        "post": row.post,
        "picture": row.picture,
        "problem": answer.problem,
        "raw": answer.raw,
        "request": dict(answer.request),
        "result": None if answer.knowledge is None else knowledge_record(answer.knowledge),
        "made_at": row.made_at,
        "duration": answer.duration,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost": answer.cost,
        "attempts": row.attempts,
    }


def _row(path: Path, number: int, record: Any) -> StoredAnswer:
    where = f"Row {number} of {path}"
    if not isinstance(record, dict):
        raise DataError(f"{where} is not an object.", got=shown(record))
    for name, kinds in _FIELDS.items():
        if name not in record or not isinstance(record[name], kinds) or isinstance(record[name], bool):
            raise DataError(
                f"{where} is not a row of a store: {name!r} is wrong.", got=shown(record.get(name))
            )
    if not _KEY.fullmatch(record["key"]) or (record["result"] is None) == (record["problem"] is None):
        raise DataError(f"{where} is not a row of a store.", expected="a key, and a result or a problem")
    try:
        source = Source.from_description(record["source"])
        result = None if record["result"] is None else knowledge_from_record(record["result"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{where} is not a row of a store.", got=f"{error}") from error
    return StoredAnswer(
        key=record["key"],
        source=source,
        answer=Answer(
            knowledge=result,
            **{name: record[name] for name in ("raw", "request", "problem", "input_tokens", "output_tokens")},
            **{name: record[name] for name in ("cost", "duration")},
        ),
        **{name: record[name] for name in ("picture", "post", "made_at", "attempts")},
    )


def _write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> Iterator[int]:
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            line = json.dumps(record, ensure_ascii=False, allow_nan=False)
            try:
                line.encode()
            except UnicodeEncodeError:
                # The source is part of the key and so stays as it is: a file's name that is no Unicode, say.
                line = json.dumps(record, allow_nan=False)
            file.write(line + "\n")
            yield 1


def _read_jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise DataError(f"Line {number} of {path} is not JSON.", got=str(error)) from error


def _write_parquet(path: Path, records: Iterable[dict[str, Any]]) -> Iterator[int]:
    pyarrow, parquet = _pyarrow()
    schema = pyarrow.schema(
        [
            *((name, pyarrow.string()) for name in ("key", "source", "post", "picture", "problem", "raw")),
            *((name, pyarrow.string()) for name in ("request", "result", "made_at")),
            *((name, pyarrow.float64()) for name in ("duration", "cost")),
            *((name, pyarrow.int64()) for name in ("input_tokens", "output_tokens", "attempts")),
        ]
    )
    remaining = iter(records)
    with parquet.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(remaining, _CHUNK)):
            for record in chunk:
                for name in _NESTED:
                    record[name] = None if record[name] is None else canonical_json(record[name])
            writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
            yield len(chunk)


def _read_parquet(path: Path) -> Iterator[Any]:
    pyarrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(path)
        for batch in file.iter_batches(_CHUNK):
            for record in batch.to_pylist():
                for name in _NESTED:
                    if isinstance(record.get(name), str):
                        record[name] = json.loads(record[name])
                yield record
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet.", got=str(error)) from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Parquet", "knowledge") from error
    return pyarrow, parquet
