"""The reliability diagram: of the entities predicted with 0.8, are eight in ten right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mner.evaluation.calibration import Calibration
from mner.plots.figures import COLOURS, INK, drawing, grid, hatch, new_figure, plain_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_figure(found: Calibration, title: str = "") -> Figure:
    """In each bin the share of entities that is right, beside the mean confidence, and how many there are.

    Args:
        found: The bins.
        title: What stands above.
    """
    filled = [bin for bin in found.bins if bin.count]
    with drawing():
        figure = new_figure(5.5, 5.8)
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1.2))
        lefts = [bin.lower for bin in filled]
        # A bin of equal scores would have no width to be seen.
        widths = [max(bin.upper - bin.lower, 0.006) for bin in filled]
        right = [100 * (bin.accuracy or 0.0) for bin in filled]
        meant = [100 * (bin.confidence or 0.0) for bin in filled]
        axes.bar(
            lefts, right, widths, align="edge", color=COLOURS[0], edgecolor=INK, linewidth=0.5, label="right"
        )
        axes.bar(
            lefts,
            [said - share for said, share in zip(meant, right, strict=True)],
            widths,
            bottom=right,
            align="edge",
            facecolor="none",
            edgecolor=COLOURS[1],
            hatch=hatch(1),
            linewidth=0.5,
            label="gap to the mean confidence",
        )
        axes.plot(
            [bin.confidence for bin in filled],
            right,
            color=INK,
            linestyle="none",
            marker="o",
            markersize=4,
            label="bin at its mean confidence",
        )
        axes.plot([0, 1], [0, 100], color=INK, linestyle=":", linewidth=1, label="as many as said")
        axes.set_ylabel("entities that are right (%)")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 100)
        grid(axes)
        axes.legend(loc="upper left", fontsize="small")
        below.bar(
            lefts,
            [bin.count for bin in filled],
            widths,
            align="edge",
            color=COLOURS[4],
            edgecolor=INK,
            linewidth=0.5,
        )
        below.set_yscale("symlog", linthresh=1)
        plain_numbers(below.yaxis)
        below.set_ylim(bottom=0)
        below.set_ylabel("entities (log)")
        below.set_xlabel("confidence")
        brier = "" if found.brier is None else f"Brier score {found.brier:.3f}, "
        # In one line it would be wider than the figure.
        said = f"expected calibration error {100 * found.expected_error:.2f} %\n{brier}{found.count} entities"
        axes.set_title(f"{title}\n{said}" if title else said, fontsize="small")
    return figure
