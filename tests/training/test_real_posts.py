"""Every system that reads pictures, from the command line, on real posts with real and broken pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mner.cli.app import run
from mner.models import registered

ROOT = Path(__file__).parents[2]
SYSTEMS = sorted(name for name, entry in registered().items() if entry.reads_pictures)
SEEING = ("cat-mner", "dghc", "mgips-cl")
POSITIONS = 128

pytestmark = pytest.mark.data


def blocks_of(*files: Path) -> list[str]:
    texts = [file.read_text(encoding="utf-8").strip("\n").split("\n\n") for file in files]
    return [block for text in texts for block in text if block.strip()]


def write_split(folder: Path, split: str, blocks: list[str], pictures: Path, truncated: Path | None) -> None:
    """Write a split with its pictures; of three, one is cut off, one is no picture and one is missing."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.txt").write_text("\n\n".join(blocks) + "\n\n", encoding="utf-8")
    names = [block.split("\n", 1)[0].removeprefix("IMGID:") for block in blocks]
    records = []
    for block, name in zip(blocks, names, strict=True):
        target = folder / "images" / f"{name}.jpg"
        if (pictures / target.name).exists():
            shutil.copy(pictures / target.name, target)
        words = [line.replace("\t", " ").rsplit(" ", 1)[0] for line in block.split("\n")[1:]]
        records.append({"id": name, "words": words, "image": str(target)})
    if truncated is not None:
        shutil.copy(truncated, folder / "images" / f"{names[0]}.jpg")
        (folder / "images" / f"{names[1]}.jpg").write_text("no picture at all")
        (folder / "images" / f"{names[2]}.jpg").unlink()
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (folder / f"{split}-posts.json.lines").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def sets(real_data, tmp_path_factory):
    """Folders of the two sets, a store with the texts in some of their pictures, and a character encoder."""
    folder = tmp_path_factory.mktemp("sets")
    truncated = real_data / "odd_images" / "truncated.jpg"
    source = real_data / "twitter_mini"
    twitter = blocks_of(*(source / f"twitter{year}_mini.txt" for year in (2015, 2017)))
    twitter = [block.replace("-OTHER", "-MISC") for block in twitter[::2] + twitter[1::2]]
    assert len(twitter) == 30
    painted = real_data / "cp_mner"
    chinese = {split: blocks_of(painted / f"{split}.txt") for split in ("train", "valid", "test")}
    parts = {
        "twitter_mini": (
            source / "images",
            {"train": twitter[:18], "valid": twitter[18:24], "test": twitter[24:]},
        ),
        "cp_mner": (
            painted / "images",
            {"train": chinese["train"][:12], "valid": chinese["valid"][:4], "test": chinese["test"][:5]},
        ),
    }
    for name, (pictures, splits) in parts.items():
        for split, blocks in splits.items():
            write_split(folder / name, split, blocks, pictures, None if split == "valid" else truncated)
        # The first three of them are the broken ones.
        read = ["--provider", "ocr", "--split", "train", "--limit", "4", "--json"]
        made = ["knowledge", "make", str(folder / name), "--store", str(folder / f"{name}.sqlite"), *read]
        assert run(made) == 1  # what cannot be read is a failure, and said
    small = ["--width", "16", "--layers", "1", "--heads", "2", "--positions", str(POSITIONS)]
    encoder = ["backbone", "make", str(folder / "encoder"), "--data", str(painted)]
    assert run([*encoder, *small]) == 0
    return folder


def test_what_is_broken_is_said_when_texts_in_pictures_are_read(sets, capsys):
    capsys.readouterr()
    made = ["knowledge", "make", str(sets / "cp_mner"), "--split", "train", "--limit", "4", "--json"]
    assert run([*made, "--provider", "ocr", "--store", str(sets / "cp_mner.sqlite")]) == 0
    (report,) = json.loads(capsys.readouterr().out)["runs"]
    assert (report["known"], report["failed_before"]) == (1, 2)
    assert sum(report["without"].values()) == 1


@pytest.mark.parametrize("name", ["twitter_mini", "cp_mner"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_trains_and_predicts(system, name, sets, tmp_path, capsys):
    if name == "cp_mner":
        recipe = ROOT / "recipes" / "cp-mner" / f"{system}.toml"
        own = ["--backbone", str(sets / "encoder"), "--set", f"encoding.max_length={POSITIONS}"]
    else:
        recipe, own = ROOT / "recipes" / system / "small.toml", []
    if system not in SEEING:
        own += ["--knowledge", str(sets / f"{name}.sqlite")]
    if system == "dghc":
        own += ["--set", 'training.frozen=["vision"]', "--set", f'training.kept_features="{tmp_path}/kept"']
    made_run = tmp_path / "run"
    epochs = ["--set", "training.epochs=1", "--set", "training.batch_size=6"]
    arguments = ["train", str(recipe), "--data", str(sets / name), "--output", str(made_run), "--json"]
    assert run([*arguments, *own, *epochs]) == 0
    written = capsys.readouterr()
    record = json.loads(written.out)
    assert record["test"]["overall"]["gold"] > 0
    assert (tmp_path / "kept").exists() == (system == "dghc")
    if system in SEEING:
        # The three broken ones of the posts to train on; all others, and those to choose on, have theirs.
        counts = record["pictures"]
        assert sum(count for key, count in counts.items() if key.startswith("no picture: ")) == 3
        assert "3 of " in written.err
        assert "had no picture" in written.err
        assert "Truncated" in written.err

    posts = sets / name / "test-posts.json.lines"
    shutil.copy(posts, tmp_path / "posts.jsonl")
    predict = ["predict", "--model", str(made_run), "--input", str(tmp_path / "posts.jsonl")]
    assert run([*predict, "--output", str(tmp_path / "found.jsonl")]) == 0
    found = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text("utf-8").splitlines()]
    given = [json.loads(line) for line in posts.read_text("utf-8").splitlines()]
    assert [post["id"] for post in found] == [post["id"] for post in given]
    if name == "cp_mner":
        assert max(len(post["words"]) for post in given) > POSITIONS  # read in windows
    if system in SEEING:
        assert "had no picture" in capsys.readouterr().err
