"""RapidOCR reads text that the test draws, and real pictures."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mner.images import open_picture
from mner.knowledge.provider import Provider, Question
from mner.knowledge.providers.ocr import OcrProvider
from mner.posts import Post

POST = Post.from_text("")


@pytest.fixture(scope="module")
def reader() -> OcrProvider:
    return OcrProvider(threads=1)


def drawn(*lines: str, size: tuple[int, int] = (640, 240), place: tuple[int, int] = (30, 30)) -> Image.Image:
    image = Image.new("RGB", size, (250, 240, 220))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(36)
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + 70 * number), line, fill=(20, 20, 90), font=font)
    return image


def test_it_reads_what_is_drawn_from_top_to_bottom(reader: OcrProvider) -> None:
    assert isinstance(reader, Provider)
    (answer,) = reader.answer([Question(POST, drawn("Toronto Raptors", "2019 NBA Champions"))])
    assert answer.problem is None
    assert answer.knowledge.text.splitlines() == ["Toronto Raptors", "2019 NBA Champions"]
    first, second = answer.knowledge.regions
    assert (first.label, second.label) == ("Toronto Raptors", "2019 NBA Champions")
    assert first.bottom <= second.top + 0.05
    assert min(first.score, second.score) > 0.8


def test_places_are_fractions_of_the_picture(reader: OcrProvider) -> None:
    image = drawn("STADIUM", size=(800, 400), place=(500, 280))
    (answer,) = reader.answer([Question(POST, image)])
    (region,) = answer.knowledge.regions
    ink = np.argwhere(np.asarray(image)[:, :, 0] < 120)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    expected = (left / 800, top / 400, right / 800, bottom / 400)
    assert np.abs(np.array(region[:4]) - expected).max() < 0.05


def test_a_picture_without_text_is_an_answer(reader: OcrProvider) -> None:
    plain = Image.new("RGB", (200, 200), "white")
    empty, missing = reader.answer([Question(POST, plain), Question(POST)])
    assert (empty.problem, empty.knowledge.text, empty.knowledge.regions) == (None, "", ())
    assert missing.problem == "there is no picture"


def test_pictures_of_odd_sizes(reader: OcrProvider) -> None:
    sizes = [(1, 1), (2, 3000), (9000, 3), (10, 200)]
    answers = reader.answer([Question(POST, Image.new("RGB", size, "grey")) for size in sizes])
    assert [answer.problem for answer in answers] == [None] * 4
    assert {answer.knowledge.text for answer in answers} == {""}


def test_a_narrow_strip_is_read_in_its_place(reader: OcrProvider) -> None:
    strip = drawn("PITTSBURGH", size=(1000, 50), place=(400, 0))
    (answer,) = reader.answer([Question(POST, strip)])
    (region,) = answer.knowledge.regions
    assert region.label == "PITTSBURGH"
    assert 0.35 < region.left < 0.45
    assert region.bottom > 0.6


def test_settings_name_the_version() -> None:
    assert OcrProvider(min_score=0.7).settings() != OcrProvider().settings()
    assert OcrProvider(threads=1).settings() == OcrProvider(threads=2).settings()
    assert "rapidocr" in OcrProvider().settings()["model"]


@pytest.mark.data
def test_it_reads_real_pictures(reader: OcrProvider, real_data: Path) -> None:
    folder = real_data / "twitter_mini" / "images"
    # What a person reads in them.
    for name, seen in {
        "660.jpg": ["NOAA/NASA"],
        "694.jpg": ["To the CEO, Safaricom", "Bob Collymore.", "Write a comment..."],
        "16_05_01_113.jpg": ["Love", "CHILDREN'S HOSPICE"],
    }.items():
        (answer,) = reader.answer([Question(POST, open_picture(folder / name).image)])
        lines = answer.knowledge.text.splitlines()
        for line in seen:
            assert difflib.get_close_matches(line, lines, cutoff=0.85), (name, line, lines)
