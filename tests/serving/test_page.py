"""The page's own work, apart from what the browser does with it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from pathlib import Path

import pytest

from mner.serving import markup, page, pictures
from mner.serving.service import RecognitionService
from mner.serving.settings import ServingSettings
from tests.contract.tiny import tiny, tiny_picture


@pytest.fixture
def threads(monkeypatch):
    """The names of the functions that work on files, each with the thread that it ran in."""
    found = []

    def noting(module, name):
        function = getattr(module, name)

        def noted(*arguments):
            found.append((name, threading.get_ident()))
            return function(*arguments)

        monkeypatch.setattr(module, name, noted)

    noting(pictures, "opened")
    noting(markup, "_figure")
    noting(page, "read_posts")
    noting(page, "write_posts")
    return found


def asked(recognizer, folder, ask):
    """What a page answers."""

    async def answered():
        service = RecognitionService(recognizer, ServingSettings())
        await service.start()
        try:
            return await ask(page._Page(service, folder))
        finally:
            await service.close()

    return asyncio.run(answered())


def test_pictures_are_opened_and_written_beside_the_thread_that_serves(recognizer, tmp_path, threads):
    path = tmp_path / "1.png"
    path.write_bytes(tiny_picture(1))
    html = asked(
        recognizer,
        tmp_path,
        lambda page: page.one("Ada Lindqvist reads in Port Ellery", {"path": str(path)}, ""),
    )
    assert '<figure><img class="picture"' in html
    # Asyncio runs in this thread.
    assert {name for name, _ in threads} == {"opened", "_figure"}
    assert threading.get_ident() not in {thread for _, thread in threads}


def test_files_of_posts_are_read_and_written_beside_the_thread_that_serves(recognizer, tmp_path, threads):
    pytest.importorskip("gradio", reason="the extra 'serve' is not installed")
    path = tmp_path / "posts.csv"
    path.write_text("id,text\n1,Ada reads\n2\n3,Grace writes\n")
    html, button = asked(recognizer, tmp_path, lambda page: page.many({"path": str(path)}, "jsonl"))
    assert "in 2 posts" in html
    assert "line 3" in html
    records = [json.loads(line) for line in Path(button.value["path"]).read_text().splitlines()]
    assert [record["text"] for record in records] == ["Ada reads", "Grace writes"]
    assert {name for name, _ in threads} == {"read_posts", "write_posts"}
    assert threading.get_ident() not in {thread for _, thread in threads}


def test_an_alternative_text_shows_where_it_was_looked_at_without_a_picture(tmp_path):
    reader = tiny("mmavk", pooling="attention", knowledge_kinds=["alt", "ocr"], knowledge_length=24)

    html = asked(
        reader, tmp_path, lambda page: page.one("Ada Lindqvist reads in Port Ellery", None, "Ada reads")
    )
    assert 'class="look look0">For “' in html
    assert re.findall(r'<span class="word"[^>]*>(\w+)</span>', html.split("</p>")[-2]) == ["ada", "reads"]
    assert 'type="radio"' in html
    assert "<figure>" not in html
