"""From vectors to prefixes: keys and values for every layer of an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mner.nn.attention import Prefix


class PrefixProjection(nn.Module):
    """Makes each block, a vector, into a few positions of keys and values in every layer.

    ``tanh(W_1 x + b_1)`` is shared by the layers, ``W_2`` is each layer's own.

    Args:
        width: Width of a block.
        hidden: Width of the hidden layer.
        length: Positions a block becomes.
        config: Configuration of the encoder whose layers read the prefix.
    """

    def __init__(self, width: int, hidden: int, length: int, config: Any) -> None:
        super().__init__()
        self.length = length
        self.heads = int(config.num_attention_heads)
        self.head_width = int(config.hidden_size) // self.heads
        self.shared = nn.Linear(width, hidden)
        self.layers = nn.ModuleList(
            nn.Linear(hidden, length * 2 * int(config.hidden_size)) for _ in range(config.num_hidden_layers)
        )

    def forward(self, blocks: Tensor, weights: Tensor, mask: Tensor, rows: Tensor) -> Prefix:
        """Blocks to a prefix.

        Args:
            blocks: (B, c, w).
            weights: (B, L, c) what each block is multiplied with in each layer.
            mask: (B, c) true at blocks that are there.
            rows: (R,) the post b to which each row of the encoder belongs, ascending; every post has one.

        Returns:
            Keys and values (R, h, c * length, d_h) for each of the L layers.
        """
        # W_1 (g x) = g (W_1 x): the blocks are projected once for all layers.
        projected = nn.functional.linear(blocks, self.shared.weight)  # (B, c, hidden)
        keys, values = [], []
        for index, layer in enumerate(self.layers):
            hidden = torch.tanh(weights[:, index, :, None] * projected + self.shared.bias)
            positions = layer(hidden)  # (B, c, length * 2 * d)
            positions = positions.unflatten(2, (self.length, 2, self.heads, self.head_width))
            positions = positions.flatten(1, 2)
            # Where every post is one row, rows are posts.
            if len(rows) != len(blocks):
                positions = positions.index_select(0, rows)
            key, value = positions.transpose(1, 3).unbind(2)  # (R, h, c * length, d_h)
            keys.append(key)
            values.append(value)
        return Prefix(tuple(keys), tuple(values), mask.repeat_interleave(self.length, dim=1)[rows])
