"""A linear-chain conditional random field over words.

Source: Lafferty, McCallum and Pereira (2001), Conditional Random Fields.

A sequence of tags y over n words scores::

    first[y_1] + sum_t emissions[t, y_t] + sum_t pairs[y_t-1, y_t] + last[y_n]

and has the probability exp(score) / Z, Z being the sum of exp(score) over all sequences.

Gradients are written down rather than recorded: those of log Z are the marginals, which one pass of
`mner.nn.forward_backward` gives. The Viterbi search keeps its scores instead of back-pointers and finds the
predecessor only where the best path passes: a maximum without its index is ten times as fast as one with it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mner.errors import UsageError
from mner.nn.forward_backward import FORBIDDEN, Chain, Sums, forward_backward, sum_type
from mner.tags import Transitions

__all__ = [
    "FORBIDDEN",
    "Chain",
    "ChainCRF",
    "log_likelihood",
    "log_partition",
    "marginals",
    "span_probabilities",
    "viterbi",
]

_RESCALE_EVERY = 16
_NEVER = -1e30  # below anything that FORBIDDEN and emissions can add up to


class ChainCRF(nn.Module):
    """The transition scores of a linear-chain CRF, some of which a tag scheme forbids.

    Args:
        tags: Number of tags K.
        transitions: What the scheme allows; everything where None.

    Raises:
        UsageError: The transitions are of another number of tags.
    """

    allowed_first: Tensor
    allowed_pairs: Tensor
    allowed_last: Tensor

    def __init__(self, tags: int, transitions: Transitions | None = None) -> None:
        super().__init__()
        everything = (True,) * tags
        allowed = transitions or Transitions(everything, (everything,) * tags, everything)
        sizes = {len(allowed.first), len(allowed.pairs), len(allowed.last), *map(len, allowed.pairs)}
        if sizes != {tags}:
            raise UsageError(
                "The allowed transitions do not fit the number of tags.", expected=f"{tags}", got=f"{sizes}"
            )
        self.first = nn.Parameter(torch.empty(tags))
        self.pairs = nn.Parameter(torch.empty(tags, tags))
        self.last = nn.Parameter(torch.empty(tags))
        # Persistent: a buffer that is not saved holds garbage after transformers' from_pretrained.
        self.register_buffer("allowed_first", torch.tensor(allowed.first, dtype=torch.bool))
        self.register_buffer("allowed_pairs", torch.tensor(allowed.pairs, dtype=torch.bool))
        self.register_buffer("allowed_last", torch.tensor(allowed.last, dtype=torch.bool))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the scores anew, near zero; what the scheme allows stays as it is."""
        for scores in (self.first, self.pairs, self.last):
            nn.init.uniform_(scores, -0.1, 0.1)

    def chain(self, constrained: bool = True) -> Chain:
        """The scores, with `FORBIDDEN` for what the scheme forbids unless `constrained` is false."""
        scores = Chain(*(s.to(_result_type(s)) for s in (self.first, self.pairs, self.last)))
        if not constrained:
            return scores
        allowed = (self.allowed_first, self.allowed_pairs, self.allowed_last)
        return Chain(*(s.masked_fill(~a, FORBIDDEN) for s, a in zip(scores, allowed, strict=True)))

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor, constrained: bool = True) -> Tensor:
        """The log-likelihood (B,) of tags; see `log_likelihood`."""
        return log_likelihood(emissions, self.chain(constrained), tags, mask)

    def extra_repr(self) -> str:
        """What `print` shows of it."""
        return f"tags={len(self.first)}, forbidden={int((~self.allowed_pairs).sum())}"


def log_partition(emissions: Tensor, chain: Chain, mask: Tensor) -> Tensor:
    """The logarithm of Z, the sum of exp(score) over all tag sequences.

    Args:
        emissions: (B, W, K) scores, of any floating type; computed in double precision.
        chain: Scores of transitions.
        mask: (B, W) true at each post's words, which are a prefix of its row; none is legal (Z = 1).

    Returns:
        (B,) float32 (float64 where the emissions are), differentiable once.

    Raises:
        UsageError: The shapes do not fit one another, or the mask is not a prefix of each row.
    """
    _check(emissions, chain, mask)
    return _LogProbability.apply(emissions, *chain, mask, None)


