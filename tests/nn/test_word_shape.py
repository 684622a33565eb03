"""Word shapes by example and by property."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mner.nn.word_shape import CASES, DIGITS, FEATURES, MARKS, WordShapeEmbedding, word_shapes


@pytest.mark.parametrize(
    ("word", "case", "digits", "mark"),
    [
        ("toronto", "lower", "none", "word"),
        ("Toronto", "initial", "none", "word"),
        ("NBA", "upper", "none", "word"),
        ("I", "single-upper", "none", "word"),
        ("iPhone", "mixed", "none", "word"),
        ("McKay", "mixed", "none", "word"),
        ("2017", "none", "all", "word"),
        ("2K17", "single-upper", "some", "word"),
        ("#Raptors", "initial", "none", "hashtag"),
        ("@user_1", "lower", "some", "handle"),
        ("#", "none", "none", "number-sign"),
        ("@", "none", "none", "at-sign"),
        ("http://t.co/Ab1", "mixed", "some", "address"),
        ("...", "none", "none", "punctuation"),
        ("🎉", "none", "none", "symbol"),
        ("\ufe0f", "none", "none", "symbol"),
        ("Ünal", "initial", "none", "word"),
    ],
)
def test_shapes_by_example(word, case, digits, mark):
    (shape,) = word_shapes([word])
    assert (CASES[shape[0]], DIGITS[shape[1]], MARKS[shape[2]]) == (case, digits, mark)


def test_what_stands_before_and_how_much_is_capitalised():
    shapes = word_shapes(["#", "Raptors", "win", "!"])
    assert [shape[3] for shape in shapes] == [0, MARKS.index("number-sign") + 1, 1, 1]
    headline = word_shapes(["Raptors", "Win", "In", "Toronto"])
    assert {shape[4] for shape in headline} == {2}
    assert {shape[4] for shape in word_shapes(["we", "win", "in", "Toronto", "again"])} == {0}


@given(st.lists(st.text(min_size=1, max_size=6), max_size=12))
def test_every_word_has_a_value_of_each_feature(words):
    shapes = word_shapes(words)
    assert len(shapes) == len(words)
    for shape in shapes:
        assert all(0 <= value < len(values) for value, values in zip(shape, FEATURES, strict=True))


def test_the_embedding_is_the_sum_of_its_features():
    embedding = WordShapeEmbedding(7)
    shapes = torch.tensor([word_shapes(["#", "Raptors", "win", "2K17"])])
    expected = sum(table.weight[shapes[..., index]] for index, table in enumerate(embedding.tables))
    torch.testing.assert_close(embedding(shapes), expected)
    with pytest.raises(ValueError, match="5 shape features"):
        embedding(shapes[..., :2])
