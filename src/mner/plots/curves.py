"""Learning curves: how good a model was after each epoch, over several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from mner.plots.figures import colour, drawing, grid, line, marker, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float]]
"""Points of a run: epoch and value."""


def curves_figure(
    curves: Mapping[str, Sequence[Curve]],
    title: str = "",
    *,
    losses: Mapping[str, Sequence[Curve]] | None = None,
    quantity: str = "F1 on the validation posts (%)",
    repeats: str = "seeds",
) -> Figure:
    """The mean over runs with a band of one standard deviation, and beside it, where given, the losses.

    Args:
        curves: For each series the curves of its runs; fractions from 0 to 1, shown in per cent.
        title: What stands above.
        losses: For each series the training losses of its runs.
        quantity: What the curves are of.
        repeats: In what the runs of a series differ, in the plural.
    """
    with drawing():
        figure = new_figure(10.0 if losses else 6.5, 4.0)
        panels = figure.subplots(1, 2 if losses else 1, squeeze=False)[0]
        several = False
        for number, (name, runs) in enumerate(curves.items()):
            in_percent = [[(epoch, 100 * value) for epoch, value in run] for run in runs]
            several |= _draw(panels[0], number, name, in_percent, repeats)
        panels[0].set_ylabel(quantity)
        if losses:
            for number, name in enumerate(curves):
                _draw(panels[1], number, name, losses.get(name, ()), repeats)
            panels[1].set_ylabel("training loss")
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            grid(axes, "both")
        handles, names = panels[0].get_legend_handles_labels()
        if len(names) > 1 or several:
            note = f"band: standard deviation over {repeats}" if several else None
            # About eleven letters of the legend fit into an inch, and a line is drawn before each name.
            columns = max(1, int(11 * figure.get_figwidth() / (6 + max(map(len, names)))))
            figure.legend(
                handles, names, loc="outside lower center", ncols=min(len(names), columns), title=note
            )
        if title:
            figure.suptitle(title, fontsize="medium")
    return figure


def mean_curve(runs: Sequence[Curve]) -> tuple[list[float], list[float], list[float]]:
    """The mean of several curves and their standard deviation.

    Args:
        runs: The curves; a point need not be in all of them.

    Returns:
        Epochs, means and sample standard deviations, 0 where one curve alone has the epoch.
    """
    at: dict[float, list[float]] = {}
    for run in runs:
        for epoch, value in run:
            at.setdefault(epoch, []).append(value)
    epochs = sorted(at)
    means = [fmean(at[epoch]) for epoch in epochs]
    return epochs, means, [stdev(at[epoch]) if len(at[epoch]) > 1 else 0.0 for epoch in epochs]


def _draw(axes: object, number: int, name: str, runs: Sequence[Curve], repeats: str) -> bool:
    """Draw a series; whether it has a band."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    epochs, means, deviations = mean_curve(runs)
    counted = f"{name} ({len(runs)} {repeats})" if len(runs) > 1 else name
    axes.plot(
        epochs,
        means,
        color=colour(number),
        linestyle=line(number),
        marker=marker(number),
        markersize=4,
        label=counted,
    )
    if len(runs) < 2:
        return False
    lower = [mean - deviation for mean, deviation in zip(means, deviations, strict=True)]
    upper = [mean + deviation for mean, deviation in zip(means, deviations, strict=True)]
    axes.fill_between(epochs, lower, upper, color=colour(number), alpha=0.2, linewidth=0)
    return True
