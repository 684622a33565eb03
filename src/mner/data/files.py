"""Files as text, read strictly and written whole or not at all.

Lines end at a line feed alone. `str.splitlines` also cuts at U+2028, U+0085 and other characters that
are words of real posts, and `str.strip` takes a lone no-break space for nothing; neither is used here.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mner.errors import DataError, UsageError, shown

BOM = "\ufeff"


def place(path: Path | str, line: int) -> str:
    """How every message names a place in a file."""
    return f"{path}, line {line}"


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: There is no such file, it is a folder, or it may not be read.
    """
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise DataError(f"{path} is a folder.", expected="a file") from None
    except FileNotFoundError:
        beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        got = f"the folder {path.parent} with {shown(', '.join(beside), 200)}" if beside else "no such folder"
        raise DataError(f"There is no file {path}.", got=got, hint="Check the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read.", got=error.strerror or str(error)) from error


def decode(data: bytes, path: Path | str, *, line: int = 1, offset: int = 0) -> str:
    """Bytes as text; they must be UTF-8.

    Args:
        data: The bytes.
        path: What the bytes are part of, for messages.
        line: The number of their first line there.
        offset: The number of bytes before them there.

    Raises:
        DataError: They are not UTF-8; the message names the line and the byte.
    """
    for mark, name in ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16")):
        if offset == 0 and data.startswith(mark):
            raise DataError(
                f"{path} is not written in UTF-8.",
                expected="UTF-8",
                got=f"the byte order mark of {name}",
                hint=f"Convert it: iconv -f {name} -t UTF-8 {path} > {path}.utf8",
            )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        start = before.rfind(b"\n") + 1
        around = data[start : error.start + 20].decode("utf-8", errors="backslashreplace").split("\n")[0]
        where = place(path, line + before.count(b"\n"))
        raise DataError(
            f"{where}: byte {offset + error.start} is not UTF-8.",
            expected="a file in UTF-8",
            got=f"the byte 0x{data[error.start]:02x} in {shown(around)}",
            hint="If it was written as Windows-1252 or Latin-1, convert it: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {path} > {path}.utf8",
        ) from None
    if "\0" in text:
        before_nul = text[: text.index("\0")]
        raise DataError(
            f"{place(path, line + before_nul.count(chr(10)))}: a NUL character stands here.",
            expected="text without NUL characters",
            got=shown(text[max(0, len(before_nul) - 20) : len(before_nul) + 20]),
            hint="The file is damaged, binary, or written in UTF-16 or UTF-32; "
            "restore it, or convert it to UTF-8.",
        )
    return text


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark.

    Raises:
        DataError: The file cannot be read, is empty, is not UTF-8, or separates its lines by carriage
            returns alone.
    """
    data = read_bytes(path)
    text = decode(data, path).removeprefix(BOM)
    if not text.strip(" \t\r\n"):
        raise DataError(
            f"{path} is empty.",
            expected="at least one post",
            got=f"{len(data)} bytes without any text",
            hint="Was it written to the end? Restore it or remove it.",
        )
    if "\r" in text and "\n" not in text:
        raise DataError(
            f"{path} separates its lines by carriage returns alone.",
            expected="lines that end in a line feed",
            got=shown(text[:40]),
            hint=f"Convert it: tr '\\r' '\\n' < {path} > {path}.new",
        )
    return text


@contextmanager
def writing(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file that appears under its name only once it is complete.

    Args:
        path: The file; missing folders above it are made.
        overwrite: Whether a file that stands there may be replaced.

    Raises:
        UsageError: The file exists and `overwrite` was not asked for.
        DataError: The file cannot be written.
    """
    if not overwrite:
        refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not overwrite:
            refuse_existing(path)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written.", got=error.strerror or str(error)) from error
    finally:
        # Where a file stands in a folder's place, that is what was said above.
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)


def refuse_existing(path: Path) -> None:
    """Refuse to write where something stands.

    Raises:
        UsageError: `path` exists.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already.", hint="Name another place, or ask for overwriting.")
