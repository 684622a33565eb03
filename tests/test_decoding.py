"""The one decoder against enumeration of all sequences, and against the tag tables."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mner.decoding import decode
from mner.models.base import Output
from mner.nn.crf import Chain, ChainCRF
from mner.tags import SCHEMES, Span, allowed_transitions, tag_names, to_spans


def enumerated(emissions, chain, tags, scheme):
    """All sequences that the scheme allows, with their probabilities."""
    allowed = allowed_transitions(tags, scheme)
    sequences = {}
    for path in itertools.product(range(len(tags)), repeat=len(emissions)):
        legal = allowed.first[path[0]] and allowed.last[path[-1]]
        legal = legal and all(allowed.pairs[a][b] for a, b in itertools.pairwise(path))
        if legal:
            score = chain.first[path[0]] + chain.last[path[-1]]
            score = score + sum(emissions[i, tag] for i, tag in enumerate(path))
            score = score + sum(chain.pairs[a, b] for a, b in itertools.pairwise(path))
            sequences[path] = float(score)
    total = math.log(sum(math.exp(score) for score in sequences.values()))
    return {path: math.exp(score - total) for path, score in sequences.items()}


@pytest.mark.parametrize("name", ["BIO", "BIOES"])
@settings(max_examples=25)
@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=3), seed=st.integers(0, 10_000))
def test_spans_and_their_probabilities_equal_enumeration(name, lengths, seed):
    scheme = SCHEMES[name]
    tags = tag_names(("LOC", "PER"), scheme)
    generator = torch.Generator().manual_seed(seed)
    crf = ChainCRF(len(tags), allowed_transitions(tags, scheme))
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    widest = max(max(lengths), 1)
    emissions = 2 * torch.randn(len(lengths), widest, len(tags), generator=generator)
    mask = torch.arange(widest) < torch.tensor(lengths)[:, None]
    output = Output(word_mask=mask, emissions=emissions, chain=crf.chain())
    found = decode(output, ("LOC", "PER"), tags, name)
    for index, length in enumerate(lengths):
        if length == 0:
            assert found[index] == []
            continue
        probabilities = enumerated(emissions[index, :length], crf.chain(), tags, scheme)
        best = max(probabilities, key=probabilities.__getitem__)
        spans = to_spans([tags[tag] for tag in best], scheme)
        assert [span[:3] for span in found[index]] == [span[:3] for span in spans]
        for span in found[index]:
            # All sequences in which just this span, with these borders, is there.
            expected = sum(
                probability
                for path, probability in probabilities.items()
                if Span(*span[:3]) in to_spans([tags[tag] for tag in path], scheme)
            )
            assert span.score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.1, 2.5, 10_000.0])
@pytest.mark.parametrize("name", ["BIO", "BIOES"])
def test_confidences_at_a_temperature_equal_enumeration_of_what_the_scheme_allows(name, temperature):
    scheme = SCHEMES[name]
    tags = tag_names(("LOC", "PER"), scheme)
    generator = torch.Generator().manual_seed(7)
    crf = ChainCRF(len(tags), allowed_transitions(tags, scheme))
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    emissions = 2 * torch.randn(8, 4, len(tags), generator=generator)
    mask = torch.ones(8, 4, dtype=torch.bool)
    output = Output(word_mask=mask, emissions=emissions, chain=crf.chain())
    found = decode(output, ("LOC", "PER"), tags, name, temperature)
    assert sum(map(len, found)) > 8
    for row, spans in zip(emissions, found, strict=True):
        plain = Chain(crf.first / temperature, crf.pairs / temperature, crf.last / temperature)
        probabilities = enumerated(row / temperature, plain, tags, scheme)
        for span in spans:
            expected = sum(
                probability
                for path, probability in probabilities.items()
                if Span(*span[:3]) in to_spans([tags[tag] for tag in path], scheme)
            )
            assert span.score == pytest.approx(expected, abs=1e-5)


def test_span_scores_are_decoded_by_descending_probability():
    # Three words; a likely span over the first two, a less likely one over the last two, which overlaps.
    scores = torch.full((1, 3, 3, 3), -20.0)
    scores[..., 0] = 0.0
    scores[0, 0, 1, 1] = 4.0
    scores[0, 1, 1, 2] = 3.0
    scores[0, 2, 0, 2] = 1.0
    output = Output(word_mask=torch.ones(1, 3, dtype=torch.bool), span_scores=scores)
    (found,) = decode(output, ("LOC", "PER"), (), "BIO")
    assert [span[:3] for span in found] == [(0, 2, "LOC"), (2, 3, "PER")]
    expected = [torch.softmax(scores[0, 0, 1], -1)[1], torch.softmax(scores[0, 2, 0], -1)[2]]
    assert [span.score for span in found] == pytest.approx([float(p) for p in expected], abs=1e-6)
