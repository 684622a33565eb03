"""Attention over other positions: equal to a loop over heads and queries, and nothing read from nothing."""

from __future__ import annotations

import math

import pytest
import torch

from mner.nn.cross_attention import CrossAttention


def slow(module, queries, source, mask):
    """Section 3.2 of Vaswani et al., one head and one query at a time."""
    width = queries.shape[-1]
    size = width // module.heads
    read = torch.zeros_like(queries)
    weights = torch.zeros(*queries.shape[:2], source.shape[1])
    for row in range(len(queries)):
        places = [j for j in range(source.shape[1]) if mask[row, j]]
        if not places:
            continue
        for i in range(queries.shape[1]):
            query = module.query(queries[row, i])
            for head in range(module.heads):
                part = slice(head * size, (head + 1) * size)
                logits = torch.stack(
                    [query[part] @ module.key(source[row, j])[part] / math.sqrt(size) for j in places]
                )
                for j, weight in zip(places, torch.softmax(logits, 0), strict=True):
                    read[row, i, part] += weight * module.value(source[row, j])[part]
                    weights[row, i, j] += weight / module.heads
    return read, weights


@pytest.fixture
def case():
    torch.manual_seed(3)
    module = CrossAttention(12, 3, source_width=8).eval()
    mask = torch.tensor([[True, True, False, True, False], [False] * 5, [True] * 5])
    return module, torch.randn(3, 4, 12), torch.randn(3, 5, 8), mask


def test_equals_a_slow_loop(case):
    module, queries, source, mask = case
    with torch.no_grad():
        read, weights = module(queries, source, mask, with_weights=True)
        expected, expected_weights = slow(module, queries, source, mask)
    torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights, expected_weights, atol=1e-5, rtol=1e-5)


def test_a_row_without_keys_reads_zero_and_trains(case):
    module, queries, source, _ = case
    queries.requires_grad_()
    nothing = torch.zeros(3, 5, dtype=torch.bool)
    read, weights = module(queries, source, nothing, with_weights=True)
    assert torch.equal(read, torch.zeros_like(read))
    assert torch.equal(weights, torch.zeros_like(weights))
    read.sum().backward()
    assert torch.isfinite(queries.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_padding_changes_nothing(case):
    module, queries, source, mask = case
    changed = torch.where(mask[..., None], source, torch.full_like(source, 50.0))
    with torch.no_grad():
        before, _ = module(queries, source, mask)
        after, _ = module(queries, changed, mask)
    torch.testing.assert_close(before, after, atol=1e-6, rtol=1e-6)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="does not divide"):
        CrossAttention(10, 3)
