"""A report in Markdown, LaTeX and CSV, and as JSON."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mner.data.writers import Written, write_columns
from mner.experiments.grids import NOTHING, PLUS_MINUS, Grid
from mner.experiments.material import digest
from mner.experiments.plans import GivenPlan
from mner.experiments.reports import Report
from mner.experiments.results import MEASURES, Result, Results, types_of
from mner.tags import Convention

_CSV_PLACE = ("row", "trained_on", "scored_on", "setting", "draw", "seed")


def as_markdown(report: Report, grids: Iterable[Grid] | None = None) -> str:
    """A report in Markdown.

    Args:
        report: The report.
        grids: Tables to write instead of the report's own.
    """
    lines = [f"# {report.title}", ""]
    for note in report.notes:
        lines += [note, ""]
    for grid in report.grids if grids is None else grids:
        lines += [f"## {grid.title}", "", _markdown_row(grid.header)]
        lines.append(
            "|" + "|".join("---" if n < grid.words else "---:" for n in range(len(grid.header))) + "|"
        )
        lines += [_markdown_row(row) for row in grid.rows]
        lines += ["", *([grid.note, ""] if grid.note else [])]
    lines += ["## How these came about", "", "| | |", "|---|---|"]
    lines += [_markdown_row(fact) for fact in report.facts]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    PLUS_MINUS: r"$\pm$",
    NOTHING: "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def as_latex(report: Report) -> str:
    """The tables of a report in LaTeX, for the package booktabs; each is a `table` of its own."""
    parts = [
        "% " + report.title,
        *("% " + " ".join(note.split()) for note in report.notes),
        *(f"% {what}: {which}" for what, which in report.facts),
        r"% In the preamble: \usepackage{booktabs}",
    ]
    for grid in report.grids:
        if grid.key in ("runs", "missing"):
            continue
        columns = "".join("l" if n < grid.words else "r" for n in range(len(grid.header)))
        caption = f"{report.title}: {grid.title}. {grid.note}".strip()
        parts += [
            "",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(caption)}}}",
            rf"\label{{tab:{re.sub('[^A-Za-z0-9-]+', '-', f'{report.results.file.path.stem}-{grid.key}')}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row(grid.header),
            r"\midrule",
            *map(_latex_row, grid.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    # A minus is longer than a hyphen.
    return re.sub(r"(?<![^ ])-(?=\d)", "$-$", " & ".join(map(_latex, cells))) + r" \\"


def _latex(text: str) -> str:
    # A row must not begin with a bracket: after `\\` LaTeX would take it for an argument.
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def as_csv(report: Report) -> str:
    """All runs with all their scores, a line for each convention and type; fractions from 0 to 1.

    Published scores stand in lines of their own, whose convention is ``published``.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    counts = ("gold", "predicted", "correct")
    writer.writerow([*_CSV_PLACE, "convention", "type", *MEASURES, *counts, "run", "training posts"])
    for result in report.results.results:
        writer.writerows(_csv_lines(result))
    for group in report.results.groups:
        labels = sorted({label or "" for _, label in group.published})
        for label in labels:
            scores = [group.published.get((measure, label or None)) for measure in MEASURES]
            fractions = ["" if value is None else f"{value / 100:.6f}" for value in scores]
            where = (group.row.name, *group.place, "", "", "published", label or "all")
            writer.writerow((*where, *fractions, "", "", "", "", ""))
    return file.getvalue()


def _csv_lines(result: Result) -> Iterable[tuple[Any, ...]]:
    cell = result.cell
    where = (
        cell.row,
        cell.data,
        result.scored,
        cell.setting,
        cell.sampling or "",
        "" if cell.seed is None else cell.seed,
    )
    for convention, scores in result.scores.items():
        for label, counts in [("all", scores.overall), *scores.per_type.items()]:
            measures = (f"{getattr(counts, measure):.6f}" for measure in MEASURES)
            yield (
                *where,
                convention,
                label,
                *measures,
                counts.gold,
                counts.predicted,
                counts.correct,
                result.run.folder_name,
                "" if isinstance(result.run, GivenPlan) else result.run.posts,
            )


