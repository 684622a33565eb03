"""`mner predict`: options that would do nothing are refused, and what is there is kept."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager

import pytest

from mner.bulk import predict_file
from mner.cli.app import run
from mner.recognizer import STREAM_WINDOW, Recognizer
from tests.contract.tiny import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder."""
    path = tmp_path_factory.mktemp("run")
    tiny("bert-crf").save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "named", "right"),
    [
        (["Ada reads", "--output", "out.jsonl"], "--output would", "--input FILE"),
        (["Ada reads", "--output-format", "csv"], "--output-format would", "--input FILE"),
        (["Ada reads", "--input-format", "csv"], "--input-format would", "--input FILE"),
        (["Ada reads", "--rejects", "bad.jsonl"], "--rejects would", "--input FILE"),
        (["Ada reads", "--resume", "--overwrite"], "--resume and --overwrite would", "--input FILE"),
        (["--input", "posts.txt", "--image", "a.png"], "--image would", "with a text"),
        (["--input", "posts.txt", "--alt", "a shop"], "--alt would", "with a text"),
        (
            ["--input", "posts.txt", "--json", "--output", "out.jsonl"],
            "--json would do nothing beside --output out.jsonl",
            "JSON lines",
        ),
        (
            ["--input", "posts.txt", "--json", "--output-format", "csv"],
            "--json would do nothing beside --output-format csv",
            "JSON lines",
        ),
        (["--input", "posts.txt", "--resume"], "pipe", "--output FILE with --resume"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments, named, right, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "posts.txt").write_text("Ada reads\n")
    assert run(["predict", *arguments]) == 2
    written = capsys.readouterr()
    said = " ".join(written.err.split())
    assert named in said
    assert right in said
    assert written.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["posts.txt"]


@pytest.mark.parametrize("given", [["--json"], ["--json", "--output-format", "jsonl"]])
def test_json_of_posts_is_what_is_printed_anyway(folder, tmp_path, capsys, given):
    (tmp_path / "posts.txt").write_text("Ada reads\nGrace writes\n")
    arguments = ["predict", "--input", str(tmp_path / "posts.txt"), "--model", str(folder)]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert [json.loads(line)["text"] for line in printed.splitlines()] == ["Ada reads", "Grace writes"]
    assert run([*arguments, *given]) == 0
    assert capsys.readouterr().out == printed


def test_a_pipe_lists_bad_lines_where_a_file_is_named(folder, tmp_path, capsys):
    (tmp_path / "posts.jsonl").write_text('{"text": "Ada reads"}\n{"text": \n')
    listed = tmp_path / "bad.jsonl"
    arguments = ["--input", str(tmp_path / "posts.jsonl"), "--model", str(folder), "--rejects", str(listed)]
    assert run(["predict", *arguments]) == 1
    assert json.loads(capsys.readouterr().out)["text"] == "Ada reads"
    assert json.loads(listed.read_text())["line"] == 2


def test_a_page_stays_where_nothing_was_left_to_predict(folder, tmp_path, capsys):
    source, page = tmp_path / "posts.txt", tmp_path / "page.html"
    source.write_text("Ada reads\n")
    arguments = ["predict", "--input", str(source), "--output", str(tmp_path / "out.jsonl")]
    arguments += ["--model", str(folder), "--html", str(page), "--resume"]
    assert run(arguments) == 0
    before = page.read_bytes()
    assert b"Ada" in before
    capsys.readouterr()
    assert run(arguments) == 0
    assert page.read_bytes() == before
    said = " ".join(capsys.readouterr().err.split())
    assert "left as it is" in said
    assert "complete already" in said


class StoppedError(Exception):
    pass


def stopped(folder, source, target, posts):
    """A run that is stopped behind a commit, when so many posts are done."""
    done = 0

    @contextmanager
    def stopping(description, total=None):
        def advance(count=1, /, **notes):
            nonlocal done
            done += count
            if done >= posts:
                raise StoppedError

        yield advance

    recognizer = Recognizer.from_pretrained(folder, device="cpu")
    with pytest.raises(StoppedError):
        predict_file(recognizer, source, target, read_pictures=True, progress=stopping)


@pytest.mark.parametrize("left", [0, 3])
def test_a_page_stays_where_an_earlier_run_had_the_first_posts(folder, tmp_path, capsys, left):
    source, target, page = (tmp_path / name for name in ("posts.txt", "out.jsonl", "page.html"))
    source.write_text("Ada reads\n" * STREAM_WINDOW + "Grace writes\n" * left)
    page.write_text("of the run that was stopped")
    arguments = ["predict", "--input", str(source), "--output", str(target), "--model", str(folder)]
    arguments += ["--device", "cpu", "--resume", "--html"]
    stopped(folder, source, target, STREAM_WINDOW)
    assert run([*arguments, str(page)]) == 0
    assert page.read_text() == "of the run that was stopped"
    said = " ".join(capsys.readouterr().err.split())
    assert "left as it is" in said
    assert f"after line {STREAM_WINDOW}" in said

    target.unlink()
    new = tmp_path / "new.html"
    stopped(folder, source, target, STREAM_WINDOW)
    assert run([*arguments, str(new)]) == 0
    assert f"after line {STREAM_WINDOW}" in " ".join(capsys.readouterr().err.split())
    assert new.exists() == (left > 0)
    if left:
        # What marks a name may stand between its words.
        shown = re.sub(r"<[^>]+>", " ", new.read_text())
        assert (shown.count("Grace"), shown.count("Ada")) == (left, 0)
