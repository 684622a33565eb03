"""What the page shows of a post: HTML alone, no script, nothing loaded from elsewhere.

Entities are labels of radio buttons where the recogniser can show where it looked: choosing one, by mouse or
by the arrow keys, lays its look over the picture. Style sheets do the rest (`page.css`).
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mner.html import DARK_COLOURS, LIGHT_COLOURS
from mner.posts import Entity, Region
from mner.serving.explaining import Explanation, Look
from mner.serving.refusals import Refusal
from mner.serving.service import Recognised

INK_LIGHT, INK_DARK = "#1b1b1f", "#f4f4f6"
"""The text on the colours of entities, in light and in dark."""

# The look of an entity, from nothing to all of it.
_HEAT = (255, 96, 0)
_STRONGEST = 0.72
# Under a box one still wants to read.
_BOX_STRONGEST = 0.45
_SHOWN_SIDE = 720
_COLOURS = len(LIGHT_COLOURS)


def style(labels: Sequence[str]) -> str:
    """The style sheet of the page.

    Args:
        labels: The types that can be recognised, each of which has a colour.
    """
    rules = [(Path(__file__).with_name("page.css")).read_text(encoding="utf-8")]
    rules.append(f":root{{--mner-ink:{INK_LIGHT}}} .dark{{--mner-ink:{INK_DARK}}}")
    for number in range(min(len(labels), _COLOURS)):
        rules.append(f".mner .type{number}{{background:{LIGHT_COLOURS[number]}}}")
        rules.append(f".dark .mner .type{number}{{background:{DARK_COLOURS[number]}}}")
    rules.extend(
        f".mner:has(.pick{number}:checked) .look{number}{{display:block}}" for number in range(MOST_LOOKS)
    )
    return "\n".join(rules)


MOST_LOOKS = 32
"""Entities of a post whose looks can be shown."""


def result(
    found: Recognised,
    labels: Sequence[str],
    picture: Image.Image | None = None,
    explanation: Explanation | None = None,
) -> str:
    """A recognised post.

    Args:
        found: The post with its entities.
        labels: The types that can be recognised, in the order of their colours.
        picture: Its picture, to lay looks over.
        explanation: Where the recogniser looked.
    """
    classes = {label: f"type{number % _COLOURS}" for number, label in enumerate(labels)}
    looks = explanation.looks[:MOST_LOOKS] if explanation is not None else ()
    parts = [f'<p class="post" dir="auto">{_marked(found, classes, looks)}</p>']
    if not found.post.text.strip():
        parts.append('<p class="note">There is no text in which to find names.</p>')
    elif not found.entities:
        parts.append('<p class="note">No names were found.</p>')
    else:
        parts.append(_table(found.entities, classes))
    if looks and picture is not None:
        parts.append(_figure(picture, found, looks))
    parts.append(_read(found, looks))
    return f'<div class="mner" role="status">{"".join(parts)}</div>'


def post(found: Recognised, labels: Sequence[str]) -> str:
    """A recognised post's text alone, its names marked."""
    classes = {label: f"type{number % _COLOURS}" for number, label in enumerate(labels)}
    return f'<p class="post" dir="auto">{_marked(found, classes, ())}</p>'


def problem(refusal: Refusal) -> str:
    """Why there is no result."""
    hint = f" {html.escape(refusal.hint)}" if refusal.hint else ""
    return f'<div class="mner" role="alert"><p class="problem">{html.escape(refusal.message)}{hint}</p></div>'


def _marked(found: Recognised, classes: dict[str, str], looks: Sequence[Look]) -> str:
    text = found.post.text
    parts = []
    position = 0
    for number, entity in enumerate(found.entities):
        parts.append(html.escape(text[position : entity.start]))
        inner = (
            f"{html.escape(text[entity.start : entity.end])}"
            f"<small>{html.escape(entity.label)}&nbsp;{_percent(entity)}</small>"
        )
        kind = classes.get(entity.label, "type0")
        if number < len(looks) and not looks[number].is_empty:
            name = html.escape(f"Show where the recogniser looked for {entity.text}", quote=True)
            parts.append(
                f'<label class="entity {kind}"><input type="radio" name="mner-look" class="pick{number}" '
                f'aria-label="{name}"{" checked" if number == 0 else ""}>{inner}</label>'
            )
        else:
            parts.append(f'<mark class="entity {kind}">{inner}</mark>')
        position = entity.end
    parts.append(html.escape(text[position:]))
    return "".join(parts)


