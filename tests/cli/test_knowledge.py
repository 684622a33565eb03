"""`mner knowledge`: what users type, what they see, and that nothing leaves unasked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mner.cli.app import run
from tests.contract.tiny import tiny
from tests.knowledge.chat_server import ChatServer
from tests.knowledge.little_wordnet import write_wordnet
from tests.machine import PATIENCE

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three posts, two pictures (one broken), one alternative text."""
    Image.new("RGB", (30, 20), "red").save(tmp_path / "图 1.png")
    (tmp_path / "2.jpg").write_bytes(b"\xff\xd8\xffnothing")
    records = [
        {"id": "1", "text": "Kawhi in Toronto [bold]", "image": "图 1.png", "alt": "A red [b]square[/b]."},
        {"id": "2", "text": "Broken", "image": "2.jpg"},
        {"id": "3", "text": "Bare"},
    ]
    file = tmp_path / "posts.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = run(["knowledge", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def reports(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    status, out, _ = outcome(capsys, *words, "--json")
    return status, json.loads(out)


def asking(server: ChatServer, *words: str) -> list[str]:
    return ["--endpoint", server.address, "--model", "little", *words]


def test_make_show_and_make_again(data: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(data.with_name("k.sqlite"))
    words = ["make", str(data), "--store", store, "--provider", "alt", "--provider", "endpoint-caption"]
    status, document = reports(capsys, *words, *asking(server, "--domain", "politics"))
    assert status == 1
    alt, caption = document["runs"]
    assert (alt["answered"], alt["without"]) == (1, {"the post has not an alternative text": 2})
    assert (caption["answered"], caption["failed"]) == (1, 1)
    assert caption["without"] == {"picture: there is no picture": 1}
    assert len(server.requests) == 1
    status, document = reports(capsys, *words, *asking(server, "--domain", "politics"))
    assert (status, document["runs"][1]["known"], document["runs"][1]["failed_before"]) == (0, 1, 1)
    assert len(server.requests) == 1

    status, out, _ = outcome(capsys, "show", "--store", store)
    assert status == 0
    assert "endpoint-caption" in out
    status, rows = reports(capsys, "show", "1", "--store", store)
    assert {row["result"]["text"] for row in rows if row["source"]["provider"] == "alt"} == {
        "A red [b]square[/b]."
    }
    status, out, _ = outcome(capsys, "show", str(data.with_name("图 1.png")), "--store", store)
    assert "said " in out
    status, out, _ = outcome(capsys, "show", "1", "--store", store, "--posts", str(data))
    assert "A red [b]square[/b]." in out
    assert "said " in out
    status, out, _ = outcome(capsys, "show", "2", "--store", store)
    assert "picture: cannot be decoded" in out.replace("\n", " ") or "damaged" in out
    status, _, err = outcome(capsys, "show", "nobody", "--store", store)
    assert status == 1
    assert "nothing about 'nobody'" in err


def test_the_default_is_to_read_the_text_in_pictures(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = data.with_name("图 1.png")
    Image.new("RGB", (6, 6), "red").save(image)
    status, document = reports(
        capsys, "make", str(data), "--store", str(data.with_name("k.sqlite")), "--limit", "1"
    )
    assert status == 0
    assert (document["runs"][0]["provider"], document["runs"][0]["answered"]) == ("rapidocr", 1)
    status, out, _ = outcome(capsys, "show", str(image), "--store", str(data.with_name("k.sqlite")))
    assert status == 0
    assert out.splitlines()[1:] == ["  (no text)"]


def test_a_trained_recogniser_gives_a_chain_its_candidates(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wordnet(tmp_path)
    recognizer = tiny("bert-crf")
    recognizer.save_pretrained(tmp_path / "tagger")
    words = ["make", str(data), "--store", str(tmp_path / "k.sqlite"), "--provider", "chain"]
    options = ["--model", str(tmp_path / "tagger"), "--option", f"wordnet={tmp_path}"]
    status, document = reports(capsys, *words, *options)
    assert (status, document["runs"][0]["answered"]) == (0, 3)
    status, rows = reports(capsys, "show", "3", "--posts", str(data), "--store", str(tmp_path / "k.sqlite"))
    names = "; ".join(dict.fromkeys(entity.text for entity in recognizer("Bare")))
    assert rows[0]["result"]["text"].splitlines()[0] == f"Candidates: {names or 'none'}"


def test_a_folder_of_pictures(tmp_path: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.jpg", "blue"), ("c.png", "red")):
        Image.new("RGB", (9, 9), colour).save(folder / name)
    (folder / "notes.md").write_text("not a picture")
    words = ["make", str(folder), "--store", str(tmp_path / "k.sqlite"), "--provider", "endpoint-auxiliary"]
    status, document = reports(capsys, *words, *asking(server))
    assert status == 0
    run_ = document["runs"][0]
    assert (run_["posts"], run_["answered"], run_["repeated"]) == (3, 2, 1)


def test_failed_questions_are_asked_again_on_request(
    data: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.knowledge.chat_server import status as answer_status

    server.plan = [answer_status(400, "no")] * 3
    words = [
        "make",
        str(data),
        "--store",
        str(data.with_name("k.sqlite")),
        "--provider",
        "endpoint-reasoning",
    ]
    words += asking(server, "--option", "steps=1")
    status, out, err = outcome(capsys, *words)
    assert status == 1
    assert "3 x " in err
    assert "--retry-failed" in err
    status, document = reports(capsys, *words)
    assert (status, document["runs"][0]["failed_before"]) == (0, 3)
    status, document = reports(capsys, *words, "--retry-failed")
    assert (status, document["runs"][0]["answered"]) == (0, 3)
    del out


def elsewhere(server: ChatServer) -> str:
    """The same server by an address that does not count as this machine's own."""
    return f"http://0.0.0.0:{server.server_port}/v1"


def test_nothing_leaves_before_a_yes(
    data: Path, server: ChatServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    words = [
        "make",
        str(data),
        "--store",
        str(data.with_name("k.sqlite")),
        "--provider",
        "endpoint-reasoning",
    ]
    words += ["--endpoint", elsewhere(server), "--model", "little", "--option", "steps=1"]
    status, _, err = outcome(capsys, *words)
    assert status == 2
    assert f"0.0.0.0:{server.server_port}" in err
    assert "--yes-send-to-endpoint" in err
    assert server.requests == []
    status, _ = reports(capsys, *words, "--yes-send-to-endpoint")
    assert status == 0
    assert len(server.requests) == 3
    # It was confirmed once for this store and this endpoint.
    status, _ = reports(capsys, *words, "--option", "max_tokens=9")
    assert status == 0
    assert len(server.requests) == 6


@pytest.mark.parametrize(("said", "sent"), [(b"n\n", 0), (b"y\n", 3)])
def test_a_person_is_asked(data: Path, server: ChatServer, said: bytes, sent: int) -> None:
    words = ["knowledge", "make", str(data), "--store", str(data.with_name("k.sqlite"))]
    words += ["--provider", "endpoint-reasoning", "--endpoint", elsewhere(server), "--model", "little"]
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mner", *words, "--option", "steps=1"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.write(ours, said)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"Send the texts of posts to http://0.0.0.0" in err
    assert len(server.requests) == sent
    assert process.returncode == (0 if sent else 2)


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    data: Path, server: ChatServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = data.with_name("k.sqlite")
    words = ["make", str(data), "--store", str(store), "--provider", "endpoint-reasoning", *asking(server)]
    status, _, err = outcome(capsys, *words, "--option", f"key={SECRET}")
    assert status == 2
    assert "environment variable" in err
    status, _, err = outcome(capsys, *words, "--api-key-variable", "NO_SUCH_KEY")
    assert (status, server.requests) == (2, [])
    monkeypatch.setenv("MY_KEY", SECRET)
    status, out, err = outcome(capsys, *words, "--api-key-variable", "MY_KEY")
    assert status == 0
    assert {seen["authorization"] for seen in server.headers_seen} == {f"Bearer {SECRET}"}
    assert SECRET not in out + err
    for file in data.parent.glob("k.sqlite*"):
        assert SECRET.encode() not in file.read_bytes()


def test_import_export_and_merge(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data.parent
    (folder / "captions.txt").write_text("1.jpg :a square\n7.jpg :somebody else's\n2.jpg :\n")
    store = str(folder / "k.sqlite")
    status, out, _ = outcome(
        capsys, "import", str(folder / "captions.txt"), "--store", store, "--posts", str(data)
    )
    assert status == 0
    assert "entries without a post: 1 (7)" in out
    assert "of 3 posts nothing is said about: 1 (3)" in out
    assert "empty, kept as failures: 1 (2)" in out
    for name in ("out.jsonl", "out.parquet"):
        status, document = reports(capsys, "export", str(folder / name), "--store", store)
        assert (status, document["rows"]) == (0, 3)
        status, document = reports(
            capsys, "import", str(folder / name), "--store", str(folder / f"{name}.sqlite")
        )
        assert (document[0]["entries"], document[0]["stored"]) == (3, 3)
    status, document = reports(capsys, "import", store, "--store", str(folder / "merged.sqlite"))
    assert (document[0]["entries"], document[0]["stored"]) == (3, 3)
    assert outcome(capsys, "export", str(folder / "out.csv"), "--store", store)[0] == 2


def test_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = outcome(capsys, "prompts")
    assert status == 0
    assert "reasoning" in out
    assert "politics" in out
    status, out, _ = outcome(capsys, "prompts", "reasoning", "--domain", "music")
    assert "musicalartist" in out
    assert "{text}" in out
    status, document = reports(capsys, "prompts")
    assert {domain["name"] for domain in document["domains"]} >= {"ai", "twitter"}
    assert outcome(capsys, "prompts", "captoin")[0] == 2


def test_the_list_of_providers(capsys: pytest.CaptureFixture[str]) -> None:
    status, document = reports(capsys, "make", "--list")
    assert status == 0
    assert {"ocr", "alt", "file", "endpoint-caption"} <= {entry["name"] for entry in document}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Which posts?"),
        (["POSTS", "--provider", "orc"], "'ocr'"),
        (["POSTS", "--model", "x"], "--model means nothing"),
        (["POSTS", "--endpoint", "http://x/v1"], "endpoint-caption"),
        (["POSTS", "--option", "threads"], "NAME=VALUE"),
        (["POSTS", "--option", "treads=1"], "'threads'"),
        (["POSTS", "--provider", "endpoint-caption"], "needs endpoint and model"),
    ],
)
def test_wrong_use_is_told(
    data: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    store = data.with_name("k.sqlite")
    given = [str(data) if word == "POSTS" else word for word in words]
    status, _, err = outcome(capsys, "make", *given, "--store", str(store))
    assert status == 2
    assert said in err.replace("\n", " ")
    assert not store.exists()


def test_stores_that_are_none(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = outcome(capsys, "make", str(data), "--provider", "alt", "--store", str(data))
    assert status == 1
    assert "not a knowledge store" in err.replace("\n", " ")
    assert json.loads(data.read_text(encoding="utf-8").splitlines()[0])["id"] == "1"
    assert outcome(capsys, "show", "--store", str(data.with_name("none.sqlite")))[0] == 1


def test_addresses_of_pictures_are_fetched_only_on_request_and_never_from_inside(
    tmp_path: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "posts.jsonl"
    url = f"http://127.0.0.1:{server.server_port}/picture.png"
    data.write_text(json.dumps({"id": "1", "text": "a", "image": url}) + "\n")
    words = ["make", str(data), "--store", str(tmp_path / "k.sqlite")]
    status, document = reports(capsys, *words)
    assert "not a file" in next(iter(document["runs"][0]["without"]))
    status, document = reports(capsys, *words, "--allow-urls")
    assert "not a public address" in next(iter(document["runs"][0]["without"]))
    assert status == 0


def test_fetching_stops_at_the_limit_and_the_posts_to_read_are_named(
    tmp_path: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "posts.jsonl"
    url = f"http://127.0.0.1:{server.server_port}/"
    records = [{"id": f"{url}{n}", "text": "a", "image": f"{url}{n}.png"} for n in range(3)]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    # Picture 0 was fetched by an earlier run.
    folder = tmp_path / "k.sqlite.pictures"
    folder.mkdir()
    Image.new("RGB", (9, 9), "red").save(folder / hashlib.sha256(f"{url}0.png".encode()).hexdigest(), "PNG")
    words = ["make", str(data), "--store", str(tmp_path / "k.sqlite"), "--allow-urls", "--limit", "2"]
    words += ["--provider", "endpoint-auxiliary", *asking(server)]
    status, document = reports(capsys, *words)
    assert status == 0
    made = document["runs"][0]
    assert (made["posts"], made["answered"], sum(made["without"].values())) == (2, 1, 1)
    status, rows = reports(
        capsys, "show", f"{url}0", "--posts", document["posts"], "--store", str(tmp_path / "k.sqlite")
    )
    assert (status, len(rows)) == (0, 1)
    _, _, said = outcome(capsys, *words)
    assert document["posts"] in said
