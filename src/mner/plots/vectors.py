"""The vectors of entities in three dimensions, as a page to turn and zoom (as MGIPS-CL, figure 11)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mner.errors import DataError, MissingExtraError
from mner.plots.figures import DARK_INK, DARK_PAPER, INK, PAPER, colour

# Of plotly's symbols in three dimensions those that are told apart when they are small.
_SYMBOLS = ("circle", "square", "diamond", "circle-open", "square-open", "diamond-open", "cross", "x")
_LONGEST_HOVER = 60

LEAST_VECTORS = 5
"""Fewer vectors than this cannot be laid out."""


def laid_out(
    vectors: NDArray[np.floating[Any]], *, dimensions: int = 3, perplexity: float = 30.0, seed: int = 1
) -> NDArray[np.float32]:
    """Vectors in few dimensions, neighbours kept (t-SNE; van der Maaten and Hinton, 2008).

    Distances between far groups mean nothing, nor do the axes.

    Args:
        vectors: (N, d).
        dimensions: How many there are afterwards.
        perplexity: About how many neighbours each vector is laid beside; fewer where there are few vectors.
        seed: Decides what is random.

    Returns:
        (N, dimensions).

    Raises:
        DataError: There are too few vectors.
        MissingExtraError: scikit-learn is not installed.
    """
    if len(vectors) < LEAST_VECTORS:
        raise DataError(
            "There are too few entities to lay them out.",
            expected=f"{LEAST_VECTORS} or more",
            got=str(len(vectors)),
        )
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingExtraError("Laying vectors out", "plots") from error
    method = TSNE(
        dimensions,
        perplexity=min(perplexity, (len(vectors) - 1) / 3),
        init="pca" if min(vectors.shape) > dimensions else "random",
        # The usual rate (Belkina et al. 2019; the exaggeration is 12) without the library's floor of 50, with
        # which a few hundred points fly apart in three dimensions.
        learning_rate=len(vectors) / 48,
        random_state=seed,
    )
    points: NDArray[np.float32] = method.fit_transform(np.asarray(vectors, dtype=np.float32))
    return points


def vectors_page(
    points: NDArray[np.floating[Any]],
    labels: Sequence[str],
    mentions: Sequence[str],
    posts: Sequence[str],
    title: str,
) -> str:
    """A page with a point an entity: its colour and symbol tell the type; pointing at it, what it is.

    The page holds all it needs and opens without a network.

    Args:
        points: (N, 3).
        labels: The type of each.
        mentions: The text of each.
        posts: The text of the post of each.
        title: What stands above.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise MissingExtraError("Drawing vectors", "plots") from error
    figure = graph_objects.Figure()
    for number, label in enumerate(sorted(set(labels))):
        chosen = [index for index, one in enumerate(labels) if one == label]
        figure.add_scatter3d(
            **dict(zip("xyz", (points[chosen, axis].tolist() for axis in range(3)), strict=True)),
            mode="markers",
            name=f"{escape(label)} ({len(chosen)})",
            marker={
                "size": 4,
                "opacity": 0.85,
                "color": colour(number),
                "symbol": _SYMBOLS[(number + number // 6) % len(_SYMBOLS)],
            },
            hovertext=[
                f"<b>{escape(mentions[index])}</b> ({escape(label)})<br>{_folded(posts[index])}"
                for index in chosen
            ],
            hoverinfo="text",
        )
    axis = {"showticklabels": False, "title": "", "showspikes": False, "backgroundcolor": "rgba(0,0,0,0)"}
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "color": INK},
        scene={name: {**axis, "gridcolor": "rgba(128,128,128,.4)"} for name in ("xaxis", "yaxis", "zaxis")},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"itemsizing": "constant", "x": 0.01, "y": 0.99},
        hoverlabel={"align": "left"},
    )
    drawing = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        include_mathjax=False,
        default_width="100%",
        default_height="100%",
        div_id="vectors",
        config={"displaylogo": False, "responsive": True, "plotlyServerURL": ""},
        post_script=_FOLLOW_THEME,
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<p>t-SNE: neighbours are alike; axes and far distances mean nothing. "
        "Drag to turn, scroll to zoom, click a type to hide it.</p>\n"
        f"<main>{drawing}</main>\n</body>\n</html>\n"
    )


def _folded(text: str) -> str:
    """A text for a label: escaped, in lines of limited length."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= _LONGEST_HOVER:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "<br>".join(map(escape, lines))


_STYLE = f"""
:root {{ color-scheme: light dark; --ink: {INK}; --paper: {PAPER}; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: {DARK_INK}; --paper: {DARK_PAPER}; }} }}
html, body {{ height: 100%; margin: 0; }}
body {{ display: flex; flex-direction: column; font: 1rem/1.4 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }}
h1 {{ font-size: 1.15rem; margin: .8rem 1rem 0; }} p {{ margin: .2rem 1rem .4rem; opacity: .8; }}
main {{ flex: 1; min-height: 20rem; }} main > div {{ height: 100%; }}
"""

_FOLLOW_THEME = (
    "const theme = matchMedia('(prefers-color-scheme: dark)');"
    "const follow = () => Plotly.relayout('{plot_id}', {'font.color': theme.matches ? "
    + json.dumps(DARK_INK)
    + " : "
    + json.dumps(INK)
    + "});"
    "theme.addEventListener('change', follow); follow();"
)
