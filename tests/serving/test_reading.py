"""The text in pictures, read before a recogniser that knows it sees the post."""

from __future__ import annotations

import asyncio
import base64
import threading
import weakref
from contextlib import asynccontextmanager

import httpx
import pytest

from mner import Knowledge, Post
from mner.reading import TextReader
from mner.serving import pictures
from mner.serving.application import create_application
from mner.serving.examples import drawn
from mner.serving.service import DECODING_THREADS, Draft, RecognitionService
from mner.serving.settings import ServingSettings
from tests.contract.tiny import tiny, tiny_picture
from tests.machine import PATIENCE
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
    with serving(app) as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
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


class Decoded:
    """The pictures that have been decoded, as far as they are still in memory."""

    def __init__(self, monkeypatch):
        self.found = []
        opened = pictures.opened

        def noted(*arguments):
            picture = opened(*arguments)
            self.found.append(weakref.ref(picture.image))
            return picture

        monkeypatch.setattr(pictures, "opened", noted)

    @property
    def alive(self):
        return sum(found() is not None for found in self.found)


@asynccontextmanager
async def held_up(monkeypatch):
    """A service whose reading of pictures waits until it is let go; the service, and what lets go."""
    pytest.importorskip("rapidocr", reason="the extra 'knowledge' is not installed")
    service = RecognitionService(reading(), ServingSettings(page=False))
    go = threading.Event()

    def read(content, picture):
        assert go.wait(PATIENCE)

    monkeypatch.setattr(service.reader, "read", read)
    await service.start()
    try:
        yield service, go
    finally:
        go.set()
        await service.close()


async def decoded_so_far(service):
    # Works wait in line: once these are done, what was asked for before them has been decoded too. That they meet
    # makes sure that every thread has come to them, and has let go of the picture that it decoded before.
    met = threading.Barrier(DECODING_THREADS, timeout=PATIENCE)
    for _ in range(4):
        await asyncio.gather(*(service.decoding(met.wait) for _ in range(DECODING_THREADS)))


def drafts(count):
    return [Draft(POST.text, tiny_picture(number)) for number in range(count)]


def test_decoded_pictures_do_not_gather_before_the_thread_that_reads(monkeypatch):
    async def many():
        decoded = Decoded(monkeypatch)
        async with held_up(monkeypatch) as (service, go):
            requests = [asyncio.create_task(service.recognise([draft])) for draft in drafts(16)]
            await decoded_so_far(service)
            assert 1 <= decoded.alive <= 4
            described = Draft(POST.text, tiny_picture(1), "a poster")
            assert await service.recognise([described]), "a picture that is not read does not wait for others"
            go.set()
            assert len(await asyncio.gather(*requests)) == 16
            assert len(decoded.found) == 17
            await decoded_so_far(service)
            assert decoded.alive == 0

    asyncio.run(many())


def test_requests_that_are_given_up_leave_no_picture_and_no_place(monkeypatch):
    async def given_up():
        decoded = Decoded(monkeypatch)
        async with held_up(monkeypatch) as (service, go):
            for _ in range(3):
                requests = [asyncio.create_task(service.recognise([draft])) for draft in drafts(8)]
                await decoded_so_far(service)
                for request in requests:
                    request.cancel()
                await asyncio.wait(requests)
                assert decoded.alive <= 1, "the one that is being read"
                del requests
            go.set()
            assert len(await service.recognise(drafts(8))) == 8

    asyncio.run(given_up())
