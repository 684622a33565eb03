"""`mner backbone make`: a text encoder for the characters of a data set, which a recipe then names."""

from __future__ import annotations

import json

import pytest

from mner.cli.app import run

POSTS = [
    {"text": "《雪岳读书图》轴，明，萧云从绘", "entities": [{"start": 1, "end": 6, "label": "ARTWORK"}]},
    {"text": "《风竹图》轴，近现代，徐悲鸿绘" * 3, "entities": [{"start": 1, "end": 4, "label": "ARTWORK"}]},
]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    lines = "".join(json.dumps(post, ensure_ascii=False) + "\n" for post in POSTS)
    for split in ("train", "valid", "test"):
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_make_train_and_predict_in_windows(data, tmp_path, capsys):
    encoder = tmp_path / "encoder"
    small = ["--width", "16", "--layers", "1", "--heads", "2", "--positions", "24"]
    arguments = ["backbone", "make", str(encoder), "--data", str(data), "--rarest", "1", *small]
    assert run([*arguments, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["characters"] == len(set("".join(post["text"] for post in POSTS)))
    assert made["positions"] == 24 < len(POSTS[1]["text"])
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0

    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[model]\nname = "bert-crf"\n[training]\nepochs = 1\n', encoding="utf-8")
    made_run = tmp_path / "run"
    options = ["--data", str(data), "--backbone", str(encoder), "--output", str(made_run), "--json"]
    assert run(["train", str(recipe), *options]) == 0
    capsys.readouterr()
    assert run(["predict", POSTS[1]["text"], "--model", str(made_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == POSTS[1]["text"]
