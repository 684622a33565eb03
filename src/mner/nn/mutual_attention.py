"""A text encoder and a vision tower run layer by layer, each attending to its own tokens and the other's.

Source: MGIPS-CL, section 3.2, eq. 2-4; the idea of a layer that reads the other encoder's keys and values is
that of MKGformer (Chen et al. 2022, "Hybrid Transformer with Multi-level Fusion", section 3.2).

Both sides' keys and values are needed before either layer ends, so a layer is run in two halves:
its projections, and what follows its attention, both made of the layer's own modules (`Anatomy.project` and
`Anatomy.complete`, `vision.project` and `vision.complete`). Nothing is projected twice. Rows without a
picture run through the text encoder alone and cost the tower nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from mner.nn import vision
from mner.nn.anatomy import Anatomy, anatomy_of, sliding_window

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, (rows, heads, tokens, width of a head) each."""


@dataclass(frozen=True)
class Pairing:
    """Which layers of two encoders run together: the last ones, where their depths differ.

    Args:
        text: Number of the text encoder's layers.
        picture: Number of the tower's layers.
    """

    text: int
    picture: int

    @property
    def depth(self) -> int:
        """How many steps the two take together."""
        return max(self.text, self.picture)

    @property
    def pairs(self) -> int:
        """In how many steps, the last ones, both have a layer."""
        return min(self.text, self.picture)

    def text_layer(self, step: int) -> int | None:
        """The text encoder's layer in a step, or None before its first."""
        layer = step - (self.depth - self.text)
        return layer if layer >= 0 else None

    def picture_layer(self, step: int) -> int | None:
        """The tower's layer in a step, or None before its first."""
        layer = step - (self.depth - self.picture)
        return layer if layer >= 0 else None


class KeyValueMap(nn.Module):
    """Fits one side's keys and values to the other side's heads: a linear map each.

    Args:
        width: Width of what is mapped, all heads together.
        heads: Heads of what it is mapped to.
        target: Width of what it is mapped to, all heads together.
    """

    def __init__(self, width: int, heads: int, target: int) -> None:
        super().__init__()
        self.heads = heads
        self.key = nn.Linear(width, target)
        self.value = nn.Linear(width, target)

    def forward(self, given: KeysValues) -> KeysValues:
        """Keys and values in the other side's shape."""
        key, value = (
            in_heads(part(vectors.transpose(1, 2).flatten(2)), self.heads)
            for part, vectors in zip((self.key, self.value), given, strict=True)
        )
        return key, value


