"""One training at a time in a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mner.errors import RunFolderError

LOCK_FILE = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training into a folder.

    The lock is the operating system's: it goes with its process, however that ends. Its file stays.

    Args:
        folder: The run folder; made if it is not there.

    Raises:
        RunFolderError: Another process is training there, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFolderError(
            f"Another process is training into {folder}.",
            hint="Wait until it is done, or choose another --output.",
        ) from None
    except OSError as error:
        raise RunFolderError(f"The run folder {folder} cannot be made.", got=str(error)) from error
    try:
        yield
    finally:
        lock.release()
