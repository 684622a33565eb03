"""What a model looks at: maps over the picture, weighed regions, and words by what they read.

The maps of cells are those of CAT-MNER, figure 4: a grid of numbers over the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mner.errors import UsageError
from mner.plots.figures import DIVERGING, HEAT, SEQUENTIAL, colour, drawing, line, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

Box = tuple[float, float, float, float]


def maps_figure(
    picture: Image.Image | NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.floating[Any]]],
    quantity: str,
    title: str = "",
    *,
    columns: int = 4,
) -> Figure:
    """A map of numbers over the picture, one for each word (or type).

    Args:
        picture: The picture (height, width, 3).
        maps: For each name a map (rows, columns) of numbers of 0 or more, top left first.
        quantity: What the numbers are, beside the colours.
        title: What stands above.
        columns: How many pictures stand side by side, the bare one included.

    Raises:
        UsageError: There is no map.
    """
    if not maps:
        raise UsageError("There is nothing to lay over the picture.", expected="at least one map")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    most = max(float(np.max(values)) for values in maps.values()) or 1.0
    rows = math.ceil((1 + len(maps)) / columns)
    columns = min(columns, 1 + len(maps))
    # A panel is 2.3 inches wide; extreme pictures do not make extreme figures.
    tall = 2.3 * min(max(height / width, 0.4), 2.0)
    with drawing():
        figure = new_figure(
            2.3 * columns + 1.0, (tall + 0.3) * rows + (0.4 if title else 0.1), of_pictures=True
        )
        panels = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(panels.flat):
            axes.set_axis_off()
            if place > len(maps):
                continue
            if place == 0:
                axes.imshow(pixels)
                axes.set_title("picture", fontsize="small")
                continue
            name, values = list(maps.items())[place - 1]
            # Light and dark of the picture stay, its colours give way to those of the map.
            axes.imshow(_grey(pixels), cmap="gray", vmin=0, vmax=255)
            axes.imshow(
                values,
                cmap=HEAT,
                vmin=0,
                vmax=most,
                alpha=0.6,
                extent=(-0.5, width - 0.5, height - 0.5, -0.5),
                interpolation="nearest",
                aspect="auto",
            )
            axes.set_xlim(-0.5, width - 0.5)
            axes.set_ylim(height - 0.5, -0.5)
            axes.set_aspect("equal")
            axes.set_title(name, fontsize="small")
        scale = ScalarMappable(Normalize(0, most), HEAT)
        figure.colorbar(scale, ax=panels, label=quantity, shrink=0.85)
        if title:
            figure.suptitle(title, fontsize="medium", wrap=True)
    return figure


def regions_figure(
    picture: Image.Image | NDArray[np.uint8],
    boxes: Mapping[str, Box],
    weights: Mapping[str, float] | None = None,
    title: str = "",
    *,
    quantity: str = "weight",
) -> Figure:
    """The parts of a picture that a model sees, and beside it how much each weighs.

    Args:
        picture: The picture (height, width, 3).
        boxes: For each part left, top, right and bottom as fractions of width and height.
        weights: For each part its weight; without, the parts alone are shown.
        title: What stands above.
        quantity: What the weights are.
    """
    from matplotlib.patches import Rectangle

    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    with drawing():
        figure = new_figure(8.0 if weights else 5.0, 4.2)
        panels = figure.subplots(
            1, 2 if weights else 1, squeeze=False, width_ratios=(1.4, 1)[: 2 if weights else 1]
        )
        axes = panels[0, 0]
        axes.imshow(pixels)
        axes.set_axis_off()
        for number, (name, (left, top, right, bottom)) in enumerate(boxes.items()):
            corner = (left * width - 0.5, top * height - 0.5)
            size = ((right - left) * width, (bottom - top) * height)
            # A white line below the coloured one, so that it is seen on any picture.
            axes.add_patch(Rectangle(corner, *size, facecolor="none", edgecolor="white", linewidth=4.5))
            box = Rectangle(
                corner, *size, facecolor="none", edgecolor=colour(number), linewidth=2.5, label=name
            )
            box.set_linestyle(line(number))  # type: ignore[arg-type]
            axes.add_patch(box)
            # Parts often share a corner, so that their names stand at different ones.
            at_right, at_bottom = number % 4 in (2, 3), number % 4 in (1, 2)
            axes.annotate(
                name,
                ((right if at_right else left) * width, (bottom if at_bottom else top) * height),
                (-4 if at_right else 4, 4 if at_bottom else -4),
                textcoords="offset points",
                annotation_clip=False,
                ha="right" if at_right else "left",
                va="bottom" if at_bottom else "top",
                fontsize="small",
                color="white",
                bbox={"facecolor": colour(number), "edgecolor": "none", "pad": 1.5},
            )
        if weights:
            side = panels[0, 1]
            names = list(boxes)
            bars = side.barh(
                range(len(names)),
                [weights.get(name, 0.0) for name in names],
                color=[colour(number) for number in range(len(names))],
            )
            side.bar_label(bars, fmt="%.2f", padding=2, fontsize="small")
            side.set_yticks(range(len(names)), names)
            side.invert_yaxis()
            side.set_xlabel(quantity)
            side.margins(x=0.15)
        if title:
            figure.suptitle(title, fontsize="medium", wrap=True)
    return figure


def words_figure(
    values: NDArray[np.floating[Any]],
    rows: Sequence[str],
    columns: Sequence[str],
    quantity: str,
    title: str = "",
    *,
    row_name: str = "",
    column_name: str = "",
) -> Figure:
    """A heat map with a word at each column, such as gates by layer, or what words read of a caption.

    Args:
        values: (rows, columns).
        rows: The names of the rows.
        columns: The names of the columns.
        quantity: What the numbers are.
        title: What stands above.
        row_name: What the rows are.
        column_name: What the columns are.
    """
    values = np.atleast_2d(values)
    below = bool((values < 0).any())
    most = float(np.abs(values).max()) or 1.0
    with drawing():
        figure = new_figure(2.6 + 0.34 * len(columns), 1.9 + 0.32 * len(rows))
        axes = figure.subplots()
        image = axes.imshow(
            values,
            aspect="auto",
            cmap=DIVERGING if below else SEQUENTIAL,
            vmin=-most if below else 0,
            vmax=most,
        )
        axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlabel(column_name)
        axes.set_ylabel(row_name)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label=quantity, pad=0.02)
        if title:
            axes.set_title(title, wrap=True)
    return figure


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # ITU-R 601, as Pillow's mode L.
    weighed: NDArray[np.floating[Any]] = pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    return weighed.round().astype(np.uint8)
