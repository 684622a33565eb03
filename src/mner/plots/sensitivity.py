"""How scores change with a setting, or with the number of posts to train on; error bars over runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from mner.plots.figures import colour, drawing, grid, line, marker, new_figure, plain_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Setting = float | str | bool
Series = Mapping[Setting, Sequence[float]]
"""For each value of a setting the scores of its runs, fractions from 0 to 1."""


def sensitivity_figure(
    series: Mapping[str, Series],
    setting: str,
    title: str = "",
    *,
    quantity: str = "F1 on the test posts (%)",
    logarithmic: bool = False,
    repeats: str = "seeds",
) -> Figure:
    """Means with a standard deviation, and behind them faintly each single score.

    Args:
        series: For each series its scores by the setting's value.
        setting: What the setting is called, with its unit.
        title: What stands above.
        quantity: What the scores are; they are shown in per cent.
        logarithmic: Whether the setting's axis is logarithmic. Only where all its values are numbers.
        repeats: In what the runs of a value differ, in the plural.
    """
    values = list(dict.fromkeys(value for scores in series.values() for value in scores))
    named = any(isinstance(value, str | bool) for value in values)
    numbers = [float(value) for value in values if not isinstance(value, str)]
    place: dict[Setting, float] = (
        {value: float(index) for index, value in enumerate(values)}
        if named
        else dict(zip(values, numbers, strict=True))
    )
    with drawing():
        figure = new_figure(6.5, 4.0)
        axes = figure.subplots()
        several = False
        for number, (name, scores) in enumerate(series.items()):
            shift = 0.06 * (number - (len(series) - 1) / 2) if named else 0.0
            points = sorted(
                (place[value] + shift, [100 * one for one in found]) for value, found in scores.items()
            )
            several |= any(len(found) > 1 for _, found in points)
            axes.errorbar(
                [x for x, _ in points],
                [fmean(found) for _, found in points],
                yerr=[stdev(found) if len(found) > 1 else 0.0 for _, found in points],
                color=colour(number),
                linestyle="none" if named else line(number),
                marker=marker(number),
                markersize=5,
                capsize=3,
                label=name,
            )
            single = [(x, one) for x, found in points if len(found) > 1 for one in found]
            axes.scatter(
                [x for x, _ in single], [one for _, one in single], color=colour(number), s=8, alpha=0.35
            )
        if logarithmic and not named:
            axes.set_xscale("log")
            plain_numbers(axes.xaxis)
        if named or len(values) <= 10:
            ticks = sorted(place, key=lambda value: place[value])
            axes.set_xticks([place[value] for value in ticks], [_shown(value) for value in ticks])
            axes.minorticks_off()
        if named:
            axes.set_xlim(-0.6, len(values) - 0.4)
        axes.set_xlabel(setting + (f"\nbars: standard deviation over {repeats}" if several else ""))
        axes.set_ylabel(quantity)
        grid(axes)
        if len(series) > 1:
            axes.legend()
        if title:
            axes.set_title(title)
    return figure


def few_shot_figure(
    series: Mapping[str, Series], title: str = "", *, share: bool = False, repeats: str = "seeds"
) -> Figure:
    """Scores by the number of posts that were trained on.

    Args:
        series: For each system its scores by the number, or share from 0 to 1, of posts.
        title: What stands above.
        share: Whether the values are shares; numbers are shown on a logarithmic axis.
        repeats: In what the runs of a value differ, in the plural.
    """
    if share:
        in_percent: dict[str, Series] = {
            name: {round(100 * float(value), 6): found for value, found in scores.items()}
            for name, scores in series.items()
        }
        return sensitivity_figure(in_percent, "share of the training posts (%)", title, repeats=repeats)
    return sensitivity_figure(series, "training posts", title, logarithmic=True, repeats=repeats)


def _shown(value: Setting) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