def as_document(report: Report) -> dict[str, Any]:
    """A report as JSON writes it; fractions from 0 to 1, published numbers in per cent as printed."""
    groups = []
    for group in report.results.groups:
        labels = [None, *types_of([group])]
        groups.append(
            {
                "row": group.row.name,
                "quoted": group.row.quoted,
                "trained_on": group.data,
                "scored_on": group.scored,
                "setting": group.setting or None,
                "cells": group.cells,
                "seeds": [result.cell.seed for result in group.results],
                "draws": [result.cell.sampling or None for result in group.results],
                "runs": [result.run.folder_name for result in group.results],
                "scores": {
                    convention.value: {
                        label or "all": {
                            measure: summary.as_dict()
                            for measure in MEASURES
                            if (summary := group.summary(measure, label, convention.value)) is not None
                        }
                        for label in labels
                    }
                    for convention in Convention
                }
                if group.results
                else {},
                "published": {
                    f"{measure}.{label}" if label else measure: value
                    for (measure, label), value in sorted(group.published.items(), key=str)
                },
            }
        )
    return {
        "title": report.title,
        "notes": report.notes,
        "facts": dict(report.facts),
        "groups": groups,
        "comparisons": [
            {
                "first": {"row": pair.first.row.name, "setting": pair.first.setting or None},
                "second": {"row": pair.second.row.name, "setting": pair.second.setting or None},
                "trained_on": pair.first.data,
                "scored_on": pair.first.scored,
                "runs": pair.runs,
                "runs_of_second": pair.other_runs,
                "draws_and_seeds_shared": pair.shared,
                **pair.comparison.as_dict(),
                "p_value_holm": pair.corrected,
            }
            for pair in report.pairs
        ],
        "open": [
            {"cell": cell.title, "state": str(state), "error": problem or None}
            for cell, state, problem in report.results.open_cells
        ],
    }


def write_conll(results: Results, folder: Path) -> list[Written]:
    """Write each run's predictions as a file of columns, a tag a word.

    Args:
        results: The results.
        folder: Where to; a folder a row in it.

    Returns:
        For each file what was written, and what columns could not hold of it.
    """
    taken: set[str] = set()
    written = []
    folders = {row.name: unused_name(file_name(row.name), taken) for row in results.file.table.rows}
    for result in results.results:
        cell = result.cell
        trained = "" if cell.data == result.scored else f"from {cell.data}"
        parts = (result.scored, trained, cell.setting, cell.repeat)
        name = "-".join(file_name(part) for part in parts if part)
        posts = [
            post.as_post(entities)
            for post, entities in zip(results.posts(result), result.predicted, strict=True)
        ]
        path = folder / f"{unused_name(f'{folders[cell.row]}/{name}', taken)}.txt"
        written.append(write_columns(posts, path, overwrite=True))
    return written


def report_name(results: Results) -> str:
    """A name for the files of a report; that of a part of a table is each part's own."""
    name, part = results.file.name, results.file.part
    # Names that are cut, or differ in punctuation alone, are still told apart.
    return f"{name}-{file_name(part)[:60]}-{digest([part])[:6]}" if part else name


def file_name(text: str) -> str:
    """A name of the table as a name of a file; names that differ in punctuation alone may become one."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "row"


def unused_name(name: str, taken: set[str]) -> str:
    """The name of a file, with a number where another has it already.

    Args:
        name: The name, without its suffix.
        taken: The names that are used, to which this one is added; capitals make no difference, as on
            some disks.
    """
    found = name
    for number in itertools.count(2):
        if found.casefold() not in taken:
            break
        found = f"{name}-{number}"
    taken.add(found.casefold())
    return found
