"""Attention over a prefix, against a slow loop, in every family of encoders."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModel,
    BertConfig,
    PreTrainedModel,
)
from transformers.masking_utils import sdpa_mask

from mner.errors import BackboneError
from mner.nn.attention import PREFIXED, Prefix, encode_with_prefix, exchange_attention
from mner.nn.prefix import PrefixProjection

FAMILIES = ["bert", "roberta", "xlm-roberta", "electra", "modernbert"]


def looped(module, query, key, value, attention_mask, prefix=None, scaling=None, **options):
    """Eq. 14, one query of one head of one row after another."""
    batch, heads, n, width = query.shape
    output = torch.zeros(batch, n, heads, width)
    for b in range(batch):
        for h in range(heads):
            keys = torch.cat((prefix.keys[module.layer_idx][b, h], key[b, h]))
            values = torch.cat((prefix.values[module.layer_idx][b, h], value[b, h]))
            for i in range(n):
                visible = [bool(seen) for seen in prefix.mask[b]]
                visible += [attention_mask is None or bool(attention_mask[b, 0, i, j]) for j in range(n)]
                weights = [
                    math.exp(float(query[b, h, i] @ keys[j]) / math.sqrt(width)) if visible[j] else 0.0
                    for j in range(len(visible))
                ]
                total = sum(weights)
                for j, weight in enumerate(weights):
                    output[b, i, h] += weight / total * values[j]
    return output, None


AttentionInterface.register("test-looped-prefix", looped)
AttentionMaskInterface.register("test-looped-prefix", sdpa_mask)


def encoder_of(kind: str, **changes) -> PreTrainedModel:
    options = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 40,
        "pad_token_id": 0,
        **changes,
    }
    if kind == "electra":
        options["embedding_size"] = 8
    if kind == "modernbert":
        # The middle layers see four neighbours to each side.
        options |= {
            "local_attention": 8,
            "global_attn_every_n_layers": 2,
            "cls_token_id": 1,
            "sep_token_id": 2,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(kind, **options)).eval()


def prefix_of(encoder, rows: int, length: int, mask: torch.Tensor | None = None) -> Prefix:
    heads, layers = encoder.config.num_attention_heads, encoder.config.num_hidden_layers
    shape = (rows, heads, length, encoder.config.hidden_size // heads)
    if mask is None:
        mask = torch.ones(rows, length, dtype=torch.bool)
    return Prefix(
        tuple(torch.randn(shape) for _ in range(layers)),
        tuple(torch.randn(shape) for _ in range(layers)),
        mask,
    )


IDS = torch.randint(5, 40, (2, 9), generator=torch.Generator().manual_seed(3))
PADDED = torch.arange(9) < torch.tensor([[9], [6]])


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("kind", FAMILIES)
def test_equation_14_in_every_layer(kind, padded):
    encoder = encoder_of(kind)
    mask = torch.tensor([[True, True, False], [True, False, False]]) if padded else None
    prefix = prefix_of(encoder, 2, 3, mask)
    present = PADDED if padded else torch.ones_like(PADDED)
    with torch.no_grad():
        exchange_attention(encoder, "test-looped-prefix")
        expected = encoder(input_ids=IDS, attention_mask=present, prefix=prefix).last_hidden_state
        exchange_attention(encoder, PREFIXED)
        states = encode_with_prefix(encoder, IDS, present, prefix)
    torch.testing.assert_close(states[present], expected[present], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_no_prefix_is_the_encoder_itself(kind):
    encoder = encoder_of(kind)
    with torch.no_grad():
        plain = encoder(input_ids=IDS, attention_mask=PADDED).last_hidden_state
        exchange_attention(encoder, PREFIXED)
        without = encoder(input_ids=IDS, attention_mask=PADDED).last_hidden_state
        empty = encode_with_prefix(encoder, IDS, PADDED, prefix_of(encoder, 2, 0))
        hidden = prefix_of(encoder, 2, 3, torch.zeros(2, 3, dtype=torch.bool))
        masked = encode_with_prefix(encoder, IDS, PADDED, hidden)
    for states in (without, empty, masked):
        torch.testing.assert_close(states[PADDED], plain[PADDED], atol=2e-6, rtol=1e-5)


def test_gradients_reach_the_prefix_of_a_checkpointed_encoder():
    encoder = encoder_of("bert")
    exchange_attention(encoder, PREFIXED)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            encoder.activation_checkpointing_enable({"use_reentrant": False})
            encoder.train()
            for module in encoder.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        torch.manual_seed(1)
        prefix = prefix_of(encoder, 2, 3)
        for tensor in (*prefix.keys, *prefix.values):
            tensor.requires_grad_(True)
        encode_with_prefix(encoder, IDS, PADDED, prefix)[PADDED].square().sum().backward()
        gradients.append([tensor.grad for tensor in (*prefix.keys, *prefix.values)])
    assert all(bool((gradient != 0).any()) for gradient in gradients[0])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["deberta", "deberta-v2", "mpnet", "distilbert", "albert"])
def test_encoders_whose_attention_cannot_be_exchanged_are_refused_with_the_reason(kind):
    reason = "which of the layers" if kind in ("distilbert", "albert") else "computes attention by itself"
    with pytest.raises(BackboneError, match=reason) as refused:
        exchange_attention(encoder_of(kind), PREFIXED)
    assert kind in str(refused.value)
    assert "ModernBERT" in str(refused.value)


class Losing(torch.nn.Module):
    """An encoder that loses what it is to hand down."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config

    def forward(self, input_ids, attention_mask, prefix):
        del prefix
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask)


def test_an_encoder_that_loses_the_prefix_is_found_out():
    encoder = encoder_of("bert")
    exchange_attention(encoder, PREFIXED)
    with pytest.raises(BackboneError, match="loses the prefix"):
        encode_with_prefix(Losing(encoder), IDS, PADDED, prefix_of(encoder, 2, 3))


def test_blocks_become_positions_of_keys_and_values_layer_by_layer():
    config = BertConfig(hidden_size=12, num_attention_heads=3, num_hidden_layers=2)
    torch.manual_seed(2)
    projection = PrefixProjection(5, 7, 2, config)
    blocks, weights = torch.randn(2, 3, 5), torch.rand(2, 2, 3)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    rows = torch.tensor([0, 1, 1])
    prefix = projection(blocks, weights, mask, rows)
    assert prefix.mask.tolist() == [[True] * 6, [True, True] + [False] * 4, [True, True] + [False] * 4]
    for layer in range(2):
        for row, post in enumerate(rows.tolist()):
            for block in range(3):
                hidden = torch.tanh(projection.shared(weights[post, layer, block] * blocks[post, block]))
                made = projection.layers[layer](hidden).reshape(2, 2, 12)
                for position in range(2):
                    for head in range(3):
                        part = slice(4 * head, 4 * head + 4)
                        keys = prefix.keys[layer][row, head, 2 * block + position]
                        values = prefix.values[layer][row, head, 2 * block + position]
                        torch.testing.assert_close(keys, made[position, 0, part])
                        torch.testing.assert_close(values, made[position, 1, part])
