"""Points are means, bars standard deviations; settings that are no numbers stand side by side."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mner.plots.sensitivity import few_shot_figure, sensitivity_figure


def bars_of(axes, number):
    line, _, (bars,) = axes.containers[number]
    return line.get_xydata(), [segment[:, 1].tolist() for segment in bars.get_segments()]


def test_means_and_deviations():
    scores = {0.5: [0.7], 0.1: [0.5, 0.6, 0.4]}
    figure = sensitivity_figure({"mmavk": scores}, "threshold", "title")
    (axes,) = figure.axes
    points, bars = bars_of(axes, 0)
    assert points.tolist() == [[0.1, pytest.approx(50)], [0.5, pytest.approx(70)]]
    deviation = 100 * np.std([0.5, 0.6, 0.4], ddof=1)
    assert bars[0] == pytest.approx([50 - deviation, 50 + deviation])
    assert bars[1] == pytest.approx([70, 70])
    # Single scores stand faintly behind, where there are several.
    singles = axes.collections[-1].get_offsets()
    assert sorted(singles[:, 1].tolist()) == pytest.approx([40, 50, 60])
    assert axes.get_xlabel().startswith("threshold")


def test_names_stand_side_by_side_and_are_not_joined():
    figure = sensitivity_figure({"a": {"hard": [0.5], "none": [0.6]}, "b": {"hard": [0.4]}}, "filter")
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["hard", "none"]
    first, _ = bars_of(axes, 0)
    second, _ = bars_of(axes, 1)
    assert first[0, 0] != second[0, 0]
    assert abs(first[0, 0] - second[0, 0]) < 0.5
    assert all(container[0].get_linestyle() == "None" for container in axes.containers)


def test_few_posts_are_shown_logarithmically_and_shares_in_per_cent():
    figure = few_shot_figure({"a": {50: [0.3, 0.4], 400: [0.7]}})
    assert figure.axes[0].get_xscale() == "log"
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["50", "400"]
    figure = few_shot_figure({"a": {0.1: [0.3], 0.3: [0.7]}}, share=True)
    points, _ = bars_of(figure.axes[0], 0)
    assert points[:, 0].tolist() == pytest.approx([10, 30])
    assert "%" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("most", [900, 90_000])
def test_many_numbers_of_posts_stand_beside_a_logarithmic_axis_as_numbers(most):
    numbers = np.unique(np.geomspace(100, most, 12).round()).tolist()
    figure = few_shot_figure({"a": {number: [0.5] for number in numbers}})
    figure.draw_without_rendering()
    (axes,) = figure.axes
    shown = [
        label.get_text()
        for which in ("major", "minor")
        for label in axes.get_xticklabels(which=which)
        if label.get_text()
    ]
    assert len(shown) >= 2
    assert all(float(text.replace(",", "")) > 0 for text in shown)


def test_many_numbers_on_a_logarithmic_axis_are_written_as_they_are():
    figure = few_shot_figure({"a": {float(n): [0.5] for n in range(10, 1100, 50)}})
    FigureCanvasAgg(figure).draw()
    ticks = {tick.get_text() for tick in figure.axes[0].get_xticklabels()}
    assert ticks >= {"10", "100", "1000"}
