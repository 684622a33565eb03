"""Tiny recognisers, one a registered model, built in code: real architectures, no network.

Add a model's builder to `BUILDERS`; the contract suite asks every registered model for one.
"""

from __future__ import annotations

import io
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import (
    AutoConfig,
    BertConfig,
    BertTokenizer,
    CLIPVisionConfig,
    PreTrainedConfig,
    SiglipVisionConfig,
)

from mner.encoding import EncodingSettings, PostEncoder, Preprocessing, Vocabulary
from mner.models import MnerModel, model_named
from mner.posts import Knowledge, Post, Region
from mner.recognizer import Recognizer

LABELS = ("LOC", "ORG", "PER")


def tiny_picture(seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
    """A PNG of colour patches, another one for each seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def tiny_regions(*boxes: tuple[float, float, float, float]) -> Knowledge:
    """Regions of a picture, the first with the highest score."""
    return Knowledge(
        "regions", regions=tuple(Region(*box, score=1.0 / (1 + rank)) for rank, box in enumerate(boxes))
    )


POSTS = [
    Post.from_words(
        ["Ada", "Lindqvist", "reads", "in", "Port", "Ellery"],
        id="1",
        image=tiny_picture(1),
        tags=("B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC"),
        knowledge=(
            Knowledge("caption", "a woman in a harbour"),
            Knowledge("reasoning", "the name is a reader\nthe place is a port"),
            Knowledge("relevance", score=0.9),
            tiny_regions(
                (0.0, 0.0, 0.5, 0.5), (0.2, 0.2, 1.0, 0.8), (0.5, 0.0, 1.0, 1.0), (0.1, 0.1, 0.4, 0.9)
            ),
        ),
    ),
    Post.from_words(
        ["@", "Kestrel", "Books", "opens", "!"],
        id="2",
        tags=("O", "B-ORG", "I-ORG", "O", "O"),
        alt="a shop",
        knowledge=(Knowledge("relevance", score=0.1),),
    ),
    Post.from_words(["no", "names", "here", "🎉"], id="3", tags=("O", "O", "O", "O")),
    Post.from_words(
        ["Tove", "Adeyemi", "Ivo", "Marek", "left", "Brel", "for", "Nordvik", "Rail", "today", "."],
        id="4",
        image=tiny_picture(4, (30, 60)),
        tags=("B-PER", "I-PER", "B-PER", "I-PER", "O", "B-LOC", "O", "B-ORG", "I-ORG", "O", "O"),
        knowledge=(
            Knowledge("auxiliary", "two men and a train in the north, of which no more is known here today"),
            Knowledge("reasoning", "two people\na railway"),
            tiny_regions((0.0, 0.5, 1.0, 1.0)),
        ),
    ),
]

# A long post, for windows: more sub-words than a tiny encoder's positions.
LONG_POST = Post.from_words(
    [word for post in (POSTS[0], POSTS[3]) * 12 for word in post.words],
    id="long",
    image=tiny_picture(5),
    knowledge=(Knowledge("caption", "a train"), Knowledge("reasoning", "two people\na railway")),
    tags=tuple(tag for post in (POSTS[0], POSTS[3]) * 12 for tag in post.tags or ()),
)


def tiny_tokenizer(posts: Sequence[Post] = POSTS) -> BertTokenizer:
    """A word-piece tokenizer that knows single characters and a few whole words, and no emoji."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = string.ascii_lowercase + string.digits + "@#!.,'-"
    pieces += list(characters) + [f"##{character}" for character in characters]
    pieces += ["reads", "in", "opens", "no", "here", "left", "for", "today", "the", "of", "a picture"]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return BertTokenizer(tokenizer_object=tokenizer, vocab=vocabulary, model_max_length=64)


def tiny_text_config(**changes: Any) -> BertConfig:
    """A BERT of two narrow layers with 64 positions."""
    options: dict[str, Any] = {
        "vocab_size": len(tiny_tokenizer()),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        **changes,
    }
    return BertConfig(**options)


def tiny_vision_config(**changes: Any) -> CLIPVisionConfig:
    """A CLIP tower of two narrow layers that sees 32 x 32 pixels in four patches."""
    options: dict[str, Any] = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": 32,
        "patch_size": 16,
        **changes,
    }
    return CLIPVisionConfig(**options)


# What each architecture needs besides its sizes. Some number their positions from behind the padding.
_OF_ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"max_position_embeddings": 65, "pad_token_id": 0},
    "xlm-roberta": {"max_position_embeddings": 65, "pad_token_id": 0},
    "electra": {"embedding_size": 16},
    "modernbert": {
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
        "pad_token_id": 0,
        **dict.fromkeys(("bos_token_id", "cls_token_id"), 2),
        **dict.fromkeys(("eos_token_id", "sep_token_id"), 3),
    },
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
}

