"""New backbones: ordinary folders, whose tokenizer spells what it was made from."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mner.errors import UsageError
from mner.nn import backbones
from mner.nn.new_backbones import (
    SPECIAL,
    character_pieces,
    piece_tokenizer,
    refuse_to_replace,
    small_text_config,
    write_backbone,
)


@given(st.text(alphabet="aB9雪岳，é한", min_size=1, max_size=12))
def test_known_characters_are_spelt_one_by_one(text):
    tokenizer = piece_tokenizer(character_pieces("aB9雪岳，é한"), 64)
    assert [piece.removeprefix("##") for piece in tokenizer.tokenize(text)] == list(text)


def test_the_inside_of_words_is_told_from_their_start():
    pieces = character_pieces("ab雪,")
    assert pieces == ["a", "b", "雪", ",", "##a", "##b"]
    assert piece_tokenizer(pieces, 64).tokenize("ab雪a,b") == ["a", "##b", "雪", "a", ",", "b"]


def test_case_can_be_thrown_away():
    tokenizer = piece_tokenizer(character_pieces("Aé", lowercase=True), 64, lowercase=True)
    assert tokenizer.tokenize("Aa É") == ["a", "##a", "e"]
    assert backbones.is_uncased(tokenizer)


def test_what_was_not_seen_is_unknown():
    assert piece_tokenizer(character_pieces("雪"), 64).tokenize("雪岳") == ["雪", "[UNK]"]


def test_the_folder_is_an_ordinary_one_and_the_same_for_the_same_seed(tmp_path):
    tokenizer = piece_tokenizer(character_pieces("雪岳"), 20)
    config = small_text_config(len(tokenizer), width=16, layers=1, heads=2, positions=20)
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_backbone(tmp_path / name, config, seed, tokenizer=tokenizer)
    loaded = backbones.load_tokenizer(str(tmp_path / "one"))
    assert len(loaded) == len(tokenizer) == len(SPECIAL) + 2
    encoder = backbones.build_encoder(backbones.load_config(str(tmp_path / "one")))
    backbones.load_weights(encoder, str(tmp_path / "one"))
    assert backbones.capacity_of(encoder.config, loaded) == 20
    states = encoder(**loaded("雪岳", return_tensors="pt")).last_hidden_state
    assert states.shape == (1, 4, 16)
    assert torch.isfinite(states).all()
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "again", "other")]
    assert weights[0] == weights[1] != weights[2]
    with pytest.raises(UsageError, match="there already"):
        refuse_to_replace([tmp_path / "one"], overwrite=False)
    refuse_to_replace([tmp_path / "one"], overwrite=True)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UsageError, match="does not divide"):
        small_text_config(10, width=30, heads=4)
