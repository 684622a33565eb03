"""Small backbones with random weights, as folders: what the probe's systems are trained from, from scratch.

A BERT with a vocabulary of the probe's words and pieces of names, a CLIP tower and a SigLIP tower. They are
ordinary checkpoints and are named in recipes like any other.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPVisionConfig,
    PreTrainedConfig,
    SiglipVisionConfig,
)

from mner.evaluation.probe_drawing import COLOURS, PAINTERS, draw
from mner.evaluation.probe_texts import (
    pieces_of_names,
    words_of_posts,
    words_of_templates_about_pictures,
)
from mner.nn.new_backbones import piece_tokenizer, refuse_to_replace, write_backbone

BACKBONES = ("bert", "clip", "siglip")
"""The folders that `write_backbones` makes."""

POSITIONS = 160

# So many drawings of each kind show every word that is ever said of one.
_DRAWINGS = 150


def vocabulary() -> list[str]:
    """The pieces that the probe's tokenizer knows: all of its words, pieces of names, single characters.

    Special tokens are not among them.
    """
    random = np.random.default_rng(0)
    words = words_of_posts() | words_of_templates_about_pictures() | set(COLOURS)
    for kind in PAINTERS:
        for _ in range(_DRAWINGS):
            drawing = draw(kind, random)
            words.update(word for said in (*drawing.traits, drawing.background) for word in said.split())
    starts, rest = pieces_of_names()
    characters = string.ascii_letters + string.digits + ".,:;!?'-…"
    pieces = [*characters, *sorted(words), *starts]
    pieces += [f"##{piece}" for piece in (*characters, *rest)]
    return list(dict.fromkeys(pieces))


def tokenizer() -> BertTokenizer:
    """A word-piece tokenizer over `vocabulary` that keeps case, so that names can be told by it."""
    return piece_tokenizer(vocabulary(), POSITIONS)


def write_backbones(folder: str | Path, seed: int = 1, *, overwrite: bool = False) -> dict[str, Path]:
    """Write the small backbones.

    Args:
        folder: Where to; each gets a folder in it.
        seed: Decides the weights: the same seed gives the same bytes.
        overwrite: Whether folders that stand there may be replaced.

    Returns:
        The folder of each of `BACKBONES`.

    Raises:
        UsageError: A folder is there already and `overwrite` was not asked for.
    """
    paths = {name: Path(folder) / name for name in BACKBONES}
    refuse_to_replace(paths.values(), overwrite)
    words = tokenizer()
    narrow: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    # Random initial weights of the usual 0.02 are so small at this width that nothing is learned for long.
    spread = 0.1
    configs: dict[str, PreTrainedConfig] = {
        "bert": BertConfig(
            vocab_size=len(words),
            max_position_embeddings=POSITIONS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=spread,
            **narrow,
        ),
        "clip": CLIPVisionConfig(image_size=24, patch_size=8, initializer_range=spread, **narrow),
        "siglip": SiglipVisionConfig(image_size=24, patch_size=8, **narrow),
    }
    write_backbone(paths["bert"], configs["bert"], seed, tokenizer=words)
    normalisation = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    for name in ("clip", "siglip"):
        write_backbone(paths[name], configs[name], seed, normalisation=normalisation)
    return paths
