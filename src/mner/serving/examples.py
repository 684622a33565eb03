"""Posts to try the page with, two of them with a picture that is drawn here."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont


@dataclass(frozen=True)
class Example:
    """A post to try.

    Args:
        name: What its button says.
        text: The text.
        lines: What stands in its picture, or nothing where it has none.
        alt: The picture's alternative text.
    """

    name: str
    text: str
    lines: tuple[str, ...] = ()
    alt: str = ""


EXAMPLES = (
    Example("Sports", "Kawhi Leonard wins in Toronto 🏀 and the @Raptors celebrate"),
    Example("A poster", "Who is coming on Friday?! Jordan is back", ("JORDAN", "LIVE IN BERLIN", "8 PM")),
    Example(
        "A picture described",
        "Jordan looked wonderful this morning",
        ("WELCOME TO", "PETRA"),
        "A sunrise over the desert and the rock city of Petra in Jordan",
    ),
)


@cache
def drawn(lines: tuple[str, ...]) -> bytes:
    """A poster with some lines of text, as the bytes of a PNG file."""
    poster = Image.new("RGB", (640, 400), "#12355b")
    draw = ImageDraw.Draw(poster)
    draw.ellipse((380, -120, 760, 260), fill="#f2a541")
    draw.rectangle((0, 330, 640, 400), fill="#d72638")
    font = ImageFont.load_default(size=58)
    for number, line in enumerate(lines):
        draw.text((40, 60 + 84 * number), line, font=font, fill="white")
    file = io.BytesIO()
    poster.save(file, "PNG")
    return file.getvalue()