class MutualAttention(nn.Module):
    """What mutual attention adds to two encoders, and the pass through both.

    Where widths or numbers of heads differ it has two linear maps for each direction and pair of layers, and
    no parameters otherwise.

    Args:
        text_config: The text encoder's configuration.
        vision_config: The tower's.
        lag: Whether a layer reads the other side's keys and values of one layer earlier, the first
            one the other side's embeddings as they are (eq. 2 and 3 as printed).
    """

    def __init__(self, text_config: PreTrainedConfig, vision_config: PreTrainedConfig, lag: bool) -> None:
        super().__init__()
        self.lag = lag
        self.pairing = Pairing(text_config.num_hidden_layers, vision_config.num_hidden_layers)
        self.text_heads: int = text_config.num_attention_heads
        self.picture_heads: int = vision_config.num_attention_heads
        text, picture = int(text_config.hidden_size), vision.width_of(vision_config)
        self.to_text: nn.ModuleList | None = None
        self.to_picture: nn.ModuleList | None = None
        if (text, self.text_heads) != (picture, self.picture_heads):
            pairs = range(self.pairing.pairs)
            self.to_text = nn.ModuleList(KeyValueMap(picture, self.text_heads, text) for _ in pairs)
            self.to_picture = nn.ModuleList(KeyValueMap(text, self.picture_heads, picture) for _ in pairs)

    def forward(
        self,
        text_encoder: PreTrainedModel,
        tower: PreTrainedModel,
        input_ids: Tensor,
        text_mask: Tensor,
        picture: Tensor,
        picture_mask: Tensor,
        rows: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Both encoders' last states.

        Args:
            text_encoder: The text encoder.
            tower: The vision tower.
            input_ids: (R, n).
            text_mask: (R, n) true at tokens.
            picture: (P, m, d_v) what the tower's first layer sees, for the rows that have a picture.
            picture_mask: (P, m) true at tokens; at least one a row.
            rows: (P,) which of the R rows have a picture.

        Returns:
            (R, n, d) and (P, m, d_v), the latter before any norm that follows the tower's last layer.
        """
        parts = anatomy_of(text_encoder)
        text = parts.embed(input_ids)
        layers, tower_layers = parts.layers, vision.layers_of(tower)
        masks = _Masks(text_mask.bool(), picture_mask, rows)
        text_given = in_heads(text, self.text_heads), in_heads(text, self.text_heads)
        picture_given = in_heads(picture, self.picture_heads), in_heads(picture, self.picture_heads)
        for step in range(self.pairing.depth):
            number, tower_number = self.pairing.text_layer(step), self.pairing.picture_layer(step)
            run = _Step(
                self,
                parts,
                None if number is None else layers[number],
                None if tower_number is None else tower_layers[tower_number],
                step - (self.pairing.depth - self.pairing.pairs),
                masks,
            )
            text, picture, *given = run.checkpointed(text, picture, *text_given, *picture_given)
            text_given, picture_given = (given[0], given[1]), (given[2], given[3])
        return parts.finish(text), picture


class _Masks:
    # Who sees what, computed once for all layers.
    def __init__(self, text: Tensor, picture: Tensor, rows: Tensor) -> None:
        self.text, self.picture, self.rows = text, picture, rows
        self.everyone = len(rows) == len(text)
        self._whole = bool(text.all()), bool(picture.all())
        self._of_text: dict[tuple[int | None, bool], Tensor | None] = {}

    def of_text(self, window: int | None, paired: bool) -> Tensor | None:
        # (R, 1, 1 or n, m + n or n): a picture's tokens stand first, and no window of neighbours hides them.
        key = (window, paired)
        if key not in self._of_text:
            n = self.text.shape[1]
            near = None if window is None else sliding_window(n, window, self.text.device)
            seen = self.text[:, None, None]
            if near is not None:
                seen = seen & near
            if paired:
                picture = self.spread(self.picture)[:, None, None].expand(-1, -1, seen.shape[2], -1)
                seen = torch.cat((picture, seen), 3)
            whole = self._whole[0] and near is None
            whole = whole and (not paired or (self._whole[1] and self.everyone))
            self._of_text[key] = None if whole else seen
        return self._of_text[key]

    def of_picture(self, paired: bool) -> Tensor | None:
        # (P, 1, 1, n + m or m): text first.
        if self._whole[1] and (not paired or self._whole[0]):
            return None
        return (
            torch.cat((self.chosen(self.text), self.picture), 1)[:, None, None]
            if paired
            else self.picture[:, None, None]
        )

    def spread(self, values: Tensor) -> Tensor:
        # Of rows with a picture to all rows, zero at the others.
        if self.everyone:
            return values
        return values.new_zeros(len(self.text), *values.shape[1:]).index_copy(0, self.rows, values)

    def chosen(self, values: Tensor) -> Tensor:
        # Of all rows to those with a picture.
        return values if self.everyone else values[self.rows]


@dataclass
class _Step:
    owner: MutualAttention
    parts: Anatomy
    layer: Any
    tower_layer: Any
    pair: int
    masks: _Masks

    def checkpointed(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        # The two layers are one unit where memory is saved by computing activations again.
        for layer in (self.layer, self.tower_layer):
            if layer is not None and layer.training and getattr(layer, "gradient_checkpointing", False):
                again: Callable[..., tuple[Tensor, ...]] = layer._gradient_checkpointing_func
                return again(self.run, *tensors)
        return self.run(*tensors)

    def run(
        self,
        text: Tensor,
        picture: Tensor,
        text_key: Tensor,
        text_value: Tensor,
        picture_key: Tensor,
        picture_value: Tensor,
    ) -> tuple[Tensor, ...]:
        parts, masks = self.parts, self.masks
        # The other side's keys and values of one layer earlier, or, below, of the same layer.
        text_given, picture_given = (text_key, text_value), (picture_key, picture_value)
        text_own, picture_own = text_given, picture_given
        text_query = picture_query = None
        if self.layer is not None:
            text_query, *own = parts.project(self.layer, text)
            text_own = own[0], own[1]
        if self.tower_layer is not None:
            picture_query, *own = vision.project(self.tower_layer, picture)
            picture_own = own[0], own[1]
        if not self.owner.lag:
            text_given, picture_given = text_own, picture_own
        paired = self.pair >= 0
        if text_query is not None:
            positions = torch.arange(text.shape[1], device=text.device)[None]
            query, key = parts.turn(text_query, text_own[0], parts.rotary(self.layer, text, positions))
            value = text_own[1]
            if paired:
                # Eq. 2: K^t = [K^v, H^t W^k], V^t = [V^v, H^t W^v]
                other = self._fitted(self.owner.to_text, picture_given)
                key = torch.cat((masks.spread(other[0]).to(key.dtype), key), 2)
                value = torch.cat((masks.spread(other[1]).to(value.dtype), value), 2)
            # Eq. 4
            attended = F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=masks.of_text(parts.window(self.layer), paired),
                dropout_p=parts.attention_dropout(self.layer),
            )
            text = parts.complete(self.layer, text, attended)
        if picture_query is not None:
            key, value = picture_own
            if paired:
                # By symmetry: K^v = [K^t, H^v W^k], V^v = [V^t, H^v W^v]
                chosen = masks.chosen(text_given[0]), masks.chosen(text_given[1])
                other = self._fitted(self.owner.to_picture, chosen)
                key = torch.cat((other[0].to(key.dtype), key), 2)
                value = torch.cat((other[1].to(value.dtype), value), 2)
            attended = F.scaled_dot_product_attention(
                picture_query,
                key,
                value,
                attn_mask=masks.of_picture(paired),
                dropout_p=vision.attention_dropout(self.tower_layer),
            )
            picture = vision.complete(self.tower_layer, picture, attended)
        return text, picture, *text_own, *picture_own

    def _fitted(self, maps: nn.ModuleList | None, given: KeysValues) -> KeysValues:
        if maps is None:
            return given
        fitted: KeysValues = maps[self.pair](given)
        return fitted


def in_heads(states: Tensor, heads: int) -> Tensor:
    """(N, k, d) to (N, heads, k, d / heads)."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)