ENCODERS = tuple(kind for kind in _OF_ENCODERS if kind != "deberta-v2")
"""The text encoders that every system has to take."""


def tiny_encoder_config(kind: str, **changes: Any) -> PreTrainedConfig:
    """A text encoder of that architecture: 3 layers, 32 wide, 64 positions, and windows of 4 to each side
    where it has such."""
    sizes = {
        "vocab_size": len(tiny_tokenizer()),
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 64,
    }
    return AutoConfig.for_model(kind, **{**sizes, **_OF_ENCODERS[kind], **changes})


# Neither is as wide or as deep as the text encoders; one is narrower and shallower, one wider and deeper.
TOWERS: dict[str, Callable[[], PreTrainedConfig]] = {
    "clip": lambda: tiny_vision_config(num_hidden_layers=2),
    "siglip": lambda: SiglipVisionConfig(
        hidden_size=40,
        num_hidden_layers=4,
        num_attention_heads=5,
        intermediate_size=48,
        image_size=32,
        patch_size=16,
    ),
}


def tiny(name: str, **options: Any) -> Recognizer:
    """The tiny recogniser of a registered model, seeded, not trained."""
    torch.manual_seed(0)
    return BUILDERS[name](name, **options)


def assembled(model: MnerModel, vocabulary: Vocabulary | None = None) -> Recognizer:
    """A recogniser around a model, with the tiny tokenizer where the model reads sub-words."""
    encoder = PostEncoder(
        model.config.labels,
        model.config.scheme,
        model.inputs,
        EncodingSettings(max_length=64, overlap=16),
        tiny_tokenizer() if model.inputs.subwords else None,
        vocabulary,
        capacity=64,
        preprocessing=Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    )
    return Recognizer(model, encoder)


def _text_model(name: str, **options: Any) -> Recognizer:
    model_class = model_named(name).model
    config = model_class.config_class(
        labels=list(LABELS), **{"text_config": tiny_text_config(), "lstm_width": 24, **options}
    )
    return assembled(model_class(config))


def _knowledge_model(name: str, **options: Any) -> Recognizer:
    model_class = model_named(name).model
    budgets = {"mmavk": {"knowledge_length": 24}, "cdner": {"caption_length": 24, "chain_length": 24}}[name]
    config = model_class.config_class(
        labels=list(LABELS), **{"text_config": tiny_text_config(), **budgets, **options}
    )
    return assembled(model_class(config))


def _cat_mner(name: str, **options: Any) -> Recognizer:
    model_class = model_named(name).model
    settings = {
        "text_config": tiny_text_config(),
        "vision_config": tiny_vision_config(),
        "grid": 2,
        "gate_width": 8,
        **options,
    }
    return assembled(model_class(model_class.config_class(labels=list(LABELS), **settings)))


def _dghc(name: str, **options: Any) -> Recognizer:
    model_class = model_named(name).model
    config = model_class.config_class(
        labels=list(LABELS),
        **{
            "text_config": tiny_text_config(),
            "vision_config": tiny_vision_config(num_hidden_layers=3),
            "prompt_width": 20,
            **options,
        },
    )
    return assembled(model_class(config))


def _mgips_cl(name: str, **options: Any) -> Recognizer:
    model_class = model_named(name).model
    settings = {
        "text_config": tiny_text_config(),
        "vision_config": tiny_vision_config(),
        "crop_size": 32,
        **options,
    }
    return assembled(model_class(model_class.config_class(labels=list(LABELS), **settings)))


def _word_model(name: str, **options: Any) -> Recognizer:
    vocabulary = Vocabulary.of_posts(POSTS, rarest_character=1)
    model_class = model_named(name).model
    config = model_class.config_class(
        labels=list(LABELS),
        vocabulary_size=vocabulary.word_count,
        character_count=vocabulary.character_count,
        **{"word_width": 24, "character_width": 12, "spelling_width": 16, "lstm_width": 32, **options},
    )
    return assembled(model_class(config), vocabulary)


BUILDERS: dict[str, Callable[..., Recognizer]] = {
    "bert": _text_model,
    "bert-crf": _text_model,
    "bert-bilstm-crf": _text_model,
    "bert-span": _text_model,
    "bilstm-crf": _word_model,
    "cnn-bilstm-crf": _word_model,
    "hbilstm-crf": _word_model,
    "cat-mner": _cat_mner,
    "mgips-cl": _mgips_cl,
    "mmavk": _knowledge_model,
    "cdner": _knowledge_model,
    "dghc": _dghc,
}
