"""The one decoder: what a model says about a batch, as spans with probabilities."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from mner.models.base import Output
from mner.nn.crf import span_probabilities, viterbi
from mner.nn.spans import select_spans
from mner.tags import Span, parse, scheme_named


@functools.lru_cache(maxsize=64)
def _continues(tags: tuple[str, ...], scheme: str) -> torch.Tensor:
    """(K, K) whether the second tag belongs to the same span as the first, standing right before it."""
    continues = scheme_named(scheme).continues
    parsed = [parse(tag) for tag in tags]
    return torch.tensor(
        [
            [(left, right) in continues and left_label == right_label for right, right_label in parsed]
            for left, left_label in parsed
        ]
    )


@torch.no_grad()
def decode(
    output: Output, labels: Sequence[str], tags: tuple[str, ...], scheme: str, temperature: float = 1.0
) -> list[list[Span]]:
    """The spans of each post, not overlapping, by ascending start.

    Tags: the best sequence that the scheme allows; a span's score is the probability of exactly its tags
    with its two borders. Spans: the best non-overlapping ones by descending probability.

    Args:
        output: What the model said.
        labels: The types.
        tags: The tags, for models that tag.
        scheme: Their scheme.
        temperature: All scores are divided by it before they become probabilities (Guo et al., 2017, "On
            Calibration of Modern Neural Networks", section 4.2); the best sequence of tags stays the best.
    """
    if output.span_scores is not None:
        selected = select_spans(output.span_scores / temperature, output.word_mask)
        return [
            sorted(Span(start, end, labels[label], score) for start, end, label, score in found)
            for found in selected
        ]
    assert output.emissions is not None
    assert output.chain is not None
    mask = output.word_mask
    paths, _ = viterbi(output.emissions, output.chain, mask)
    continues = _continues(tags, scheme).to(paths.device)
    inside = (paths > 0) & mask
    joined = torch.zeros_like(inside)
    joined[:, 1:] = continues[paths[:, :-1], paths[:, 1:]] & inside[:, 1:] & inside[:, :-1]
    opens = inside & ~joined
    closes = inside.clone()
    closes[:, :-1] &= ~joined[:, 1:]
    posts, starts = opens.nonzero(as_tuple=True)
    ends = closes.nonzero(as_tuple=True)[1] + 1
    spans: list[list[Span]] = [[] for _ in range(mask.shape[0])]
    if not len(posts):
        return spans
    longest = int((ends - starts).max())
    positions = starts[:, None] + torch.arange(longest, device=paths.device)
    span_tags = paths[posts[:, None], positions.clamp(max=paths.shape[1] - 1)]
    emissions, chain = output.emissions, output.chain
    if temperature != 1.0:
        emissions, chain = emissions / temperature, chain.divided(temperature)
    scores = span_probabilities(emissions, chain, mask, posts, starts, ends, span_tags, continues)
    names = [parse(tag)[1] for tag in tags]
    rows = zip(
        posts.tolist(), starts.tolist(), ends.tolist(), span_tags[:, 0].tolist(), scores.tolist(), strict=True
    )
    for post, start, end, tag, score in rows:
        spans[post].append(Span(start, end, names[tag], score))
    return spans
