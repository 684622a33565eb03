"""What the page shows: escaped, complete, and readable in light and in dark."""

from __future__ import annotations

import html.parser
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mner import Entity, Knowledge, Post, Region
from mner.html import DARK_COLOURS, LIGHT_COLOURS
from mner.serving import markup
from mner.serving.explaining import Explanation, Look
from mner.serving.refusals import Refusal
from mner.serving.service import Recognised

LABELS = ("PER", "LOC", "ORG", "MISC")


def luminance(colour):
    """Relative luminance of WCAG 2.2 of a colour written as #rrggbb."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_of_black_and_white_is_what_the_standard_says():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("ink", "colours"), [(markup.INK_LIGHT, LIGHT_COLOURS), (markup.INK_DARK, DARK_COLOURS)]
)
def test_entities_can_be_read_on_their_colours(ink, colours):
    assert min(contrast(ink, colour) for colour in colours) >= 4.5


def test_the_style_sheet_uses_just_those_colours():
    sheet = markup.style(LABELS)
    for number in range(len(LABELS)):
        assert f".mner .type{number}{{background:{LIGHT_COLOURS[number]}}}" in sheet
        assert f".dark .mner .type{number}{{background:{DARK_COLOURS[number]}}}" in sheet
    assert f"--mner-ink:{markup.INK_LIGHT}" in sheet
    assert "color: var(--mner-ink)" in sheet
    assert not re.search(r"url\(|@import|https?:", sheet)


class Reader(html.parser.HTMLParser):
    """What a browser would see: text, and the tags that are open."""

    def __init__(self):
        super().__init__()
        self.text = ""
        self.tags = []
        self.unclosed = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("br", "img", "input", "meter"):
            self.unclosed.append(tag)

    def handle_endtag(self, tag):
        if tag != "meter":
            assert self.unclosed.pop() == tag

    def handle_data(self, data):
        if "small" not in self.unclosed:
            self.text += data


def read(markup_):
    reader = Reader()
    reader.feed(markup_)
    reader.close()
    assert reader.unclosed == []
    return reader


ENTITY_CUTS = st.lists(st.integers(0, 30), max_size=8, unique=True).map(sorted)


@settings(max_examples=150)
@given(text=st.text(min_size=30, max_size=40).filter(lambda t: "\r" not in t), cuts=ENTITY_CUTS)
def test_the_text_comes_out_as_it_went_in(text, cuts):
    # NUL has no place in HTML; a browser shows it as the replacement character.
    text = text.replace("\0", "0")
    spans = list(itertools.zip_longest(cuts[::2], cuts[1::2]))
    entities = [Entity(text[a:b], "PER", a, b, 0.5) for a, b in spans if b is not None]
    shown = read(markup.post(Recognised(Post.from_text(text), entities), LABELS))
    assert shown.text == text
    assert sum(tag == "mark" for tag, _ in shown.tags) == len(entities)


def test_what_a_post_says_is_never_markup():
    attack = "<img src=x onerror=alert(1)>\"'</script>${alert(1)}{{alert(1)}}"
    found = Recognised(
        Post.from_text(attack, alt=attack),
        [Entity(attack[:28], attack, 0, 28, 0.9)],
        Knowledge("ocr", attack, origin=attack),
    )
    look = Look(words=((attack, 1.0),), cells=np.ones((2, 2)))
    picture = Image.new("RGB", (20, 10))
    shown = read(markup.result(found, LABELS, picture, Explanation((look,))))
    sources = [a["src"] for t, a in shown.tags if t == "img"]
    assert all(source.startswith("data:image/") for source in sources)
    assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
    assert not {"script", "iframe", "a", "style"} & {tag for tag, _ in shown.tags}
    problem = read(markup.problem(Refusal(422, attack, hint=attack)))
    assert "onerror" in problem.text
    assert {tag for tag, _ in problem.tags} == {"div", "p"}


FOUND = Recognised(
    Post.from_text("Ada met Ivo"), [Entity("Ada", "PER", 0, 3, 0.9), Entity("Ivo", "PER", 8, 11, 0.123)]
)


def test_looks_are_chosen_by_radio_buttons_that_say_what_they_do():
    cells = np.array([[0.0, 1.0], [0.5, 0.25]])
    regions = ((Region(0.1, 0.2, 0.5, 0.6, "IVO"), 0.5),)
    explanation = Explanation((Look(cells), Look(words=(("ivo", 0.5),), regions=regions)))
    shown = read(markup.result(FOUND, LABELS, Image.new("RGB", (64, 32)), explanation))
    buttons = [attributes for tag, attributes in shown.tags if tag == "input"]
    assert [b["class"] for b in buttons] == ["pick0", "pick1"]
    assert len({b["name"] for b in buttons}) == 1
    assert ["checked" in b for b in buttons] == [True, False]
    assert all(text in b["aria-label"] for b, text in zip(buttons, ("Ada", "Ivo"), strict=True))
    sheet = markup.style(LABELS)
    for number in (0, 1):
        assert f".pick{number}:checked) .look{number}{{display:block}}" in sheet
    (box,) = [attributes["style"] for tag, attributes in shown.tags if attributes.get("class") == "box"]
    assert box.startswith("left:10.00%;top:20.00%;width:40.00%;height:40.00%")


def test_without_looks_there_is_nothing_to_choose():
    shown = read(markup.result(FOUND, LABELS))
    assert not [tag for tag, _ in shown.tags if tag in ("input", "img")]
    assert "12\xa0%" in shown.text
    assert "8–11" in shown.text


def test_no_names_and_no_text_are_said():
    assert "No names" in markup.result(Recognised(Post.from_text("so cold"), []), LABELS)
    assert "no text" in markup.result(Recognised(Post.from_text("  "), []), LABELS)
