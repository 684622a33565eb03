"""Vocabularies and files of word vectors."""

from __future__ import annotations

import numpy as np
import pytest

from mner.encoding.vocabulary import UNKNOWN, Vocabulary, folded, read_vectors
from mner.errors import DataError
from mner.posts import Post


def test_words_and_characters_have_indices_of_their_own():
    posts = [Post.from_words(["Ada", "ada", "in", "1999"]), Post.from_words(["ADA", "in", "2024"])]
    vocabulary = Vocabulary.of_posts(posts, rarest_character=1)
    assert vocabulary.words == ("ada", "in", "0000")
    assert vocabulary.word("aDa") == 2
    assert vocabulary.word("3333") == 4
    assert vocabulary.word("unseen") == UNKNOWN
    assert vocabulary.word_count == 5
    assert len(set(vocabulary.spelling("Ada", 24))) == 3
    assert vocabulary.spelling("Ada", 2) == vocabulary.spelling("Ad", 24)
    assert vocabulary.spelling("¿", 24) == [UNKNOWN]


def test_rare_words_and_characters_are_left_out():
    posts = [Post.from_words(["once", "twice", "twice"])]
    vocabulary = Vocabulary.of_posts(posts, rarest_word=2, rarest_character=3)
    assert vocabulary.words == ("twice",)
    assert set(vocabulary.characters) == {"c", "e"}


def test_folding_keeps_length_in_digits():
    assert folded("B2B-1999") == "b0b-0000"


@pytest.mark.parametrize("header", ["", "3 4\n"])
def test_vectors_are_read_as_glove_and_word2vec_write_them(tmp_path, header):
    rows = {"ada": [0.5, -1, 2, 0.25], ". . .": [1, 2, 3, 4], "1999": [0, 0, 0, 1e-3]}
    path = tmp_path / "vectors.txt"
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in rows.items()]
    path.write_text(header + "".join(lines), encoding="utf-8")
    words, vectors = read_vectors(path)
    assert words == list(rows)
    np.testing.assert_allclose(vectors, np.array(list(rows.values()), dtype=np.float32))
    assert read_vectors(path, most=2)[0] == ["ada", ". . ."]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a 1 2 3\nb 1 2\n", "line 2"),
        ("a 1 2\nb 1 x\n", "line 2"),
        ("a 1 nan\n", "line 1"),
        ("word\n", "line 1"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, text, line):
    path = tmp_path / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=line):
        read_vectors(path)


def test_missing_and_empty_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no file"):
        read_vectors(tmp_path / "none.txt")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match="empty"):
        read_vectors(tmp_path / "empty.txt")
