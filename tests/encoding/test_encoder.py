"""From posts to tensors and back."""

from __future__ import annotations

import pytest
import torch

from mner.encoding import EncodingSettings, Inputs, PostEncoder, Vocabulary
from mner.errors import DataError, UsageError
from mner.nn.word_shape import word_shapes
from mner.posts import Entity, Knowledge, Post
from mner.tags import to_spans
from tests.contract.tiny import LABELS, LONG_POST, POSTS, tiny_tokenizer


def encoder(inputs: Inputs, **settings) -> PostEncoder:
    options = {"max_length": 64, "overlap": 16, **settings}
    vocabulary = Vocabulary.of_posts(POSTS, rarest_character=1)
    return PostEncoder(LABELS, "BIO", inputs, EncodingSettings(**options), tiny_tokenizer(), vocabulary, 64)


def test_every_word_is_found_at_its_place():
    made = encoder(Inputs(subwords=True))
    posts = [*POSTS, LONG_POST, Post.from_words([])]
    batch = made.encode(posts)
    assert batch.input_ids.shape[0] > len(posts)
    assert batch.input_ids.shape[1] <= 64
    for index, post in enumerate(posts):
        pieces = made.subwords.lookup(post.words)
        for word, ids in enumerate(pieces):
            row, column = int(batch.word_rows[index, word]), int(batch.word_columns[index, word])
            assert int(batch.post_of_row[row]) == index
            found = batch.input_ids[row, column : column + len(ids)].tolist()
            assert tuple(found) == ids
            assert batch.attention_mask[row, column : column + len(ids)].all()
    assert batch.word_mask.sum(1).tolist() == [len(post.words) for post in posts]


def test_ten_thousand_words_are_read_in_windows():
    made = encoder(Inputs(subwords=True, shapes=True))
    batch = made.encode([Post.from_words(["Toronto"] * 10_000)])
    assert batch.word_mask.shape == (1, 10_000)
    assert batch.input_ids.shape[1] <= 64
    assert batch.word_columns.min() >= 1


def test_gold_as_tags_reads_back_as_the_same_spans():
    made = encoder(Inputs(subwords=True))
    batch = made.encode(POSTS, labelled=True)
    for index, post in enumerate(POSTS):
        tags = [made.tags[tag] for tag in batch.tags[index, : len(post.words)]]
        assert to_spans(tags) == post.gold_spans()
        assert (batch.tags[index, len(post.words) :] == 0).all()


def test_gold_as_spans():
    made = encoder(Inputs(subwords=True, target="spans"))
    batch = made.encode(POSTS, labelled=True)
    expected = [
        (index, span.start, span.end, LABELS.index(span.label))
        for index, post in enumerate(POSTS)
        for span in post.gold_spans()
    ]
    assert [tuple(row) for row in batch.spans.tolist()] == expected


def test_stray_tags_follow_the_convention():
    post = Post.from_words(["in", "Brel", "today"], tags=("O", "I-LOC", "O"))
    made = encoder(Inputs(subwords=True))
    assert made.encode([post], labelled=True).tags.tolist() == [[0, made.tags.index("B-LOC"), 0]]
    assert made.encode([post], labelled=True, convention="strict").tags.tolist() == [[0, 0, 0]]


def test_unknown_types_and_missing_gold_are_refused():
    made = encoder(Inputs(subwords=True))
    with pytest.raises(UsageError, match="'PERSON'.*Did you mean 'PER'"):
        made.encode([Post.from_text("Ada", entities=(Entity("Ada", "PERSON", 0, 3),))], labelled=True)
    with pytest.raises(DataError, match="no gold"):
        made.encode([Post.from_text("Ada")], labelled=True)


def test_words_shapes_and_characters_stand_at_their_words():
    made = encoder(Inputs(words=True, characters=True, shapes=True), longest_spelling=4)
    batch = made.encode(POSTS)
    for index, post in enumerate(POSTS):
        for number, (word, shape) in enumerate(zip(post.words, word_shapes(post.words), strict=True)):
            assert int(batch.words[index, number]) == made.vocabulary.word(word)
            spelling = [c for c in batch.characters[index, number].tolist() if c]
            assert spelling == made.vocabulary.spelling(word, 4)
            assert tuple(batch.word_shapes[index, number].tolist()) == shape


def test_knowledge_is_cut_to_its_budget_and_counted():
    made = encoder(Inputs(subwords=True, knowledge={"caption": 8}))
    posts = [
        Post.from_text("Ada", knowledge=(Knowledge("caption", text="the " * 30),)),
        Post.from_text("Ada", knowledge=(Knowledge("caption", text="in"), Knowledge("ocr", text="no"))),
        Post.from_text("Ada", knowledge=(Knowledge("caption", text="in", problem="a fault"),)),
        Post.from_text("Ada"),
    ]
    block = made.encode(posts).knowledge["caption"]
    assert block.attention_mask.sum(1).tolist() == [8, 3, 0, 0]
    assert block.present.tolist() == [True, True, False, False]
    assert made.counts["texts"] == 2
    assert made.counts["texts cut"] == 1


def test_relevance_is_told_from_its_absence():
    made = encoder(Inputs(subwords=True, relevance=True))
    posts = [Post.from_text("Ada", knowledge=(Knowledge("relevance", score=0.25),)), Post.from_text("Ada")]
    batch = made.encode(posts)
    assert batch.relevance.tolist() == [0.25, 0.0]
    assert batch.relevance_known.tolist() == [True, False]


def test_a_window_too_short_is_refused():
    with pytest.raises(UsageError, match="max_length of at least 6"):
        encoder(Inputs(subwords=True), max_length=5)


def test_a_batch_moves_and_changes_type_as_one():
    batch = encoder(Inputs(subwords=True, relevance=True, knowledge={"caption": 8})).encode(POSTS)
    moved = batch.to("cpu", dtype=torch.bfloat16)
    assert moved.relevance.dtype == torch.bfloat16
    assert moved.input_ids.dtype == torch.int64
    assert moved.knowledge["caption"].input_ids.dtype == torch.int64
    meta = batch.to("meta")
    assert meta.input_ids.device.type == "meta"
    assert meta.knowledge["caption"].attention_mask.device.type == "meta"
