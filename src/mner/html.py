"""Posts with their entities as a self-contained HTML page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mner.errors import UsageError
from mner.posts import Entity, Post

# Backgrounds on which the text, dark on light and light on dark, keeps a contrast of 4.5 or more.
LIGHT_COLOURS = ("#cfe8ff", "#d8f5d0", "#ffe3c2", "#f3d6f5", "#fff3b0", "#ffd6d6", "#d6f0ee", "#e3ddff")
DARK_COLOURS = ("#0b4a77", "#205a16", "#7a4300", "#6a2470", "#665300", "#7c2222", "#0e5752", "#403088")

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1.05rem/1.7 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
p.post { margin: 1.1rem 0; overflow-wrap: anywhere; }
mark { color: inherit; border-radius: .35em; padding: .1em .3em; }
mark small { font-size: .7em; font-weight: 600; margin-left: .4em; opacity: .85; white-space: nowrap; }
ul.legend { list-style: none; padding: 0; display: flex; gap: .8rem; flex-wrap: wrap; }
"""


def type_classes(labels: Sequence[str]) -> tuple[dict[str, str], str]:
    """The CSS class of each type, and the style that gives the classes their colours in light and in dark.

    Args:
        labels: The types; after the eighth, colours come again.
    """
    classes = {label: f"type{number}" for number, label in enumerate(labels)}
    light, dark = (
        "".join(f".{name}{{background:{colours[i % 8]}}}" for i, name in enumerate(classes.values()))
        for colours in (LIGHT_COLOURS, DARK_COLOURS)
    )
    return classes, f"{light}@media (prefers-color-scheme: dark) {{{dark}}}"


def entity_markup(
    text: str,
    entities: Iterable[Entity],
    classes: Mapping[str, str],
    remark: Callable[[Entity], str] | None = None,
) -> str:
    """A text as HTML with its entities marked.

    Args:
        text: The text.
        entities: Its entities, not overlapping, by ascending start.
        classes: The CSS class of each type.
        remark: What stands behind an entity's type and score.
    """
    parts = []
    position = 0
    for entity in entities:
        parts.append(html.escape(text[position : entity.start]))
        score = "" if entity.score is None else f" {entity.score:.2f}"
        more = html.escape(remark(entity)) if remark is not None else ""
        parts.append(
            f'<mark class="{classes[entity.label]}">{html.escape(text[entity.start : entity.end])}'
            f"<small>{html.escape(entity.label)}{score}{more}</small></mark>"
        )
        position = entity.end
    parts.append(html.escape(text[position:]))
    return "".join(parts)


def page(posts: Sequence[tuple[Post, Sequence[Entity]]], title: str) -> str:
    """A whole page of posts with their entities.

    Args:
        posts: Each post with its entities, not overlapping, by ascending start.
        title: What stands above them.
    """
    labels = sorted({entity.label for _, entities in posts for entity in entities})
    classes, _ = type_classes(labels)
    legend = "".join(
        f'<li><mark class="{name}">{html.escape(label)}</mark></li>' for label, name in classes.items()
    )
    body = "\n".join(
        f'<p class="post" dir="auto">{entity_markup(post.text, entities, classes)}</p>'
        for post, entities in posts
    )
    return document(title, f'<ul class="legend">{legend}</ul>\n{body}', labels)


def document(title: str, body: str, labels: Sequence[str] = (), style: str = "") -> str:
    """A whole page around a body.

    Args:
        title: What stands above.
        body: HTML.
        labels: The types whose classes get their colours.
        style: More CSS.
    """
    _, colours = type_classes(labels)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>{_STYLE}{style}{colours}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def write_page(path: Path, page: str) -> None:
    """Write an HTML page, and the folder it lies in.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A lone surrogate, which JSON may bring, has no place in UTF-8.
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"The page {path} cannot be written.", got=str(error)) from error
