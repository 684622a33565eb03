"""How far a model's gates are open: by layer, and by what the words are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mner.plots.figures import INK, colour, drawing, grid, hatch, line, marker, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gates_figure(
    gates: Mapping[str, NDArray[np.floating[Any]]], title: str = "", *, quantity: str = "gate"
) -> Figure:
    """The mean gate of each layer, with one standard deviation over what was looked at.

    Args:
        gates: For each kind of gate (N, layers), a row a post, a word or a cell; their layers may differ in
            number.
        title: What stands above.
        quantity: What the gates are, such as the range in which they are.
    """
    with drawing():
        figure = new_figure(7.0, 4.0)
        axes = figure.subplots()
        kinds = len(gates)
        deepest = 0
        for number, (name, values) in enumerate(gates.items()):
            layers = np.arange(1, values.shape[1] + 1)
            deepest = max(deepest, values.shape[1])
            axes.errorbar(
                layers + 0.05 * (number - (kinds - 1) / 2),
                values.mean(0),
                yerr=values.std(0),
                color=colour(number),
                linestyle=line(number),
                marker=marker(number),
                markersize=5,
                capsize=3,
                linewidth=1.4,
                elinewidth=0.8,
                label=name,
            )
        if any((values < 0).any() for values in gates.values()):
            axes.axhline(0, color=INK, linewidth=0.6, alpha=0.5)
        axes.set_xticks(range(1, deepest + 1))
        axes.set_xlabel("layer\nbars: standard deviation")
        axes.set_ylabel(quantity)
        grid(axes)
        if kinds > 1:
            figure.legend(loc="outside right upper")
        if title:
            axes.set_title(title)
    return figure


def gates_by_type_figure(
    gates: Mapping[str, Mapping[str, Sequence[float]]], title: str = "", *, quantity: str = "gate"
) -> Figure:
    """The spread of gates of words, by the type of the entity in which the word stands.

    Args:
        gates: For each kind of gate its values, by type; a box holds the middle half, whiskers reach
            from the 5th to the 95th percentile.
        title: What stands above.
        quantity: What the gates are.
    """
    types = list(dict.fromkeys(label for of_type in gates.values() for label in of_type))
    width = 0.8 / max(len(gates), 1)
    with drawing():
        figure = new_figure(2.5 + 1.1 * len(types), 4.0)
        axes = figure.subplots()
        for number, (name, of_type) in enumerate(gates.items()):
            places = [place + (number - (len(gates) - 1) / 2) * width for place in range(len(types))]
            boxes = axes.boxplot(
                [list(of_type.get(label, ())) for label in types],
                positions=places,
                widths=0.8 * width,
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                medianprops={"color": INK},
                label=name,
            )
            for box in boxes["boxes"]:
                box.set(facecolor=colour(number), edgecolor=INK, hatch=hatch(number))
            for part in (*boxes["whiskers"], *boxes["caps"]):
                part.set_color(INK)
        axes.set_xticks(range(len(types)), types)
        axes.set_xlabel("type of the entity in which a word stands (O: none)")
        axes.set_ylabel(quantity)
        grid(axes)
        if len(gates) > 1:
            figure.legend(loc="outside right upper")
        if title:
            axes.set_title(title)
    return figure
