"""Formats: recognised by content, or named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mner.data.formats import FORMATS, ColumnFormat, format_named, recognise, split_named, split_of
from mner.errors import DataError, UsageError

SAMPLES = {
    "twitter": "IMGID:1\nRT\tO\n@x\tO\n\n",
    "cp_mner": "IMGID:新1\n明 B-TIME\n， O\n1 O\n萧 B-PER\n\n",
    "conll2003": "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\n",
    "wnut17": "It\tO\n's\tO\n\t\nFrom\tO\n",
    "crossner": "The\tO\n2001\tB-election\n\n",
    "conll": "EU\tNNP\tB-ORG\nsays\tVBZ\tO\n",
    "jsonl": '{"text": "a"}\n',
}


def test_every_format_has_a_sample():
    assert set(SAMPLES) == set(FORMATS)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_recognised_by_its_content(name):
    assert recognise(SAMPLES[name], Path("train.txt")).name == name


@pytest.mark.parametrize("name", SAMPLES)
def test_windows_line_ends_change_nothing(name):
    assert recognise(SAMPLES[name].replace("\n", "\r\n"), Path("train.txt")).name == name


def test_names_of_files_tell_what_content_cannot():
    assert recognise("a\tO\n", Path("emerging.test.annotated")).name == "wnut17"
    assert recognise("a\tO\n", Path("train.jsonl")).name == "jsonl"


def test_a_word_that_is_a_brace_does_not_make_a_file_json():
    assert recognise("{\tO\na\tO\n", Path("train.txt")).name == "crossner"
    assert recognise("{ O\na O\n", Path("train.txt")).name == "conll"


@pytest.mark.parametrize(
    ("text", "separator", "columns", "joiner"),
    [
        ("EU B-ORG\nsays O\n", " ", 2, " "),
        ("EU\tx\ty\tB-ORG\n", "\t", 4, " "),
        ("我 O\n爱 O\n北 B-LOC\n京 I-LOC\n3 O\n", " ", 2, ""),
        ("a O\nb O\nc B-LOC\n", " ", 2, " "),
    ],
)
def test_the_general_format_takes_its_shape_from_the_file(text, separator, columns, joiner):
    found = recognise(text, Path("train.txt"), "conll")
    assert isinstance(found, ColumnFormat)
    assert (found.separator, found.columns, found.joiner) == (separator, columns, joiner)


def test_a_text_without_columns_is_refused():
    with pytest.raises(DataError, match="not in any known format") as caught:
        recognise("hello\nworld\n", Path("readme.txt"))
    assert "'hello'" in str(caught.value)


def test_a_format_is_found_by_name_alias_or_corrected():
    assert format_named("Twitter2015").name == "twitter"
    with pytest.raises(UsageError, match="Did you mean 'conll2003'"):
        format_named("conl2003")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.txt", "train"),
        ("TRAIN.TXT", "train"),
        ("dev.txt", "valid"),
        ("valid.jsonl", "valid"),
        ("validation.tsv", "valid"),
        ("eng.train", "train"),
        ("eng.testa", "valid"),
        ("eng.testb", "test"),
        ("testa.conll", "valid"),
        ("wnut17train.conll", "train"),
        ("emerging.dev.conll", "valid"),
        ("emerging.test.annotated", "test"),
        ("training_notes.txt", None),
        ("captions_train.txt", None),
        ("test.py", None),
        ("README.md", None),
    ],
)
def test_customary_names_of_splits(name, split):
    assert split_of(name) == split


def test_splits_have_one_name():
    assert [split_named(name) for name in ("dev", "validation", "train", "extra")] == [
        "valid", "valid", "train", "extra",
    ]  # fmt: skip
