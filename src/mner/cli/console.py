"""Where the command line writes: results to stdout, progress and messages to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mner.progress import Advance

# As wide as no table is.
_UNBOUNDED = 100_000

# Seconds between the lines that a log gets.
_LOG_SECONDS = 60.0

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def titled_table(title: str) -> Table:
    """An empty table; its title, which may quote names of files and data, is not read as markup."""
    return Table(title=Text(title, style="table.title"), title_justify="left")


def print_whole(table: Table) -> None:
    """Print a table to stdout without cutting any of it, however narrow the terminal.

    Where it is too narrow, headers and then cells of words are set in lines, none shorter than its column's
    longest word. What is still too wide is printed as it is: scores and names that are cut off are worse than
    lines that a narrow terminal wraps.
    """
    for column in table.columns if width_of(table) > out.width else ():
        header = str(column.header)
        widest = _widest([*header.split(), *map(str, column.cells)])
        column.header = Text("\n").join(Text(header).wrap(out, widest, overflow="fold"))
    for column in table.columns:
        excess = width_of(table) - out.width
        if excess > 0 and column.justify == "left" and not column.no_wrap and column.max_width is None:
            texts = [str(column.header), *map(str, column.cells)]
            now = _widest([line for text in texts for line in text.split("\n")])
            longest_word = _widest([word for text in texts for word in text.split()])
            column.max_width, column.overflow = max(longest_word, now - excess), "fold"
    Console(width=max(out.width, width_of(table)), highlight=False).print(table)


def _widest(texts: list[str]) -> int:
    return max([1, *map(cell_len, texts)])


def width_of(table: Table) -> int:
    """How many columns of a terminal a table takes where nothing of it is wrapped."""
    return Measurement.get(out, out.options.update(width=_UNBOUNDED), table).maximum


@contextmanager
def bars(description: str, total: int | None = None, /) -> Iterator[Advance]:
    """A progress bar on stderr: done, rate, elapsed and remaining time, and the notes of the work.

    Where stderr is no terminal (a log of a run over night) a plain line a minute says the same.
    """
    # Descriptions and notes quote file names, which may look like markup.
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[notes]}", markup=False),
    )
    said = time.monotonic()
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        task = progress.add_task(description, total=total, rate="", notes="")

        def advance(count: int = 1, /, **notes: object) -> None:
            progress.advance(task, count)
            state = progress.tasks[0]
            elapsed = state.elapsed or 0.0
            rate = f"{state.completed / elapsed:.1f}/s" if elapsed > 0.5 else ""
            fields: dict[str, Any] = {"rate": rate}
            if notes:
                fields["notes"] = "  ".join(f"{name} {value}" for name, value in notes.items())
            progress.update(task, **fields)
            nonlocal said
            if not err.is_terminal and time.monotonic() - said > _LOG_SECONDS:
                said = time.monotonic()
                of_all = f" of {total}" if total is not None else ""
                line = f"{description}: {state.completed:.0f}{of_all}  {rate}  {state.fields['notes']}"
                err.print(line.rstrip(), markup=False, soft_wrap=True)

        yield advance


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 post``, ``2 posts``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
