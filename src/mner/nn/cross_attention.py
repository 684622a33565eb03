"""Attention of some positions over others: each query reads its own mixture of what it finds there.

Vaswani et al. 2017, "Attention Is All You Need", section 3.2. The kernels are torch's own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CrossAttention(nn.Module):
    """Multi-head attention of queries over keys; a row without keys reads zero.

    Args:
        width: Width of the queries and of what is read.
        heads: Number of heads; divides `width`.
        source_width: Width of the keys and values; `width` where None.
    """

    def __init__(self, width: int, heads: int, source_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} does not divide into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source_width or width, width)
        self.value = nn.Linear(source_width or width, width)

    def forward(
        self, queries: Tensor, source: Tensor, mask: Tensor, with_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Read.

        Args:
            queries: (B, n, d).
            source: (B, k, d_s) what is read; whatever stands at padding must be finite.
            mask: (B, k) true at what may be read.
            with_weights: Also return how much each query reads of each position.

        Returns:
            (B, n, d), zero for rows without anything to read, and (B, n, k) weights, the mean over heads.
        """
        query, key, value = self._split(self.query(queries)), self.key(source), self.value(source)
        key, value = self._split(key), self._split(value)
        present = mask.any(1)
        # A softmax over nothing is no number: rows that may read nothing read everything, times zero.
        readable = (mask | ~present[:, None])[:, None, None, :]
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=readable)
        read = read.transpose(1, 2).flatten(2) * present[:, None, None].to(read.dtype)
        if not with_weights:
            return read, None
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = torch.softmax(logits.float().masked_fill(~readable, -torch.inf), dim=-1).mean(1)
        return read, weights * present[:, None, None]

    def _split(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)
