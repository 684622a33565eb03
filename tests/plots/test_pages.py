"""Pages hold what they show, mark what is right, and load nothing."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from mner.evaluation.errors import differences, find_errors
from mner.html import type_classes
from mner.plots import pages
from mner.posts import Entity, Post
from tests.contract.tiny import tiny_picture
from tests.plots.test_figures import Elements

POSTS = [
    Post.from_words(["Ada", "in", "Lund"], id="1", image=tiny_picture(1, (400, 100))),
    Post.from_words(["<b>", "at", "Kestrel"], id="2", image=b"broken", image_problem="gone"),
    Post.from_words(["none"], id="3"),
]
GOLD = [
    [Entity("Ada", "PER", 0, 3), Entity("Lund", "LOC", 7, 11)],
    [Entity("Kestrel", "ORG", 7, 14)],
    [],
]
FIRST = [
    [Entity("Ada", "PER", 0, 3, 0.9), Entity("Lund", "PER", 7, 11, 0.4)],
    [Entity("Kestrel", "ORG", 7, 14, 0.8)],
    [],
]
SECOND = [[Entity("Ada", "PER", 0, 3, 0.7), Entity("Lund", "LOC", 7, 11, 0.6)], [], []]
CLASSES, _ = type_classes(["LOC", "ORG", "PER"])


def test_a_thumbnail_is_small_and_inside():
    head, _, content = pages.thumbnail(POSTS[0], side=80).partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (80, 20)
    assert pages.thumbnail(POSTS[1]) is None
    assert pages.thumbnail(POSTS[2]) is None


def test_right_and_wrong_are_marked():
    text = Elements(pages.post_as_html(POSTS[0], {"run": FIRST[0]}, GOLD[0], CLASSES)).text
    assert "AdaPER 0.90 ✓" in text
    assert "LundPER 0.40 ✗" in text
    # Gold is neither.
    assert "LundLOC" in text


def test_what_overlaps_is_named_beside():
    gold = [Entity("Ada in Lund", "ORG", 0, 11), Entity("Lund", "LOC", 7, 11)]
    text = Elements(pages.post_as_html(POSTS[0], {}, gold, CLASSES)).text
    assert "also Lund [LOC]" in text


def test_differences_stand_under_who_is_better():
    found = differences(GOLD, FIRST, SECOND)
    page = pages.differences_as_html(POSTS, found, ("one <1>", "two"), CLASSES)
    sections = page.split("<details")[1:]
    assert "one &lt;1&gt; has fewer errors: 1 posts" in sections[0]
    assert "Kestrel" in sections[0]
    assert "two has fewer errors: 1 posts" in sections[1]
    assert "Lund" in sections[1]
    assert "as many errors: 0 posts" in sections[2]
    assert "no picture: gone" in sections[0]
    short = pages.differences_as_html(POSTS, found * 2, ("a", "b"), CLASSES, most=1)
    assert short.count("<article") == 2
    assert "2 posts, the first 1 shown" in short


def test_errors_stand_under_their_class():
    report = find_errors(GOLD, SECOND)
    page = pages.errors_as_html(POSTS, GOLD, SECOND, report.errors, CLASSES)
    assert "missed: 1 entities in 1 posts" in page
    assert "wrong type: 0 entities in 0 posts" in page
    assert "missed: Kestrel [ORG]" in page
    (error,) = find_errors(GOLD[:1], FIRST[:1]).errors
    assert pages.error_in_words(error) == "wrong type: Lund [LOC] taken for Lund [PER]"


def test_rows_are_a_table():
    table = Elements(pages.rows_as_html(("a", "<b>"), [("x", 0.5), ("y", None), (3, "&")]))
    assert table.text == "a<b>x50.00y–3&"


def test_a_whole_page_loads_nothing_and_escapes_everything():
    body = pages.errors_as_html(POSTS, GOLD, FIRST, find_errors(GOLD, SECOND).errors, CLASSES)
    page = pages.whole_page("<i>", ["LOC", "ORG", "PER"], body)
    parsed = Elements(page)
    assert "<i>" in parsed.text
    assert "http" not in page
    for tag, attributes in parsed.found:
        assert tag not in ("script", "link", "iframe", "b", "i")
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize("labels", [[], ["X"] * 1])
def test_labels_of_all(labels):
    assert pages.labels_of_all([[Entity("a", label, 0, 1) for label in labels]], []) == labels
