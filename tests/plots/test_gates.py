"""Gates by layer are means with deviations; by type they are quantiles."""

from __future__ import annotations

import numpy as np
import pytest

from mner.plots.gates import gates_by_type_figure, gates_figure


def test_means_and_deviations_of_layers():
    values = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    figure = gates_figure({"cells": values, "words": values[:, :2]}, quantity="gate")
    (axes,) = figure.axes
    line, _, (bars,) = axes.containers[0]
    assert line.get_ydata() == pytest.approx(values.mean(0))
    for number, segment in enumerate(bars.get_segments()):
        mean, deviation = values[:, number].mean(), values[:, number].std()
        assert segment[:, 1] == pytest.approx([mean - deviation, mean + deviation])
    assert len(axes.containers[1][0].get_ydata()) == 2
    assert axes.get_xticks().tolist() == [1, 2, 3]
    assert axes.get_xlabel().startswith("layer")
    assert axes.get_ylabel() == "gate"


def test_boxes_of_types_hold_the_middle_half():
    values = {"PER": list(np.linspace(0, 1, 101)), "O": [0.25, 0.5, 0.75], "LOC": []}
    figure = gates_by_type_figure({"text gate": values})
    (axes,) = figure.axes
    box = axes.patches[0].get_path().vertices[:, 1]
    assert (box.min(), box.max()) == pytest.approx((0.25, 0.75))
    medians = [line for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert any(line.get_ydata()[0] == pytest.approx(0.5) for line in medians)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["PER", "O", "LOC"]
