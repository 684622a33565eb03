"""The plot of `mner probe`: F1 with the own, another and no picture."""

from __future__ import annotations

from pathlib import Path

from mner.errors import MissingExtraError, UsageError
from mner.evaluation.probe_swapping import SwapResult

# Blue, orange and grey of a palette that colour-blind people can tell apart.
_COLOURS = {"own": "#0072B2", "swapped": "#E69F00", "none": "#999999"}
_NAMES = {"own": "own picture", "swapped": "another post's", "none": "none"}


def plot_swaps(result: SwapResult, path: str | Path, title: str = "") -> None:
    """Draw the F1 of each mode with its interval, over all types and for each type.

    Args:
        result: What was measured.
        path: Where to; its suffix says the format (png, pdf, svg).
        title: What stands above.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: The format is unknown or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("Drawing a plot", "plots") from error
    types = sorted({label for scores in result.scores.values() for label in scores.per_type})
    figure = Figure(figsize=(2.5 + 1.2 * (1 + len(types)), 4), layout="constrained")
    axes = figure.subplots()
    modes = list(result.scores)
    width = 0.8 / len(modes)
    for place, mode in enumerate(modes):
        interval, scores = result.intervals[mode], result.scores[mode]
        heights = [
            interval.value,
            *(scores.per_type[label].f1 if label in scores.per_type else 0.0 for label in types),
        ]
        lefts = [number + (place - (len(modes) - 1) / 2) * width for number in range(len(heights))]
        axes.bar(lefts, [100 * one for one in heights], width, color=_COLOURS[mode], label=_NAMES[mode])
        axes.errorbar(
            lefts[0],
            100 * interval.value,
            yerr=[[100 * (interval.value - interval.low)], [100 * (interval.high - interval.value)]],
            color="black",
            capsize=3,
        )
    axes.set_xticks(range(1 + len(types)), ["all", *types])
    axes.set_ylabel("F1")
    axes.set_ylim(0, 100)
    level = result.intervals["own"].level
    axes.set_xlabel(
        f"{result.posts} posts; bars on 'all': {100 * level:g} % bootstrap intervals", fontsize="small"
    )
    if title:
        axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=len(modes), frameon=False)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"The plot {path} cannot be written.", got=str(error)) from error
