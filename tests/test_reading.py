"""The text in a post's picture, read where it would be used."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageDraw, ImageFont

from mner.posts import Post
from mner.reading import TextReader
from tests.contract.tiny import tiny


def picture(text, size=(480, 160)):
    """A PNG with a text in it."""
    drawn = Image.new("RGB", size, "white")
    ImageDraw.Draw(drawn).text((60, 60), text, font=ImageFont.load_default(size=40), fill="black")
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def recognizer():
    """A tiny recogniser that reads what stands in pictures, where nobody says what they show."""
    pytest.importorskip("rapidocr", reason="the extra 'knowledge' is not installed")
    return tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"])


def test_a_post_gets_the_text_of_its_picture(recognizer):
    post = Post.from_text("Ada reads", image=picture("PORT ELLERY"))
    (known,) = recognizer.text_reader.add(post).knowledge
    assert (known.kind, known.text) == ("ocr", "PORT ELLERY")


@pytest.mark.parametrize(
    "fields",
    [{}, {"image": b"no picture"}, {"image": picture("PORT"), "alt": "a town"}, {"image": picture("")}],
)
def test_a_post_stays_as_it_is_where_there_is_nothing_to_read(recognizer, fields):
    post = Post.from_text("Ada reads", **fields)
    assert recognizer.text_reader.add(post) == post


def test_pictures_that_cannot_be_read_are_counted():
    reader = tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"]).text_reader
    if not reader.reads:
        pytest.skip("the extra 'knowledge' is not installed")
    assert reader.summary is None
    for content in (b"no picture", b"none either"):
        reader.add(Post.from_text("Ada reads", image=content))
    assert reader.summary.startswith("2 posts were taken without a picture")
    assert "(2)" in reader.summary


def test_a_text_with_its_picture_is_answered_with_what_stands_there(recognizer):
    image = picture("PORT ELLERY")
    told = Post.from_text("Ada reads", alt="PORT ELLERY")
    with_picture = recognizer("Ada reads", image=image)
    assert with_picture == recognizer(told) != recognizer("Ada reads")
    # A post is taken as it is.
    assert recognizer(Post.from_text("Ada reads", image=image)) == recognizer("Ada reads")


def test_without_the_library_the_reader_says_so_and_leaves_posts_alone(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("mner.knowledge.providers.ocr.version", missing)
    reader = TextReader(tiny("mmavk").encoder.inputs)
    assert "mner[knowledge]" in reader.problem
    post = Post.from_text("Ada reads", image=picture("PORT"))
    assert reader.add(post) == post
