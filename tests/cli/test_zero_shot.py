"""`mner experiment zero-shot` over real HTTP."""

from __future__ import annotations

import json

import pytest

from mner.cli.app import run
from tests.experiments.test_zero_shot import capitals
from tests.knowledge.chat_server import ChatServer, completion

TEXT = "IMGID:1\nAnn\tB-PER\nin\tO\nParis\tB-LOC\n\nIMGID:2\nRome\tB-OTHER\n\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "test.txt").write_text(TEXT)
    return folder


@pytest.fixture
def server():
    with ChatServer(capitals) as running:
        yield running


def words(folder, server, output, *more):
    base = [
        "experiment",
        "zero-shot",
        "--data",
        str(folder),
        "--endpoint",
        server.address,
        "--model",
        "little",
    ]
    return [*base, "--output", str(output), "--label-map", "OTHER=MISC", *more]


def test_it_writes_predictions_scores_them_and_asks_nothing_twice(folder, server, tmp_path, capsys):
    output = tmp_path / "out" / "predictions.jsonl"
    assert run(words(folder, server, output, "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scores"]["overall"]["correct"] == 1
    assert document["refused"] == {"the mention is not in the text": 2}
    first = output.read_text()
    records = [json.loads(line) for line in first.splitlines()]
    assert [record["id"] for record in records] == ["1", "2"]
    assert records[0]["entities"][1] == {"text": "Paris", "label": "PER", "start": 7, "end": 12}
    assert run(words(folder, server, output)) == 0
    shown = capsys.readouterr()
    assert "little, zero-shot, on test of set" in shown.out
    assert "Refused 2 times" in shown.err
    assert output.read_text() == first
    assert len(server.requests) == 2


def test_types_that_are_not_asked_for_are_refused_before_anything_is_asked(folder, server, tmp_path, capsys):
    command = words(folder, server, tmp_path / "p.jsonl")
    command = command[: command.index("--label-map")]
    assert run(command) == 2
    assert "OTHER" in capsys.readouterr().err
    assert not server.requests


def test_answers_that_cannot_be_read_leave_with_status_one(folder, tmp_path, capsys):
    with ChatServer(lambda _: completion("I cannot do that.")) as server:
        assert run(words(folder, server, tmp_path / "p.jsonl")) == 1
    shown = capsys.readouterr().err
    assert "2 of 2 posts have no readable answer" in shown
    assert (tmp_path / "p.jsonl").is_file()


def test_nothing_is_sent_elsewhere_unasked(folder, tmp_path, capsys):
    command = ["experiment", "zero-shot", "--data", str(folder), "--endpoint", "http://example.invalid/v1"]
    command += ["--model", "m", "--output", str(tmp_path / "p.jsonl"), "--label-map", "OTHER=MISC"]
    assert run(command) == 2
    assert "--yes-send-to-endpoint" in capsys.readouterr().err
