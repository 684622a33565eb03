"""The recursion in exponential space against the one in logarithms, and the choice between them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mner.nn.forward_backward import FORBIDDEN, Chain, Sums, forward_backward, log_space
from mner.tags import BIO, BIOES, IOB1, Scheme, allowed_transitions, tag_names


def batch(
    lengths: list[int], scheme: Scheme, scale: float, seed: int
) -> tuple[torch.Tensor, Chain, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    names = tag_names(["A", "B"], scheme)
    K, W = len(names), max(lengths)
    scores = [torch.randn(shape, generator=generator) * 2 for shape in ((K,), (K, K), (K,))]
    allowed = allowed_transitions(names, scheme)
    chain = Chain(*(s.masked_fill(~torch.tensor(a), FORBIDDEN) for s, a in zip(scores, allowed, strict=True)))
    emissions = torch.randn(len(lengths), W, K, generator=generator) * scale
    return emissions, chain, torch.arange(W) < torch.tensor(lengths).unsqueeze(1)


def assert_same(fast: Sums, plain: Sums) -> None:
    assert plain.in_logs
    torch.testing.assert_close(fast.log_z, plain.log_z, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(fast.tag_marginals(), plain.tag_marginals(), rtol=1e-8, atol=1e-12)
    later = slice(1, None)
    torch.testing.assert_close(fast.pair_marginals(later), plain.pair_marginals(later), rtol=1e-8, atol=1e-12)
    weights = torch.linspace(-1, 2, len(fast.log_z), dtype=torch.float64)
    expected = (plain.pair_marginals(later) * weights).sum((0, 3))
    for sums in (fast, plain):
        torch.testing.assert_close(sums.expected_pairs(weights), expected, rtol=1e-8, atol=1e-10)
    words, posts = fast.mask.nonzero(as_tuple=True)
    for mine, other in (
        (fast.log_alpha(words, posts), plain.log_alpha(words, posts)),
        (fast.log_gamma(words, posts), plain.log_gamma(words, posts)),
    ):
        possible = other > FORBIDDEN / 2
        torch.testing.assert_close(mine[possible], other[possible], rtol=1e-10, atol=1e-8)
        assert (mine[~possible] < FORBIDDEN / 2).all()


@pytest.mark.parametrize("temperature", [1.0, 2.5, 1000.0])
def test_a_temperature_does_not_take_the_slow_way(temperature: float) -> None:
    emissions, chain, mask = batch([40, 3, 0], BIO, 1.0, 3)
    given_to_both = emissions / temperature, chain.divided(temperature), mask
    fast = forward_backward(*given_to_both)
    assert not fast.in_logs
    assert_same(fast, log_space(*given_to_both))


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 70), min_size=1, max_size=4).filter(any),
    st.sampled_from([BIO, BIOES, IOB1]),
    st.sampled_from([0.1, 1.0, 10.0]),
    st.integers(0, 10**6),
)
def test_exponentials_and_logarithms_agree(
    lengths: list[int], scheme: Scheme, scale: float, seed: int
) -> None:
    emissions, chain, mask = batch(lengths, scheme, scale, seed)
    fast = forward_backward(emissions, chain, mask)
    assert not fast.in_logs
    assert_same(fast, log_space(emissions, chain, mask))


@pytest.mark.parametrize("scale", [1.0, 30.0, 60.0, 100.0, 150.0, 300.0, 1000.0])
def test_whatever_is_chosen_is_right(scale: float) -> None:
    """Between the two spaces lies no size of emissions at which the faster is taken and wrong."""
    chosen = set()
    for seed in range(15):
        emissions, chain, mask = batch([33, 20, 1, 0], BIOES, scale, seed)
        sums = forward_backward(emissions, chain, mask)
        chosen.add(sums.in_logs)
        assert_same(sums, log_space(emissions, chain, mask))
    if scale <= 30:
        assert chosen == {False}
    if scale >= 1000:
        assert chosen == {True}


def test_a_chain_with_an_unreachable_tag_is_right() -> None:
    emissions, chain, mask = batch([9, 4], BIO, 1.0, 0)
    pairs = chain.pairs.clone()
    pairs[:, 2] = FORBIDDEN
    chain = chain._replace(pairs=pairs)
    sums = forward_backward(emissions, chain, mask)
    assert_same(sums, log_space(emissions, chain, mask))
    assert not sums.tag_marginals()[1:, 2].any()
