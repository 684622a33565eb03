"""The numbers that the five papers print, read from `published.toml`, and checked against themselves.

A table is named ``PAPER/KEY``, such as ``cat-mner/table-1``. Its columns are ``DATA.MEASURE`` or
``DATA.MEASURE.TYPE``; scores are percent. How the file is written stands at its top.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, NamedTuple

from mner.errors import UsageError, did_you_mean, shown

# Scores are printed with two digits: an F1 may be off by half a unit of the last one of P, R and itself.
TOLERANCE = 0.02
"""How far a printed F1 may be from its printed precision and recall."""

_MEAN = "mean"
_SPLITS = ("train", "valid", "test")

Kind = Literal["text", "language-model", "multimodal", ""]
NoteKind = Literal["f1", "sum", "mean", "difference", "equal", "remark"]


class Column(NamedTuple):
    """What a column counts.

    Args:
        data: What is tested on; ``SOURCE->TARGET`` where trained on another set, ``DATA@SETTING`` on few.
        measure: ``precision``, ``recall``, ``f1``; ``drop`` of an ablation; a split's name or ``total`` or
            ``count`` for numbers of mentions and posts.
        label: The type, where it is the score of one.
    """

    data: str
    measure: str
    label: str | None = None

    @classmethod
    def parse(cls, text: str) -> Column:
        """The column that ``DATA.MEASURE`` or ``DATA.MEASURE.TYPE`` names."""
        return cls(*text.split("."))

    def __str__(self) -> str:
        """As `published.toml` writes it."""
        return ".".join(part for part in self if part is not None)


@dataclass(frozen=True)
class Row:
    """A row of a published table.

    Args:
        name: Its name in the paper.
        values: By column; None where the paper prints none.
        system: Whose numbers they are; the same for the same system in all papers.
        kind: What the system reads: text alone, text with pictures, or it is a language model; empty for a
            row without a system.
        ours: Whether it is the paper's own system.
        source: Where the paper took the numbers from, as far as it says.
    """

    name: str
    values: Mapping[Column, float | None]
    system: str
    kind: Kind = ""
    ours: bool = False
    source: str = ""


@dataclass(frozen=True)
class Note:
    """Where a table disagrees with itself, or what else a reader has to know.

    Args:
        kind: What it is about; all but a ``remark`` are checked.
        text: The note in words.
        row: The row that it is about.
        columns: The columns that it is about.
        computed: What the number should be.
        printed: What is printed for a difference.
        of: For a difference, the row and the one taken off it; for an equal row, the other row.
        table: For an equal row, the other row's table.
        of_columns: For an equal row, the columns of the other one; the same ones where empty.
    """

    kind: NoteKind
    text: str
    row: str | None = None
    columns: tuple[Column, ...] = ()
    computed: float | None = None
    printed: float | str | None = None
    of: tuple[str, ...] = ()
    table: str | None = None
    of_columns: tuple[Column, ...] = ()

    @property
    def said(self) -> str:
        """The note with what it is about in front, where that is a row."""
        place = ", ".join([self.row, *map(str, self.columns[:1])]) + ": " if self.row else ""
        return f"{place}{self.text}"


@dataclass(frozen=True)
class PublishedTable:
    """A table, or a figure whose points are worth comparing with.

    Args:
        key: ``PAPER/KEY``.
        title: What it shows.
        settings: How its numbers came about, as far as the paper says.
        columns: Its columns.
        rows: Its rows, in the paper's order.
        notes: What a reader has to know.
    """

    key: str
    title: str
    settings: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...] = ()

    @property
    def paper(self) -> str:
        """The key of its paper."""
        return self.key.partition("/")[0]

    @property
    def datas(self) -> tuple[str, ...]:
        """The data sets that its columns name, each once."""
        return tuple(dict.fromkeys(column.data for column in self.columns))

    def row(self, name: str) -> Row:
        """The row of that name.

        Raises:
            UsageError: There is none.
        """
        names = [row.name for row in self.rows]
        _known(name, names, f"The published table {self.key} has no row")
        return self.rows[names.index(name)]

    def value(self, row: str, column: Column | str) -> float | None:
        """What is printed for a row in a column; None where nothing is.

        Raises:
            UsageError: There is no such row or column.
        """
        column = Column.parse(column) if isinstance(column, str) else column
        _known(str(column), map(str, self.columns), f"The published table {self.key} has no column")
        return self.row(row).values[column]

    def find(
        self, row: str, data: str, measure: str = "f1", label: str | None = None, setting: str | None = None
    ) -> float | None:
        """What is printed for a row on a data set, with a setting; None where nothing is.

        Tables that show settings have them either as rows (``K = 3``) or with the data (``DATA@20-shot``):
        where the setting is the name of a row, that row is looked at.

        Args:
            row: A row's name.
            data: A data set as the columns name it.
            measure: ``precision``, ``recall`` or ``f1``.
            label: A type; all types together where None.
            setting: A setting's name.
        """
        names = {one.name for one in self.rows}
        if setting is not None and setting in names:
            row = setting
        elif setting is not None:
            data = f"{data}@{setting}"
        column = Column(data, measure, label)
        return self.row(row).values.get(column) if row in names else None


@dataclass(frozen=True)
class Paper:
    """A paper.

    Args:
        key: Its key, which is its system's name.
        title: Its title.
        authors: Its authors, empty where the paper names none.
        year: When it came out.
        where: Where.
        tables: Its tables, and the figures that are transcribed.
        undrawn: Figures that have no number to transcribe, by key, with what they show.
    """

    key: str
    title: str
    authors: str
    year: int
    where: str
    tables: tuple[PublishedTable, ...]
    undrawn: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Disagreement:
    """A system for which tables print different numbers.

    Args:
        system: The system.
        columns: The columns in which they differ.
        text: Why, as far as that is known.
    """

    system: str
    columns: tuple[Column, ...]
    text: str


def papers() -> tuple[Paper, ...]:
    """All papers with their tables."""
    return _read()[0]


def disagreements() -> tuple[Disagreement, ...]:
    """The systems for which tables print different numbers."""
    return _read()[1]


def paper(key: str) -> Paper:
    """The paper of that key.

    Raises:
        UsageError: There is none.
    """
    keys = [one.key for one in papers()]
    _known(key, keys, "There is no paper")
    return papers()[keys.index(key)]


def published_table(key: str) -> PublishedTable:
    """The table ``PAPER/KEY``; a bare number stands for a table.

    Raises:
        UsageError: There is none.
    """
    name, _, rest = key.partition("/")
    tables = {table.key: table for table in paper(name).tables}
    wanted = f"{name}/table-{rest}" if rest.isdigit() else key
    _known(wanted, tables, "There is no published table")
    return tables[wanted]


@lru_cache(maxsize=1)
def _read() -> tuple[tuple[Paper, ...], tuple[Disagreement, ...]]:
    file = resources.files("mner.experiments").joinpath("published.toml")
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    tables: dict[str, list[PublishedTable]] = {key: [] for key in content["papers"]}
    undrawn: dict[str, dict[str, str]] = {key: {} for key in content["papers"]}
    for entry in content["tables"]:
        tables[entry["paper"]].append(_table(entry, content["columns"]))
    for entry in content["figures"]:
        undrawn[entry["paper"]][entry["key"]] = entry["title"]
    found = tuple(
        Paper(key=key, tables=tuple(tables[key]), undrawn=undrawn[key], **entry)
        for key, entry in content["papers"].items()
    )
    differing = tuple(
        Disagreement(entry["system"], _columns(entry["columns"]), entry["text"])
        for entry in content["disagreements"]
    )
    return found, differing


def _table(entry: dict[str, Any], named: Mapping[str, list[str]]) -> PublishedTable:
    given = entry["columns"]
    columns = _columns(named[given] if isinstance(given, str) else given)
    return PublishedTable(
        key=f"{entry['paper']}/{entry['key']}",
        title=entry["title"],
        settings=entry["settings"],
        columns=columns,
        rows=tuple(_row(dict(row), columns) for row in entry["rows"]),
        notes=tuple(_note(dict(note)) for note in entry.get("notes", ())),
    )


def _row(entry: dict[str, Any], columns: tuple[Column, ...]) -> Row:
    values = [None if value in ("-", "?") else float(value) for value in entry.pop("values")]
    by_column = dict(zip(columns, values, strict=True))
    return Row(**{"system": entry["name"], **entry, "values": by_column})


def _note(entry: dict[str, Any]) -> Note:
    columns = entry.pop("columns", None) or [entry.pop("column")] if _has_columns(entry) else []
    of = entry.pop("of", ())
    return Note(
        **{
            **entry,
            "columns": _columns(columns),
            "of": (of,) if isinstance(of, str) else tuple(of),
            "of_columns": _columns(entry.get("of_columns", ())),
        }
    )


def _has_columns(entry: Mapping[str, Any]) -> bool:
    return "columns" in entry or "column" in entry


def _columns(names: Any) -> tuple[Column, ...]:
    return tuple(Column.parse(name) for name in names)


def _known(name: str, names: Any, what: str) -> None:
    names = list(names)
    if name not in names:
        raise UsageError(f"{what} {shown(name)}.", hint=did_you_mean(name, names))


def check_published() -> list[str]:
    """What is wrong in the transcription: a deviation without a note, or a note that is not true.

    Every F1 is computed from its precision and recall, every total and mean from its parts, every drop from
    its two rows; every note's number is computed again; and the numbers that papers print for one system
    are compared.

    Returns:
        A sentence for each thing that is wrong; none where all is right.
    """
    found: list[str] = []
    for one in papers():
        for table in one.tables:
            found += _check_table(table)
    return [*found, *_check_disagreements()]


def _check_table(table: PublishedTable) -> Iterator[str]:
    names = [row.name for row in table.rows]
    if len(set(names)) < len(names) or len(set(table.columns)) < len(table.columns):
        yield f"{table.key}: a row or a column stands there twice"
    deviating = {
        (kind, row, column): computed
        for kind, row, column, printed, computed in itertools.chain(_f1s(table), _sums(table), _means(table))
        if abs(computed - printed) > (TOLERANCE if kind == "f1" else 0.01)
    }
    noted: dict[tuple[str, str, Column], float | None] = {
        (note.kind, note.row or "", note.columns[0]): note.computed
        for note in table.notes
        if note.kind in ("f1", "sum", "mean")
    }
    for kind, row, column in deviating.keys() - noted.keys():
        where = f"{table.key}, {row}, {column}"
        yield f"{where}: deviates ({kind} is {deviating[kind, row, column]:.2f}) without a note"
    for key in noted.keys() - deviating.keys():
        yield f"{table.key}, {key[1]}, {key[2]}: a note ({key[0]}) where nothing deviates"
    for key in noted.keys() & deviating.keys():
        if noted[key] is None or not math.isclose(noted[key] or 0, deviating[key], abs_tol=0.005001):
            yield f"{table.key}, {key[1]}, {key[2]}: the note says {noted[key]}, it is {deviating[key]:.3f}"
    for row, column, printed, computed in _drops(table):
        if abs(printed - computed) > 0.01:
            yield f"{table.key}, {row}, {column}: the drop is {computed:.2f}"
    for note in table.notes:
        if note.kind == "difference":
            yield from _check_difference(table, note)
        elif note.kind == "equal":
            yield from _check_equal(table, note)


_Deviation = tuple[str, str, Column, float, float]


def _f1s(table: PublishedTable) -> Iterator[_Deviation]:
    for row in table.rows:
        for data in table.datas:
            precision, recall, f1 = (
                row.values.get(Column(data, measure)) for measure in ("precision", "recall", "f1")
            )
            if precision is not None and recall is not None and f1 is not None:
                yield "f1", row.name, Column(data, "f1"), f1, 2 * precision * recall / (precision + recall)


def _sums(table: PublishedTable) -> Iterator[_Deviation]:
    totals = [row for row in table.rows if row.name.startswith("Total")]
    for total in totals:
        parts = table.rows[: table.rows.index(total)]
        for column, printed in total.values.items():
            yield "sum", total.name, column, printed or 0, sum(part.values[column] or 0 for part in parts)
    for row in table.rows:
        for column, printed in row.values.items():
            if column.measure == "total":
                parts_of = (row.values[Column(column.data, split)] or 0 for split in _SPLITS)
                yield "sum", row.name, column, printed or 0, sum(parts_of)


def _means(table: PublishedTable) -> Iterator[_Deviation]:
    for column in table.columns:
        corpus, _, part = column.data.rpartition("-")
        if part != _MEAN:
            continue
        parts = [one for one in table.columns if one.data.startswith(f"{corpus}-") and one != column]
        for row in table.rows:
            values = [row.values[one] or 0 for one in parts]
            # A row of differences has no system, and its mean is that of another choice of rows.
            if row.kind:
                yield "mean", row.name, column, row.values[column] or 0, sum(values) / len(values)


def _drops(table: PublishedTable) -> Iterator[tuple[str, Column, float, float]]:
    first = table.rows[0]
    for row in table.rows:
        for column, printed in row.values.items():
            if column.measure == "drop" and printed is not None:
                score = Column(column.data, "f1")
                yield row.name, column, printed, (first.values[score] or 0) - (row.values[score] or 0)


def _check_difference(table: PublishedTable, note: Note) -> Iterator[str]:
    column = note.columns[0]
    left, right = (table.value(name, column) or 0 for name in note.of)
    if note.computed is None or abs(left - right - note.computed) > 0.005:
        yield f"{table.key}: {' less '.join(note.of)} is {left - right:.2f}, not {note.computed}"
    if isinstance(note.printed, float) and abs(note.printed - (left - right)) <= 0.01:
        yield f"{table.key}: a note where {' less '.join(note.of)} is as printed"


def _check_equal(table: PublishedTable, note: Note) -> Iterator[str]:
    other = published_table(note.table or table.key)
    theirs = note.of_columns or note.columns
    for mine, their in zip(note.columns, theirs, strict=True):
        left, right = table.value(note.row or "", mine), other.value(note.of[0], their)
        if left is None or left != right:
            yield f"{table.key}, {note.row}, {mine}: {left} is not {right}, as the note says"


def _check_disagreements() -> Iterator[str]:
    printed: dict[tuple[str, Column], set[float]] = {}
    for one in papers():
        for table in one.tables:
            for row in table.rows:
                for column, value in row.values.items():
                    # A row of differences has no system.
                    if row.kind and value is not None:
                        printed.setdefault((row.system, column), set()).add(value)
    differing: dict[str, set[Column]] = {}
    for (system, column), values in printed.items():
        if len(values) > 1:
            differing.setdefault(system, set()).add(column)
    noted = {entry.system: set(entry.columns) for entry in disagreements()}
    for system in sorted(differing.keys() | noted.keys()):
        wrong = differing.get(system, set()) ^ noted.get(system, set())
        if wrong:
            yield f"{system}: disagreements noted and found differ in {', '.join(sorted(map(str, wrong)))}"
