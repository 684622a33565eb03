"""Model cards, and a hub on this machine that takes what is sent to it."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
from huggingface_hub import ModelCard

from mner.cli.app import run
from mner.publishing import PublishingError, model_card, save_card
from mner.recognizer import Recognizer
from tests.contract.tiny import POSTS, tiny


@pytest.fixture
def run_folder(tmp_path):
    """A saved recogniser, with what a training run leaves beside it."""
    folder = tmp_path / "run"
    tiny("mmavk").save_pretrained(folder)
    overall = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3}
    (folder / "run.json").write_text(
        json.dumps(
            {"recipe": {"title": "a title", "model": {"backbone": "default"}}, "data": {"name": "posts-17"}}
        )
    )
    (folder / "results.json").write_text(json.dumps({"test": {"convention": "conll", "overall": overall}}))
    return folder


def test_a_card_says_what_the_run_says(run_folder):
    card = ModelCard(
        model_card(Recognizer.from_pretrained(run_folder), run_folder, name="a/b", license="mit")
    )
    assert card.data.pipeline_tag == "token-classification"
    assert card.data.license == "mit"
    assert "mmavk" in card.data.tags
    for said in ("LOC, ORG, PER", "posts-17", "a title", "| test, conll | 50.0 | 25.0 | 33.3 |", "caption"):
        assert said in card.text
    bare = model_card(tiny("bert"), name="x", license=None)
    assert "## Scores" not in bare
    assert "license" not in bare


def test_the_card_lies_in_the_folder(run_folder, capsys):
    path = save_card(tiny("mmavk"), run_folder, name="x")
    assert ModelCard.load(path).data.library_name == "mner"
    assert run(["export", str(run_folder), "--card", "--license", "apache-2.0"]) == 0
    assert ModelCard.load(path).data.license == "apache-2.0"
    assert "README.md" in capsys.readouterr().out


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as an upload talks to."""

    def answer(self, document, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def do_GET(self):
        self.answer(
            {"id": "me/mine", "sha": "0" * 40, "siblings": [], "private": True, "downloads": 0, "tags": []}
        )

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.server.refuses:
            self.answer({"error": "no"}, 403)
        elif self.path.endswith("/repos/create"):
            self.server.created.update(json.loads(body))
            self.answer({"url": f"{self.address}/me/mine", "id": "me/mine"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.answer(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
                    ]
                }
            )
        elif "/commit/" in self.path:
            for line in body.splitlines():
                record = json.loads(line)
                if record["key"] == "file":
                    self.server.files[record["value"]["path"]] = base64.b64decode(record["value"]["content"])
            self.answer(
                {"commitUrl": f"{self.address}/me/mine/commit/1", "commitOid": "1" * 40, "success": True}
            )
        else:
            self.answer({})

    def log_message(self, *details):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.created, server.asked, server.refuses = {}, {}, [], False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def test_what_a_hub_gets_predicts_alone(run_folder, hub, tmp_path):
    recognizer = Recognizer.from_pretrained(run_folder, device="cpu")
    address = f"http://127.0.0.1:{hub.server_port}"
    url = recognizer.push_to_hub("me/mine", run=run_folder, token="hf_secret", endpoint=address)
    assert url == f"{address}/me/mine/commit/1"
    # Older libraries say it in another field.
    assert hub.created.get("visibility") == "private" or hub.created.get("private") is True
    assert {authorization for _, authorization in hub.asked} == {"Bearer hf_secret"}
    assert "run.json" not in hub.files
    assert b"posts-17" in hub.files["README.md"]
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    for name, content in hub.files.items():
        (arrived / name).write_bytes(content)
    assert Recognizer.from_pretrained(arrived, device="cpu").predict(POSTS) == recognizer.predict(POSTS)


def test_a_hub_that_refuses_is_an_error_that_says_so(run_folder, hub):
    hub.refuses = True
    recognizer = Recognizer.from_pretrained(run_folder, device="cpu")
    with pytest.raises(PublishingError, match="could not be sent"):
        recognizer.push_to_hub("me/mine", token="hf_x", endpoint=f"http://127.0.0.1:{hub.server_port}")
