"""`mner errors` and `mner compare`, with a run and with files of predictions."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from mner.cli.app import run
from mner.cli.console import out
from mner.data import write_jsonl
from mner.evaluation.predictions import write_predictions
from mner.evaluation.scores import score
from mner.posts import Post
from tests.contract.tiny import tiny, tiny_picture
from tests.plots.test_figures import Elements

TRAIN = [Post.from_words(["Ada", "in", "Lund"], tags=("B-PER", "O", "B-LOC"), id="t")]
TEST = [
    Post.from_words(["ada", "met", "Kestrel"], tags=("B-PER", "O", "B-ORG"), id="a"),
    Post.from_words(["Port", "Ellery", "calls"], tags=("B-LOC", "I-LOC", "O"), id="b"),
    Post.from_words(["[no]", "names"], tags=("O", "O"), id="c"),
]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "1.png").write_bytes(tiny_picture(1))
    test = [TEST[0].with_fields(image=folder / "1.png"), *TEST[1:]]
    write_jsonl(TRAIN, folder / "train.jsonl")
    write_jsonl(test, folder / "test.jsonl")
    return folder


@pytest.fixture
def said(tmp_path):
    """Two files: all right but for a missed organisation, and a wrong border and a wrong type."""
    gold = [post.gold() for post in TEST]
    first = [gold[0][:1], gold[1], []]
    second = [
        [gold[0][0], replace(gold[0][1], label="LOC")],
        [replace(gold[1][0], end=4, text="Port")],
        [],
    ]
    paths = []
    for name, found in (("first", first), ("second", second)):
        paths.append(tmp_path / f"{name}.jsonl")
        write_predictions(
            paths[-1], TEST, [[replace(one, score=0.5) for one in entities] for entities in found]
        )
    return paths


def test_errors_of_a_file_as_json(data, said, capsys):
    assert run(["errors", str(said[1]), "--data", str(data), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["counts"]["wrong type"]["ORG"] == 1
    assert document["counts"]["wrong border"]["LOC"] == 1
    assert document["right"] == {"PER": 1}
    assert {error["id"]: error["class"] for error in document["errors"]} == {
        "a": "wrong type",
        "b": "wrong border",
    }
    assert document["confusion"]["labels"] == ["LOC", "ORG", "PER"]
    assert document["seen"]["parts"]["seen"] == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "gold": 1,
        "predicted": 1,
        "correct": 1,
    }
    assert document["convention"] == "conll"


def test_errors_are_printed_with_examples_and_written_as_a_page(data, said, tmp_path, capsys):
    page = tmp_path / "in" / "page.html"
    assert run(["errors", str(said[1]), "--data", str(data), "--html", str(page)]) == 0
    printed = capsys.readouterr()
    assert "convention conll" in printed.out
    assert "wrong type: Kestrel [ORG] taken for Kestrel [LOC]" in printed.out
    text = page.read_text(encoding="utf-8")
    assert "data:image/jpeg" in text
    assert "http" not in text
    shown = Elements(text)
    assert [tag for tag, _ in shown.found].count("svg") == 2
    assert "Port Ellery" in shown.text


def test_one_file_of_data_has_no_seen_mentions_and_says_so(data, said, capsys):
    assert run(["errors", str(said[0]), "--data", str(data / "test.jsonl"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["seen"] is None
    assert "not told apart" in printed.err


def test_two_files_are_compared(data, said, tmp_path, capsys):
    page = tmp_path / "page.html"
    command = ["compare", *map(str, said), "--data", str(data), "--samples", "100"]
    assert run([*command, "--json", "--html", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(one["id"], one["better"]) for one in document["differences"]] == [("a", "first"), ("b", "first")]
    gold = [post.gold() for post in TEST]
    counts = score(gold, [gold[0][:1], gold[1], []]).overall, (1, 3)
    expected = counts[0].f1 - 2 * counts[1][0] / (3 + counts[1][1])
    assert document["first_less_second"]["value"] == pytest.approx(expected)
    text = Elements(page.read_text(encoding="utf-8")).text
    assert "first has fewer errors: 2 posts" in text
    assert run(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "They differ on 2 of 3 posts: first has fewer errors on 2" in printed
    assert "paired bootstrap" in printed


@pytest.mark.parametrize(
    ("options", "said_of_it"),
    [
        (["--convention", "loose"], "no convention"),
        (["--split", "train"], "is not of the post"),
        (["--html", "{file}/page.html"], "cannot be written"),
    ],
)
def test_wrong_use_is_explained(data, said, options, said_of_it, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    options = [option.replace("{file}", str(tmp_path / "file")) for option in options]
    assert run(["errors", str(said[0]), "--data", str(data), *options]) in (1, 2)
    assert said_of_it in " ".join(capsys.readouterr().err.split())


def test_what_evaluate_writes_is_what_errors_reads(data, tmp_path, capsys):
    tiny("bert-crf").save_pretrained(tmp_path / "run")
    written = tmp_path / "said.jsonl"
    command = ["evaluate", str(tmp_path / "run"), "--data", str(data), "--errors", "--json"]
    assert run([*command, "--predictions", str(written)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert run(["errors", str(written), "--data", str(data), "--json"]) == 0
    of_file = json.loads(capsys.readouterr().out)
    assert run(["errors", str(tmp_path / "run"), "--data", str(data), "--json"]) == 0
    of_run = json.loads(capsys.readouterr().out)
    assert of_file["errors"] == of_run["errors"] == scores["errors"]["errors"]
    assert sum(of_file["right"].values()) == scores["conll"]["overall"]["correct"]


def test_types_are_told_apart_however_many_and_long_they_are(tmp_path, capsys, monkeypatch):
    types = [f"political{kind}" for kind in ("party", "person", "office", "event", "[b]district", "text")]
    gold = [
        Post.from_words(["Ada", "met"], tags=(f"B-{label}", "O"), id=str(number))
        for number, label in enumerate(types)
    ]
    write_jsonl(gold, tmp_path / "test.jsonl")
    # Each is taken for the next type.
    said = [
        [replace(post.gold()[0], label=label)]
        for post, label in zip(gold, types[1:] + types[:1], strict=True)
    ]
    write_predictions(tmp_path / "said.jsonl", gold, said)
    monkeypatch.setattr(out, "width", 60)
    assert run(["errors", str(tmp_path / "said.jsonl"), "--data", str(tmp_path / "test.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    rows = [re.findall(r"[^\s│]+", line) for line in shown.partition("by number")[2].splitlines()]
    counts = {row[1]: row[2:] for row in rows if len(row) == 2 + len(types) + 1}
    assert set(counts) == {*types, "none"}
    for number, label in enumerate(sorted(types), start=1):
        taken_for = types[(types.index(label) + 1) % len(types)]
        expected = ["1" if other == taken_for else "0" for other in sorted(types)] + ["0"]
        assert counts[label] == expected
        assert [str(number), label] in [row[:2] for row in rows]
