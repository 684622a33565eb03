"""Named entities as classified spans: every span up to a length gets a type, or 'not an entity'.

Source: the decoder of CAT-MNER (Wang et al. 2022), with the longest span of LUKE (Yamada et al. 2020):
FFN([w_first ; w_last]) to the types and 'not an entity', cross-entropy over all spans; prediction takes spans
by descending probability and skips those that overlap a taken one.

Wherever spans lie in a tensor (B, W, L), [b, i, l] is the span of words i to i + l inclusive of post b.
Class 0 is 'not an entity', class c the type c - 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mner.errors import UsageError
from mner.nn.processes import mean_over_processes

_IGNORED = -100


class SelectedSpan(NamedTuple):
    """A predicted span: words ``start:end``, the index of its type, and the probability of that type."""

    start: int
    end: int
    label: int
    probability: float


class SpanClassifier(nn.Module):
    """A feed-forward network with one hidden layer over the states of a span's first and last word.

    The first layer's product with [w_first ; w_last] is the sum of a product with each half, so both are
    computed once a word rather than once a span.

    Args:
        width: Width d of the word states.
        labels: Number of types, 'not an entity' not counted.
        max_length: Most words L of a span.
        hidden: Width of the hidden layer; that of the word states where None.
        dropout: Dropout on the hidden layer.
    """

    def __init__(
        self,
        width: int,
        labels: int,
        max_length: int = 16,
        hidden: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if max_length < 1:
            raise UsageError(
                "The longest span is too short.", expected="at least 1 word", got=f"{max_length}"
            )
        self.max_length = max_length
        self.first_and_last = nn.Linear(2 * width, hidden or width)
        self.activation = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden or width, labels + 1)

    def reset_parameters(self) -> None:
        """Draw both layers anew."""
        self.first_and_last.reset_parameters()
        self.output.reset_parameters()

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Score every span.

        Args:
            states: (B, W, d) word states.
            mask: (B, W) true at each post's words, which are a prefix of its row.

        Returns:
            (B, W, L, labels + 1) scores, 0 where no span is (see `span_mask`).
        """
        words = states.shape[1]
        of_first, of_last = self.first_and_last.weight.chunk(2, dim=1)
        first = F.linear(states, of_first, self.first_and_last.bias)
        last = F.linear(states, of_last)
        if torch.onnx.is_in_onnx_export():
            return self._unrolled(first, last, mask)
        by_length = []
        # Length by length: no span that leaves the row is computed, and what is computed fits the cache.
        for further in range(min(self.max_length, words)):
            hidden = self.activation(first[:, : words - further] + last[:, further:])
            scores = self.output(self.dropout(hidden))
            by_length.append(F.pad(scores, (0, 0, 0, further)))
        if not by_length:
            return states.new_zeros(len(states), 0, self.max_length, self.output.out_features)
        scores = torch.stack(by_length, dim=2)
        scores = F.pad(scores, (0, 0, 0, self.max_length - len(by_length)))
        return scores.masked_fill(~span_mask(mask, self.max_length).unsqueeze(3), 0)

    def _unrolled(self, first: Tensor, last: Tensor, mask: Tensor) -> Tensor:
        # In a graph the number of words is open: every length is computed, also of spans that leave the row.
        words = first.shape[1]
        last = F.pad(last, (0, 0, 0, self.max_length))
        by_length = [
            self.output(self.activation(first + last[:, further : further + words]))
            for further in range(self.max_length)
        ]
        scores = torch.stack(by_length, dim=2)
        return scores.masked_fill(~span_mask(mask, self.max_length).unsqueeze(3), 0)


def span_mask(mask: Tensor, max_length: int) -> Tensor:
    """Where a span is: (B, W, L) true at spans that lie within their post.

    Args:
        mask: (B, W) true at each post's words, which are a prefix of its row.
        max_length: Most words L of a span.
    """
    starts = torch.arange(mask.shape[1], device=mask.device)
    further = torch.arange(max_length, device=mask.device)
    return (starts.unsqueeze(1) + further) < mask.sum(1)[:, None, None]


def span_targets(gold: Tensor, posts: int, words: int, max_length: int) -> tuple[Tensor, int]:
    """The class of every span.

    Args:
        gold: (N, 4) post, start, end (exclusive) and type (from 0) of each entity.
        posts: Number of posts B.
        words: Number of words W of the longest.
        max_length: Most words L of a span.

    Returns:
        (B, W, L) classes, 0 for 'not an entity', and the number of entities left out because they are too
        long (they count as missed when the posts are scored).
    """
    targets = gold.new_zeros((posts, words, max_length), dtype=torch.int64)
    fitting = gold[gold[:, 2] - gold[:, 1] <= max_length]
    post, start, end, label = fitting.unbind(1)
    targets[post, start, end - start - 1] = (label + 1).long()
    return targets, len(gold) - len(fitting)


def span_loss(scores: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """The mean cross-entropy over all spans of all processes, in float32; 0 where there is none.

    Args:
        scores: (B, W, L, C).
        targets: (B, W, L) classes.
        valid: (B, W, L) where a span is.
    """
    classes = targets.masked_fill(~valid, _IGNORED).flatten()
    losses = F.cross_entropy(scores.flatten(0, 2).float(), classes, ignore_index=_IGNORED, reduction="sum")
    return mean_over_processes(losses, valid.sum())


@torch.no_grad()
def select_spans(scores: Tensor, mask: Tensor) -> list[list[SelectedSpan]]:
    """The entities of each post: the most probable spans that do not overlap.

    A span is a candidate where its best class is a type. Candidates are taken by descending probability,
    those overlapping a taken one skipped; of equally probable ones the earlier, then the shorter comes first.

    Args:
        scores: (B, W, L, C).
        mask: (B, W) true at each post's words, which are a prefix of its row.

    Returns:
        For each post its spans, by ascending start.
    """
    posts, words, max_length, classes = scores.shape
    if scores.numel() == 0 or classes == 1:
        return [[] for _ in range(posts)]
    candidate = (scores[..., 1:].amax(-1) > scores[..., 0]) & span_mask(mask, max_length)
    place = candidate.flatten().nonzero().squeeze(1)
    best, label = scores.flatten(0, 2)[place].float().softmax(-1)[:, 1:].max(-1)
    probability, order = best.sort(descending=True, stable=True)  # ties stay by start, then by length
    place = place[order]
    rows = zip(
        (place // (words * max_length)).tolist(),
        (place // max_length % words).tolist(),
        (place % max_length).tolist(),
        label[order].tolist(),
        probability.tolist(),
        strict=True,
    )
    selected: list[list[SelectedSpan]] = [[] for _ in range(posts)]
    taken = [0] * posts  # one bit a word
    for post, start, further, type_, score in rows:
        span = ((2 << further) - 1) << start
        if not taken[post] & span:
            taken[post] |= span
            selected[post].append(SelectedSpan(start, start + further + 1, type_, score))
    return [sorted(spans) for spans in selected]
