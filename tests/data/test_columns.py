"""Column files: every word to the letter, every error by its line."""

from __future__ import annotations

import dataclasses

import pytest

from mner.data import read_posts
from mner.data.formats import CONLL2003, CROSSNER, TWITTER
from mner.errors import DataError
from mner.tags import BIO, BIOES, IOB1


def read(tmp_path, text, name="train.txt", **options):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return read_posts(path, **options)


def test_twitter(tmp_path):
    posts = read(tmp_path, "IMGID:16_05_01_1\nRT\tO\nNew\tB-LOC\nYork\tI-LOC\n\nIMGID:O_7\n#\tO\n\n\n")
    assert [post.id for post in posts] == ["16_05_01_1", "O_7"]
    assert posts[0].words == ("RT", "New", "York")
    assert posts[0].tags == ("O", "B-LOC", "I-LOC")
    assert posts[0].text == "RT New York"
    assert posts[0].image is None
    assert "no folder of pictures" in posts[0].image_problem


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n"])
def test_the_last_post_is_there_however_the_file_ends(tmp_path, end):
    assert [post.words for post in read(tmp_path, "a\tO\n\nb\tO" + end)] == [("a",), ("b",)]


def test_carriage_returns_belong_to_the_line_end(tmp_path):
    posts = read(tmp_path, "IMGID:1\r\nToronto\tB-LOC\r\n\r\nIMGID:2\r\nx\tO\r\n")
    assert [(p.id, p.words, p.tags) for p in posts] == [
        ("1", ("Toronto",), ("B-LOC",)),
        ("2", ("x",), ("O",)),
    ]


# What str.strip or str.splitlines would swallow or cut.
@pytest.mark.parametrize(
    "word",
    [
        "\u00a0", "\ufeff", "\u200b", "\ufe0f", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\u3000",
        " ", "a b", "x\u2028y", "\ufffd", "\r", "IMGID:9", "-DOCSTART-",
    ],
)  # fmt: skip
def test_a_word_is_kept_to_the_letter(tmp_path, word):
    posts = read(tmp_path, f"IMGID:1\nRT\tO\n{word}\tO\n\nIMGID:2\n{word}\tB-X\n")
    assert [post.words for post in posts] == [("RT", word), (word,)]


def test_a_post_without_words_keeps_its_id(tmp_path):
    assert [(p.id, p.words) for p in read(tmp_path, "IMGID:1\n\nIMGID:2\na\tO\n")] == [
        ("1", ()),
        ("2", ("a",)),
    ]


def test_blank_lines_may_hold_a_tab(tmp_path):
    assert len(read(tmp_path, "a\tO\n\t\nb\tO\n \nc\tO\n")) == 3


def test_conll2003_keeps_iob1_and_drops_document_starts(tmp_path):
    start = "-DOCSTART- -X- O O\n"
    text = "EU NNP I-NP I-ORG\nBonn NNP I-NP I-LOC\nUlm NNP I-NP B-LOC\n"
    (post,) = read(tmp_path, f"{start}\n{text}\n{start}")
    assert post.scheme is IOB1
    assert post.tags == ("I-ORG", "I-LOC", "B-LOC")
    assert [entity.text for entity in post.gold()] == ["EU", "Bonn", "Ulm"]


def test_characters_join_without_spaces(tmp_path):
    (post,) = read(tmp_path, "IMGID:新1\n明 B-TIME\n， O\n。” O\n萧 B-PER\n从 I-PER\n")
    assert post.text == "明，。”萧从"
    assert [entity.text for entity in post.gold()] == ["明", "萧从"]


def test_a_space_can_be_a_character(tmp_path):
    (post,) = read(tmp_path, "IMGID:新1\n明 B-TIME\n  O\n萧 B-PER\n", format="cp_mner")
    assert post.words == ("明", " ", "萧")


def test_stray_tags_stay_as_they_stand(tmp_path):
    (post,) = read(tmp_path, "IMGID:1\na\tB-X\nb\tI-X\nc\tO\nd\tI-X\ne\tB-X\n")
    assert post.scheme is BIO
    assert post.tags == ("B-X", "I-X", "O", "I-X", "B-X")


def test_bioes_is_recognised(tmp_path):
    assert read(tmp_path, "IMGID:1\na\tS-X\nb\tB-X\nc\tE-X\n")[0].scheme is BIOES


@pytest.mark.parametrize(
    ("text", "options", "line", "what", "expected"),
    [
        ("a\tO\nb\tX\tO\n", {}, 2, "3 columns", "2 columns separated by a TAB"),
        ("a\tO\nb O\n", {}, 2, "1 column", "2 columns"),
        ("a\tO\nb\n", {}, 2, "1 column", "2 columns"),
        ("a\tO\n\u00a0\nb\tO\n", {}, 2, "1 column", "2 columns"),
        (
            "EU NNP I-NP I-ORG\nx O\n",
            {"format": "conll2003"},
            2,
            "2 columns",
            "4 columns separated by a space",
        ),
        ("a\tO\nb\tPER\n", {}, 2, "no tag", "'O', or one of B, I, E, S"),
        ("a\tO\nb\tB_PER\n", {}, 2, "no tag", "B-PER"),
        ("a\tO\nb\t\n", {}, 2, "no tag", "'O'"),
        ("a\tO\nb\tO \n", {}, 2, "no tag", "'O'"),
        ("a\tO\n\tO\n", {}, 2, "no word", "a word, then its tag"),
        ("IMGID:1\na\tO\n\nb\tO\n", {}, 4, "without its id", "IMGID:<id>"),
        ("IMGID:1\na\tO\nIMGID:2\nb\tO\n", {}, 3, "inside another", "a blank line"),
        ("IMGID:\na\tO\n", {}, 1, "id is empty", "an id"),
        ("a\tO\n", {"format": "twitter"}, 1, "without its id", "IMGID:<id>"),
        ("a\tO\nb\tE-X\n", {"scheme": "bio"}, 2, "scheme BIO", "prefixes B, I"),
    ],
)
def test_an_error_names_file_line_what_stood_there_and_what_was_expected(
    tmp_path, text, options, line, what, expected
):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text, **options)
    message = str(caught.value)
    assert f"train.txt, line {line}:" in message
    assert what in message
    assert expected in message
    assert caught.value.got is not None


def test_what_stood_there_is_shortened(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, "a\tO\n" + "x" * 10_000 + "\n")
    assert len(str(caught.value)) < 500


def test_formats_are_data():
    """A house's own format is one more row of the table."""
    own = dataclasses.replace(CROSSNER, name="own", separator="|")
    assert (own.columns, TWITTER.identified, CONLL2003.documents) == (2, True, True)


def test_a_format_of_ones_own_can_be_handed_in(tmp_path):
    own = dataclasses.replace(CROSSNER, name="own", separator="|")
    (post,) = read(tmp_path, "New|B-LOC\nYork|I-LOC\n", format=own)
    assert post.tags == ("B-LOC", "I-LOC")
