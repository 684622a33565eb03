"""Maps lie over the picture as the arrays are; boxes stand where their fractions say."""

from __future__ import annotations

import numpy as np
import pytest

from mner.errors import UsageError
from mner.plots.attention import maps_figure, regions_figure, words_figure

PICTURE = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_each_map_lies_over_the_whole_picture():
    maps = {"Ada": np.arange(16.0).reshape(4, 4) / 20, "$MSFT": np.zeros((4, 4))}
    figure = maps_figure(PICTURE, maps, "attention", "title")
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert set(panels) == {"picture", "Ada", "$MSFT"}
    assert np.array_equal(panels["picture"].images[0].get_array(), PICTURE)
    grey, heat = panels["Ada"].images
    assert np.array_equal(heat.get_array(), maps["Ada"])
    assert heat.get_extent() == [-0.5, 59.5, 39.5, -0.5]
    assert grey.get_array().shape == (40, 60)
    # One scale for all, so that words can be compared.
    assert {panels[name].images[1].get_clim() for name in maps} == {(0.0, 0.75)}
    assert any(axes.get_ylabel() == "attention" for axes in figure.axes)


def test_more_maps_than_columns_go_on_below_and_none_is_an_error():
    maps = {str(number): np.ones((2, 2)) for number in range(6)}
    figure = maps_figure(PICTURE, maps, "saliency", columns=3)
    assert {axes.get_title() for axes in figure.axes} >= {"picture", *maps}
    with pytest.raises(UsageError, match="nothing to lay over"):
        maps_figure(PICTURE, {}, "saliency")


def test_regions_stand_where_they_are_and_weigh_what_they_weigh():
    boxes = {"whole picture": (0.0, 0.0, 1.0, 1.0), "region 1": (0.5, 0.25, 1.0, 0.75)}
    weights = {"whole picture": 0.7, "region 1": 0.3}
    figure = regions_figure(PICTURE, boxes, weights, quantity="gate")
    picture, side = figure.axes
    drawn = {patch.get_label(): patch for patch in picture.patches if patch.get_label() in boxes}
    box = drawn["region 1"]
    assert box.get_xy() == (29.5, 9.5)
    assert (box.get_width(), box.get_height()) == (30.0, 20.0)
    assert [patch.get_width() for patch in side.patches] == [0.7, 0.3]
    assert side.get_xlabel() == "gate"
    assert [tick.get_text() for tick in side.get_yticklabels()] == list(boxes)
    assert len(regions_figure(PICTURE, boxes).axes) == 1


@pytest.mark.parametrize("lowest", [0.0, -0.5])
def test_words_by_what_they_read(lowest):
    values = np.array([[lowest, 0.5, 1.0], [0.2, 0.3, 0.4]])
    figure = words_figure(values, ["a", "b"], ["x", "y", "z"], "gate", row_name="layer")
    axes = figure.axes[0]
    assert np.array_equal(axes.images[0].get_array(), values)
    # Below and above 0 get different colours, with 0 between them.
    assert axes.images[0].get_clim() == ((-1.0, 1.0) if lowest else (0.0, 1.0))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["x", "y", "z"]
    assert axes.get_ylabel() == "layer"
