"""The lines of a file or stream, and how far one is in them."""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mner.data.files import BOM, decode
from mner.errors import DataError, shown

MOST_LINE_BYTES = 4 * 2**20
"""The longest line that is held in memory; JSON may need twelve bytes for a character."""

_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class Position:
    """How far an input has been read.

    Args:
        line: Lines (or rows) read.
        size: Bytes read; 0 where rows count.
        digest: SHA-256 of those bytes, or what else tells the input.
    """

    line: int = 0
    size: int = 0
    digest: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The position as JSON writes it."""
        return asdict(self)


class Lines:
    """The lines of a file or stream as bytes, how many bytes they are, and their digest.

    Args:
        source: A file, or an open stream of bytes.
        most_bytes: The longest line that is held.
        part: Of a file, the position at which to start and the byte at which to stop, both between lines.

    Raises:
        DataError: The file cannot be opened.
    """

    def __init__(
        self,
        source: Path | BinaryIO,
        most_bytes: int = MOST_LINE_BYTES,
        part: tuple[Position, int] | None = None,
    ) -> None:
        self.most_bytes = most_bytes
        self.base: Path | None = None
        self.total: int | None = None
        if isinstance(source, Path):
            self.name = str(source)
            self.base = source.parent
            try:
                self._file: BinaryIO = source.open("rb")
                self.total = source.stat().st_size if source.is_file() else None
            except OSError as error:
                raise DataError(
                    f"The posts in {shown(source)} cannot be read.", got=error.strerror or str(error)
                ) from error
        else:
            self.name = "standard input"
            self._file = source
        self.line = 0
        self.size = 0
        self._end: int | None = None
        if part is not None:
            start, self._end = part
            self.line, self.size = start.line, self._file.seek(start.size)
        self._digest = hashlib.sha256()
        self._waiting: list[bytes] = []

    @property
    def position(self) -> Position:
        """Up to where lines were accepted."""
        return Position(self.line, self.size, self._digest.hexdigest())

    @property
    def share(self) -> float | None:
        """The part of the bytes that was accepted."""
        return min(self.size / self.total, 1.0) if self.total else None

    def skip(self, position: Position) -> None:
        """Skip what was read before; see `Reader.skip`."""
        remaining = position.size - self.size
        while self._waiting and len(self._waiting[-1]) <= remaining:
            remaining -= self._count(self._waiting.pop())
        while remaining > 0 and (piece := self._file.read(min(remaining, _PIECE))):
            remaining -= self._count(piece)
        if remaining or self._digest.hexdigest() != position.digest:
            raise DataError(
                f"The first {position.line} lines of {self.name} are not those that were read before.",
                expected="the same input, or one that has grown at its end",
                hint="Start again with --overwrite.",
            )
        self.line = position.line

    def next(self) -> bytes | None:
        """The next line, not yet accepted; None at the end.

        Of a line that is too long only the beginning; its rest is dropped when that is accepted.
        """
        if self._waiting:
            return self._waiting.pop()
        if self._end is not None and self.size >= self._end:
            return None
        return self._file.readline(self.most_bytes + 1) or None

    def is_too_long(self, raw: bytes) -> bool:
        """Whether this is the beginning of a line longer than what is held."""
        return len(raw) > self.most_bytes

    def accept(self, raw: bytes) -> None:
        """Count a line as read."""
        self._count(raw)
        if self.is_too_long(raw):
            while not raw.endswith(b"\n") and (raw := self._file.readline(_PIECE)):
                self._count(raw)
        self.line += 1

    def _count(self, raw: bytes) -> int:
        self._digest.update(raw)
        self.size += len(raw)
        return len(raw)

    def give_back(self, lines: list[bytes]) -> None:
        """Lines that come again: they were not accepted."""
        self._waiting.extend(reversed(lines))

    def text(self, raw: bytes) -> str:
        """The line about to be accepted as text, without its end.

        Raises:
            DataError: It is not UTF-8.
        """
        text = decode(raw, self.name, line=self.line + 1, offset=self.size)
        if self.size == 0:
            text = text.removeprefix(BOM)
        return text.removesuffix("\n").removesuffix("\r")

    def begins_with_an_object(self) -> bool:
        """Whether the first line that is not blank begins like a JSON object."""
        seen: list[bytes] = []
        answer = False
        # Blank lines at the beginning are few; were they many, the first thousand tell enough.
        while len(seen) < 1000 and (raw := self.next()) is not None:
            seen.append(raw)
            stripped = raw.removeprefix(codecs.BOM_UTF8).strip()
            if stripped:
                answer = stripped.startswith(b"{")
                break
        self.give_back(seen)
        return answer

    def refuse_other_encodings(self, raw: bytes) -> None:
        """Refuse a whole file that is not UTF-8 from its first bytes on.

        Raises:
            DataError: It begins with the byte order mark of UTF-16.
        """
        if self.size == 0 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            decode(raw, self.name)
