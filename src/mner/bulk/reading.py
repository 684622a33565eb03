"""Files of posts read one post at a time: what cannot be read is an item with a reason, not an end.

Every reader knows how far it is, and goes on from there in another process after it has made sure that
what it skips is what was read before.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mner.bulk.lines import MOST_LINE_BYTES, Lines, Position
from mner.data import parse_jsonl_line
from mner.data.files import BOM, decode, place
from mner.data.jsonl import post_of_record
from mner.errors import DataError, MissingExtraError, UsageError, did_you_mean, shown
from mner.posts import Post

MOST_CHARACTERS = 100_000
"""The longest text that is predicted unless more is asked for: a post of some 50 pages."""

_SHOWN = 200
_BUFFER = 2**20
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
INPUT_FORMATS = ("jsonl", "text", "csv", "tsv", "parquet")
_COLUMNS = ("id", "text", "words", "image", "alt")


@dataclass(frozen=True, slots=True)
class Item:
    """One post of an input, or why it cannot be read.

    Args:
        line: Its line, from 1; of a Parquet file its row.
        post: The post.
        problem: Why there is none.
        content: The beginning of what stands there, where there is a problem.
    """

    line: int
    post: Post | None
    problem: str | None = None
    content: str = ""


class Reader(Protocol):
    """An input that is being read."""

    format: str

    @property
    def position(self) -> Position:
        """How far it has been read: up to the item that came last."""

    @property
    def share(self) -> float | None:
        """The part of the input that has been read, 0 to 1; None where its size is unknown."""

    def skip(self, position: Position) -> None:
        """Go to where another reader was.

        Raises:
            DataError: What was read there is not what stands here.
        """

    def __iter__(self) -> Iterator[Item]: ...


def open_input(
    source: Path | BinaryIO,
    format: str | None = None,
    *,
    most_characters: int = MOST_CHARACTERS,
) -> Reader:
    """A reader of posts.

    Args:
        source: A file, or an open stream of bytes (standard input, say).
        format: One of `INPUT_FORMATS`; by default what the name says, and else what the first line looks
            like: JSON objects, or a text a line.
        most_characters: Longer texts are items with a problem.

    Raises:
        UsageError: There is no such format, or a stream is to be read as Parquet.
        DataError: The file cannot be opened, or is not of that format.
        MissingExtraError: Parquet is to be read without pyarrow.
    """
    if format is not None and format not in INPUT_FORMATS:
        raise UsageError(f"There is no input format {format!r}.", hint=did_you_mean(format, INPUT_FORMATS))
    if isinstance(source, Path) and format is None:
        format = _SUFFIXES.get(source.suffix.lower())
    if format == "parquet":
        if not isinstance(source, Path):
            raise UsageError(
                "Parquet cannot be read from a pipe.", expected="a file", hint="Write it to a file first."
            )
        return ParquetRows(source, most_characters)
    lines = Lines(source, longest_line(most_characters))
    if format is None:
        format = "jsonl" if lines.begins_with_an_object() else "text"
    if format in ("csv", "tsv"):
        return TableRows(lines, format, most_characters)
    return TextLines(lines, format, most_characters)


def longest_line(most_characters: int) -> int:
    """How many bytes of a line are held so that a text of so many characters can stand on it."""
    return max(MOST_LINE_BYTES, 12 * most_characters)


class _LineReader:
    """What knows how far it is by its lines."""

    def __init__(self, lines: Lines, format: str, most_characters: int) -> None:
        self.lines = lines
        self.format = format
        self.most_characters = most_characters

    @property
    def position(self) -> Position:
        """See `Reader.position`."""
        return self.lines.position

    @property
    def share(self) -> float | None:
        """See `Reader.share`."""
        return self.lines.share

    def skip(self, position: Position) -> None:
        """See `Reader.skip`; a header has been read already."""
        self.lines.skip(position)


class TextLines(_LineReader):
    """Posts as JSON objects or as texts, one a line; blank lines are passed over.

    Args:
        lines: The lines.
        format: ``jsonl`` or ``text``.
        most_characters: Longer texts are items with a problem.
    """

    def __iter__(self) -> Iterator[Item]:
        lines = self.lines
        while (raw := lines.next()) is not None:
            number = lines.line + 1
            lines.refuse_other_encodings(raw)
            item = self._item(raw, number) if raw.strip(b" \t\r\n") else None
            lines.accept(raw)
            if item is not None:
                yield item

    def _item(self, raw: bytes, number: int) -> Item | None:
        if self.lines.is_too_long(raw):
            return _refused(number, f"the line has more than {self.lines.most_bytes} bytes", raw)
        try:
            text = self.lines.text(raw)
            if not text.strip(" \t\r"):
                return None  # a byte order mark alone
            if self.format == "jsonl":
                where = place(self.lines.name, number)
                return _limited(
                    number, parse_jsonl_line(text, base=self.lines.base, where=where), self.most_characters
                )
            return _limited(number, Post.from_text(text), self.most_characters)
        except DataError as error:
            return _refused(number, str(error), raw)


class TableRows(_LineReader):
    """Posts as rows of comma-separated values; the first row names the columns.

    A row with a quotation mark that never closes would take the rest of the file with it. So a record of
    several lines that does not have as many fields as there are columns, or that grows too long, is given
    up, its first line alone is refused, and the reading goes on with the second.

    Args:
        lines: The lines.
        format: ``csv`` or ``tsv``.
        most_characters: Longer texts are items with a problem.

    Raises:
        DataError: The first row names no column with a text.
    """

    def __init__(self, lines: Lines, format: str, most_characters: int) -> None:
        super().__init__(lines, format, most_characters)
        self._separator = "\t" if format == "tsv" else ","
        # The longest record with a text of that length: every character a doubled quotation mark.
        csv.field_size_limit(max(csv.field_size_limit(), lines.most_bytes))
        self.columns = self._header()

    def _header(self) -> list[str]:
        found = self._record()
        columns = found[1] if found is not None else None
        if columns is not None:
            columns = [name.strip().lower() for name in columns]
            for raw in found[0] if found else ():
                self.lines.accept(raw)
        if not columns or not {"text", "words"} & set(columns):
            raise DataError(
                f"{self.lines.name} has no column of texts.",
                expected="a first row that names the columns, 'text' among them",
                got=shown(columns or "an empty file"),
                hint="Columns that are read: id, text, image (a path relative to the file), alt.",
            )
        return columns

    def _record(self) -> tuple[list[bytes], list[str] | None, str] | None:
        """The lines of the next record, its fields or None, and what is wrong."""
        raws: list[bytes] = []
        problem = ""

        def feed() -> Iterator[str]:
            nonlocal problem
            size = 0
            while (raw := self.lines.next()) is not None:
                raws.append(raw)
                size += len(raw)
                if size > self.lines.most_bytes:
                    problem = f"the record has more than {self.lines.most_bytes} bytes"
                    return
                self.lines.refuse_other_encodings(raw)
                place_of = {"line": self.lines.line + len(raws), "offset": self.lines.size + size - len(raw)}
                try:
                    text = decode(raw, self.lines.name, **place_of)
                except DataError as error:
                    problem = str(error)
                    return
                yield text.removeprefix(BOM) if self.lines.size == 0 and len(raws) == 1 else text

        try:
            fields = next(csv.reader(feed(), delimiter=self._separator, strict=True))
        except StopIteration:
            return (raws, None, problem) if raws else None
        except csv.Error as error:
            return raws, None, problem or str(error)
        return raws, None if problem else fields, problem

    def __iter__(self) -> Iterator[Item]:
        lines = self.lines
        while (found := self._record()) is not None:
            raws, fields, problem = found
            number = lines.line + 1
            if fields is not None and fields and len(fields) != len(self.columns):
                problem = f"the row has {len(fields)} fields, and there are {len(self.columns)} columns"
            if problem:
                lines.give_back(raws[1:])
                lines.accept(raws[0])
                yield _refused(number, f"{place(lines.name, number)}: {problem}.", raws[0])
                continue
            item = self._item(fields, number, raws) if fields else None
            for raw in raws:
                lines.accept(raw)
            if item is not None:
                yield item

    def _item(self, fields: list[str], number: int, raws: list[bytes]) -> Item:
        where = place(self.lines.name, number)
        pairs = zip(self.columns, fields, strict=True)
        record: dict[str, Any] = {
            name: value for name, value in pairs if name in _COLUMNS and (value or name == "text")
        }
        try:
            if "words" in record:
                record["words"] = _list_of(record["words"], where)
                if not record.get("text"):
                    record.pop("text", None)
            return _limited(
                number, post_of_record(record, base=self.lines.base, where=where), self.most_characters
            )
        except DataError as error:
            return _refused(number, str(error), b"".join(raws))


class ParquetRows:
    """Posts as rows of a Parquet file: columns id, text or words, image (bytes, or a path), alt.

    Args:
        path: The file.
        most_characters: Longer texts are items with a problem.
        rows: The first row that is read and the one after the last; all where None.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: The file cannot be read, or has no column of texts.
    """

    format = "parquet"

    def __init__(self, path: Path, most_characters: int, rows: tuple[int, int] | None = None) -> None:
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            raise MissingExtraError("Reading Parquet", "data") from None
        import pyarrow

        self.path = path
        self.most_characters = most_characters
        try:
            self._file = parquet.ParquetFile(path, buffer_size=_BUFFER)
            with path.open("rb") as file:
                size = file.seek(0, io.SEEK_END)
                file.seek(max(0, size - 2**16))
                # The footer says where every page of the file lies.
                self._digest = hashlib.sha256(f"{size}\0".encode() + file.read()).hexdigest()
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(
                f"{path} cannot be read.", expected="a Parquet file", got=shown(str(error), 160)
            ) from error
        self.columns = [name for name in _COLUMNS if name in self._file.schema_arrow.names]
        if not {"text", "words"} & set(self.columns):
            raise DataError(
                f"{path} has no column of texts.",
                expected="a column 'text', or 'words' with lists of strings",
                got=shown(", ".join(self._file.schema_arrow.names), 160),
            )
        last: int = self._file.metadata.num_rows
        self.first, self.end = rows or (0, last)
        self.row = self.first

    @property
    def position(self) -> Position:
        """See `Reader.position`."""
        return Position(self.row, 0, self._digest)

    @property
    def share(self) -> float | None:
        """See `Reader.share`."""
        return (self.row - self.first) / max(self.end - self.first, 1)

    def skip(self, position: Position) -> None:
        """See `Reader.skip`."""
        if position.digest != self._digest:
            raise DataError(
                f"{self.path} is not the file that was read before.", hint="Start again with --overwrite."
            )
        self.row = position.line

    def __iter__(self) -> Iterator[Item]:
        before = 0
        for group in range(self._file.metadata.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if before + count > self.row and before < self.end:
                yield from self._group(group, before)
            before += count

    def _group(self, group: int, before: int) -> Iterator[Item]:
        position = before
        for batch in self._file.iter_batches(64, row_groups=[group], columns=self.columns):
            skipped = max(self.row - position, 0)
            if skipped < len(batch):
                columns = {name: _values(batch.column(name).slice(skipped)) for name in self.columns}
                for index in range(len(batch) - skipped):
                    if self.row >= self.end:
                        return
                    self.row += 1
                    yield self._item({name: column[index] for name, column in columns.items()}, self.row)
            position += len(batch)

    def _item(self, values: dict[str, Any], number: int) -> Item:
        where = f"{self.path}, row {number}"
        picture = values.pop("image", None)
        if isinstance(picture, dict):
            # As the library `datasets` writes pictures.
            picture = picture.get("bytes") or picture.get("path")
        try:
            record = {name: _as_text(value, name, where) for name, value in values.items()}
            # Where there is no picture, tools that know no missing strings write an empty one.
            picture = _as_text(picture, "image", where) or None
            if isinstance(picture, str):
                record["image"] = picture
            post = post_of_record(
                {name: value for name, value in record.items() if value is not None},
                base=self.path.parent,
                where=where,
            )
            if isinstance(picture, bytes):
                post = post.with_fields(image=picture)
        except DataError as error:
            return _refused(number, str(error), repr(values.get("text", ""))[:_SHOWN].encode())
        return _limited(number, post, self.most_characters)


def _values(column: Any) -> list[Any]:
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        # Parquet promises UTF-8 and does not check it: one bad row must not take the others with it.
        column = column.cast(pyarrow.large_binary())
        return [_StringBytes(value) if value is not None else None for value in column.to_pylist()]
    return list(column.to_pylist())


class _StringBytes(bytes):
    """Bytes of a column of strings."""


def _as_text(value: Any, name: str, where: str) -> Any:
    if isinstance(value, _StringBytes):
        return decode(bytes(value), where, offset=1)
    if name == "id" and isinstance(value, int):
        return str(value)
    return value


def _list_of(value: str, where: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        raise DataError(
            f"{where}: 'words' is no JSON list.", expected='a list such as ["Ada", "reads"]', got=shown(value)
        ) from None


def _limited(number: int, post: Post, most_characters: int) -> Item:
    if len(post.text) > most_characters:
        problem = (
            f"the text has {len(post.text)} characters, and at most {most_characters} are predicted "
            "(--max-characters)"
        )
        return _refused(number, problem, post.text[:_SHOWN].encode(errors="replace"))
    return Item(number, post)


def _refused(number: int, problem: str, raw: bytes) -> Item:
    text = raw[: 4 * _SHOWN].decode("utf-8", errors="backslashreplace").rstrip("\r\n")
    return Item(number, None, problem, text[:_SHOWN])