def log_likelihood(emissions: Tensor, chain: Chain, tags: Tensor, mask: Tensor) -> Tensor:
    """The log-probability of given tags.

    Args:
        emissions: (B, W, K) scores, of any floating type; computed in double precision.
        chain: Scores of transitions.
        tags: (B, W) tag of each word; padding may hold anything.
        mask: (B, W) true at each post's words, which are a prefix of its row.

    Returns:
        (B,) float32 (float64 where the emissions are), differentiable once; 0 for a post without words.

    Raises:
        UsageError: The shapes do not fit one another, or the mask is not a prefix of each row.
    """
    _check(emissions, chain, mask)
    if tags.shape != mask.shape:
        expected, got = str(tuple(mask.shape)), str(tuple(tags.shape))
        raise UsageError("Tags and mask of a CRF differ in shape.", expected=expected, got=got)
    return _LogProbability.apply(emissions, *chain, mask, tags)


@torch.no_grad()
def marginals(emissions: Tensor, chain: Chain, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of each tag at each word, and of each pair of tags at neighbouring words.

    Args:
        emissions: (B, W, K) scores.
        chain: Scores of transitions.
        mask: (B, W) true at each post's words, which are a prefix of its row.

    Returns:
        (B, W, K) and (B, W - 1, K, K), 0 at padding; not differentiable.
    """
    _check(emissions, chain, mask)
    B, W, K = emissions.shape
    dtype = _result_type(emissions)
    if emissions.numel() == 0:
        of_pairs = emissions.new_zeros(B, max(W - 1, 0), K, K, dtype=dtype)
        return torch.zeros_like(emissions, dtype=dtype), of_pairs
    sums = forward_backward(emissions, chain, mask)
    of_pairs = sums.pair_marginals(slice(1, None)).permute(3, 0, 1, 2)
    return sums.tag_marginals().permute(2, 0, 1).to(dtype), of_pairs.to(dtype)


@torch.no_grad()
def span_probabilities(
    emissions: Tensor,
    chain: Chain,
    mask: Tensor,
    posts: Tensor,
    starts: Tensor,
    ends: Tensor,
    tags: Tensor,
    continues: Tensor,
) -> Tensor:
    """The probability of whole spans, exact on the chain.

    A span's probability is that of all sequences in which the words from `start` to `end` have exactly these
    tags and neither neighbour belongs to the same span: the tag after does not continue the last one, nor
    the first one the tag before (which no tag that opens a span does).

    Args:
        emissions: (B, W, K) scores.
        chain: Scores of transitions, `FORBIDDEN` for those that the scheme forbids.
        mask: (B, W) true at each post's words, which are a prefix of its row.
        posts: (N,) the post of each span.
        starts: (N,) its first word.
        ends: (N,) the word after its last; ``starts < ends``.
        tags: (N, L) the tags of its words; padding may hold anything.
        continues: (K, K) true at [i, j] where tag j right after tag i is of one span with it.

    Returns:
        (N,) probabilities, float32 (float64 where the emissions are).
    """
    _check(emissions, chain, mask)
    if len(posts) == 0 or emissions.numel() == 0:
        return emissions.new_zeros(len(posts), dtype=_result_type(emissions))
    sums = forward_backward(emissions, chain, mask)
    first, pairs, last = (score.to(sums.alpha.dtype) for score in chain)
    lengths = ends - starts
    positions = torch.arange(tags.shape[1], device=tags.device)
    inside = positions < lengths.unsqueeze(1)  # (N, L)
    tags = tags.masked_fill(~inside, 0)
    words = (starts.unsqueeze(1) + positions).clamp(max=emissions.shape[1] - 1)
    emitted = emissions[posts.unsqueeze(1), words, tags].to(pairs.dtype).masked_fill(~inside, 0)
    moved = pairs[tags[:, :-1], tags[:, 1:]].masked_fill(~inside[:, 1:], 0)

    opening, closing = tags[:, 0], tags.gather(1, (lengths - 1).unsqueeze(1)).squeeze(1)
    parting = pairs.masked_fill(continues, -torch.inf)
    until = sums.log_alpha((starts - 1).clamp(min=0), posts)
    left = torch.logsumexp(until + parting.t()[opening], dim=1)
    left = torch.where(starts == 0, first[opening], left)
    rest = sums.log_gamma(ends.clamp(max=emissions.shape[1] - 1), posts)
    right = torch.logsumexp(parting[closing] + rest, dim=1)
    right = torch.where(ends == sums.lengths[posts], last[closing], right)
    log_probability = left + emitted.sum(1) + moved.sum(1) + right - sums.log_z[posts]
    return log_probability.exp().clamp(max=1).to(_result_type(emissions))


@torch.no_grad()
def viterbi(emissions: Tensor, chain: Chain, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The best tag sequence of each post.

    Args:
        emissions: (B, W, K) scores; searched in float32 (float64 where they are).
        chain: Scores of transitions.
        mask: (B, W) true at each post's words, which are a prefix of its row.

    Returns:
        Paths (B, W) int64, 0 at padding, and their scores (B,). Of equal sequences always the same is taken.

    Raises:
        UsageError: The shapes do not fit one another, or the mask is not a prefix of each row.
    """
    _check(emissions, chain, mask)
    B, W, K = emissions.shape
    if emissions.numel() == 0:
        nothing = emissions.new_zeros(B, dtype=_result_type(emissions))
        return torch.zeros_like(mask, dtype=torch.int64), nothing
    # An END tag stands in the padding: reached once at the score of the last tag and never left, it makes
    # posts of all lengths end alike, in END after the last word.
    scores = emissions.new_full((W + 1, K + 1, B), _NEVER, dtype=_result_type(emissions))
    scores[:W, :K] = emissions.permute(1, 2, 0)
    scores[:W, :K] -= scores[:W, :K].amax(1, keepdim=True)  # keeps the sums of long posts small
    padding = ~mask.t()
    scores[:W, :K].masked_fill_(padding.unsqueeze(1), _NEVER)
    scores[:W, K].masked_fill_(padding, 0)
    scores[W, K] = 0
    pairs = scores.new_full((K + 1, K + 1), _NEVER)
    pairs[:K, :K], pairs[:K, K], pairs[K, K] = chain.pairs, chain.last, 0
    scores[0, :K] += chain.first.unsqueeze(1).to(scores.dtype)

    steps = scores.unbind()
    best, candidates, from_to = steps[0], scores.new_empty(K + 1, K + 1, B), pairs.unsqueeze(2)
    for step in range(1, W + 1):
        torch.add(best.unsqueeze(1), from_to, out=candidates)
        best = steps[step].add_(candidates.amax(0))  # the step's emissions become its best scores
        if step % _RESCALE_EVERY == 0:
            best -= best.amax(0)

    # Back from END, the predecessor found only where the path passes.
    into = pairs.t().contiguous()
    tag = torch.full((B,), K, dtype=torch.int64, device=emissions.device)
    backwards = []
    for best in scores[:W].transpose(1, 2).contiguous().flip(0).unbind():
        tag = (into.index_select(0, tag) + best).argmax(1)
        backwards.append(tag)
    paths = torch.stack(backwards[::-1], dim=1).masked_fill(~mask, 0)
    return paths, _score(emissions, chain, paths, mask).to(scores.dtype)


def _result_type(emissions: Tensor) -> torch.dtype:
    return torch.float64 if emissions.dtype == torch.float64 else torch.float32


def _check(emissions: Tensor, chain: Chain, mask: Tensor) -> None:
    """Refuse shapes that do not fit, and masks with holes."""
    tags = len(chain.first)
    fitting = emissions.dim() == 3 and emissions.shape[2] == tags and mask.shape == emissions.shape[:2]
    if not fitting or chain.pairs.shape != (tags, tags) or chain.last.shape != (tags,):
        shapes = (tuple(t.shape) for t in (emissions, mask, *chain))
        raise UsageError(
            "The tensors of a CRF do not fit one another.",
            expected="emissions (B, W, K), mask (B, W), first (K,), pairs (K, K), last (K,)",
            got=", ".join(map(str, shapes)),
        )
    if mask.dtype != torch.bool:
        raise UsageError("The mask of a CRF has the wrong type.", expected="torch.bool", got=f"{mask.dtype}")
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        row = int((mask[:, 1:] & ~mask[:, :-1]).any(1).nonzero()[0])
        raise UsageError(
            "The mask of a CRF must be true at a prefix of each row.",
            expected="no word after padding",
            got=f"a word after padding in row {row}",
            hint="Drop the words that are not to be tagged before the CRF instead of masking them.",
        )


def _score(emissions: Tensor, chain: Chain, tags: Tensor, mask: Tensor) -> Tensor:
    """The scores (B,) of tag sequences, in double precision."""
    dtype = sum_type(emissions.device)
    first, pairs, last = (score.to(dtype) for score in chain)
    tags = tags.masked_fill(~mask, 0)
    emitted = emissions.gather(2, tags.unsqueeze(2)).squeeze(2).to(dtype).masked_fill(~mask, 0).sum(1)
    moved = pairs[tags[:, :-1], tags[:, 1:]].masked_fill(~mask[:, 1:], 0).sum(1)
    final = tags.gather(1, (mask.sum(1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
    return emitted + moved + (first[tags[:, 0]] + last[final]).masked_fill(~mask[:, 0], 0)


class _LogProbability(torch.autograd.Function):
    """Log Z, or with tags their log-probability, with gradients from the marginals.

    The derivative of log Z by a score is how often that score is expected to count, that of the sequence's
    own score how often it does count.
    """

    @staticmethod
    def forward(
        ctx: Any,
        emissions: Tensor,
        first: Tensor,
        pairs: Tensor,
        last: Tensor,
        mask: Tensor,
        tags: Tensor | None,
    ) -> Tensor:
        ctx.sums, ctx.tags, ctx.types = None, None, (emissions.dtype, first.dtype, pairs.dtype, last.dtype)
        ctx.shape = emissions.shape
        if emissions.numel() == 0:
            return emissions.new_zeros(len(emissions), dtype=_result_type(emissions))
        chain = Chain(first, pairs, last)
        ctx.sums = sums = forward_backward(emissions, chain, mask)
        value = sums.log_z
        if tags is not None:
            ctx.tags = tags.masked_fill(~mask, 0).t()  # (W, B)
            value = _score(emissions, chain, tags, mask) - value
        return value.to(_result_type(emissions))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sums: Sums | None = ctx.sums
        B, W, K = ctx.shape
        if sums is None:
            shapes = ((B, W, K), (K,), (K, K), (K,))
            zeros = (gradient.new_zeros(s, dtype=t) for s, t in zip(shapes, ctx.types, strict=True))
            return (*zeros, None, None)
        posts = torch.arange(B, device=gradient.device)
        weights = gradient.to(sums.alpha.dtype)
        expected = weights if ctx.tags is None else -weights
        of_emissions = sums.tag_marginals().mul_(expected)  # (W, K, B)
        of_pairs = sums.expected_pairs(expected)
        if ctx.tags is not None:
            counted = weights * sums.mask  # (W, B)
            words = torch.arange(W, device=ctx.tags.device).unsqueeze(1)
            of_emissions[words, ctx.tags, posts] += counted
            of_pairs.index_put_((ctx.tags[:-1], ctx.tags[1:]), counted[1:], accumulate=True)
        ends = (sums.mask.sum(0) - 1).clamp(min=0)
        of_last = of_emissions[ends, :, posts].sum(0)
        gradients = (of_emissions.permute(2, 0, 1), of_emissions[0].sum(1), of_pairs, of_last)
        as_given = (
            torch.empty_like(g, dtype=t, memory_format=torch.contiguous_format).copy_(g)
            for g, t in zip(gradients, ctx.types, strict=True)
        )
        return (*as_given, None, None)
