"""Scores as tables on the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mner.cli.console import titled_table
from mner.evaluation.scores import Counts, Scores


def score_table(scores: Scores, title: str) -> Table:
    """A table of overall scores and those of each type, which names the convention."""
    table = titled_table(f"{title} (convention {scores.convention})")
    table.add_column("type")
    for column in ("precision", "recall", "F1", "gold", "predicted", "correct"):
        table.add_column(column, justify="right")
    for label, counts in scores.per_type.items():
        table.add_row(Text(label), *_cells(counts))
    table.add_section()
    table.add_row("all", *_cells(scores.overall), style="bold")
    return table


def _cells(counts: Counts) -> tuple[str, ...]:
    percent = (f"{100 * value:.2f}" for value in (counts.precision, counts.recall, counts.f1))
    return (*percent, str(counts.gold), str(counts.predicted), str(counts.correct))
