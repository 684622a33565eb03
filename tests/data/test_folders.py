"""Folders of splits: found by their customary names, read as one set."""

from __future__ import annotations

import pytest

from mner.data import read_folder, read_posts
from mner.data.folders import find_splits
from mner.errors import DataError, UsageError
from mner.tags import BIO, IOB1

TWITTER = "IMGID:1\nNew\tB-LOC\nYork\tI-LOC\n\nIMGID:2\nwon\tO\n"


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_folder(tmp_path):
    folder = write(tmp_path / "set", train__txt=TWITTER, dev__txt=TWITTER, notes__md="x")
    (folder / "images").mkdir()
    (folder / "images" / "1.jpg").write_bytes(b"x")
    dataset = read_folder(folder)
    assert dataset.name == "set"
    assert {split: len(posts) for split, posts in dataset.splits.items()} == {"train": 2, "valid": 2}
    assert dataset.sources["valid"].path == folder / "dev.txt"
    assert dataset.sources["valid"].format == "twitter"
    one, two = dataset.split("train")
    assert one.image == folder / "images" / "1.jpg"
    assert (two.image, two.image_problem) == (None, "no file images/2.jpg")


def test_pictures_elsewhere_and_pictures_nowhere(tmp_path):
    folder = write(tmp_path / "set", train__txt=TWITTER)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "2.png").write_bytes(b"x")
    _, two = read_folder(folder, images=elsewhere).split("train")
    assert two.image == elsewhere / "2.png"
    assert read_posts(folder / "train.txt", images=elsewhere)[1].image == elsewhere / "2.png"
    with pytest.raises(DataError, match="no folder of pictures"):
        read_folder(folder, images=tmp_path / "nowhere")


def test_pictures_of_jsonl_may_lie_elsewhere_too(tmp_path):
    folder = write(tmp_path / "set", train__jsonl='{"text": "a", "image": "1.jpg"}\n')
    elsewhere = write(tmp_path / "elsewhere")
    (elsewhere / "1.jpg").write_bytes(b"x")
    assert read_folder(folder).split("train")[0].image_problem == "no file 1.jpg"
    assert read_folder(folder, images=elsewhere).split("train")[0].image == elsewhere / "1.jpg"


def test_the_scheme_is_that_of_all_splits_together(tmp_path):
    """The test split alone would pass for BIO: it has one entity, right behind another of its type."""
    rows = "A X Y I-LOC\nB X Y O\nC X Y I-PER\n"
    folder = write(tmp_path / "set", train__txt=rows, test__txt="A X Y O\n")
    dataset = read_folder(folder)
    assert {post.scheme for posts in dataset.splits.values() for post in posts} == {IOB1}
    assert read_folder(folder, scheme="bio").split("train")[0].scheme is BIO


def test_a_label_map(tmp_path):
    folder = write(tmp_path / "set", train__txt=TWITTER)
    assert read_folder(folder, label_map={"LOC": "PLACE"}).labels == ("PLACE",)
    assert read_posts(folder / "train.txt", label_map={"LOC": "PLACE"})[0].tags == ("B-PLACE", "I-PLACE")


def test_an_absent_split_is_an_error_only_when_asked_for(tmp_path):
    dataset = read_folder(write(tmp_path / "set", test__txt=TWITTER))
    assert len(dataset.split("test")) == 2
    with pytest.raises(DataError, match=r"no split 'train'.*test \(2 posts\)"):
        dataset.split("train")


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("a\tO\n")
    with pytest.raises(DataError, match="a file"):
        read_folder(tmp_path / "file")
    inner = write(tmp_path / "outer")
    write(inner / "txt", train__txt=TWITTER)
    with pytest.raises(DataError, match=r"Did you mean .*txt"):
        read_folder(inner)
    write(inner, trian__txt=TWITTER)
    with pytest.raises(DataError, match=r"trian\.txt"):
        find_splits(inner)


def test_two_files_for_a_split(tmp_path):
    folder = write(tmp_path / "set", train__txt=TWITTER, train__jsonl='{"text": "a"}')
    with pytest.raises(DataError, match=r"train\.jsonl and train\.txt"):
        read_folder(folder)
    assert len(read_folder(folder, "jsonl").split("train")) == 1
    assert len(read_folder(folder, "twitter").split("train")) == 2
    write(folder, training__txt=TWITTER)
    with pytest.raises(DataError, match="two files for the split 'train'"):
        read_folder(folder, "twitter")


def test_wrong_names_of_formats_and_schemes(tmp_path):
    folder = write(tmp_path / "set", train__txt=TWITTER)
    with pytest.raises(UsageError, match="Did you mean 'twitter'"):
        read_folder(folder, "twiter")
    with pytest.raises(UsageError, match="scheme"):
        read_folder(folder, scheme="BILOU")


def test_an_empty_jsonl_split_is_refused(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        read_folder(write(tmp_path / "set", train__jsonl="\n"))


def test_progress_is_told_every_file(tmp_path):
    from contextlib import contextmanager

    told = []

    @contextmanager
    def reporter(description, total=None, /):
        told.append((description, total))
        yield lambda _count=1, /, **notes: told.append(notes["split"])

    read_folder(write(tmp_path / "set", train__txt=TWITTER, test__txt=TWITTER), progress=reporter)
    assert told == [("reading set", 2), "train", "test"]
