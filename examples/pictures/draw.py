"""Draws the pictures of `posts.jsonl`, a poster, a sign, a map and a shirt: run it with Python."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).parent
SIZE = (640, 420)
WHITE, INK, SEA = "#ffffff", "#1d2433", "#2f7fb8"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _canvas(colour: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", SIZE, colour)
    return picture, ImageDraw.Draw(picture)


def poster() -> Image.Image:
    """A film's poster."""
    picture, draw = _canvas("#2b1b3d")
    draw.ellipse((360, -80, 720, 280), fill="#e8a33d")
    draw.polygon(((0, 420), (190, 210), (330, 420)), fill="#15101f")
    draw.polygon(((240, 420), (450, 250), (640, 420)), fill="#0e0a16")
    draw.text((40, 60), "TALLOW", font=_font(92), fill=WHITE)
    draw.text((44, 190), "IN CINEMAS MAY 9", font=_font(40), fill="#f6e7c8")
    return picture


def sign() -> Image.Image:
    """The sign of a shop."""
    picture, draw = _canvas("#d9d2c5")
    draw.rectangle((60, 110, 580, 300), fill="#23513f", outline="#c9a44c", width=8)
    draw.text((110, 140), "MERIDEN & CO.", font=_font(60), fill=WHITE)
    draw.text((110, 225), "BOOKSELLERS LTD.", font=_font(40), fill="#f0dfae")
    return picture


def river() -> Image.Image:
    """A map with a river between two lakes."""
    picture, draw = _canvas("#efe6cf")
    draw.polygon(((0, 0), (150, 0), (205, 180), (150, 420), (0, 420)), fill="#cfe3c0")
    draw.ellipse((250, 10, 350, 110), fill=SEA)
    course = [(300, 100), (285, 150), (315, 200), (290, 250), (310, 310)]
    draw.line(course, fill=SEA, width=12, joint="curve")
    draw.ellipse((265, 295, 360, 430), fill=SEA)
    draw.text((345, 165), "JORDAN RIVER", font=_font(38), fill=INK)
    draw.text((375, 345), "DEAD SEA", font=_font(32), fill=INK)
    draw.text((430, 250), "AMMAN", font=_font(30), fill=INK)
    draw.rectangle((412, 262, 422, 272), fill=INK)
    return picture


def shirt() -> Image.Image:
    """A player's shirt from behind."""
    picture, draw = _canvas("#3a3f4a")
    outline = [(190, 40), (270, 30), (320, 62), (370, 30), (450, 40), (540, 130), (480, 185), (450, 160)]
    outline += [(450, 415), (190, 415), (190, 160), (160, 185), (100, 130)]
    draw.polygon(outline, fill="#c8102e")
    draw.text((216, 100), "JORDAN", font=_font(54), fill=WHITE)
    draw.text((236, 170), "23", font=_font(160), fill=WHITE)
    return picture


if __name__ == "__main__":
    for made in (poster, sign, river, shirt):
        made().quantize(32).save(FOLDER / f"{made.__name__}.png", optimize=True)
