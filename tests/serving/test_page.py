"""The page's own work, apart from what the browser does with it."""

from __future__ import annotations

import asyncio
import re
import threading

from mner.serving import markup, pictures
from mner.serving.page import _Page
from mner.serving.service import RecognitionService
from mner.serving.settings import ServingSettings
from tests.contract.tiny import tiny, tiny_picture


def test_pictures_are_opened_and_written_beside_the_thread_that_serves(recognizer, tmp_path, monkeypatch):
    threads = []

    def noting(module, name):
        function = getattr(module, name)

        def noted(*arguments):
            threads.append((name, threading.get_ident()))
            return function(*arguments)

        monkeypatch.setattr(module, name, noted)

    noting(pictures, "opened")
    noting(markup, "_figure")
    (tmp_path / "1.png").write_bytes(tiny_picture(1))

    async def shown():
        service = RecognitionService(recognizer, ServingSettings())
        await service.start()
        try:
            page = _Page(service, tmp_path)
            return await page.one("Ada Lindqvist reads in Port Ellery", {"path": str(tmp_path / "1.png")}, "")
        finally:
            await service.close()

    assert '<figure><img class="picture"' in asyncio.run(shown())
    # Asyncio runs in this thread.
    assert {name for name, _ in threads} == {"opened", "_figure"}
    assert threading.get_ident() not in {thread for _, thread in threads}


def test_an_alternative_text_shows_where_it_was_looked_at_without_a_picture(tmp_path):
    reader = tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"], knowledge_length=24)

    async def shown():
        service = RecognitionService(reader, ServingSettings())
        await service.start()
        try:
            return await _Page(service, tmp_path).one("Ada Lindqvist reads in Port Ellery", None, "Ada reads")
        finally:
            await service.close()

    html = asyncio.run(shown())
    assert 'class="look look0">For “' in html
    assert re.findall(r'<span class="word"[^>]*>(\w+)</span>', html.split("</p>")[-2]) == ["ada", "reads"]
    assert 'type="radio"' in html
    assert "<figure>" not in html
