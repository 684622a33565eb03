"""Attention between two kinds of tokens, corrected by how salient each token is.

Source: CAT-MNER (Wang et al. 2022), eq. 4 and 6. The tokens of a row are n of text followed by m of a
picture. Where a text token looks at the picture, and where a part of the picture looks at the text, the
logits are not ``q k`` but ``(1 - g) q k + g s``: a gate g and a saliency s for each token looked at.
Text on text and picture on picture stay as they are, and one softmax runs over the whole row.

No matrix of tokens by tokens is made here. Scaling a column of ``q k`` is scaling its key; adding to a column
is giving every query a further component of 1 and the key that number. Text rows and picture rows need
different keys, so there are two calls of PyTorch's scaled dot-product attention, whose fused kernels apply.

Used through transformers' attention interface: an encoder set to `REFINED` hands what it is given as
``refinement`` down to `refined_attention`, and attends plainly without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

REFINED = "mner-refined"
"""The name under which transformers knows the attention of this module."""

# What hides a token, as the further component of its key: far below any logit, within half precision, and
# finite, so that a row in which everything is hidden has finite outputs and gradients.
_HIDDEN = -3e4
# Fused kernels want heads of a multiple of this width.
_ALIGNMENT = 8


@dataclass
class Side:
    """How one kind of tokens is refined when the other kind looks at it.

    Args:
        gate: (B, k) the gate g of each of these tokens, in (-1, 1).
        scale: (h,) what the saliency of each head is multiplied by.
    """

    gate: Tensor
    scale: Tensor


@dataclass
class Refinement:
    """What a layer's attention needs to be refined.

    Args:
        present: (B, n + m) true at tokens that are there, text first.
        text_tokens: Their number n of text, padding included.
        label_keys: (h, C, d_h) the label words projected as this layer projects keys.
        image: How text looks at the picture (I2T); plainly where None.
        text: How the picture looks at text (T2I); plainly where None.
        rotary: Cosines and sines (1 or B, n + m, d_h) by which the queries were turned, where the encoder
            numbers positions that way: label words have no position, so saliency takes the queries unturned.
        windows: (1, 1, n + m, n + m) true where a token may look, for layers that see only their neighbours.
        shown: Where given, saliency and attention are put in here by name.
    """

    present: Tensor
    text_tokens: int
    label_keys: Tensor | None = None
    image: Side | None = None
    text: Side | None = None
    rotary: tuple[Tensor, Tensor] | None = None
    windows: Tensor | None = None
    shown: dict[str, Tensor] | None = field(default=None, repr=False)


def saliency(query: Tensor, label_keys: Tensor, present: Tensor, scaling: float) -> Tensor:
    """How salient each token is: eq. 6, the softmax over the tokens, the mean over the label words.

    Args:
        query: (B, h, k, d_h) queries of the tokens.
        label_keys: (h, C, d_h) keys of the label words.
        present: (B, k) true at tokens that are there.
        scaling: 1 / sqrt(d_h).

    Returns:
        (B, h, k), each head's sum over the tokens is 1; 0 at tokens that are not there.
    """
    return word_saliency(query, label_keys, present, scaling).mean(2)


def word_saliency(query: Tensor, label_keys: Tensor, present: Tensor, scaling: float) -> Tensor:
    """The same for every label word by itself: (B, h, C, k), see `saliency`."""
    logits = torch.matmul(label_keys * scaling, query.transpose(2, 3))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    there = present[:, None, None]
    shares = logits.masked_fill(~there, torch.finfo(logits.dtype).min).softmax(-1)
    return (shares * there).to(query.dtype)


def refined_attention(
    query: Tensor, key: Tensor, value: Tensor, refinement: Refinement, scaling: float, dropout: float = 0.0
) -> Tensor:
    """Attend over text and picture together, refined between the two (eq. 4).

    Args:
        query: (B, h, n + m, d_h), text first, as are the others.
        key: (B, h, n + m, d_h).
        value: (B, h, n + m, d_h).
        refinement: How.
        scaling: 1 / sqrt(d_h).
        dropout: Dropout on the attention weights.

    Returns:
        (B, h, n + m, d_h).
    """
    n = refinement.text_tokens
    hidden = torch.where(refinement.present, 0.0, _HIDDEN).to(query.dtype)[:, None]
    if refinement.image is None and refinement.text is None:
        # Eq. 3: self-attention over the concatenated inputs.
        mask = hidden[:, :, None]
        if refinement.windows is not None:
            mask = mask.masked_fill(~refinement.windows, _HIDDEN)
        if refinement.shown is not None:
            _show(refinement, query, key, hidden / scaling, scaling)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling
        )
    hidden = hidden.expand(-1, query.shape[1], -1)
    width = query.shape[-1]
    # Kernels on the CPU are fused without dropout alone, and want values as wide as keys then.
    fused = dropout == 0 or query.device.type != "cpu"
    zeros = -(width + 1) % _ALIGNMENT if fused else 0
    values = F.pad(value, (0, 1 + zeros)) if fused else value
    # The added component is 1 in every query, so what a key has there is added to its whole column.
    asked = torch.cat((query, query.new_ones(()).expand(*query.shape[:-1], 1), _zeros(query, zeros)), -1)
    plain = _widened(key, hidden, zeros)
    from_text = from_image = plain
    unturned = query if refinement.rotary is None else _turned_back(query, *refinement.rotary)
    if refinement.image is not None:
        cells = slice(n, None)
        refined = _refined(key[:, :, cells], unturned[:, :, cells], refinement, "image", scaling)
        from_text = torch.cat((plain[:, :, :n], _widened(*refined, zeros)), 2)
    if refinement.text is not None:
        words = slice(0, n)
        refined = _refined(key[:, :, words], unturned[:, :, words], refinement, "text", scaling)
        from_image = torch.cat((_widened(*refined, zeros), plain[:, :, n:]), 2)
    attended = []
    for rows, keys in ((slice(0, n), from_text), (slice(n, None), from_image)):
        allowed = None if refinement.windows is None else refinement.windows[:, :, rows]
        states = F.scaled_dot_product_attention(
            asked[:, :, rows], keys, values, attn_mask=allowed, dropout_p=dropout, scale=scaling
        )
        attended.append(states[..., :width].transpose(1, 2))
    if refinement.shown is not None:
        _show(refinement, query, from_text[..., :width], from_text[..., width], scaling)
    # In the order in which an encoder goes on with it.
    return torch.cat(attended, 1).transpose(1, 2)


def _widened(key: Tensor, bias: Tensor, zeros: int) -> Tensor:
    return torch.cat((key, bias.unsqueeze(-1), _zeros(key, zeros)), -1)


def _refined(
    key: Tensor, query: Tensor, refinement: Refinement, kind: Literal["image", "text"], scaling: float
) -> tuple[Tensor, Tensor]:
    # The keys of one kind of tokens and the bias of their columns, as the other kind sees them (eq. 4).
    n = refinement.text_tokens
    side, present = (
        (refinement.text, refinement.present[:, :n])
        if kind == "text"
        else (refinement.image, refinement.present[:, n:])
    )
    assert side is not None
    assert refinement.label_keys is not None
    salient = saliency(query, refinement.label_keys, present, scaling)
    gate = side.gate[:, None].to(key.dtype)
    bias = gate * side.scale.to(key.dtype)[:, None] * salient
    if refinement.shown is not None:
        each = word_saliency(query, refinement.label_keys, present, scaling)
        refinement.shown |= {
            f"{kind}_saliency": salient,
            f"{kind}_word_saliency": each,
            f"{kind}_gate": side.gate,
        }
    return key * (1 - gate).unsqueeze(-1), bias.masked_fill(~present[:, None], _HIDDEN)


def _show(refinement: Refinement, query: Tensor, keys: Tensor, bias: Tensor, scaling: float) -> None:
    # To be looked at, the weights themselves are needed, which fused kernels do not return.
    assert refinement.shown is not None
    n = refinement.text_tokens
    logits = (query[:, :, :n] @ keys.transpose(2, 3) + bias.unsqueeze(2)) * scaling
    if refinement.windows is not None:
        logits = logits.masked_fill(~refinement.windows[:, :, :n], torch.finfo(logits.dtype).min)
    refinement.shown["image_attention"] = logits.softmax(-1)[..., n:]


def _zeros(like: Tensor, width: int) -> Tensor:
    return like.new_zeros(()).expand(*like.shape[:-1], width)


def _turned_back(query: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    # The inverse of a rotary position's rotation.
    first, second = query.chunk(2, -1)
    turned = torch.cat((second, -first), -1)
    return (query * cosine.unsqueeze(1) + turned * sine.unsqueeze(1)).to(query.dtype)


class SaliencyGate(nn.Module):
    """tanh(FFN(v)): how far saliency replaces attention, for each token (eq. 4).

    The last layer starts at zero (the model that holds the gate sees to that), so that a pre-trained encoder
    starts with its own attention.

    Args:
        width: Width d of the tokens' states.
        hidden: Width of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, states: Tensor) -> Tensor:
        """States (B, k, d) to gates (B, k)."""
        gates: Tensor = self.output(F.gelu(self.hidden(states))).squeeze(-1).tanh()
        return gates


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    refinement: Refinement | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    if refinement is None:
        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return attended
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    states = refined_attention(query, key, value, refinement, scaling, dropout)
    return states.transpose(1, 2).contiguous(), None


AttentionInterface.register(REFINED, _attend)
# Without a mask function of the same name an encoder attends to padding.
AttentionMaskInterface.register(REFINED, sdpa_mask)