def _percent(entity: Entity) -> str:
    return "" if entity.score is None else f"{100 * entity.score:.0f}&nbsp;%"


def _table(entities: Sequence[Entity], classes: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><td dir="auto">{html.escape(entity.text)}</td>'
        f'<td><span class="entity {classes.get(entity.label, "type0")}">{html.escape(entity.label)}</span>'
        "</td>"
        f'<td class="number"><meter min="0" max="1" value="{entity.score or 0:.3f}" '
        f'aria-label="confidence"></meter> {_percent(entity)}</td>'
        f'<td class="number">{entity.start}–{entity.end}</td></tr>'
        for entity in entities
    )
    return (
        '<table><thead><tr><th scope="col">Name</th><th scope="col">Type</th>'
        '<th scope="col">Confidence</th><th scope="col">Characters</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _figure(picture: Image.Image, found: Recognised, looks: Sequence[Look]) -> str:
    shown = picture.copy()
    shown.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    layers = []
    for number, (look, entity) in enumerate(zip(looks, found.entities, strict=False)):
        caption = f"Where the recogniser looked for “{html.escape(entity.text)}”"
        inner = ""
        if look.cells is not None:
            inner = f'<img class="heat" alt="" src="{_heat(look.cells, shown.size)}">'
        elif look.regions:
            inner = "".join(_box(region, strength) for region, strength in look.regions)
        if inner:
            layers.append(
                f'<div class="look look{number}">{inner}<span class="caption">{caption}</span></div>'
            )
    if not layers:
        return ""
    alt = html.escape(found.post.alt or "The post's picture", quote=True)
    return (
        f'<figure><img class="picture" alt="{alt}" src="{_data(shown, "JPEG")}">{"".join(layers)}</figure>'
        '<p class="note">Choose a name in the text, by mouse or by the arrow keys, to see where the '
        "recogniser looked for it.</p>"
    )


def _read(found: Recognised, looks: Sequence[Look]) -> str:
    alt = (found.post.alt or "").strip()
    if found.read is not None and found.read.text:
        title = "Read in the picture"
        said = html.escape(found.read.text).replace("\n", "<br>")
    elif alt:
        title, said = "Said about the picture", html.escape(alt)
    else:
        return ""
    parts = [f"<h3>{title}</h3>", f'<blockquote dir="auto">{said}</blockquote>']
    for number, (look, entity) in enumerate(zip(looks, found.entities, strict=False)):
        if look.words:
            words = " ".join(
                f'<span class="word" style="--strength:{strength * _STRONGEST:.2f}">'
                f"{html.escape(word)}</span>"
                for word, strength in look.words
            )
            parts.append(
                f'<p class="look look{number}">For “{html.escape(entity.text)}” it was read as: {words}</p>'
            )
    return "".join(parts)


def _heat(cells: np.ndarray, size: tuple[int, int]) -> str:
    # As large as it is shown would be many bytes; a quarter is as smooth.
    side = (max(1, size[0] // 4), max(1, size[1] // 4))
    alpha = Image.fromarray((np.clip(cells, 0, 1) * 255 * _STRONGEST).astype(np.uint8))
    layer = Image.new("RGBA", side, (*_HEAT, 0))
    layer.putalpha(alpha.resize(side, Image.Resampling.BICUBIC))
    return _data(layer, "PNG")


def _box(region: Region, strength: float) -> str:
    left, top = 100 * region.left, 100 * region.top
    width, height = 100 * (region.right - region.left), 100 * (region.bottom - region.top)
    return (
        f'<span class="box" style="left:{left:.2f}%;top:{top:.2f}%;width:{width:.2f}%;height:{height:.2f}%;'
        f'--strength:{strength * _BOX_STRONGEST:.2f}"></span>'
    )


def _data(image: Image.Image, kind: str) -> str:
    file = io.BytesIO()
    image.save(file, kind, quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
