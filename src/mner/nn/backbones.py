"""Pre-trained encoders: what they must be, and how their weights come in.

A backbone is named as `mner.pretrained` says. Weights are read from safetensors alone: a pickled
checkpoint can run code, and is refused.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from mner.errors import BackboneError, shown
from mner.pretrained import locate, quiet_loading, why_not_loaded


def _loading(name: str, action: str, error: Exception) -> BackboneError:
    return BackboneError(
        f"The backbone {shown(name)} cannot be loaded ({action}).",
        expected="a folder or hub name with config.json, safetensors weights and a fast tokenizer",
        got=why_not_loaded(name, error),
    )


def load_config(name: str) -> PreTrainedConfig:
    """The configuration of a backbone.

    Raises:
        BackboneError: It cannot be found or read.
    """
    try:
        config = AutoConfig.from_pretrained(locate(name))
    except (OSError, ValueError, KeyError) as error:
        raise _loading(name, "its configuration", error) from error
    # The folder that it lay in says something about a machine, and would be saved with it.
    config.name_or_path = ""
    return config


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The fast tokenizer of a backbone, set up to take text that is already split into words.

    Raises:
        BackboneError: It cannot be found or read, or is not a fast one.
    """
    place = locate(name)
    try:
        # A byte-level vocabulary writes the space into the token; words handed over one by one need it.
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(place, add_prefix_space=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _loading(name, "its tokenizer", error) from error
    if not tokenizer.is_fast:
        raise BackboneError(
            f"The tokenizer of {shown(name)} is a slow one.",
            expected="a tokenizer backed by the tokenizers library (a tokenizer.json)",
            got=type(tokenizer).__name__,
        )
    return tokenizer


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """An encoder of that architecture with random weights, without a pooling head that nobody reads."""
    model_class: Any = AutoModel._model_mapping[type(config)]
    if isinstance(model_class, tuple):
        model_class = model_class[0]
    options: dict[str, Any] = {}
    if "add_pooling_layer" in inspect.signature(model_class).parameters:
        options["add_pooling_layer"] = False
    return AutoModel.from_config(config, **options)


def load_weights(module: PreTrainedModel, name: str) -> None:
    """Fill an encoder built from a backbone's configuration with that backbone's weights.

    Args:
        module: The encoder, as `build_encoder` makes it.
        name: The backbone.

    Raises:
        BackboneError: The weights cannot be read or do not fill every parameter of the encoder.
    """
    try:
        with quiet_loading():
            source = AutoModel.from_pretrained(locate(name), dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _loading(name, "its weights", error) from error
    tensors = source.state_dict()
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(tensors))
    if missing:
        raise BackboneError(
            f"The weights of {shown(name)} do not fill the encoder.",
            expected=f"{len(wanted)} tensors",
            got=f"none for {', '.join(missing[:5])}",
        )
    module.load_state_dict({key: tensors[key] for key in wanted})


def width_of(config: PreTrainedConfig) -> int:
    """The width of an encoder's states."""
    return int(config.hidden_size)


def capacity_of(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> int:
    """How many sub-words, special ones included, an encoder takes at once.

    Some architectures number positions from after the padding index, and so have fewer than their
    position table has rows.
    """
    limit = int(getattr(config, "max_position_embeddings", 512) or 512)
    padding = getattr(config, "pad_token_id", None)
    if config.model_type in _POSITIONS_AFTER_PADDING and padding is not None:
        limit -= int(padding) + 1
    if tokenizer is not None and tokenizer.model_max_length:
        limit = min(limit, int(tokenizer.model_max_length))
    return limit


_POSITIONS_AFTER_PADDING = frozenset(
    (
        "camembert",
        "data2vec-text",
        "ibert",
        "longformer",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    )
)


def is_uncased(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer throws case away."""
    upper, lower = (tokenizer.tokenize(text) for text in ("Toronto", "toronto"))
    return upper == lower


def freeze(module: nn.Module, frozen: bool = True) -> None:
    """Stop (or let go on) the training of all parameters of a module."""
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)
