"""Each command of `mner plot` writes its figure, or says why it cannot."""

from __future__ import annotations

import json

import pytest

from mner.cli.app import run
from mner.data import write_jsonl
from mner.evaluation.predictions import write_predictions
from mner.posts import Entity
from tests.contract.tiny import POSTS, tiny

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The contract's posts, with their pictures in files."""
    folder = tmp_path_factory.mktemp("data")
    posts = []
    for post in POSTS:
        if post.image is not None:
            (folder / f"{post.id}.png").write_bytes(post.image)
        posts.append(post.with_fields(image=post.image and folder / f"{post.id}.png"))
    write_jsonl(posts, folder / "test.jsonl")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("cat-mner", "dghc", "mgips-cl", "bert-crf"):
        tiny(name).save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cat-mner", ["attention", "--post", "1"]),
        ("cat-mner", ["attention", "--post", "4", "--by", "type", "--layer", "1", "--dark"]),
        ("dghc", ["attention", "--post", "1"]),
        ("mgips-cl", ["attention", "--post", "1"]),
        ("dghc", ["gates"]),
        ("mgips-cl", ["gates"]),
        ("bert-crf", ["confusion"]),
        ("bert-crf", ["errors"]),
        ("bert-crf", ["reliability", "--binning", "equal-count"]),
    ],
)
def test_figures_of_runs(runs, data, tmp_path, name, arguments):
    figure = tmp_path / "figure.png"
    command, *options = arguments
    assert (
        run(["plot", command, str(runs / name), "--data", str(data), "--output", str(figure), *options]) == 0
    )
    assert figure.read_bytes().startswith(PNG)


def test_figures_of_a_file_of_predictions(data, tmp_path):
    said = tmp_path / "said.jsonl"
    write_predictions(said, POSTS, [[Entity("Ada", "PER", 0, 3, 0.5)], [], [], []])
    for command in ("confusion", "errors", "reliability"):
        figure = tmp_path / f"{command}.svg"
        assert run(["plot", command, str(said), "--data", str(data), "--output", str(figure)]) == 0
        assert b"<svg" in figure.read_bytes()


def test_curves_and_settings_of_run_folders(tmp_path):
    folders = []
    for seed, f1 in ((1, 0.5), (2, 0.6)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        record = {
            "recipe": {"model": {"name": "x", "width": 8 * seed}, "training": {"seed": seed}},
            "data": {"fingerprint": "d"},
            "curve": [{"step": 1, "epoch": 1.0, "f1": f1}],
            "losses": [{"step": 1, "loss": 1.0}],
        }
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "results.json").write_text(json.dumps({"test": {"overall": {"f1": f1}}}))
        folders.append(str(folder))
    figure = tmp_path / "figure.png"
    assert run(["plot", "curves", *folders, "--losses", "--output", str(figure)]) == 0
    assert figure.read_bytes().startswith(PNG)
    figure = tmp_path / "other.png"
    command = ["plot", "sensitivity", *folders, "--setting", "model.width", "--log"]
    assert run([*command, "--output", str(figure)]) == 0
    assert figure.read_bytes().startswith(PNG)


def test_vectors_are_a_page(runs, data, tmp_path):
    page = tmp_path / "page.html"
    command = ["plot", "vectors", str(runs / "bert-crf"), "--data", str(data), "--perplexity", "2"]
    assert run([*command, "--output", str(page)]) == 0
    assert "Tove Adeyemi" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("cat-mner", ["attention", "--post", "2"], "has no picture"),
        ("cat-mner", ["attention", "--post", "77"], "There is no post '77'"),
        ("cat-mner", ["attention", "--post", "1", "--words", "some"], "entities or all"),
        ("bert-crf", ["attention", "--post", "1"], "shows nothing of what it looks at"),
        ("bert-crf", ["gates"], "no gates by layer"),
        ("bert-crf", ["vectors"], "ends in .html"),
        ("bert-crf", ["reliability", "--binning", "round"], "equal-width or equal-count"),
    ],
)
def test_wrong_use_is_explained(runs, data, tmp_path, name, arguments, said, capsys):
    command, *options = arguments
    output = str(tmp_path / "figure.png")
    status = run(["plot", command, str(runs / name), "--data", str(data), "--output", output, *options])
    assert status in (1, 2)
    assert said in " ".join(capsys.readouterr().err.split())
