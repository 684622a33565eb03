"""How long work says how far it is, without printing: the caller hands in a reporter.

A reporter is called with a description and a total (None where unknown) and gives a context manager
whose value is called with the number of finished items, and with notes to show beside the bar. The
command line hands in one that draws bars on stderr; the default says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Says that `count` more items are done, and what else there is to know now."""

    def __call__(self, count: int = 1, /, **notes: object) -> None:
        """Advance by `count`; `notes` replace the ones shown before."""


class Reporter(Protocol):
    """Opens a progress display."""

    def __call__(self, description: str, total: int | None = None, /) -> AbstractContextManager[Advance]:
        """A display for work called `description` of `total` items."""


@contextmanager
def silent(description: str, total: int | None = None, /) -> Iterator[Advance]:
    """The reporter that says nothing."""
    del description, total

    def advance(count: int = 1, /, **notes: object) -> None:
        del count, notes

    yield advance
