"""Drawn pictures for the image probe: people, buildings, emblems and animals, no two alike.

Colours, backgrounds, places, sizes, counts and parts vary at random and independently of what is drawn (but
for skin), so that shapes and surfaces tell the four apart: people have faces and limbs, buildings rows of
bright windows, emblems a dark rim and a bright sign, animals a coat of tufts. Things fill most of the picture
and are darker than its pale ground, so that a small tower learns to see from a few thousand drawings.
Everything is drawn with Pillow on a few thousand pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 48
"""Side of a picture in pixels."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 50, 45),
    "orange": (235, 140, 40),
    "yellow": (235, 210, 70),
    "green": (60, 150, 70),
    "blue": (55, 95, 190),
    "purple": (130, 70, 160),
    "pink": (235, 150, 185),
    "brown": (125, 85, 55),
    "grey": (130, 130, 135),
    "black": (30, 30, 35),
    "white": (245, 245, 240),
}

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawing:
    """A drawn picture.

    Args:
        image: The picture, RGB.
        boxes: Where the drawn things are: left, top, right, bottom as fractions of width and height.
        traits: What can be said of them in words, such as ``a blue hat``.
        background: What can be said of the background.
    """

    image: Image.Image
    boxes: tuple[Box, ...]
    traits: tuple[str, ...]
    background: str


