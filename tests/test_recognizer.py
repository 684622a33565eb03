"""The recogniser: how it is called, streamed, saved, and what it says of damaged folders."""

from __future__ import annotations

import json

import pytest
import torch

from mner.errors import RunFolderError, UsageError
from mner.posts import Post
from mner.recognizer import SETTINGS_FILE, Recognizer
from tests.contract.test_contract import overfit
from tests.contract.tiny import LONG_POST, POSTS, tiny


@pytest.fixture(scope="module")
def recognizer():
    """A tiny recogniser that knows the tiny posts by heart."""
    made = tiny("bert-crf")
    overfit(made, POSTS)
    return made


def test_a_text_gives_entities_of_that_text(recognizer):
    for text in ("Ada Lindqvist reads in Port Ellery", "  Ada\tLindqvist reads 🎉 in\u200b Port Ellery\n"):
        entities = recognizer(text)
        assert entities
        for entity in entities:
            assert text[entity.start : entity.end] == entity.text
            assert 0 < entity.score <= 1


def test_several_posts_give_several_lists(recognizer):
    one, two = recognizer(["Ada Lindqvist reads in Port Ellery", POSTS[1]])
    assert one == recognizer("Ada Lindqvist reads in Port Ellery")
    assert two == recognizer(POSTS[1])
    with pytest.raises(UsageError, match="several posts"):
        recognizer(["Ada"], image="a.jpg")


@pytest.mark.parametrize(
    "text",
    ["", " ", "\u200b\u200d", "🎉🎉🎉", "\x00\x07", "مرحبا يا آدا", "שלום עדה", "a\u0301" * 50, "x" * 20_000],
)
def test_odd_texts_have_right_offsets_and_no_errors(recognizer, text):
    for entity in recognizer(text):
        assert text[entity.start : entity.end] == entity.text


def test_ten_thousand_words(recognizer):
    text = " ".join(["Ada Lindqvist reads in Port Ellery"] * 1700)
    entities = recognizer(text)
    assert all(text[e.start : e.end] == e.text for e in entities)
    # The post is read to its end: names are found in every tenth of it.
    assert {10 * e.start // len(text) for e in entities} == set(range(10))


def test_a_stream_equals_predicting_at_once(recognizer):
    posts = [*POSTS, LONG_POST, Post.from_words([]), *POSTS] * 3
    expected = recognizer.predict(posts)
    for window in (1, 4, 1000):
        streamed = list(recognizer.stream(iter(posts), window=window, batch_size=3))
        assert [[(e.start, e.end, e.label) for e in one] for one in streamed] == [
            [(e.start, e.end, e.label) for e in one] for one in expected
        ]


def test_a_stream_reads_no_further_ahead_than_its_window(recognizer):
    taken = 0

    def posts():
        nonlocal taken
        while True:
            taken += 1
            yield POSTS[taken % 4]

    stream = recognizer.stream(posts(), window=8)
    for _ in range(9):
        next(stream)
    assert taken == 16


def test_the_model_is_left_in_the_state_it_was_in(recognizer):
    recognizer.model.train()
    recognizer.predict(POSTS)
    assert recognizer.model.training
    recognizer.model.eval()
    recognizer.predict(POSTS)
    assert not recognizer.model.training


def test_a_folder_predicts_alone_elsewhere(recognizer, tmp_path):
    recognizer.save_pretrained(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "moved")
    loaded = Recognizer.from_pretrained(tmp_path / "moved")
    assert loaded.labels == recognizer.labels
    assert loaded.predict(POSTS) == recognizer.predict(POSTS)
    half = Recognizer.from_pretrained(tmp_path / "moved", dtype="bfloat16")
    assert next(half.model.text_encoder.parameters()).dtype == torch.bfloat16
    assert len(half.predict(POSTS)) == len(POSTS)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", SETTINGS_FILE])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_folder_is_named(recognizer, tmp_path, name, damage):
    recognizer.save_pretrained(tmp_path)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RunFolderError, match=name.replace(".", r"\.")):
        Recognizer.from_pretrained(tmp_path)


def test_a_folder_of_the_right_sizes_but_wrong_content_is_refused(recognizer, tmp_path):
    recognizer.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(RunFolderError, match="cannot be loaded"):
        Recognizer.from_pretrained(tmp_path)


def test_folders_of_other_versions_and_no_folders_are_refused(recognizer, tmp_path):
    with pytest.raises(RunFolderError, match="no run folder"):
        Recognizer.from_pretrained(tmp_path / "none")
    with pytest.raises(RunFolderError, match=SETTINGS_FILE):
        Recognizer.from_pretrained(tmp_path)
    recognizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / SETTINGS_FILE).read_text())
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({**settings, "format": 99}))
    with pytest.raises(RunFolderError, match="another version"):
        Recognizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("device", ["banana", "cuda:99", "cpu:banana"])
def test_a_device_that_is_not_here_is_refused_before_anything_is_read(recognizer, tmp_path, device):
    with pytest.raises(UsageError, match=f"no device '{device}'"):
        recognizer.to(device)
    with pytest.raises(UsageError, match=f"no device '{device}'"):
        Recognizer.from_pretrained(tmp_path / "nowhere", device=device)


def test_an_unknown_type_of_numbers_is_refused(recognizer):
    with pytest.raises(UsageError, match="float32 or bfloat16"):
        recognizer.to(dtype="float8")
