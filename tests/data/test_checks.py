"""The checks of an audit, against slow loops and counts by hand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner import Entity, Post
from mner.data.checks import (
    bare_text,
    check_alignment,
    check_conflicts,
    check_overlap,
    check_pictures,
    check_recurrence,
    check_tokens,
    count_entities,
    count_stray_tags,
)
from mner.encoding.subwords import SubwordTable
from mner.tags import Convention

tags = st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"])


@given(st.lists(st.lists(tags, max_size=8), max_size=4))
def test_stray_tags_and_entities_as_a_pattern_sees_them(rows):
    """In BIO an I- is stray unless B- or I- of its type stands before it; strict counts every B-."""
    posts = [Post.from_words(["w"] * len(row), tags=tuple(row)) for row in rows]
    stray = 0
    for row in rows:
        for before, tag in zip(["O", *row], row, strict=False):
            stray += tag.startswith("I-") and before[1:] != tag[1:]
    assert count_stray_tags(posts) == stray
    begun = sum(tag.startswith("B-") for row in rows for tag in row)
    assert sum(count_entities(posts, Convention.STRICT).values()) == begun
    # Read leniently, every stray tag opens an entity of its own: Twitter-2015's two counts differ by them.
    assert sum(count_entities(posts, Convention.CONLL).values()) == begun + stray


def test_counts_by_type_include_entities_by_characters():
    posts = [
        Post.from_words(["a"], tags=("B-A",)),
        Post.from_text("b c", entities=(Entity("b", "B", 0, 1), Entity("c", "A", 2, 3))),
        Post.from_text("d"),
    ]
    assert count_entities(posts, Convention.CONLL) == {"A": 2, "B": 1}


def test_alignment():
    text = "Leonard's 👍 win"
    entities = (
        Entity("Leon", "PER", 0, 4),
        Entity("Leonard", "PER", 0, 7),
        Entity(" ", "X", 9, 10),
        Entity("👍 win", "X", 10, 15),
    )
    found = check_alignment([Post.from_text(text, entities=entities), Post.from_text("x")])
    assert (found.inside_words, found.without_words, found.overlapping) == (1, 1, 1)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("RT @A : Hello  World https://t.co/X1", "rt @a : hello world http://t.co/y2", True),
        ("See www.example.org now", "see now", True),
        ("STRASSE", "straße", True),
        ("Hello World", "Hello Word", False),
        ("http matters", "matters", False),
    ],
)
def test_bare_text(left, right, same):
    assert (bare_text(Post.from_text(left)) == bare_text(Post.from_text(right))) is same


texts = st.lists(st.sampled_from(["a", "A", "b", "c http://x", "C", "http://y", ""]), max_size=6)


@given(st.fixed_dictionaries({"train": texts, "valid": texts, "test": texts}))
def test_recurrence_as_a_slow_loop_sees_it(drawn):
    splits = {split: [Post.from_text(text) for text in found] for split, found in drawn.items()}
    bare = {
        split: [t for t in (re.sub(r"http\S*", "", text).strip().lower() for text in found) if t]
        for split, found in drawn.items()
    }
    recurrence, duplicates = check_recurrence(splits)
    everything = {text for found in bare.values() for text in found}
    shared = {text for text in everything if sum(text in found for found in bare.values()) > 1}
    assert recurrence.texts == len(shared) == sum(recurrence.between.values())
    assert recurrence.posts == sum(text in shared for found in bare.values() for text in found)
    assert duplicates == {split: len(found) - len(set(found)) for split, found in bare.items()}


def test_conflicts():
    posts = [
        Post.from_words(["Paris", "paris", "Rome"], tags=("B-PER", "B-LOC", "B-LOC")),
        Post.from_text("PARIS", entities=(Entity("PARIS", "LOC", 0, 5),)),
        Post.from_text("Rome"),
    ]
    found = check_conflicts(posts)
    assert (found.mentions, found.all_mentions) == (1, 2)
    assert found.most == {"paris": {"LOC": 2, "PER": 1}}


def test_overlap():
    train = [Post.from_text("RT @ A : hello", id="1"), Post.from_text("x", id="2"), Post.from_text("")]
    others = [
        Post.from_text("rt @a: Hello http://t.co/1", id="9"),
        Post.from_text("other", id="2"),
        Post.from_text("x", id="2"),
        Post.from_text("", id=""),
        Post.from_text("new", id="3"),
    ]
    found = check_overlap(train, others)
    assert (found.posts, found.by_id, found.by_text, found.either) == (5, 2, 2, 3)


@pytest.fixture(scope="module")
def tokenizer():
    """A tokenizer of a few words that lowers case and drops controls, as BERT's do."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "won", "in", "tor", "##on", "##to"]
    inner = Tokenizer(
        models.WordPiece({piece: place for place, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")


def test_tokens_counted_by_hand(tokenizer):
    posts = [
        Post.from_words(["won", "in", "Toronto", "\u200b"]),
        Post.from_words(["\u200b", "\ufeff", "漢", "字字", "won漢"]),
        Post.from_words([]),
    ]
    found = check_tokens(posts, tokenizer, limit=4)
    assert found.vanishing == 3
    assert found.vanishing_words == {"U+200B": 2, "U+FEFF": 1}
    assert found.unknown == 2  # 'won漢' is known in part
    assert found.longest == 5  # won in tor ##on ##to, and 漢, 字 字, won 漢
    assert found.too_long == 2
    assert check_tokens(posts, tokenizer, limit=None).too_long == 0


@pytest.mark.parametrize("word", ["[PAD]", "[UNK]", "won[PAD]in", "Toronto", "won漢"])
def test_a_word_has_as_many_tokens_as_the_encoding_gives_it(tokenizer, word):
    (pieces,) = SubwordTable(tokenizer).lookup([word])
    found = check_tokens([Post.from_words([word])], tokenizer, limit=None)
    assert found.longest == len(pieces)
    assert found.unknown == (set(pieces) == {tokenizer.unk_token_id})


def test_pictures_are_opened(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    good, broken = tmp_path / "good.png", tmp_path / "broken.jpg"
    image_module.new("RGB", (4, 4)).save(good)
    broken.write_bytes(b"no picture")
    posts = [
        Post.from_text("a", id="1", image=good),
        Post.from_text("b", id="2", image=broken),
        Post.from_text("c", id="3", image_problem="no file 3.jpg"),
        Post.from_text("d", id="4"),
    ]
    found = check_pictures(posts)
    assert (found.expected, found.good, found.missing, found.broken) == (3, 1, 1, 1)
    assert found.examples["missing"] == {"3": "no file 3.jpg"}
    assert list(found.examples["broken"]) == ["2"]
