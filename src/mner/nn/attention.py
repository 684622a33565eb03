"""Exchanging the attention of a pre-trained encoder, through transformers' attention interface.

Weights keep their names and kernels stay fused: an encoder is told the name of a registered function, and
what that function needs goes down to it as a keyword argument of the encoder's own forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mner.errors import BackboneError

PREFIXED = "mner-prefixed"
"""The name under which transformers knows attention over a prefix and the tokens."""


def exchange_attention(encoder: PreTrainedModel, name: str) -> None:
    """Have an encoder attend by a registered function.

    Args:
        encoder: The encoder.
        name: The name under which the function, and a mask function with it, is registered.

    Raises:
        BackboneError: The encoder has an attention of its own that cannot be exchanged.
    """
    kind = encoder.config.model_type
    indexed = any(getattr(module, "layer_idx", None) is not None for module in encoder.modules())
    if not encoder._supports_attention_backend or not indexed:
        own = (
            "its layers do not say which of the layers they are"
            if encoder._supports_attention_backend
            else "it computes attention by itself (with relative positions inside it, say)"
        )
        raise BackboneError(
            f"The attention of an encoder of the architecture {kind!r} cannot be exchanged: {own}.",
            expected="an encoder that goes through transformers' attention interface, such as BERT, RoBERTa, "
            "XLM-R, ELECTRA or ModernBERT",
            got=kind,
            hint="Choose another backbone, or a system that reads pictures without changing attention.",
        )
    encoder.set_attn_implementation(name)


@dataclass
class Prefix:
    """Keys and values that stand before those of the tokens, in every layer.

    Source: Li and Liang 2021, "Prefix-Tuning"; as visual prefixes Chen et al. 2022, HVPNeT, eq. 9-10.

    Args:
        keys: For each layer (R, h, p, d_h).
        values: Likewise.
        mask: (R, p) true at positions that are there.
        read: Filled with the layers that have read the prefix.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    read: set[int] = field(default_factory=set)
    _masks: list[tuple[Tensor | None, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._all_there = bool(self.mask.all())

    def joined(self, attention_mask: Tensor | None, queries: int) -> Tensor | None:
        """The mask of prefix and tokens together (R, 1, n, p + n), or None where nothing is hidden.

        Args:
            attention_mask: (R, 1, n, n) of the tokens, as booleans.
            queries: Their number n.
        """
        if attention_mask is None and self._all_there:
            return None
        # Layers share their masks, of which there are one or two, and share what is made of them.
        for known, joined in self._masks:
            if known is attention_mask:
                return joined
        rows = self.mask.shape[0]
        tokens = attention_mask
        if tokens is None:
            tokens = self.mask.new_ones(rows, 1, queries, queries)
        before = self.mask[:, None, None].expand(-1, 1, queries, -1)
        joined = torch.cat((before, tokens.expand(rows, 1, -1, -1)), dim=3)
        self._masks.append((attention_mask, joined))
        return joined


def encode_with_prefix(
    encoder: PreTrainedModel,
    input_ids: Tensor | None,
    attention_mask: Tensor | None,
    prefix: Prefix,
    words: Tensor | None = None,
) -> Tensor:
    """The last states (R, n, d) of an encoder whose layers attend to a prefix and the tokens.

    Args:
        encoder: One that `exchange_attention` has set to `PREFIXED`.
        input_ids: (R, n).
        attention_mask: (R, n).
        prefix: For all of the encoder's layers.
        words: (R, n, d_e) the sub-words as they were looked up already, instead of `input_ids`.

    Raises:
        BackboneError: A layer did not get the prefix: the encoder loses what it is given to hand down.
    """
    given = {"input_ids": input_ids} if words is None else {"inputs_embeds": words}
    encoded = encoder(**given, attention_mask=attention_mask, prefix=prefix)
    missing = set(range(len(prefix.keys))) - prefix.read
    if missing:
        raise BackboneError(
            f"An encoder of the architecture {encoder.config.model_type!r} loses the prefix on the way down.",
            expected="an encoder that hands keyword arguments down to its attention",
            got=f"layers without: {', '.join(map(str, sorted(missing)))}",
        )
    states: Tensor = encoded.last_hidden_state
    return states


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefix: Prefix | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    if prefix is not None:
        layer: Any = module.layer_idx
        prefix.read.add(layer)
        key = torch.cat((prefix.keys[layer].to(key.dtype), key), dim=2)
        value = torch.cat((prefix.values[layer].to(value.dtype), value), dim=2)
        attention_mask = prefix.joined(attention_mask, query.shape[2])
        # Where the tokens' own mask hides nothing, transformers takes its absence for a causal one.
        options["is_causal"] = False
    attended: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, **options
    )
    return attended


AttentionInterface.register(PREFIXED, _attend)
# Without a mask function of the same name an encoder attends to padding.
AttentionMaskInterface.register(PREFIXED, sdpa_mask)
