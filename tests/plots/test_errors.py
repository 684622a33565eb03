"""Bars are as high as the counts, the heat map is the matrix."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mner.evaluation.errors import ErrorClass, confusion, find_errors
from mner.plots.errors import confusion_figure, error_figure, errors_by_type, errors_of_runs
from mner.posts import Entity

TEXT = "abcdefghijklmnop"


def entity(start, end, label):
    return Entity(TEXT[start:end], label, start, end)


GOLD = [[entity(0, 2, "PER"), entity(3, 5, "LOC"), entity(6, 9, "ORG")], [entity(0, 4, "PER")]]
SAID = [[entity(0, 2, "LOC"), entity(3, 5, "LOC"), entity(6, 8, "ORG")], [entity(6, 8, "ORG")]]


def heights(figure):
    """For each series by its name the heights of its bars."""
    (axes,) = figure.axes
    return {bars.get_label(): [patch.get_height() for patch in bars.patches] for bars in axes.containers}


def test_bars_of_types_are_stacked_counts():
    report = find_errors(GOLD, SAID)
    figure = error_figure(errors_by_type(report), "a title", stacked=True)
    counts = report.counts()
    assert heights(figure) == {
        label: [counts[kind][label] for kind in ErrorClass] for label in ("LOC", "ORG", "PER")
    }
    # Each bar begins where the one below ends.
    (axes,) = figure.axes
    reached = np.zeros(len(ErrorClass))
    for bars in axes.containers:
        assert [patch.get_y() for patch in bars.patches] == reached.tolist()
        reached += [patch.get_height() for patch in bars.patches]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [kind.value for kind in ErrorClass]
    assert axes.get_ylabel() == "entities"
    assert axes.get_title() == "a title"


def test_bars_of_runs_stand_side_by_side():
    reports = {"one": find_errors(GOLD, SAID), "other": find_errors(GOLD, GOLD)}
    figure = error_figure(errors_of_runs(reports))
    assert heights(figure) == {"one": [1, 1, 1, 1, 0], "other": [0, 0, 0, 0, 0]}
    (axes,) = figure.axes
    spans = sorted(
        (patch.get_x(), patch.get_x() + patch.get_width())
        for bars in axes.containers
        for patch in bars.patches
    )
    assert all(left[1] <= right[0] + 1e-9 for left, right in pairwise(spans))


def test_the_heat_map_is_the_matrix_in_shares_with_counts_written_in():
    found = confusion(GOLD, SAID)
    figure = confusion_figure(found)
    axes = figure.axes[0]
    shown = axes.images[0].get_array().filled(np.nan)
    for row in range(4):
        total = found.matrix[row].sum()
        for column in range(4):
            if (row, column) == (3, 3):
                assert np.isnan(shown[row, column])
            else:
                share = 100 * found.matrix[row, column] / total if total else 0
                assert shown[row, column] == pytest.approx(share)
    written = {(text.get_position()): text.get_text() for text in axes.texts}
    assert written == {
        (column, row): str(found.matrix[row, column]) if (row, column) != (3, 3) else ""
        for row in range(4)
        for column in range(4)
    }
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["LOC", "ORG", "PER", "none"]
