"""Tables of text, and how numbers stand in them."""

from __future__ import annotations

from dataclasses import dataclass

from mner.experiments.results import Group, Results, Summary

PLUS_MINUS = "±"
NOTHING = "–"
QUOTED = " (quoted)"


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Args:
        key: A name for files.
        title: What stands above it.
        header: The names of its columns.
        rows: Its rows.
        words: How many columns, from the left, are words and not numbers.
        note: What stands below it.
    """

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    note: str = ""


def name_of(results: Results, data: str) -> str:
    """What the report calls a data set."""
    return results.file.table.data[data].title or data


def place_of(results: Results, data: str, scored: str) -> str:
    """What is trained on and what is scored, in words."""
    if data == scored:
        return name_of(results, data)
    return f"{name_of(results, data)} to {name_of(results, scored)}"


def percent(value: float) -> str:
    """A fraction as a percentage."""
    return f"{100 * value:.2f}"


def with_deviation(summary: Summary | None) -> str:
    """A mean with its deviation, in per cent."""
    if summary is None:
        return NOTHING
    deviation = summary.deviation
    return percent(summary.mean) + (f" {PLUS_MINUS} {percent(deviation)}" if deviation is not None else "")


def row_name(group: Group) -> str:
    """A row's name, marked where it is quoted."""
    return group.row.name + (QUOTED if group.row.quoted else "")


def setting_of(group: Group, several: bool) -> tuple[str, ...]:
    """The cell for a group's setting, in tables that have a column for it."""
    return (group.setting,) if several else ()
