"""Colours that all can tell apart, one ink for light and dark, files that are what their names say."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mner.errors import UsageError
from mner.plots import figures
from mner.plots.figures import (
    COLOURS,
    DARK_INK,
    DARK_PAPER,
    INK,
    PAPER,
    drawing,
    figure_as_data_uri,
    figure_as_svg,
    new_figure,
    save_figure,
)

# What people with a colour blindness see (Machado, Oliveira and Fernandes, 2009, severity 1), on linear RGB.
SIGHTS = {
    "usual": np.eye(3),
    "no green cones": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no red cones": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no blue cones": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB under D65."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    light, dark = sorted(
        (float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_differ_for_everyone(sight):
    seen = {colour: lab(SIGHTS[sight] @ linear(colour)) for colour in COLOURS}
    for one, other in combinations(COLOURS, 2):
        # Differences from about 2.3 are just noticeable.
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


@pytest.mark.parametrize("paper", [PAPER, DARK_PAPER])
def test_colours_stand_out_on_light_and_dark(paper):
    for colour in COLOURS:
        assert contrast(colour, paper) > 2.99
    assert contrast(INK if paper == PAPER else DARK_INK, paper) > 12


def test_a_series_is_told_by_more_than_its_colour():
    many = range(24)
    assert len({(figures.colour(n), figures.marker(n)) for n in many}) == 24
    assert len({(figures.colour(n), figures.hatch(n)) for n in many}) == 24


@pytest.fixture
def figure():
    with drawing():
        made = new_figure(3, 2)
        axes = made.subplots()
        axes.bar([0, 1], [1, 2], color=COLOURS[0], edgecolor=INK)
        axes.set_title("$AAPL & <b>")
        axes.set_xlabel("a text")
    return made


def test_formats(figure, tmp_path):
    for suffix, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        path = tmp_path / "in" / f"figure.{suffix}"
        save_figure(figure, path)
        assert path.read_bytes().startswith(start)


def test_the_same_figure_gives_the_same_bytes(figure, tmp_path):
    for suffix in ("png", "svg"):
        for name in "ab":
            save_figure(figure, tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_what_cannot_be_written_is_explained(figure, tmp_path):
    with pytest.raises(UsageError, match=r"\.png or \.svg or \.pdf"):
        save_figure(figure, tmp_path / "figure.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        save_figure(figure, tmp_path / "file" / "figure.png")


def darkest_and_lightest(content: bytes) -> tuple[int, int]:
    grey = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    return int(grey.min()), int(grey.max())


def test_png_is_ink_on_paper_and_dark_is_the_other_way_round(figure, tmp_path):
    save_figure(figure, tmp_path / "light.png")
    save_figure(figure, tmp_path / "dark.png", dark=True)
    save_figure(figure, tmp_path / "again.png")
    light, dark = (
        np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in ("light", "dark")
    )
    assert tuple(light[0, 0]) == (255, 255, 255)
    assert "#{:02x}{:02x}{:02x}".format(*dark[0, 0]) == DARK_PAPER
    # Letters: nearly black there, nearly white here.
    assert light.min() < 0x30
    assert dark.max(axis=2).max() > 0xE0
    # Drawing it dark has not changed the figure.
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "light.png").read_bytes()


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_an_inline_svg_takes_the_colour_of_the_text_around_it(figure):
    svg = figure_as_svg(figure, 'bars & "more"')
    assert svg.startswith("<svg")
    assert INK not in svg
    assert "currentColor" in svg
    assert "http" not in svg
    parsed = Elements(svg)
    first = parsed.found[0][1]
    assert (first["role"], first["aria-label"]) == ("img", 'bars & "more"')
    # Text is text, and a dollar sign is one.
    assert "$AAPL & <b>" in parsed.text


def test_a_saved_svg_is_well_formed_and_follows_the_system(figure, tmp_path):
    save_figure(figure, tmp_path / "figure.svg")
    content = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme:dark" in content
    assert DARK_INK in content
    assert re.search(r'(href|src)="(?!#|data:)', content) is None


def test_a_data_uri_is_the_png(figure):
    uri = figure_as_data_uri(figure, dpi=50)
    head, _, content = uri.partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (150, 100)


def test_drawing_leaves_the_settings_of_others_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with drawing():
        assert mpl.rcParams["svg.fonttype"] == "none"
    assert dict(mpl.rcParams) == before


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    import sys

    from mner.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"mner\[plots\]"), drawing():
        pass
