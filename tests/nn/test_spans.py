"""Span classification against literal loops over spans, and selection against a slow search."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mner.errors import UsageError
from mner.nn.spans import SpanClassifier, select_spans, span_loss, span_mask, span_targets

drawn = settings(max_examples=60)


def prefix_mask(lengths: list[int], words: int) -> torch.Tensor:
    return torch.arange(words) < torch.tensor(lengths).unsqueeze(1)


lengths_of_posts = st.lists(st.integers(0, 6), min_size=1, max_size=4)


@drawn
@given(lengths_of_posts, st.integers(1, 8), st.integers(0, 2), st.integers(0, 10**6))
def test_scores_are_those_of_a_network_over_both_states(
    lengths: list[int], max_length: int, extra: int, seed: int
) -> None:
    torch.manual_seed(seed)
    words = max(lengths) + extra
    classifier = SpanClassifier(5, 3, max_length, hidden=7).eval()
    network = nn.Sequential(classifier.first_and_last, nn.ReLU(), classifier.output)
    states = torch.randn(len(lengths), words, 5)
    scores = classifier(states, prefix_mask(lengths, words))
    assert scores.shape == (len(lengths), words, max_length, 4)
    for post, length in enumerate(lengths):
        for start in range(words):
            for further in range(max_length):
                if start + further < length:
                    both = torch.cat((states[post, start], states[post, start + further]))
                    torch.testing.assert_close(scores[post, start, further], network(both))
                else:
                    assert not scores[post, start, further].any()


def test_padding_changes_no_score_and_gets_no_gradient() -> None:
    torch.manual_seed(0)
    classifier = SpanClassifier(4, 2, 3).eval()
    mask = prefix_mask([4, 2, 0], 4)
    states = torch.randn(3, 4, 4)
    dirty = states.masked_fill(~mask.unsqueeze(2), 1e6).requires_grad_()
    scores = classifier(dirty, mask)
    assert torch.equal(scores, classifier(states, mask))
    scores.square().sum().backward()
    assert dirty.grad is not None
    assert not dirty.grad[~mask].any()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in classifier.parameters())


def test_reset_draws_all_weights_anew() -> None:
    classifier = SpanClassifier(4, 2, 3)
    before = [parameter.clone() for parameter in classifier.parameters()]
    classifier.reset_parameters()
    assert all((a != b).all() for a, b in zip(before, classifier.parameters(), strict=True))


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    classifier = SpanClassifier(4, 2, 3, hidden=50, dropout=0.5)
    states, mask = torch.randn(1, 3, 4), prefix_mask([3], 3)
    assert not torch.equal(classifier(states, mask), classifier(states, mask))
    classifier.eval()
    assert torch.equal(classifier(states, mask), classifier(states, mask))


def test_runs_under_autocast() -> None:
    torch.manual_seed(0)
    classifier = SpanClassifier(4, 2, 3).eval()
    states, mask = torch.randn(2, 5, 4), prefix_mask([5, 2], 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = classifier(states, mask)
        loss = span_loss(scores, torch.zeros(2, 5, 3, dtype=torch.long), span_mask(mask, 3))
    assert scores.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    torch.testing.assert_close(scores.float(), classifier(states, mask), rtol=0.05, atol=0.05)


def test_a_span_has_at_least_one_word() -> None:
    with pytest.raises(UsageError, match="at least 1 word"):
        SpanClassifier(4, 2, 0)


@drawn
@given(lengths_of_posts, st.integers(1, 8))
def test_mask_is_true_at_spans_within_their_post(lengths: list[int], max_length: int) -> None:
    words = max(lengths)
    found = span_mask(prefix_mask(lengths, words), max_length)
    assert found.shape == (len(lengths), words, max_length)
    assert {tuple(place) for place in found.nonzero().tolist()} == {
        (post, start, end - start - 1)
        for post, length in enumerate(lengths)
        for start in range(length)
        for end in range(start + 1, length + 1)
        if end - start <= max_length
    }


def test_targets_hold_the_gold_and_count_what_is_too_long() -> None:
    gold = torch.tensor([[0, 1, 3, 0], [1, 0, 1, 2], [1, 1, 6, 1], [0, 4, 7, 1]])
    targets, left_out = span_targets(gold, posts=2, words=7, max_length=3)
    assert left_out == 1
    assert {(*place, int(targets[tuple(place)])) for place in targets.nonzero().tolist()} == {
        (0, 1, 1, 1),
        (1, 0, 0, 3),
        (0, 4, 2, 2),
    }
    targets, left_out = span_targets(torch.zeros(0, 4, dtype=torch.long), posts=2, words=3, max_length=4)
    assert targets.shape == (2, 3, 4)
    assert left_out == 0
    assert not targets.any()


@drawn
@given(lengths_of_posts.filter(any), st.integers(1, 5), st.integers(0, 10**6))
def test_loss_is_the_mean_of_negative_log_probabilities(lengths: list[int], longest: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    words = max(lengths)
    scores = torch.randn(len(lengths), words, longest, 3, generator=generator)
    targets = torch.randint(3, scores.shape[:3], generator=generator)
    valid = span_mask(prefix_mask(lengths, words), longest)
    every = []
    for place in valid.nonzero().tolist():
        row = scores[tuple(place)].tolist()
        chosen = row[int(targets[tuple(place)])]
        every.append(math.log(sum(math.exp(score) for score in row)) - chosen)
    assert float(span_loss(scores, targets, valid)) == pytest.approx(sum(every) / len(every), rel=1e-5)


def test_loss_without_spans_is_zero_and_differentiable() -> None:
    scores = torch.randn(2, 3, 4, 3, requires_grad=True)
    nothing = torch.zeros(2, 3, 4)
    loss = span_loss(scores, nothing.long(), nothing.bool())
    loss.backward()
    assert float(loss.detach()) == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def slow_selection(scores: torch.Tensor, mask: torch.Tensor) -> list[list[tuple[int, int, int, float]]]:
    """Look through all spans for the best one left, again and again."""
    selected = []
    for post in range(len(mask)):
        length = int(mask[post].sum())
        free: list[tuple[float, int, int, int]] = []
        for start in range(length):
            for further in range(scores.shape[2]):
                if start + further < length:
                    probabilities = scores[post, start, further].softmax(0)
                    label = int(probabilities.argmax())
                    if label:
                        end = start + further + 1
                        free.append((-float(probabilities[label]), start, end, label - 1))
        taken = []
        while free:
            score, start, end, label = min(free)
            taken.append((start, end, label, -score))
            free = [span for span in free if span[2] <= start or span[1] >= end]
        selected.append(sorted(taken))
    return selected


@drawn
@given(lengths_of_posts, st.integers(1, 4), st.booleans(), st.integers(0, 10**6))
def test_selection_is_that_of_a_slow_search(lengths: list[int], longest: int, ties: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    words = max(lengths)
    scores = torch.randn(len(lengths), words, longest, 3, generator=generator) * 3
    if ties:
        scores = scores.div(3, rounding_mode="trunc")
        # Equal probabilities of unequal rows may differ in their last bit: make the rows equal too.
        scores = scores.sort(-1).values if seed % 2 else scores.clamp(0, 1).sort(-1).values
    mask = prefix_mask(lengths, words)
    found = select_spans(scores, mask)
    expected = slow_selection(scores, mask)
    assert [[tuple(span)[:3] for span in post] for post in found] == [
        [span[:3] for span in post] for post in expected
    ]
    for mine, other in zip(found, expected, strict=True):
        assert [span.probability for span in mine] == pytest.approx([span[3] for span in other])


def test_of_equal_spans_the_earlier_then_the_shorter_is_taken() -> None:
    scores = torch.tensor([0.0, 3.0]).expand(1, 4, 2, 2)
    found = select_spans(scores, prefix_mask([4], 4))
    assert [(span.start, span.end) for span in found[0]] == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_selection_of_nothing() -> None:
    assert select_spans(torch.zeros(2, 0, 3, 4), torch.zeros(2, 0, dtype=torch.bool)) == [[], []]
    sure_of_nothing = torch.tensor([5.0, 0.0, 0.0]).expand(2, 3, 2, 3)
    assert select_spans(sure_of_nothing, prefix_mask([3, 0], 3)) == [[], []]