class _Brush:
    """Draws in the coordinates of one thing: 0 to 1 from its left to its right and from top to bottom."""

    def __init__(self, image: Image.Image, box: Box, random: np.random.Generator) -> None:
        self.draw = ImageDraw.Draw(image)
        self.left, self.top = box[0] * SIDE, box[1] * SIDE
        self.width, self.height = (box[2] - box[0]) * SIDE, (box[3] - box[1]) * SIDE
        self.mirrored = bool(random.random() < 0.5)

    def point(self, x: float, y: float) -> tuple[float, float]:
        x = 1 - x if self.mirrored else x
        return self.left + x * self.width, self.top + y * self.height

    def _span(self, x0: float, y0: float, x1: float, y1: float) -> list[float]:
        (a, b), (c, d) = self.point(x0, y0), self.point(x1, y1)
        return [min(a, c), min(b, d), max(a, c), max(b, d)]

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.draw.ellipse(self._span(x0, y0, x1, y1), fill=colour)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.draw.rectangle(self._span(x0, y0, x1, y1), fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([self.point(*one) for one in points], fill=colour)

    def line(self, points: list[tuple[float, float]], colour: Colour, thickness: float) -> None:
        width = max(1, round(thickness * min(self.width, self.height)))
        self.draw.line([self.point(*one) for one in points], fill=colour, width=width)


class _Palette:
    """Colours at random: named ones, a little shifted, none twice in a thing."""

    def __init__(self, random: np.random.Generator, taken: str = "") -> None:
        self.random = random
        # White would be lost on pale grounds.
        names = [name for name in COLOURS if name not in (taken, "white")]
        self._names = [names[index] for index in random.permutation(len(names))]

    def next(self) -> tuple[str, Colour]:
        name = self._names.pop()
        return name, shifted(COLOURS[name], self.random)


def shifted(colour: Colour, random: np.random.Generator, by: int = 22) -> Colour:
    """A colour near another one."""
    by_channel = random.integers(-by, by + 1, 3).tolist()
    red, green, blue = (min(max(value + one, 0), 255) for value, one in zip(colour, by_channel, strict=True))
    return red, green, blue


def dark(colour: Colour, by: float = 0.5) -> Colour:
    """A colour mixed with black."""
    red, green, blue = (round(value * (1 - by)) for value in colour)
    return red, green, blue


def pale(colour: Colour, by: float = 0.7) -> Colour:
    """A colour mixed with white."""
    red, green, blue = (round(value + by * (255 - value)) for value in colour)
    return red, green, blue


def draw(kind: str, random: np.random.Generator) -> Drawing:
    """A picture of one or two things of a kind.

    Args:
        kind: ``person``, ``building``, ``emblem`` or ``animal``.
        random: What is random comes from here.
    """
    image, background, taken = _background(random)
    boxes, traits = [], []
    count = 2 if random.random() < 0.2 else 1
    for number in range(count):
        box = _place(random, number, count)
        brush = _Brush(image, box, random)
        said = PAINTERS[kind](brush, _Palette(random, taken), random)
        boxes.append(box)
        traits += said
    return Drawing(image, tuple(boxes), tuple(dict.fromkeys(traits)), background)


def _place(random: np.random.Generator, number: int, count: int) -> Box:
    width, height = (random.uniform(0.75, 0.95), random.uniform(0.75, 0.95))
    room = 1.0 / count
    width *= room
    if count == 2:
        width, height = room * random.uniform(0.88, 0.98), random.uniform(0.65, 0.85)
    left = number * room + random.uniform(0, room - width)
    top = random.uniform(0, 1 - height)
    return left, top, left + width, top + height


def _background(random: np.random.Generator) -> tuple[Image.Image, str, str]:
    names = list(COLOURS)
    name, other = (names[index] for index in random.choice(len(names), 2, replace=False))
    # Pale, so that things stand out from it whatever their colour.
    first, second = pale(shifted(COLOURS[name], random)), pale(shifted(COLOURS[name], random, 60))
    style = random.choice(("plain", "fading", "striped", "dotted", "grainy"))
    image = Image.new("RGB", (SIDE, SIDE), first)
    pen = ImageDraw.Draw(image)
    if style == "fading":
        ramp = np.linspace(0, 1, SIDE)[:, None, None]
        far = np.asarray(pale(shifted(COLOURS[other], random)), dtype=np.float64)
        mixed = np.asarray(first) * (1 - 0.6 * ramp) + far * 0.6 * ramp
        pixels = np.broadcast_to(mixed, (SIDE, SIDE, 3)).astype(np.uint8)
        image = Image.fromarray(
            np.ascontiguousarray(pixels.transpose(1, 0, 2) if random.random() < 0.5 else pixels)
        )
    elif style == "striped":
        step = int(random.integers(6, 12))
        for offset in range(-SIDE, SIDE, 2 * step):
            slope = SIDE if random.random() < 0.5 else 0
            pen.line([(offset, 0), (offset + slope, SIDE)], fill=second, width=step // 2)
    elif style == "dotted":
        for x, y in random.integers(0, SIDE, (14, 2)):
            pen.ellipse([x, y, x + 3, y + 3], fill=second)
    elif style == "grainy":
        noise = random.integers(-14, 15, (SIDE, SIDE, 1))
        image = Image.fromarray(np.clip(np.asarray(image, dtype=np.int64) + noise, 0, 255).astype(np.uint8))
    return image, f"{style} {name}", name


def _person(brush: _Brush, palette: _Palette, random: np.random.Generator) -> list[str]:
    skin = [(250, 220, 190), (225, 180, 140), (165, 115, 80), (105, 70, 50)][random.integers(4)]
    skin = shifted(skin, random, 12)
    (hair_name, hair), (shirt_name, shirt), (trousers_name, trousers) = (palette.next() for _ in range(3))
    neck, hips = random.uniform(0.28, 0.36), random.uniform(0.58, 0.68)
    head = random.uniform(0.13, 0.18)
    said = [f"a {shirt_name} shirt", f"{trousers_name} trousers", "a smiling face", "two eyes and a mouth"]
    for side in (-1, 1):  # legs
        brush.line([(0.5 + side * 0.07, hips), (0.5 + side * random.uniform(0.08, 0.2), 1.0)], trousers, 0.13)
    lift = random.uniform(-0.25, 0.28)
    for side in (-1, 1):  # arms
        brush.line([(0.5 + side * 0.15, neck + 0.05), (0.5 + side * 0.36, neck + 0.06 + lift)], skin, 0.09)
    said.append("raised hands" if lift < 0 else "two open hands")
    brush.rectangle(0.5 - 0.17, neck, 0.5 + 0.17, hips, shirt)
    brush.ellipse(0.5 - head * 1.1, neck - 2 * head, 0.5 + head * 1.1, neck + 0.02, skin)
    if random.random() < 0.5:
        brush.rectangle(0.5 - head * 1.5, neck - 1.75 * head, 0.5 + head * 1.5, neck - 1.5 * head, hair)
        brush.rectangle(0.5 - head, neck - 2.3 * head, 0.5 + head, neck - 1.6 * head, hair)
        said.append(f"a {hair_name} hat")
    else:
        brush.ellipse(0.5 - head * 1.15, neck - 2.15 * head, 0.5 + head * 1.15, neck - 1.25 * head, hair)
        said += [f"{hair_name} hair", f"{hair_name} curls"]
    for side in (-1, 1):  # eyes
        brush.ellipse(
            0.5 + side * 0.06 - 0.02, neck - head, 0.5 + side * 0.06 + 0.02, neck - 0.75 * head, (20, 20, 20)
        )
    return said


def _building(brush: _Brush, palette: _Palette, random: np.random.Generator) -> list[str]:
    wall_name, wall = palette.next()
    roof_name, roof = palette.next()
    glass_name, glass = palette.next()
    glass = pale(glass)
    said = [f"a {wall_name} wall", "rows of windows", f"windows with {glass_name} glass"]
    parts = int(random.integers(1, 4))
    edges = np.linspace(0, 1, parts + 1)
    for part in range(parts):
        left, right = float(edges[part]), float(edges[part + 1])
        pointed = random.random() < 0.5
        top = random.uniform(0.2, 0.45) if pointed else random.uniform(0.02, 0.3)
        front = shifted(wall, random, 18)
        brush.rectangle(left, top, right, 1.0, front)
        if pointed:
            peak = max(0.0, top - random.uniform(0.15, 0.3))
            brush.polygon([(left, top), ((left + right) / 2, peak), (right, top)], roof)
            said.append(f"a pointed {roof_name} roof")
        else:
            brush.rectangle(left, top, right, top + 0.05, roof)
            said.append(f"a flat {roof_name} roof")
        columns, rows = max(1, round((right - left) * 4)), int(random.integers(2, 5))
        for row in range(rows):
            for column in range(columns):
                x = left + (right - left) * (column + 0.5) / columns
                y = top + 0.1 + (0.72 - top) * (row + 0.3) / rows
                reach = 0.28 * (right - left) / columns
                brush.rectangle(x - reach, y, x + reach, y + 0.4 * (0.75 - top) / rows, glass)
    door = random.uniform(0.25, 0.75)
    brush.rectangle(door - 0.07, 0.84, door + 0.07, 1.0, roof)
    return [*said, f"a {roof_name} door", "stone steps"]


def _emblem(brush: _Brush, palette: _Palette, random: np.random.Generator) -> list[str]:
    (plate_name, plate), (sign_name, sign) = palette.next(), palette.next()
    sign = pale(sign)
    rim = dark(plate)
    shape = random.choice(("disc", "ring", "shield", "diamond"))
    said = [f"a {plate_name} {shape}", f"a bold {shape}"]
    if shape in ("disc", "ring"):
        brush.ellipse(0.0, 0.0, 1.0, 1.0, rim)
        brush.ellipse(0.09, 0.09, 0.91, 0.91, plate)
        if shape == "ring":
            inner = palette.next()[1]
            brush.ellipse(0.14, 0.14, 0.86, 0.86, inner)
    elif shape == "shield":
        brush.polygon([(0.0, 0.0), (1.0, 0.0), (1.0, 0.6), (0.5, 1.0), (0.0, 0.6)], rim)
        brush.polygon([(0.1, 0.1), (0.9, 0.1), (0.9, 0.55), (0.5, 0.88), (0.1, 0.55)], plate)
    else:
        brush.polygon([(0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)], rim)
        brush.polygon([(0.5, 0.13), (0.87, 0.5), (0.5, 0.87), (0.13, 0.5)], plate)
    device = random.choice(("star", "letter", "stripes", "bolt"))
    if device == "star":
        points = []
        turn = random.uniform(0, 2 * math.pi)
        for corner in range(10):
            reach = 0.3 if corner % 2 == 0 else 0.12
            angle = turn + corner * math.pi / 5
            points.append((0.5 + reach * math.sin(angle), 0.48 - reach * math.cos(angle)))
        brush.polygon(points, sign)
        said += [f"a {sign_name} star", "a star in the middle"]
    elif device == "letter":
        letter = [
            [(0.35, 0.7), (0.35, 0.3), (0.65, 0.7), (0.65, 0.3)],
            [(0.33, 0.7), (0.5, 0.28), (0.67, 0.7)],
            [(0.65, 0.32), (0.37, 0.32), (0.37, 0.5), (0.62, 0.5), (0.37, 0.5), (0.37, 0.7), (0.65, 0.7)],
            [(0.33, 0.3), (0.67, 0.3), (0.5, 0.3), (0.5, 0.7)],
        ][random.integers(4)]
        brush.line(letter, sign, 0.1)
        said += [f"a {sign_name} letter", "bold initials"]
    elif device == "stripes":
        for row in range(3):
            brush.rectangle(0.3, 0.3 + 0.16 * row, 0.7, 0.37 + 0.16 * row, sign)
        said += [f"three {sign_name} stripes", "thick stripes"]
    else:
        brush.polygon(
            [(0.55, 0.2), (0.32, 0.55), (0.48, 0.55), (0.42, 0.8), (0.68, 0.43), (0.52, 0.43)], sign
        )
        said += [f"a {sign_name} bolt", "a bolt in the middle"]
    return said


def _animal(brush: _Brush, palette: _Palette, random: np.random.Generator) -> list[str]:
    (fur_name, fur), (mark_name, mark) = palette.next(), palette.next()
    said = [f"{fur_name} fur", "a wet nose", f"a {mark_name} collar"]
    back, belly = random.uniform(0.36, 0.44), random.uniform(0.66, 0.74)
    for foot in (0.14, 0.28, 0.56, 0.7):
        brush.line([(foot + 0.03, belly - 0.08), (foot, 1.0)], fur, 0.09)
    said += ["four paws", "four thin legs"]
    tail = random.uniform(0.05, 0.4)
    if random.random() < 0.5:
        brush.line([(0.14, back + 0.1), (0.0, tail)], fur, 0.08)
        said.append("a long tail")
    else:
        brush.line([(0.14, back + 0.1), (0.02, back), (0.1, tail)], fur, 0.07)
        said.append("a curly tail")
    brush.ellipse(0.06, back, 0.8, belly, fur)
    for _ in range(26):  # tufts
        x, y = random.uniform(0.12, 0.7), random.uniform(back + 0.05, belly - 0.08)
        brush.line([(x, y), (x - 0.05, y + 0.06)], dark(fur), 0.02)
    head = random.uniform(0.14, 0.36)
    brush.ellipse(0.6, head, 0.96, head + 0.34, fur)
    if random.random() < 0.5:
        for ear in (0.64, 0.82):
            brush.polygon([(ear, head + 0.08), (ear + 0.05, head - 0.14), (ear + 0.12, head + 0.06)], fur)
        said.append("pointed ears")
    else:
        brush.ellipse(0.6, head + 0.02, 0.7, head + 0.3, mark)
        said.append("hanging ears")
    brush.ellipse(0.9, head + 0.14, 1.0, head + 0.26, mark)
    brush.ellipse(0.8, head + 0.09, 0.85, head + 0.15, (15, 15, 15))
    brush.line([(0.62, head + 0.34), (0.76, head + 0.36)], mark, 0.06)
    if random.random() < 0.4:
        for x in (0.25, 0.4, 0.55):
            brush.ellipse(x, back + 0.08, x + 0.08, back + 0.16, mark)
        said.append(f"{mark_name} spots")
    return said


PAINTERS: dict[str, Callable[[_Brush, _Palette, np.random.Generator], list[str]]] = {
    "person": _person,
    "building": _building,
    "emblem": _emblem,
    "animal": _animal,
}
"""What draws each kind."""
