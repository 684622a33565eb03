"""The text in pictures, read before a recogniser that knows it sees the post."""

from __future__ import annotations

import base64

import httpx
import pytest

from mner import Knowledge, Post
from mner.reading import TextReader
from mner.serving.application import create_application
from mner.serving.examples import drawn
from mner.serving.settings import ServingSettings
from tests.contract.tiny import tiny, tiny_picture
from tests.serving.conftest import serving

POST = Post.from_text("Ada Lindqvist reads", image=tiny_picture(1))
POSTER = drawn(("JORDAN", "LIVE IN BERLIN"))


def reading(**options):
    return tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"], **options)


def test_which_pictures_are_read():
    reader = TextReader(tiny("mmavk", knowledge_kinds=["alt", "ocr"]).encoder.inputs)
    assert reader.reads
    assert reader.wants(POST)
    assert not reader.wants(POST.with_fields(alt="a harbour"))
    assert not reader.wants(POST.with_fields(image=None))
    assert not reader.wants(POST.with_fields(knowledge=(Knowledge("ocr", "x"),)))
    assert not TextReader(tiny("bert-crf").encoder.inputs).reads
    first = TextReader(tiny("mmavk", knowledge_kinds=["ocr", "alt"]).encoder.inputs)
    assert first.wants(POST.with_fields(alt="a harbour")), "the text in the picture comes first here"


def test_what_was_read_is_in_the_answer_and_changes_it():
    pytest.importorskip("rapidocr", reason="the extra 'knowledge' is not installed")
    recognizer = reading()
    app = create_application(recognizer, ServingSettings(page=False))
    with serving(app) as (url, _), httpx.Client(base_url=url, timeout=60) as client:
        post = {"text": POST.text, "image": base64.b64encode(POSTER).decode()}
        read = client.post("/v1/recognize", json=post).json()
        (knowledge,) = read["knowledge"]
        assert knowledge["kind"] == "ocr"
        assert knowledge["text"].split() == ["JORDAN", "LIVE", "IN", "BERLIN"]
        assert knowledge["origin"].startswith("rapidocr")
        bare = client.post("/v1/recognize", json={"text": POST.text}).json()
        assert "knowledge" not in bare
        told = client.post("/v1/recognize", json={"text": POST.text, "alt": knowledge["text"]}).json()
        scores = [[entity["score"] for entity in answer["entities"]] for answer in (read, bare, told)]
        assert scores[0] != scores[1]
        assert scores[0] == pytest.approx(scores[2], abs=1e-5), "read by us or told: the same text"
        described = client.post("/v1/recognize", json={**post, "alt": "a poster"}).json()
        assert "knowledge" not in described, (
            "what is said about the picture is preferred to what stands in it"
        )


def test_a_picture_that_comes_again_is_not_read_again(monkeypatch):
    pytest.importorskip("rapidocr", reason="the extra 'knowledge' is not installed")
    from PIL import Image

    reader = TextReader(reading().encoder.inputs)
    asked = []
    answer = reader._provider.answer
    monkeypatch.setattr(reader._provider, "answer", lambda questions: asked.append(1) or answer(questions))
    blank = Image.new("RGB", (64, 64))
    assert reader.read(b"a", blank) is None
    assert reader.read(b"a", blank) is None
    assert len(asked) == 1
