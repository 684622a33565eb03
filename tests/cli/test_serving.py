"""`mner serve` as people start it: a process of its own, asked over HTTP, ended by a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx

from mner.cli.app import run
from tests.contract.tiny import tiny
from tests.machine import PATIENCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("runs") / "tiny"
    tiny("bert-crf").save_pretrained(found)
    return found


def test_a_server_starts_answers_and_leaves_when_told(folder, tmp_path):
    key = tmp_path / "key"
    key.write_text("secret\n")
    command = [sys.executable, "-m", "mner", "serve", str(folder), "--port", "0", "--no-page"]
    command += ["--api-key-file", str(key), "--dtype", "bfloat16", "--device", "cpu", "--threads", "1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stderr is not None
        lines = []
        address = None
        for line in process.stderr:
            assert line.startswith(b"{"), line
            lines.append(json.loads(line))
            if lines[-1]["event"] == "serving":
                address = lines[-1]["url"]
                break
        assert address, lines
        with httpx.Client(base_url=address, headers={"X-API-Key": "secret"}, timeout=PATIENCE) as client:
            version = client.get("/version").json()
            assert (version["model"], version["dtype"], version["device"]) == ("bert-crf", "bfloat16", "cpu")
            assert client.post("/v1/recognize", json={"text": "Ada reads"}).status_code == 200
            assert httpx.get(f"{address}/version", timeout=PATIENCE).status_code == 401
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=PATIENCE)
    assert out == b"", "results alone would go to stdout, and there are none"
    logs = lines + [json.loads(line) for line in rest.splitlines()]
    assert any(line["event"] == "request" and line["path"] == "/v1/recognize" for line in logs)
    assert not any("secret" in json.dumps(line) for line in logs)
    # uvicorn raises the signal again once it has left in order.
    assert process.returncode in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--log-level", "loud"], "level"),
        (["--api-key-file", "no-such-file"], "cannot be read"),
        (["--port", "70000"], "port"),
        (["--dtype", "float16"], "cannot be of that type"),
    ],
)
def test_wrong_use_says_what_is_wrong(folder, capsys, arguments, said):
    assert run(["serve", str(folder), "--no-page", *arguments]) == 2
    assert said in capsys.readouterr().err.lower()


def test_an_empty_key_file_is_refused(folder, tmp_path, capsys):
    (tmp_path / "key").write_text("\n")
    assert run(["serve", str(folder), "--api-key-file", str(tmp_path / "key")]) == 2
    assert "no API key" in capsys.readouterr().err


def test_a_run_that_is_not_there(tmp_path, capsys):
    assert run(["serve", str(tmp_path / "none"), "--no-page"]) == 1
    assert "no run folder" in capsys.readouterr().err


def test_a_port_that_is_taken(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["serve", str(folder), "--no-page", "--port", port]) == 2
    assert port in capsys.readouterr().err
