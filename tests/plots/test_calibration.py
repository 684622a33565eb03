"""The diagram's bars and its error against numpy alone."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mner.evaluation.calibration import calibration
from mner.plots.calibration import reliability_figure


def test_bars_counts_and_error():
    random = np.random.default_rng(3)
    scores = random.uniform(0.2, 1, 400)
    right = random.uniform(size=400) < scores**2
    figure = reliability_figure(calibration(scores.tolist(), right.tolist(), bins=5), "title")
    axes, below = figure.axes
    shares, gaps = axes.containers
    error = 0.0
    bars = {round(patch.get_x(), 6): patch for patch in shares.patches}
    counts = {round(patch.get_x(), 6): patch.get_height() for patch in below.containers[0].patches}
    gap_of = {round(patch.get_x(), 6): patch for patch in gaps.patches}
    for lower in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (scores > lower) & (scores <= lower + 0.2)
        if not inside.any():
            assert lower not in bars
            continue
        share, meant = 100 * right[inside].mean(), 100 * scores[inside].mean()
        error += inside.mean() * abs(share - meant)
        assert bars[lower].get_height() == pytest.approx(share)
        assert gap_of[lower].get_y() + gap_of[lower].get_height() == pytest.approx(meant)
        assert counts[lower] == inside.sum()
    assert f"calibration error {error:.2f} %" in axes.get_title()
    assert "400 entities" in axes.get_title()
    assert below.get_xlabel() == "confidence"
    assert axes.get_ylim() == (0, 100)


def test_counts_are_numbers_and_all_words_are_in_the_figure():
    random = np.random.default_rng(3)
    scores = random.uniform(0.2, 1, 4000)
    figure = reliability_figure(
        calibration(scores.tolist(), (scores > 0.4).tolist()), "A row, a setting, seed 1"
    )
    FigureCanvasAgg(figure).draw()
    axes, below = figure.axes
    # In style while being drawn: formulas are not read, so none may be written.
    assert {tick.get_text() for tick in below.get_yticklabels()} >= {"1", "10", "100"}
    around = axes.title.get_window_extent()
    assert around.x0 >= 0
    assert around.x1 <= figure.bbox.x1


def test_nothing_predicted_is_an_empty_diagram():
    figure = reliability_figure(calibration([], []))
    assert not figure.axes[0].containers[0].patches
    assert "0 entities" in figure.axes[0].get_title()


def test_numbers_beside_the_axes_are_numbers_and_the_title_has_room():
    scores = np.linspace(0.05, 0.95, 3000)
    said = "a name of a row that is rather long, on twitter2017, seed 1"
    figure = reliability_figure(calibration(scores.tolist(), (scores > 0.5).tolist()), said)
    figure.draw_without_rendering()
    axes, below = figure.axes
    assert [label.get_text() for label in below.get_yticklabels()] == ["0", "1", "10", "100", "1,000"][
        : len(below.get_yticklabels())
    ]
    within = axes.title.get_window_extent()
    assert within.x0 >= 0
    assert within.x1 <= figure.bbox.x1
