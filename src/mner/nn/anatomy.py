"""The parts of pre-trained encoders that a system needs one by one: embeddings, layers, sublayers.

Most systems need an encoder's forward pass alone. One that brings tokens of another kind into the layers, or
looks at a layer's projections, needs to take it apart. What the parts are called is said here, once for each
family of architectures; weights and layers stay those of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from mner.errors import BackboneError

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines (1, k, d_h) of rotary positions."""


class Anatomy(Protocol):
    """An encoder's parts, by what they do."""

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The layers, from the bottom."""

    @property
    def embedding_width(self) -> int:
        """Width of what `embed_vectors` takes."""

    def embed(self, input_ids: Tensor) -> Tensor:
        """Sub-words (R, n) to the input of the first layer (R, n, d)."""

    def embed_words(self, words: Tensor) -> Tensor:
        """Sub-words that were looked up already (R, n, d_e), padded on the right, likewise."""

    def embed_vectors(self, vectors: Tensor) -> Tensor:
        """Vectors that are no sub-words (R, m, d_e), with their positions added already, likewise."""

    def attention_input(self, layer: nn.Module, states: Tensor) -> Tensor:
        """What a layer's queries, keys and values are projected from, given the layer's input."""

    def keys(self, layer: nn.Module, states: Tensor) -> Tensor:
        """The keys (…, k, h, d_h) of states (…, k, d) in a layer, before any rotary positions."""

    def project(self, layer: nn.Module, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A layer's queries, keys and values (R, h, n, d_h) of its input, before any rotary positions."""

    def turn(self, query: Tensor, key: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor]:
        """Queries and keys (R, h, n, d_h) turned by their rotary positions, where there are such."""

    def attention_dropout(self, layer: nn.Module) -> float:
        """A layer's dropout on attention weights; 0 unless in training."""

    def complete(self, layer: nn.Module, states: Tensor, attended: Tensor) -> Tensor:
        """A layer's output, given its input and what its attention read (R, h, n, d_h)."""

    def feed_forward(self, layer: nn.Module, states: Tensor) -> Tensor:
        """A layer without its self-attention: the feed-forward sublayer with its residual and norm."""

    def rotary(self, layer: nn.Module, states: Tensor, positions: Tensor) -> Rotary | None:
        """The rotary positions (1, k) of a layer, where the encoder has such."""

    def window(self, layer: nn.Module) -> int | None:
        """How far from itself a token of that layer looks; None where it sees all."""

    def run(
        self,
        layer: nn.Module,
        states: Tensor,
        attention_mask: Tensor | None,
        rotary: Rotary | None,
        **options: Any,
    ) -> Tensor:
        """A whole layer; options go down to the attention function."""

    def finish(self, states: Tensor) -> Tensor:
        """What comes after the last layer."""


