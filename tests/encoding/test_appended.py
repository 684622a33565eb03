"""Knowledge behind the words of each window, and kinds that stand for one another."""

from __future__ import annotations

import pytest
import torch

from mner.encoding import EncodingSettings, Inputs, PostEncoder
from mner.errors import UsageError
from mner.posts import Knowledge, Post
from tests.contract.tiny import LONG_POST, POSTS, tiny_tokenizer

CHAIN = "two people\na railway"
PAD, UNK, CLS, SEP = range(4)


def encoder(budget=24, max_length=64, **inputs):
    wants = Inputs(subwords=True, knowledge={"reasoning": budget}, appended=("reasoning",), **inputs)
    return PostEncoder(
        ("LOC", "PER"), "BIO", wants, EncodingSettings(max_length=max_length, overlap=8), tiny_tokenizer()
    )


def told(post, text=CHAIN, kind="reasoning"):
    return post.with_fields(knowledge=(Knowledge(kind, text),))


def test_rows_are_words_then_the_chain():
    tokenizer = tiny_tokenizer()
    posts = [told(POSTS[2]), POSTS[2].with_fields(knowledge=())]
    batch = encoder().encode(posts)
    words = tokenizer(list(POSTS[2].words), is_split_into_words=True)["input_ids"]
    chain = tokenizer(CHAIN, add_special_tokens=False)["input_ids"]
    rows = [row[mask].tolist() for row, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]
    assert rows == [[*words, *chain, SEP], words]
    behind = [row[mask].tolist() for row, mask in zip(batch.input_ids, batch.appended, strict=True)]
    assert behind == [[*chain, SEP], []]
    assert batch.knowledge["reasoning"].input_ids[0].tolist() == [CLS, *chain, SEP]
    assert batch.knowledge["reasoning"].present.tolist() == [True, False]


def test_words_stand_where_they_stood_without_a_chain():
    posts = [POSTS[0], POSTS[3]]
    bare = encoder().encode([post.with_fields(knowledge=()) for post in posts])
    batch = encoder().encode([told(post) for post in posts])
    assert torch.equal(bare.word_rows, batch.word_rows)
    assert torch.equal(bare.word_columns, batch.word_columns)
    n = bare.input_ids.shape[1]
    assert torch.equal(bare.input_ids[bare.attention_mask], batch.input_ids[:, :n][bare.attention_mask])


@pytest.mark.parametrize("words", [1, 9, 200])
def test_every_window_gets_the_whole_chain_and_no_word_is_pushed_out(words):
    long = told(LONG_POST, " ".join(["railway"] * words))
    one = encoder()
    batch = one.encode([long, POSTS[2]])
    bare = one.encode([LONG_POST.with_fields(knowledge=()), POSTS[2]])
    rows = batch.post_of_row == 0
    assert int(rows.sum()) > 1
    assert torch.equal(batch.post_of_row, bare.post_of_row)
    assert torch.equal(batch.word_rows, bare.word_rows)
    assert torch.equal(batch.word_columns, bare.word_columns)
    chain = batch.knowledge["reasoning"].input_ids[0, 1:][batch.knowledge["reasoning"].attention_mask[0, 1:]]
    for ids, appended in zip(batch.input_ids[rows], batch.appended[rows], strict=True):
        assert torch.equal(ids[appended], chain)
    assert batch.input_ids.shape[1] <= 64
    assert len(chain) <= 23  # the budget of 24 counts the separator and, as elsewhere, the first token
    assert one.counts["texts cut"] == (words * len("railway") > 22)


def test_a_budget_that_leaves_no_room_for_words_is_refused():
    with pytest.raises(UsageError, match="holds no words"):
        encoder(budget=60)
    with pytest.raises(UsageError, match="holds no sub-word"):
        encoder(budget=2).encode([told(POSTS[0])])


def test_lengths_count_what_is_appended():
    one = encoder()
    bare, with_chain = one.lengths([POSTS[2].with_fields(knowledge=()), told(POSTS[2])])
    assert with_chain - bare == len(tiny_tokenizer()(CHAIN, add_special_tokens=False)["input_ids"])


def test_special_tokens_in_a_text_are_plain_text():
    batch = encoder().encode([told(POSTS[2], "[SEP] [CLS]")])
    assert batch.knowledge["reasoning"].input_ids[0, 1:-1].tolist().count(SEP) == 0
    assert CLS not in batch.input_ids[0, 1:].tolist()


def test_the_first_kind_that_a_post_has_stands_for_the_others():
    kinds = ("auxiliary", "caption", "alt", "ocr")
    wants = Inputs(subwords=True, knowledge={"auxiliary": 30}, alternatives={"auxiliary": kinds})
    one = PostEncoder(("PER",), "BIO", wants, EncodingSettings(max_length=64), tiny_tokenizer())
    post = Post.from_words(["a"])
    said = {"auxiliary": "no", "caption": "reads", "ocr": "left"}
    known = {kind: Knowledge(kind, text) for kind, text in said.items()}
    cases = [
        ((known["ocr"], known["caption"], known["auxiliary"]), "here", "no"),
        ((known["ocr"], known["caption"], Knowledge("auxiliary", problem="refused")), "here", "reads"),
        ((known["ocr"], Knowledge("caption", " ")), "here", "here"),
        ((known["ocr"],), " ", "left"),
        ((Knowledge("regions"),), None, None),
    ]
    batch = one.encode([post.with_fields(knowledge=k, alt=alt) for k, alt, _ in cases])
    block = batch.knowledge["auxiliary"]
    tokenizer = tiny_tokenizer()
    for row, mask, (_, _, expected) in zip(block.input_ids, block.attention_mask, cases, strict=True):
        wanted = [] if expected is None else tokenizer(expected)["input_ids"]
        assert row[mask].tolist() == wanted
