"""A file that grows by whole pieces of work and survives a kill at any byte.

Beside ``OUTPUT`` stand, while the work goes on, ``OUTPUT.part`` with what was written and
``OUTPUT.state.json``, which says how much of that counts and how far the input was read. A commit first
makes the written bytes last and then replaces the state in one step. Whoever goes on cuts the files to what
the state says; what came after the last commit is done again, with the same result.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

from mner.bulk.formats import OutputFormat
from mner.bulk.reading import Position
from mner.errors import DataError, UsageError, shown

try:
    import fcntl
except ImportError:  # not on Windows, where two processes cannot open the file for writing anyway
    fcntl = None  # type: ignore[assignment]

FORMAT = 1

_PART = ".part"
_STATE = ".state.json"
_DRAFT = ".new"
_RESUMABLE = "What was committed is kept; go on with --resume."


def refuse_overlap(source: Path | BinaryIO, target: Path | BinaryIO | None, rejects: Path | None) -> None:
    """Refuse to write over what is read, or two things to one file; nothing is opened.

    Args:
        source: What is read.
        target: The output of a `Journal`, or an open stream; None where neither is known to be a file.
        rejects: The file of refused lines, if there is one.

    Raises:
        UsageError: The input is among the files that are written, under whatever name, or the refused
            lines would go where the output does.
    """
    ends = ("", _PART, _STATE, _DRAFT, _STATE + _DRAFT)
    output: list[Path | BinaryIO] = []
    if isinstance(target, Path):
        output += [_beside(target, end) for end in ends]
    elif target is not None:
        output.append(target)
    refused = [] if rejects is None else [rejects]
    for written in (*output, *refused):
        if _are_one(written, source):
            raise UsageError(
                f"{written} is the input, and would be written over."
                if isinstance(written, Path)
                else "The output goes to the input: what is written would be read again, without end.",
                expected="an output and a list of refused lines apart from the input",
                hint="Name another output." if written in output else "Name another file with --rejects.",
            )
    for written in output:
        if any(_are_one(written, other) for other in refused):
            place = target if isinstance(target, Path) else "of the stream"
            raise UsageError(
                f"Refused lines cannot go to {rejects}: the output {place} is written there.",
                expected="two files",
                hint="Name another file with --rejects, or none: then it is OUTPUT.rejects.jsonl."
                if isinstance(target, Path)
                else "Name another file with --rejects, or none: then they are counted alone.",
            )


def _are_one(one: Path | BinaryIO, other: Path | BinaryIO) -> bool:
    try:
        first, second = _status(one), _status(other)
    except (OSError, ValueError, AttributeError):
        # One of them is not there yet, or is a stream without a file.
        if not (isinstance(one, Path) and isinstance(other, Path)):
            return False
        return os.path.realpath(one) == os.path.realpath(other)
    # A terminal or /dev/null may well be read and written.
    return os.path.samestat(first, second) and stat.S_ISREG(first.st_mode)


def _status(place: Path | BinaryIO) -> os.stat_result:
    return place.stat() if isinstance(place, Path) else os.fstat(place.fileno())


def _beside(target: Path, end: str) -> Path:
    return target.with_name(target.name + end)


def _place_beside(target: Path, path: Path) -> str:
    """Where a file is, as its name alone where the output is: a folder may be named in more than one way."""
    folder = path.parent.resolve()
    return path.name if folder == target.parent.resolve() else str(folder / path.name)


class Journal:
    """The output and the list of refused lines of one run over one input.

    Args:
        target: The file that will stand there at the end.
        rejects: The file of refused lines, there only if there are any.
        written_as: How predictions are written.
        settings: What shapes the output; another run goes on only with the same.
        resume: Go on where an earlier run was stopped; start where none was.
        overwrite: Throw away what an earlier run that was stopped has written.

    Raises:
        UsageError: Another run is unfinished and neither `resume` nor `overwrite` was asked for, or its
            settings were others, or it is still going on.
        DataError: A file cannot be written, the target is no file, or the state is damaged.
    """

    def __init__(
        self,
        target: Path,
        rejects: Path,
        written_as: OutputFormat,
        settings: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.target = target
        self.rejects = rejects
        self.written_as = written_as
        self.settings = {**settings, "list of refused lines": _place_beside(target, rejects)}
        self.part = _beside(target, _PART)
        self.state_file = _beside(target, _STATE)
        self.position: Position | None = None
        self.counts: dict[str, int] = {}
        self.is_done = False
        self._files: list[BinaryIO] = []
        if target.exists() and not target.is_file():
            # It would be replaced at the end: a folder cannot be, and a device must not.
            raise DataError(
                f"{target} is no file.",
                expected="a file, or a name under which there is nothing",
                hint="Name another output.",
            )
        state = self._read_state()
        if state is not None and not resume and not overwrite:
            raise UsageError(
                f"An earlier run to {target} was stopped after {state['position']['line']} lines.",
                hint="--resume goes on with it, --overwrite starts again.",
            )
        if state is not None and resume:
            self._check(state["settings"])
            self.position = Position(**state["position"])
            self.counts = dict(state["counts"])
            if state["complete"]:
                # Stopped between the last commit and the end.
                self._settle()
                return
        elif resume and target.exists() and not self.part.exists():
            # With a part beside it, the output is that of a run before the one that was killed.
            self.is_done = True
            return
        sizes = state["sizes"] if state is not None and resume else None
        self._open(sizes)

    def _open(self, sizes: list[int] | None) -> None:
        try:
            with _explained(self.target):
                self.target.parent.mkdir(parents=True, exist_ok=True)
            # The list first: where it cannot be written, no part is left beside the output.
            for path in (self.rejects, self.part):
                with _explained(path):
                    self._files.insert(0, path.open(self._mode(path)))
            with _explained(self.part):
                self._lock()
            if sizes is None:
                with _explained(self.state_file):
                    self.state_file.unlink(missing_ok=True)
            for file, size, path in zip(self._files, sizes or (0, 0), self._paths, strict=True):
                with _explained(path):
                    _cut(file, size, path)
            if sizes is None:
                with _explained(self.part):
                    self._files[0].write(self.written_as.header)
        except BaseException:
            self.close()
            raise

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self.part, self.rejects

    def _mode(self, path: Path) -> Literal["wb", "r+b", "w+b"]:
        if path == self.rejects and path.exists() and not path.is_file():
            # Refused lines may well go to /dev/null or to a pipe, which cannot be read or cut.
            return "wb"
        return "r+b" if path.exists() else "w+b"

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another process is writing {self.target}.", hint="Wait for it, or name another output."
            ) from None

    def _read_state(self) -> dict[str, Any] | None:
        try:
            state = json.loads(self.state_file.read_text(encoding="utf-8"))
            if state["format"] != FORMAT:
                raise ValueError(f"format {state['format']}")
            Position(**state["position"])
            sizes, _, _ = state["sizes"], state["settings"], state["counts"]
            if len(sizes) != 2 or not isinstance(state["complete"], bool):
                raise ValueError("sizes")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.state_file} cannot be read.",
                got=str(error),
                hint="Delete it, and the output starts again.",
            ) from error
        return dict(state)

    def _check(self, earlier: dict[str, Any]) -> None:
        # What an older version did not write down is no difference.
        changed = [name for name, value in self.settings.items() if earlier.get(name, value) != value]
        if changed:
            name = changed[0]
            raise UsageError(
                f"The earlier run to {self.target} was another one: its {name} differs.",
                expected=shown(earlier.get(name)),
                got=shown(self.settings[name]),
                hint="Go on with the same settings, or start again with --overwrite.",
            )

    def write(self, output: bytes, rejected: bytes) -> None:
        """Write a piece of work; it counts from the next `commit` on."""
        for file, content, path in zip(self._files, (output, rejected), self._paths, strict=True):
            with _explained(path, _RESUMABLE):
                file.write(content)

    def commit(self, position: Position, counts: dict[str, int], *, complete: bool = False) -> None:
        """Make what was written last, and say that it answers the input up to a position."""
        sizes = []
        for file, path in zip(self._files, self._paths, strict=True):
            with _explained(path, _RESUMABLE):
                sizes.append(_make_last(file))
        with _explained(self.state_file, _RESUMABLE):
            state = {
                "format": FORMAT,
                "settings": self.settings,
                "position": position.as_dict(),
                "sizes": sizes,
                "counts": counts,
                "complete": complete,
            }
            draft = _beside(self.state_file, _DRAFT)
            with draft.open("wb") as written:
                written.write(json.dumps(state).encode())
                written.flush()
                os.fsync(written.fileno())
            draft.replace(self.state_file)
        self.position, self.counts = position, counts

    def finish(self, position: Position, counts: dict[str, int]) -> None:
        """The input is at its end: give the output its name and take away what helped to make it."""
        self.commit(position, counts, complete=True)
        self.close()
        self._settle()

    def _settle(self) -> None:
        with _explained(self.target, _RESUMABLE):
            if self.part.exists():
                if self.written_as.finish is not None:
                    draft = _beside(self.target, _DRAFT)
                    self.written_as.finish(self.part, draft)
                    draft.replace(self.target)
                    self.part.unlink()
                else:
                    self.part.replace(self.target)
            _remove_empty(self.rejects)
            self.state_file.unlink(missing_ok=True)
        self.is_done = True

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
        self._files = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pipe:
    """An output that cannot be cut: written through as it comes.

    Args:
        target: Where predictions go: a stream, or the name of a pipe or device.
        written_as: How they are written.
        rejects: The file of refused lines, there only if there are any; without it they are only counted.

    Raises:
        DataError: One of them cannot be written.
    """

    def __init__(
        self, target: Path | BinaryIO, written_as: OutputFormat, rejects: Path | None = None
    ) -> None:
        self.written_as = written_as
        self.rejects = rejects
        self._opened: list[BinaryIO] = []
        try:
            self.file = self._open(target) if isinstance(target, Path) else target
            self._rejects = None if rejects is None else self._open(rejects)
        except DataError:
            self.close()
            raise
        self.position: Position | None = None
        self.counts: dict[str, int] = {}
        self.is_done = False
        self.file.write(written_as.header)

    def _open(self, path: Path) -> BinaryIO:
        with _explained(path):
            self._opened.append(path.open("wb"))
        return self._opened[-1]

    def write(self, output: bytes, rejected: bytes) -> None:
        """Write a piece of work."""
        self.file.write(output)
        if self._rejects is not None and self.rejects is not None:
            with _explained(self.rejects):
                self._rejects.write(rejected)

    def commit(self, position: Position, counts: dict[str, int]) -> None:
        """Hand on what was written."""
        del position, counts
        self.file.flush()
        if self._rejects is not None and self.rejects is not None:
            with _explained(self.rejects):
                self._rejects.flush()

    def finish(self, position: Position, counts: dict[str, int]) -> None:
        """The input is at its end."""
        self.commit(position, counts)
        self.close()
        if self.rejects is not None:
            _remove_empty(self.rejects)

    def close(self) -> None:
        """Let go of what was opened by its name; a stream is its owner's."""
        for file in self._opened:
            with contextlib.suppress(OSError):
                file.close()
        self._opened = []


@contextlib.contextmanager
def _explained(path: Path, hint: str | None = None) -> Iterator[None]:
    """What the system says of a file that cannot be written, as an error of ours."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written.", got=error.strerror or str(error), hint=hint) from error


def _is_regular(file: BinaryIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _cut(file: BinaryIO, size: int, path: Path) -> None:
    """Cut a file to what counts of it, and go on there; nothing is kept in a pipe or device."""
    if not _is_regular(file):
        return
    if file.seek(0, os.SEEK_END) < size:
        raise DataError(
            f"{path} is shorter than the earlier run left it.",
            expected=f"at least {size} bytes",
            hint="--overwrite starts again.",
        )
    file.truncate(size)
    file.seek(size)


def _make_last(file: BinaryIO) -> int:
    """Write out what was written, so that it outlives a loss of power; how much it is."""
    file.flush()
    if not _is_regular(file):
        return 0
    os.fsync(file.fileno())
    return file.tell()


def _remove_empty(path: Path) -> None:
    # A device is of no size either.
    if path.is_file() and not path.stat().st_size:
        path.unlink()