class _PostNorm:
    # BERT and what descends from it: norms behind the sublayers, learned positions in the embeddings.
    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder

    @property
    def layers(self) -> Sequence[nn.Module]:
        layers: Sequence[nn.Module] = self.encoder.encoder.layer
        return layers

    @property
    def embedding_width(self) -> int:
        return int(self.encoder.embeddings.word_embeddings.embedding_dim)

    def embed(self, input_ids: Tensor) -> Tensor:
        return self._widened(self.encoder.embeddings(input_ids=input_ids))

    def embed_words(self, words: Tensor) -> Tensor:
        return self._widened(self.encoder.embeddings(inputs_embeds=words))

    def embed_vectors(self, vectors: Tensor) -> Tensor:
        embeddings = self.encoder.embeddings
        return self._widened(embeddings.dropout(embeddings.LayerNorm(vectors)))

    def _widened(self, embedded: Tensor) -> Tensor:
        # ELECTRA's embeddings may be narrower than its layers.
        project = getattr(self.encoder, "embeddings_project", None)
        return embedded if project is None else project(embedded)

    def attention_input(self, layer: Any, states: Tensor) -> Tensor:
        del layer
        return states

    def keys(self, layer: Any, states: Tensor) -> Tensor:
        attention = layer.attention.self
        keys: Tensor = attention.key(states)
        return keys.unflatten(-1, (attention.num_attention_heads, -1))

    def project(self, layer: Any, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attention = layer.attention.self
        query, key, value = (
            part(states).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        )
        return query, key, value

    def turn(self, query: Tensor, key: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor]:
        del rotary
        return query, key

    def attention_dropout(self, layer: Any) -> float:
        attention = layer.attention.self
        return float(attention.dropout.p) if attention.training else 0.0

    def complete(self, layer: Any, states: Tensor, attended: Tensor) -> Tensor:
        joined: Tensor = layer.attention.output(attended.transpose(1, 2).flatten(2), states)
        return self.feed_forward(layer, joined)

    def feed_forward(self, layer: Any, states: Tensor) -> Tensor:
        output: Tensor = layer.feed_forward_chunk(states)
        return output

    def rotary(self, layer: nn.Module, states: Tensor, positions: Tensor) -> Rotary | None:
        del layer, states, positions
        return None

    def window(self, layer: nn.Module) -> int | None:
        del layer
        return None

    def run(
        self,
        layer: nn.Module,
        states: Tensor,
        attention_mask: Tensor | None,
        rotary: Rotary | None,
        **options: Any,
    ) -> Tensor:
        del rotary
        output: Tensor = layer(states, attention_mask, **options)
        return output

    def finish(self, states: Tensor) -> Tensor:
        return states


class _Modern:
    # ModernBERT: norms before the sublayers, rotary positions, layers that see a window of their neighbours.
    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder

    @property
    def layers(self) -> Sequence[nn.Module]:
        layers: Sequence[nn.Module] = self.encoder.layers
        return layers

    @property
    def embedding_width(self) -> int:
        return int(self.encoder.config.hidden_size)

    def embed(self, input_ids: Tensor) -> Tensor:
        embedded: Tensor = self.encoder.embeddings(input_ids=input_ids)
        return embedded

    def embed_words(self, words: Tensor) -> Tensor:
        embedded: Tensor = self.encoder.embeddings(inputs_embeds=words)
        return embedded

    def embed_vectors(self, vectors: Tensor) -> Tensor:
        embedded: Tensor = self.encoder.embeddings(inputs_embeds=vectors)
        return embedded

    def attention_input(self, layer: Any, states: Tensor) -> Tensor:
        normed: Tensor = layer.attn_norm(states)
        return normed

    def keys(self, layer: Any, states: Tensor) -> Tensor:
        # The whole projection, so that adapters around it count; the states are few.
        projected: Tensor = layer.attn.Wqkv(layer.attn_norm(states))
        return projected.unflatten(-1, (3, -1, layer.attn.head_dim)).unbind(-3)[1]

    def project(self, layer: Any, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projected: Tensor = layer.attn.Wqkv(layer.attn_norm(states))
        projected = projected.unflatten(-1, (3, -1, layer.attn.head_dim)).transpose(1, 3)
        query, key, value = projected.unbind(2)
        return query, key, value

    def turn(self, query: Tensor, key: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor]:
        assert rotary is not None
        turned: tuple[Tensor, Tensor] = apply_rotary_pos_emb(query, key, *rotary)
        return turned

    def attention_dropout(self, layer: Any) -> float:
        return float(layer.attn.attention_dropout) if layer.attn.training else 0.0

    def complete(self, layer: Any, states: Tensor, attended: Tensor) -> Tensor:
        attention = layer.attn
        joined = states + attention.out_drop(attention.Wo(attended.transpose(1, 2).flatten(2)))
        return self.feed_forward(layer, joined)

    def feed_forward(self, layer: Any, states: Tensor) -> Tensor:
        output: Tensor = states + layer.mlp(layer.mlp_norm(states))
        return output

    def rotary(self, layer: Any, states: Tensor, positions: Tensor) -> Rotary | None:
        turned: Rotary = self.encoder.rotary_emb(states, positions, layer.attention_type)
        return turned

    def window(self, layer: Any) -> int | None:
        sliding = layer.attention_type == "sliding_attention"
        return int(self.encoder.config.sliding_window) if sliding else None

    def run(
        self,
        layer: nn.Module,
        states: Tensor,
        attention_mask: Tensor | None,
        rotary: Rotary | None,
        **options: Any,
    ) -> Tensor:
        output: Tensor = layer(states, attention_mask=attention_mask, position_embeddings=rotary, **options)
        return output

    def finish(self, states: Tensor) -> Tensor:
        normed: Tensor = self.encoder.final_norm(states)
        return normed


_ANATOMIES: dict[str, type[_PostNorm] | type[_Modern]] = {
    "bert": _PostNorm,
    "roberta": _PostNorm,
    "xlm-roberta": _PostNorm,
    "camembert": _PostNorm,
    "electra": _PostNorm,
    "modernbert": _Modern,
}


def anatomy_of(encoder: PreTrainedModel) -> Anatomy:
    """The parts of an encoder.

    Raises:
        BackboneError: It is of an architecture whose layers cannot be taken apart here, or whose attention
            does not go through transformers' attention interface.
    """
    kind = _ANATOMIES.get(encoder.config.model_type)
    if kind is None:
        reason = ""
        if not encoder._supports_attention_backend:
            reason = " Its attention is its own (relative positions inside it, say) and cannot be exchanged."
        raise BackboneError(
            f"An encoder of the architecture {encoder.config.model_type!r} cannot be taken apart.{reason}",
            expected=f"one of {', '.join(_ANATOMIES)}",
            got=encoder.config.model_type,
            hint="Choose another backbone, or a system that reads pictures without changing attention.",
        )
    return kind(encoder)


def sliding_window(tokens: int, window: int, device: torch.device) -> Tensor | None:
    """(k, k) true where two of k tokens are at most `window` apart; None where all are.

    Args:
        tokens: Number k of tokens.
        window: How far a token looks to each side.
        device: Where.
    """
    if tokens - 1 <= window:
        return None
    positions = torch.arange(tokens, device=device)
    return (positions[:, None] - positions).abs() <= window
