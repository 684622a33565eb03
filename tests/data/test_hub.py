"""Data sets of the hub library, in and out."""

from __future__ import annotations

import io

import pytest

from mner import Entity, Post
from mner.data import Dataset, read_folder
from mner.data.hub import from_hub, to_hub
from mner.errors import DataError, UsageError
from mner.tags import BIO, IOB1

datasets = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")


def features(**columns):
    return datasets.Features(columns)


STRING = datasets.Value("string")


def test_tokens_and_class_labels():
    names = ["O", "B-PER", "I-PER"]
    table = datasets.Dataset.from_dict(
        {"id": ["0"], "tokens": [["Kawhi", "Leonard", "\u00a0"]], "ner_tags": [[1, 2, 0]]},
        features=features(
            id=STRING,
            tokens=datasets.Sequence(STRING),
            ner_tags=datasets.Sequence(datasets.ClassLabel(names=names)),
        ),
    )
    dataset = from_hub(datasets.DatasetDict({"train": table, "validation": table}))
    assert list(dataset.splits) == ["train", "valid"]
    (post,) = dataset.split("valid")
    assert post.words == ("Kawhi", "Leonard", "\u00a0")
    assert post.tags == ("B-PER", "I-PER", "O")
    assert post.scheme is BIO


def test_text_and_entities():
    table = datasets.Dataset.from_dict(
        {"text": ["Kawhi won", "b"], "entities": [[{"start": 0, "end": 5, "label": "PER"}], []]}
    )
    one, two = from_hub(table, name="mine").split("train")
    assert one.entities == (Entity("Kawhi", "PER", 0, 5),)
    assert two.entities == ()


def test_tags_as_strings_and_their_scheme():
    table = datasets.Dataset.from_dict({"words": [["EU", "x"]] * 2, "tags": [["I-ORG", "O"]] * 2})
    assert from_hub(table).split("train")[0].scheme is IOB1


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"label": [1]}, "no columns that make posts"),
        ({"text": ["a"], "ner_tags": [[1]]}, "no columns that make posts"),
        ({"tokens": [["a"]], "ner_tags": [[1]]}, "numbers without names"),
        ({"tokens": [["a", "b"]], "ner_tags": [["O"]]}, "do not fit"),
        ({"tokens": [["a"]], "ner_tags": [["PER"]]}, "not of any known scheme"),
        ({"text": ["a"], "entities": [[{"start": 0, "end": 9, "label": "X"}]]}, "row 0, entity 1"),
    ],
)
def test_errors_teach(columns, says):
    with pytest.raises(DataError, match=says):
        from_hub(datasets.Dataset.from_dict(columns))


def test_a_data_set_that_cannot_be_loaded(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        from_hub(tmp_path / "empty")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "1.png"
    Image.new("RGB", (3, 2), "red").save(path)
    return path


def tagged(picture):
    return Dataset(
        "mine",
        {
            "train": [
                Post.from_words(
                    ["New", "York"], id="1", tags=("B-LOC", "I-LOC"), image=picture, alt="A city."
                ),
                Post.from_words(["萧", "从"], joiner="", id="2", tags=("I-PER", "B-PER")),
            ],
            "valid": [Post.from_words(["\ufeff"], tags=("O",))],
        },
    )


def by_characters():
    entities = (Entity("Kawhi", "PER", 2, 7), Entity("Kaw", "X", 2, 5))
    return Dataset(
        "mine",
        {
            "train": [
                Post.from_text("👍 Kawhi won", id="1", entities=entities),
                Post.from_text("b", entities=()),
            ]
        },
    )


@pytest.mark.parametrize("through", ["memory", "disk"])
def test_out_and_in_again(tmp_path, picture, through):
    for dataset in (tagged(picture), by_characters()):
        table = to_hub(dataset)
        if through == "disk":
            table.save_to_disk(tmp_path / "saved" / dataset.labels[0])
            table = tmp_path / "saved" / dataset.labels[0]
        back = from_hub(table)
        assert back.splits == dataset.splits
        assert back.fingerprint == dataset.fingerprint


def test_stray_tags_survive():
    table = to_hub(Dataset("mine", {"test": [Post.from_words(["a", "b"], tags=("O", "I-X"))]}))
    assert table["test"].features["ner_tags"].feature.names == ["O", "B-X", "I-X"]
    assert from_hub(table).split("test")[0].tags == ("O", "I-X")


def test_pictures_as_bytes(picture):
    table = to_hub(tagged(picture), pictures="bytes")
    assert table["train"][0]["image"].size == (3, 2)
    assert table["train"][1]["image"] is None
    image = from_hub(table).split("train")[0].image
    assert image == picture.read_bytes()
    assert Image.open(io.BytesIO(image)).size == (3, 2)
    with pytest.raises(UsageError, match="Did you mean 'bytes'"):
        to_hub(tagged(picture), pictures="byte")


def test_posts_without_gold():
    table = to_hub(Dataset("mine", {"test": [Post.from_text("a")]}))
    assert not from_hub(table).split("test")[0].is_annotated


@pytest.mark.data
def test_twitter_2015_out_and_in_again(real_data):
    dataset = read_folder(real_data / "twitter2015")
    back = from_hub(to_hub(dataset), name="twitter2015")
    assert back.fingerprint == dataset.fingerprint
