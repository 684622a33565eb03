"""Cutting an input into parts that other processes read by themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mner.bulk.reading import Item, Lines, ParquetRows, Position, TextLines, longest_line, open_input
from mner.errors import UsageError


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an input.

    Args:
        path: The file.
        format: Its format.
        number: The part's number, from 0.
        start: Where it starts: lines before it, and bytes (0 where rows count).
        end: Where it ends.
        most_characters: Longer texts are items with a problem.
    """

    path: Path
    format: str
    number: int
    start: Position
    end: Position
    most_characters: int

    def items(self) -> Iterator[Item]:
        """The posts of the part, with the lines that they have in the file."""
        if self.format == "parquet":
            yield from ParquetRows(self.path, self.most_characters, (self.start.line, self.end.line))
            return
        lines = Lines(self.path, longest_line(self.most_characters), (self.start, self.end.size))
        yield from TextLines(lines, self.format, self.most_characters)


def cut(path: Path, format: str | None, count: int, most_characters: int) -> list[Part]:
    """A file in parts of so many lines or rows; it is read through once, and no line is understood.

    Args:
        path: The file.
        format: Its format; by default what the file looks like.
        count: Lines or rows of a part.
        most_characters: Longer texts are items with a problem.

    Raises:
        UsageError: The format cannot be cut: a record may have any number of lines.
        DataError: The file cannot be read.
    """
    reader = open_input(path, format, most_characters=most_characters)
    if isinstance(reader, ParquetRows):
        digest = reader.position.digest
        starts = [*range(0, reader.end, count), reader.end]
        marks = [Position(row, 0, digest) for row in starts]
    elif isinstance(reader, TextLines):
        marks = list(_marks(reader.lines, count))
    else:
        raise UsageError(
            f"{path} cannot be cut into parts: a row may have several lines.",
            expected="JSON lines, texts a line, or Parquet",
            hint="`mner predict` reads it on one machine.",
        )
    return [
        Part(path.absolute(), reader.format, number, start, end, most_characters)
        for number, (start, end) in enumerate(itertools.pairwise(marks))
        if start.line < end.line
    ]


def _marks(lines: Lines, count: int) -> Iterator[Position]:
    yield lines.position
    while (raw := lines.next()) is not None:
        lines.refuse_other_encodings(raw)
        lines.accept(raw)
        if lines.line % count == 0:
            yield lines.position
    if lines.line % count:
        yield lines.position
