"""Figures of errors: which types are taken for which, and how many errors of each class there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mner.evaluation.errors import Confusion, ErrorClass, ErrorReport
from mner.plots.figures import INK, SEQUENTIAL, colour, drawing, grid, hatch, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_figure(found: Confusion, title: str = "") -> Figure:
    """A heat map of types: a row a gold type, a column a predicted type, in each cell the number of spans.

    The colour is the share of the row, so that rare types can be read beside frequent ones.

    Args:
        found: The confused types.
        title: What stands above.
    """
    names, matrix = found.names, found.matrix
    totals = matrix.sum(1, keepdims=True)
    shares = np.divide(100.0 * matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    # A span that is in neither is no span; that corner is not a count of anything.
    shares[-1, -1] = np.nan
    size = 2.4 + 0.55 * len(names)
    with drawing():
        figure = new_figure(size + 1.2, size)
        axes = figure.subplots()
        image = axes.imshow(shares, vmin=0, vmax=100, cmap=SEQUENTIAL)
        for (row, column), many in np.ndenumerate(matrix):
            text = "" if row == column == len(names) - 1 else str(many)
            ink = "black" if shares[row, column] > 50 else "white"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize="small")
        turn: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(len(names)), names, **(turn if max(map(len, names)) > 5 else {}))
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted type (none: missed)")
        axes.set_ylabel("gold type (none: spurious)")
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="share of the row (%)", shrink=0.8)
        if title:
            axes.set_title(title)
    return figure


def error_figure(
    counts: Mapping[str, Mapping[str, int]], title: str = "", *, stacked: bool = False
) -> Figure:
    """Bars of error classes, one series a run or a type.

    Args:
        counts: For each series, by its name, how many errors of each class there are.
        title: What stands above.
        stacked: Whether series stand on one another, as types of one run, or side by side, as runs.
    """
    classes = [kind.value for kind in ErrorClass]
    places = np.arange(len(classes))
    width = 0.7 if stacked else 0.8 / max(len(counts), 1)
    bottoms = np.zeros(len(classes))
    with drawing():
        figure = new_figure(7.0, 4.0)
        axes = figure.subplots()
        for number, (name, of_class) in enumerate(counts.items()):
            heights = np.array([of_class.get(kind, 0) for kind in classes])
            lefts = places if stacked else places + (number - (len(counts) - 1) / 2) * width
            bars = axes.bar(
                lefts,
                heights,
                width,
                bottom=bottoms if stacked else None,
                color=colour(number),
                hatch=hatch(number),
                edgecolor=INK,
                linewidth=0.5,
                label=name,
            )
            if stacked:
                bottoms += heights
            else:
                axes.bar_label(bars, fontsize="x-small", padding=1)
        if stacked:
            for place, total in zip(places, bottoms, strict=True):
                axes.annotate(
                    f"{total:.0f}",
                    (place, total),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize="small",
                )
        axes.set_xticks(places, classes)
        axes.set_ylabel("entities")
        axes.margins(y=0.1)
        grid(axes)
        if len(counts) > 1:
            axes.legend(title="type" if stacked else None)
        if title:
            axes.set_title(title)
    return figure


def errors_by_type(report: ErrorReport) -> dict[str, dict[str, int]]:
    """For each type how many errors of each class there are, as `error_figure` takes it."""
    counts = report.counts()
    return {label: {kind.value: of[label] for kind, of in counts.items()} for label in report.labels}


def errors_of_runs(reports: Mapping[str, ErrorReport]) -> dict[str, dict[str, int]]:
    """For each run how many errors of each class there are, as `error_figure` takes it."""
    return {
        name: {kind.value: sum(of.values()) for kind, of in report.counts().items()}
        for name, report in reports.items()
    }
