"""Texts beside posts through an encoder: captions, knowledge, label words."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def encode_texts(encoder: nn.Module, input_ids: Tensor, mask: Tensor, wanted: Tensor | None = None) -> Tensor:
    """The states of texts that are encoded by themselves.

    Only the rows that are there (and wanted) are computed: a text costs nothing where there is none, and
    what one row holds cannot reach another.

    Args:
        encoder: Takes `input_ids` and `attention_mask` and gives a `last_hidden_state`.
        input_ids: (B, k) sub-words, special ones included.
        mask: (B, k) true at sub-words, a prefix of each row; a row without text has none.
        wanted: (B,) the rows to compute; all where None.

    Returns:
        (B, k, d), zero at padding and for rows that are not there or not wanted.
    """
    rows = mask.any(1) if wanted is None else mask.any(1) & wanted
    if torch.onnx.is_in_onnx_export():
        return _encode_all(encoder, input_ids, mask, rows)
    chosen = rows.nonzero().squeeze(1)
    width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
    if not len(chosen):
        dtype = next(encoder.parameters()).dtype
        return torch.zeros(*input_ids.shape, width, dtype=dtype, device=input_ids.device)
    longest = int(mask[chosen].sum(1).max())
    ids, kept = input_ids[chosen, :longest], mask[chosen, :longest]
    states: Tensor = encoder(input_ids=ids, attention_mask=kept).last_hidden_state
    encoded = states.new_zeros(*input_ids.shape, states.shape[-1])
    encoded[chosen, :longest] = states * kept.unsqueeze(-1).to(states.dtype)
    return encoded


def _encode_all(encoder: nn.Module, input_ids: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
    # A graph cannot leave rows out. One that is not there reads its first padding, lest nothing at all is
    # attended to, and comes to nothing.
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    kept = mask | (~rows.unsqueeze(1) & first)
    states: Tensor = encoder(input_ids=input_ids, attention_mask=kept).last_hidden_state
    return states * (mask & rows.unsqueeze(1)).unsqueeze(-1).to(states.dtype)
