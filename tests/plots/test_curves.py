"""Curves are the means of seeds, bands their standard deviations."""

from __future__ import annotations

import numpy as np
import pytest

from mner.plots.curves import curves_figure, mean_curve

SEEDS = [[(1.0, 0.5), (2.0, 0.7)], [(1.0, 0.6), (2.0, 0.6)], [(1.0, 0.1)]]


def test_mean_and_deviation_are_those_of_numpy():
    epochs, means, deviations = mean_curve(SEEDS)
    assert epochs == [1.0, 2.0]
    assert means == pytest.approx([np.mean([0.5, 0.6, 0.1]), np.mean([0.7, 0.6])])
    assert deviations == pytest.approx([np.std([0.5, 0.6, 0.1], ddof=1), np.std([0.7, 0.6], ddof=1)])


def test_lines_and_bands():
    figure = curves_figure({"several": SEEDS[:2], "one": [[(1.0, 0.2), (2.0, 0.4)]]}, "title")
    (axes,) = figure.axes
    several, one = axes.lines
    assert several.get_xydata().tolist() == [[1.0, pytest.approx(55)], [2.0, pytest.approx(65)]]
    assert one.get_ydata().tolist() == [pytest.approx(20), pytest.approx(40)]
    # A single seed has no band.
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(max(55, 65) + 100 * np.std([0.7, 0.6], ddof=1))
    assert corners[:, 1].min() == pytest.approx(55 - 100 * np.std([0.5, 0.6], ddof=1))
    assert axes.get_xlabel() == "epoch"
    assert "%" in axes.get_ylabel()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["several (2 seeds)", "one"]
    assert "standard deviation" in legend.get_title().get_text()


def test_losses_stand_beside_in_their_own_unit():
    figure = curves_figure({"one": [[(1.0, 0.2)]]}, losses={"one": [[(1.0, 3.5)]]})
    scores, losses = figure.axes
    assert losses.lines[0].get_ydata().tolist() == [3.5]
    assert losses.get_ylabel() == "training loss"
    assert scores.lines[0].get_color() == losses.lines[0].get_color()
