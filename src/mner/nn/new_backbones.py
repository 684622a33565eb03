"""New text encoders and vision towers: small, with random weights, written as ordinary folders.

For text that no encoder at hand can read (its tokenizer does not know the characters, say), and for whatever
is to be learned from nothing. What is written here is named in recipes like any other checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import AutoModel, BertConfig, BertTokenizer, PreTrainedConfig

from mner.errors import UsageError
from mner.pretrained import quiet_loading

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The first tokens of every vocabulary that is made here."""


def piece_tokenizer(pieces: Iterable[str], positions: int, *, lowercase: bool = False) -> BertTokenizer:
    """A word-piece tokenizer over given pieces, as BERT has one.

    Args:
        pieces: The pieces, those inside of words with ``##`` before them; special tokens are added.
        positions: Most tokens of a text, special ones included.
        lowercase: Whether case is thrown away.
    """
    ids = {piece: index for index, piece in enumerate(dict.fromkeys((*SPECIAL, *pieces)))}
    built = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    built.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    built.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    return BertTokenizer(
        tokenizer_object=built, vocab=ids, do_lower_case=lowercase, model_max_length=positions
    )


def character_pieces(characters: Sequence[str], *, lowercase: bool = False) -> list[str]:
    """Pieces of one character each, with which words of these characters are spelt.

    A character that the tokenizer splits from its neighbours anyway (an ideograph, a mark) has one piece;
    of others there is one for the start of a word and one for its inside.

    Args:
        characters: The characters.
        lowercase: Whether the tokenizer will throw case away.
    """
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    kept = dict.fromkeys(
        one for character in characters for one in normalizer.normalize_str(character) if not one.isspace()
    )
    inside = (
        f"##{one}" for one in kept if len(splitter.pre_tokenize_str(normalizer.normalize_str(f"a{one}"))) == 1
    )
    return [*kept, *inside]


def small_text_config(
    vocabulary_size: int, *, width: int = 128, layers: int = 3, heads: int = 4, positions: int = 256
) -> BertConfig:
    """A small BERT that learns from nothing.

    Args:
        vocabulary_size: Number of pieces.
        width: Width of its states.
        layers: Number of its layers.
        heads: Heads of its attention; divides the width.
        positions: Most tokens it reads at once.

    Raises:
        UsageError: The width does not divide into heads.
    """
    if width % heads:
        raise UsageError(
            f"A width of {width} does not divide into {heads} heads.",
            expected="a width that is a multiple of the number of heads",
        )
    return BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
        # Without dropout on its weights attention stays one fused call, which long rows are glad of.
        attention_probs_dropout_prob=0.0,
        # The usual 0.02 suits widths near 768; narrow layers with such weights hardly begin to learn.
        initializer_range=0.8 / width**0.5,
    )


def refuse_to_replace(folders: Iterable[Path], overwrite: bool) -> None:
    """Refuse to write where a checkpoint is.

    Raises:
        UsageError: One of the folders has a checkpoint and `overwrite` is not given.
    """
    for folder in folders:
        if (folder / "config.json").exists() and not overwrite:
            raise UsageError(f"{folder} is there already.", hint="Give --overwrite to replace it.")


def write_backbone(
    folder: Path,
    config: PreTrainedConfig,
    seed: int,
    *,
    tokenizer: BertTokenizer | None = None,
    normalisation: dict[str, Any] | None = None,
) -> None:
    """Write a text encoder or a vision tower with random weights.

    Args:
        folder: Where to; made if it is not there.
        config: What it is.
        seed: Decides the weights: the same seed gives the same bytes.
        tokenizer: A text encoder's tokenizer.
        normalisation: ``image_mean`` and ``image_std`` of a tower's pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]), quiet_loading():
        torch.manual_seed(seed)
        AutoModel.from_config(config).save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    if normalisation is not None:
        text = json.dumps(normalisation, indent=2) + "\n"
        (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
