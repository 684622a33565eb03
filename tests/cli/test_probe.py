"""`mner probe` and `mner probe-set`, from the command line's end."""

from __future__ import annotations

import json

import pytest

from mner.cli.app import run
from mner.evaluation.probe import write_probe
from tests.contract.tiny import POSTS, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_probe(
        tmp_path_factory.mktemp("probe") / "data", sizes={"train": 60, "valid": 60, "test": 60}
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Recognisers that were never trained: one that reads pictures and one that does not."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("bert-crf", "mmavk"):
        tiny(name).save_pretrained(folder / name)
    return folder


def test_a_probe_is_scored_with_own_other_and_no_knowledge(runs, data, tmp_path, capsys):
    store, plot = str(data / "knowledge.sqlite"), tmp_path / "plot.png"
    command = ["probe", str(runs / "mmavk"), "--data", str(data), "--knowledge", store, "--samples", "100"]
    assert run([*command, "--json", "--plot", str(plot)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["modes"]) == ["own", "swapped", "none"]
    assert document["posts"] == document["with_picture"] == 60
    assert document["knowledge"]["caption"] == 60
    for mode in document["modes"].values():
        assert mode["f1_interval"]["low"] <= mode["overall"]["f1"] <= mode["f1_interval"]["high"]
    assert set(document["own_less"]) == {"swapped", "none"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_one_that_reads_the_text_alone_does_not_differ(runs, data, capsys):
    assert run(["probe", str(runs / "bert-crf"), "--data", str(data), "--samples", "100"]) == 0
    printed = capsys.readouterr()
    assert "reads the text alone" in printed.err
    assert "convention conll" in printed.out
    assert run(["probe", str(runs / "bert-crf"), "--data", str(data), "--samples", "100", "--json"]) == 0
    modes = json.loads(capsys.readouterr().out)["modes"]
    assert modes["own"]["overall"] == modes["swapped"]["overall"] == modes["none"]["overall"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--convention", "loose"], "no convention"),
        (["--split", "dev2"], "no split"),
        (["--plot", "nowhere/at/all/plot.png"], "cannot be written"),
    ],
)
def test_wrong_use_is_explained(runs, data, options, said, capsys):
    command = ["probe", str(runs / "bert-crf"), "--data", str(data), "--samples", "100"]
    assert run([*command, *options]) in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())


def test_data_without_pictures_is_refused(runs, tmp_path, capsys):
    lines = [json.dumps({"text": post.text, "entities": []}) for post in POSTS]
    (tmp_path / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert run(["probe", str(runs / "bert-crf"), "--data", str(tmp_path)]) == 1
    assert "nothing to probe" in " ".join(capsys.readouterr().err.split())


def test_the_set_and_backbones_are_made_and_a_run_is_scored(runs, tmp_path, capsys):
    folder = tmp_path / "data"
    sizes = ["--train", "60", "--valid", "60", "--test", "60"]
    assert run(["probe-set", "make", str(folder), *sizes]) == 0
    assert run(["probe-set", "make", str(folder), *sizes]) == 2
    assert run(["probe-set", "backbones", str(tmp_path / "backbones")]) == 0
    assert {path.name for path in (tmp_path / "backbones").iterdir()} == {"bert", "clip", "siglip"}
    capsys.readouterr()
    command = ["probe-set", "score", str(runs / "mmavk"), "--data", str(folder), "--json"]
    assert run([*command, "--text", str(runs / "bert-crf")]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ambiguous"]["posts"] == 32
    assert document["shortcomings"]
    # What reads the text alone falls short of nothing that it could reach.
    assert run(["probe-set", "score", str(runs / "bert-crf"), "--data", str(folder)]) == 0
    assert "unrelated pictures" in capsys.readouterr().out
    assert run(["probe-set", "score", str(runs / "mmavk"), "--data", str(tmp_path)]) == 2
