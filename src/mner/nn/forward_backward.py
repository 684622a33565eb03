"""The two recursions of a linear-chain CRF: sums over all beginnings and all endings of a tag sequence.

Source: Rabiner (1989), A Tutorial on Hidden Markov Models, sections III.A and V.A (scaling).

======  ===========================================================================  =========
symbol  meaning                                                                      shape
======  ===========================================================================  =========
alpha   sum over all beginnings that give word t the tag i, its emission included    (W, K, B)
beta    sum over all endings after word t where it has tag i, its emission excluded  (W, K, B)
gamma   beta with the emission of word t included                                    (W, K, B)
======  ===========================================================================  =========

How it is made fast:

- Tensors run words first and posts last: a step reads one contiguous (K, B) slice, and the posts are the axis
  along which the processor works in parallel.
- Sums run in exponential space, so that a step is one matrix product and one multiplication. In double
  precision one rescaling in 16 steps suffices.
- Nothing is ever subtracted there, so a result is exact to rounding as long as nothing underflows. That is
  counted afterwards; where something did (emissions hundreds apart), logarithms are used instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

FORBIDDEN = -1e4  # the score of an impossible transition: finite, so that gradients in float32 stay clean
_RESCALE_EVERY = 16
_SMALLEST = 1e-270  # leaves 38 decades of double precision below it: what underflows there is nothing here


class Chain(NamedTuple):
    """The scores of a chain.

    Args:
        first: (K,) of a tag at the first word.
        pairs: (K, K) of tag j right after tag i, at [i, j].
        last: (K,) of a tag at the last word.
    """

    first: Tensor
    pairs: Tensor
    last: Tensor

    def divided(self, temperature: float) -> Chain:
        """The scores divided by a temperature; what is forbidden stays so however high that is."""
        return Chain(*(_divided(score, temperature) for score in self))


def _divided(score: Tensor, temperature: float) -> Tensor:
    divided = score / temperature
    return torch.where(score <= FORBIDDEN / 2, divided.clamp(max=FORBIDDEN), divided)


def sum_type(device: torch.device) -> torch.dtype:
    """The precision in which sums over sequences are kept on a device."""
    return torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no double precision


@dataclass
class Sums:
    """Alpha, beta and gamma of a batch, in exponential space and rescaled, or as logarithms.

    `pairs` (K, K) is in the same space. In exponential space alone there are `joint` (W, B), the sum over
    tags of alpha * beta, 1 at padding; `rescaled` (2, W, B), what alpha and gamma were divided by at each
    word; and `offsets` (2, W, B), the logarithm of all by which they are too small.
    """

    in_logs: bool
    alpha: Tensor
    beta: Tensor
    gamma: Tensor
    pairs: Tensor
    mask: Tensor  # (W, B)
    log_z: Tensor  # (B,)
    joint: Tensor | None = None
    rescaled: Tensor | None = None
    offsets: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """(B,) the number of words of each post."""
        return self.mask.sum(0)

    def log_alpha(self, words: Tensor, posts: Tensor) -> Tensor:
        """(N, K) for pairs of word and post."""
        rows = self.alpha[words, :, posts]
        return rows if self.offsets is None else rows.log() + self.offsets[0, words, posts].unsqueeze(1)

    def log_gamma(self, words: Tensor, posts: Tensor) -> Tensor:
        """(N, K) for pairs of word and post."""
        rows = self.gamma[words, :, posts]
        return rows if self.offsets is None else rows.log() + self.offsets[1, words, posts].unsqueeze(1)

    def tag_marginals(self) -> Tensor:
        """(W, K, B), 0 at padding."""
        if self.in_logs:
            together = self.alpha + self.beta - self.log_z
            return together.exp_().masked_fill_(~self.mask.unsqueeze(1), 0)
        assert self.joint is not None
        return (self.alpha * self.beta).div_(self.joint.unsqueeze(1))

    def _later(self, words: slice, weights: Tensor | float = 1.0) -> Tensor:
        """Gamma (w, K, B) such that alpha of the word before, pairs and it multiply to marginals."""
        assert self.joint is not None
        assert self.rescaled is not None
        return self.gamma[words] * (weights / (self.joint[words] * self.rescaled[0, words])).unsqueeze(1)

    def pair_marginals(self, words: slice) -> Tensor:
        """(w, K, K, B) of each of these words (none the first) with the one before it, 0 at padding."""
        before = slice(words.start - 1, (words.stop or len(self.mask)) - 1)
        alpha, pairs = self.alpha[before].unsqueeze(2), self.pairs.unsqueeze(2)
        if self.in_logs:
            together = alpha + pairs + self.gamma[words].unsqueeze(1) - self.log_z
            return together.exp_().masked_fill_(~self.mask[words, None, None], 0)
        return alpha * pairs * self._later(words).unsqueeze(1)

    def expected_pairs(self, weights: Tensor) -> Tensor:
        """(K, K) how often each pair is expected, posts weighted by (B,)."""
        if self.in_logs:
            total = torch.zeros_like(self.pairs)
            for word in range(1, len(self.mask)):  # one at a time: all at once are W * K * K * B numbers
                total += (self.pair_marginals(slice(word, word + 1)) * weights).sum((0, 3))
            return total
        later = self._later(slice(1, None), weights)
        return torch.bmm(self.alpha[:-1], later.transpose(1, 2)).sum(0) * self.pairs


def forward_backward(emissions: Tensor, chain: Chain, mask: Tensor) -> Sums:
    """Both recursions over a batch: in exponential space where that is exact, else in logarithms.

    Args:
        emissions: (B, W, K) scores, W at least 1; padding may hold anything.
        chain: Scores of transitions.
        mask: (B, W) true at each post's words, which are a prefix of its row.
    """
    if sum_type(emissions.device) == torch.float64:
        sums = exponential_space(emissions, chain, mask)
        if sums is not None:
            return sums
    return log_space(emissions, chain, mask)


def _words_first(emissions: Tensor, mask: Tensor) -> Tensor:
    """A copy (W, K, B) with 0 at padding."""
    B, W, K = emissions.shape
    scores = emissions.new_empty((W, K, B), dtype=sum_type(emissions.device))
    return scores.copy_(emissions.permute(1, 2, 0)).masked_fill_(~mask.t().unsqueeze(1), 0)


def exponential_space(emissions: Tensor, chain: Chain, mask: Tensor) -> Sums | None:
    """The sums, or None where something underflowed in them (arguments as of `forward_backward`)."""
    scores = _words_first(emissions, mask)
    chain = Chain(*(score.to(scores.dtype) for score in chain))
    W, K, B = scores.shape
    mask = mask.t()  # (W, B)
    lengths = mask.sum(0)
    largest = scores.amax(1)  # (W, B), 0 at padding
    highest = [score.amax() for score in chain]
    first, pairs, last = ((score - high).exp() for score, high in zip(chain, highest, strict=True))
    emitted = scores.sub_(largest.unsqueeze(1)).exp_().mul_(mask.unsqueeze(1))

    alpha, gamma = torch.empty_like(emitted), torch.empty_like(emitted)
    # The endings of each post begin at its last word. At padding the emissions are 0, and with them alpha and
    # gamma, so that nothing flows out of it (a post without words has its end there too).
    beta = torch.zeros_like(emitted)
    beta[(lengths - 1).clamp(min=0), :, torch.arange(B, device=scores.device)] = last
    rescaled = scores.new_ones(2, W, B)
    forwards, backwards = pairs.t().contiguous(), pairs
    state = torch.mul(first.unsqueeze(1), emitted[0], out=alpha[0])
    words = zip(alpha[1:].unbind(), emitted[1:].unbind(), strict=True)
    for word, (here, emission) in enumerate(words, start=1):
        state = torch.mm(forwards, state, out=here).mul_(emission)
        if word % _RESCALE_EVERY == 0:
            scale = rescaled[0, word] = _scale(state)
            state /= scale
    state = torch.mul(beta[-1], emitted[-1], out=gamma[-1])
    remaining = zip(beta[:-1].unbind(), gamma[:-1].unbind(), emitted[:-1].unbind(), strict=True)
    for word, (after, here, emission) in reversed(list(enumerate(remaining))):
        state = torch.mul(after.addmm_(backwards, state), emission, out=here)
        if word % _RESCALE_EVERY == 0:
            scale = rescaled[1, word] = _scale(state)
            state /= scale
            after /= scale

    joint = (alpha * beta).sum(1).masked_fill_(~mask, 1)

    # What is too small must be padding, or what a scheme forbids at both ends of a post.
    forbidden = sum((score <= FORBIDDEN / 2).sum() for score in (chain.first, chain.last))
    expected = 2 * K * (~mask).sum() + forbidden * mask[0].sum()
    if bool((alpha < _SMALLEST).sum() + (gamma < _SMALLEST).sum() != expected):
        return None

    per_word = torch.where(mask, largest + highest[1], 0)
    logs = rescaled.log()
    forward = (per_word + logs[0]).cumsum(0) + (highest[0] - highest[1])
    backward = (per_word + logs[1]).flip(0).cumsum(0).flip(0) + (highest[2] - highest[1])
    log_z = joint[0].log() + forward[0] + backward[0] - largest[0]
    log_z = log_z.masked_fill(lengths == 0, 0)
    offsets = torch.stack((forward, backward))
    return Sums(False, alpha, beta, gamma, pairs, mask, log_z, joint, rescaled, offsets)


def _scale(state: Tensor) -> Tensor:
    """What to divide a (K, B) state by so that its largest number is 1: 1 where all is 0, at padding."""
    largest = state.amax(0)
    return largest.masked_fill_(largest == 0, 1)


def log_space(emissions: Tensor, chain: Chain, mask: Tensor) -> Sums:
    """The same, slower, and right at any size of the scores (arguments as of `forward_backward`)."""
    scores = _words_first(emissions, mask)
    chain = Chain(*(score.to(scores.dtype) for score in chain))
    W = len(scores)
    mask = mask.t()  # (W, B)
    first, pairs, last = chain.first.unsqueeze(1), chain.pairs.unsqueeze(2), chain.last.unsqueeze(1)
    ends = mask.sum(0) - 1
    alpha, beta = torch.empty_like(scores), torch.empty_like(scores)
    alpha[0], beta[-1] = scores[0] + first, last
    for word in range(1, W):
        alpha[word] = scores[word] + torch.logsumexp(alpha[word - 1].unsqueeze(1) + pairs, dim=0)
    for word in range(W - 2, -1, -1):
        later = torch.logsumexp(pairs + (scores[word + 1] + beta[word + 1]), dim=1)
        beta[word] = torch.where(ends == word, last, later)
    log_z = torch.logsumexp(alpha[0] + beta[0], dim=0).masked_fill(~mask[0], 0)
    return Sums(True, alpha, beta, scores + beta, chain.pairs, mask, log_z)
