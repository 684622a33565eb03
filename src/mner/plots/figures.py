"""What all figures share: colours, ink, and how they are saved.

Figures are drawn with one ink on a transparent ground. As SVG the ink is the colour of the text around it, so
that a figure is readable on a light and on a dark page; as a file of its own it follows what the reader's
system asks for. As PNG or PDF it has a white ground, or a dark one where that is asked for.

Colours never stand alone: whoever uses them gives a marker, a hatch or a line style along.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mner.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#8D1AFB", "#84829E", "#EF064C")
"""Colours of series: they differ for people with any colour blindness, and have a contrast of 3 or more with
white and with the dark ground. The first three are of Okabe and Ito (2008), "Color Universal Design"."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")

SEQUENTIAL = "cividis"
"""The map of colours for amounts (Nuñez, Anderton and Renslow, 2018), the same for the colour-blind."""

HEAT = "inferno"
"""The map of colours for amounts that are laid over pictures; it has more contrast with greys."""

DIVERGING = "PuOr"
"""The map of colours for numbers below and above 0."""

INK = "#1b1b1f"
PAPER = "#ffffff"
DARK_INK = "#e8e8ea"
DARK_PAPER = "#16181c"

FORMATS = (".png", ".svg", ".pdf")

# Any: matplotlib types its settings by a list of all their names.
_STYLE: Any = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": "medium",
    "font.size": 10.0,
    "image.cmap": SEQUENTIAL,
    # Words of posts may hold dollar signs; they are no formulas.
    "text.parse_math": False,
    # Text stays text: it can be searched and read aloud, and the browser has letters that matplotlib lacks.
    "svg.fonttype": "none",
    "svg.hashsalt": "mner",
    "hatch.linewidth": 0.6,
}
# Families with letters that the usual one lacks; those that are installed are tried in turn.
_MORE_FAMILIES = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Noto Sans", "Noto Emoji")


def colour(number: int) -> str:
    """The colour of a series; after the last one they come again."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """The marker of a series. Colours and markers together are different for some two dozen series."""
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def line(number: int) -> str:
    """The style of a series' line."""
    return LINES[(number + number // len(COLOURS)) % len(LINES)]


def hatch(number: int) -> str:
    """The hatch of a series' bars."""
    return HATCHES[(number + number // len(COLOURS)) % len(HATCHES)]


@contextmanager
def drawing(purpose: str = "Drawing a figure") -> Iterator[None]:
    """Draw in the style of this project; figures are made inside.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib import font_manager
    except ImportError as error:
        raise MissingExtraError(purpose, "plots") from error
    there = {font.name for font in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *(name for name in _MORE_FAMILIES if name in there)]
    defaults: Any = {**mpl.rcParamsDefault, "backend": mpl.rcParams["backend"]}
    with mpl.rc_context(defaults), mpl.rc_context(_STYLE):
        mpl.rcParams["font.family"] = families
        yield


def new_figure(width: float, height: float, *, of_pictures: bool = False) -> Figure:
    """An empty figure that lays itself out; call it within `drawing`.

    Args:
        width: In inches.
        height: In inches.
        of_pictures: Whether its panels have shapes of their own, and are to stand close together.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="compressed" if of_pictures else "constrained")


def grid(axes: Any, axis: str = "y") -> None:
    """Faint lines behind the data."""
    axes.grid(visible=True, axis=axis, color=INK, alpha=0.15, linewidth=0.8)
    axes.set_axisbelow(True)


def plain_numbers(axis: Any) -> None:
    """Numbers as they are on a logarithmic axis: matplotlib would write formulas, which are not read here.

    Args:
        axis: Of matplotlib, such as `axes.xaxis`; its scale is set already.
    """
    from matplotlib.ticker import LogFormatter, StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    if axis.get_scale() == "log":
        # Between the powers of ten some are named too where the axis is short.
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.4)))


def figure_as_svg(figure: Figure, label: str = "") -> str:
    """A figure as an `svg` element to be put into an HTML page, in the colour of the text around it.

    Args:
        figure: The figure.
        label: What it shows, for those who do not see it.
    """
    svg = _svg(figure)
    # In HTML the name spaces go without saying, and nothing there shall look like an address.
    svg = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", svg, count=2)
    described = f' role="img" aria-label="{escape(label)}"' if label else ' role="img"'
    return svg.replace("<svg", f'<svg{described} style="max-width:100%;height:auto"', 1)


def figure_as_data_uri(figure: Figure, *, dpi: int = 150) -> str:
    """A figure as PNG in a data URI, on white."""
    return "data:image/png;base64," + base64.b64encode(_rendered(figure, ".png", False, dpi)).decode()


def save_figure(figure: Figure, path: str | Path, *, dark: bool = False, dpi: int = 150) -> None:
    """Write a figure to a file.

    Args:
        figure: The figure.
        path: Where to; its suffix says the format: png, svg or pdf.
        dark: Light ink on a dark ground; SVG follows the reader's system instead, whatever this is.
        dpi: Dots an inch, for PNG.

    Raises:
        UsageError: The format is another one, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"A figure cannot be written as {path.name}.",
            expected="a name that ends in " + " or ".join(FORMATS),
            got=path.suffix or "no suffix",
        )
    content = _rendered(figure, path.suffix.lower(), dark, dpi)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"The figure {path} cannot be written.", got=str(error)) from error


def _rendered(figure: Figure, suffix: str, dark: bool, dpi: int) -> bytes:
    if suffix == ".svg":
        style = (
            f"<style>:root{{color:{INK};background:{PAPER}}}"
            f"@media (prefers-color-scheme:dark){{:root{{color:{DARK_INK};background:{DARK_PAPER}}}}}</style>"
        )
        head, end, rest = _svg(figure).partition(">")
        return ('<?xml version="1.0" encoding="utf-8"?>\n' + head + end + style + rest).encode()
    file = io.BytesIO()
    with _inked(figure, DARK_INK if dark else INK):
        # Dates and versions would make equal figures different files.
        undated = {"Software": None} if suffix == ".png" else {"CreationDate": None, "Producer": None}
        with drawing():
            figure.savefig(
                file,
                format=suffix[1:],
                dpi=dpi,
                facecolor=DARK_PAPER if dark else PAPER,
                metadata=undated,
            )
    return file.getvalue()


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    with drawing():
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    return svg.replace(INK, "currentColor")


_COLOUR_KINDS = ("color", "edgecolor", "facecolor", "markeredgecolor", "markerfacecolor")


@contextmanager
def _inked(figure: Figure, ink: str) -> Iterator[None]:
    """The figure with another ink, and as it was afterwards."""
    from matplotlib.colors import to_hex

    changed = []
    if ink != INK:
        for artist, kind in product(figure.findobj(), _COLOUR_KINDS):
            get, change = getattr(artist, f"get_{kind}", None), getattr(artist, f"set_{kind}", None)
            if get is None or change is None:
                continue
            found = get()
            if isinstance(found, str | tuple) and found != "none" and to_hex(found) == INK:
                changed.append((change, found))
                change(to_hex(ink) if isinstance(found, str) else (*_rgb(ink), *found[3:]))
    try:
        yield
    finally:
        for change, found in changed:
            change(found)


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)
