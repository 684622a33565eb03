"""What predictions are written as: a piece of bytes a post, so that a file can grow and be cut."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mner.data.columns import format_columns
from mner.data.formats import TWITTER
from mner.errors import MissingExtraError, UsageError, did_you_mean
from mner.posts import Entity, Post
from mner.tags import BIO, Span, to_tags

_PARQUET_ROWS = 4096


def prediction_record(post: Post, entities: Iterable[Entity]) -> dict[str, Any]:
    """A post and its entities as every command writes them as JSON."""
    record: dict[str, Any] = {"id": post.id} if post.id else {}
    return {**record, "text": post.text, "entities": [entity.as_dict() for entity in entities]}


@dataclass(frozen=True)
class OutputFormat:
    """A way of writing predictions.

    Args:
        name: What the user calls it.
        suffixes: Ends of file names that ask for it.
        render: A post, its entities and its line as bytes.
        header: What stands before all posts.
        finish: Makes the file itself of the one that grew; None where that is the file.
    """

    name: str
    suffixes: tuple[str, ...]
    render: Callable[[Post, Sequence[Entity], int], bytes]
    header: bytes = b""
    finish: Callable[[Path, Path], None] | None = None


def _jsonl(post: Post, entities: Sequence[Entity], line: int) -> bytes:
    del line
    # What half a surrogate pair cannot be in UTF-8 it can be as JSON's escape.
    record = prediction_record(post, entities)
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"


def _row(*fields: str) -> bytes:
    written = io.StringIO()
    # The writer quotes what its own line end consists of; told of a line feed alone, Python before 3.13
    # leaves a carriage return bare, where every reader ends the row.
    csv.writer(written, lineterminator="\r\n").writerow(fields)
    return (written.getvalue().removesuffix("\r\n") + "\n").encode(errors="replace")


def _csv(post: Post, entities: Sequence[Entity], line: int) -> bytes:
    del line
    found = [entity.as_dict() for entity in entities]
    return _row(post.id, post.text, json.dumps(found, ensure_ascii=False))


def _conll(post: Post, entities: Sequence[Entity], line: int) -> bytes:
    starts = {start: index for index, (start, _) in enumerate(post.offsets)}
    ends = {end: index + 1 for index, (_, end) in enumerate(post.offsets)}
    spans = [Span(starts[entity.start], ends[entity.end], entity.label) for entity in entities]
    tags = to_tags(spans, len(post.words), BIO)
    named = post if post.id.strip() else post.with_fields(id=str(line))
    return "".join(format_columns([named], TWITTER, lambda _: tags)).encode()


def _to_parquet(grown: Path, target: Path) -> None:
    pyarrow, parquet = _pyarrow()
    entity = pyarrow.struct(
        [
            ("text", pyarrow.string()),
            ("label", pyarrow.string()),
            ("start", pyarrow.int64()),
            ("end", pyarrow.int64()),
            ("score", pyarrow.float64()),
        ]
    )
    schema = pyarrow.schema(
        [("id", pyarrow.string()), ("text", pyarrow.string()), ("entities", pyarrow.list_(entity))]
    )
    with grown.open("rb") as lines, parquet.ParquetWriter(target, schema) as writer:
        rows: list[dict[str, Any]] = []
        for line in lines:
            record = json.loads(line)
            rows.append({"id": None, **record})
            if len(rows) == _PARQUET_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Writing Parquet", "data") from None
    return pyarrow, pyarrow.parquet


OUTPUT_FORMATS: dict[str, OutputFormat] = {
    found.name: found
    for found in (
        OutputFormat("jsonl", (".jsonl", ".ndjson", ".json"), _jsonl),
        OutputFormat("csv", (".csv",), _csv, _row("id", "text", "entities")),
        OutputFormat("parquet", (".parquet", ".pq"), _jsonl, finish=_to_parquet),
        OutputFormat("conll", (".conll", ".bio", ".txt", ".tsv"), _conll),
    )
}


def output_format(target: Path | None, name: str | None = None) -> OutputFormat:
    """The format to write.

    Args:
        target: The file; None for a pipe, which gets JSON lines unless something else is named.
        name: The format's name; by default what the file's name says.

    Raises:
        UsageError: There is no such format, or the file's name says none, or a pipe cannot have it.
        MissingExtraError: Parquet is to be written without pyarrow.
    """
    if name is not None and name not in OUTPUT_FORMATS:
        raise UsageError(f"There is no output format {name!r}.", hint=did_you_mean(name, OUTPUT_FORMATS))
    if name is None and target is not None:
        suffix = target.suffix.lower()
        name = next((known.name for known in OUTPUT_FORMATS.values() if suffix in known.suffixes), None)
        # A device or a name without an end says nothing, and gets what every command writes.
        if name is None and suffix:
            raise UsageError(
                f"{target.name} does not say what to write.",
                expected="a name that ends in "
                + ", ".join(f"{k.suffixes[0]}" for k in OUTPUT_FORMATS.values()),
                hint="Or name it: --output-format jsonl.",
            )
    chosen = OUTPUT_FORMATS[name or "jsonl"]
    if chosen.name == "parquet":
        _pyarrow()
        if target is None:
            raise UsageError("Parquet cannot be written to a pipe.", expected="--output with a file")
    return chosen
