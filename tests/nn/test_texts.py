"""Texts beside posts: each row as if it were alone, and nothing computed for rows that are not there."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertModel

from mner.nn.texts import encode_texts


def encoder():
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    return BertModel(config, add_pooling_layer=False).eval()


IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, 0, 0], [0, 0, 0, 0, 0], [2, 11, 12, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]]).bool()


def test_every_row_is_encoded_as_if_alone():
    model = encoder()
    with torch.no_grad():
        together = encode_texts(model, IDS, MASK)
        for row in (0, 1, 3):
            n = int(MASK[row].sum())
            alone = model(input_ids=IDS[row : row + 1, :n]).last_hidden_state
            torch.testing.assert_close(together[row, :n], alone[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(together[~MASK], torch.zeros(int((~MASK).sum()), 16))


def test_rows_that_are_not_wanted_are_not_computed():
    model = encoder()
    seen = []

    def note(_module, _arguments, options):
        seen.append(tuple(options["input_ids"].shape))

    model.register_forward_pre_hook(note, with_kwargs=True)
    with torch.no_grad():
        states = encode_texts(model, IDS, MASK, torch.tensor([False, True, True, False]))
        nothing = encode_texts(model, IDS, MASK, torch.zeros(4, dtype=torch.bool))
    assert seen == [(1, 3)]  # one row, cut to its own length
    assert bool((states[1, :3] != 0).any())
    assert torch.equal(states[[0, 2, 3]], torch.zeros(3, 5, 16))
    assert torch.equal(nothing, torch.zeros(4, 5, 16))
