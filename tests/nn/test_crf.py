"""The CRF against enumeration of all tag sequences, against pytorch-crf, and against recorded gradients."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchcrf import CRF

from mner.errors import UsageError
from mner.nn.crf import (
    FORBIDDEN,
    Chain,
    ChainCRF,
    log_likelihood,
    log_partition,
    marginals,
    span_probabilities,
    viterbi,
)
from mner.tags import BIO, BIOES, IOB1, Scheme, Span, allowed_transitions, parse, tag_names, to_spans, to_tags

enumerated = settings(max_examples=60)


class Case(NamedTuple):
    emissions: torch.Tensor
    chain: Chain
    mask: torch.Tensor
    names: tuple[str, ...]
    scheme: Scheme | None


def random_chain(tags: int, generator: torch.Generator, scale: float = 1.0) -> Chain:
    return Chain(
        *(torch.randn(shape, generator=generator) * scale for shape in ((tags,), (tags, tags), (tags,)))
    )


def constrained(chain: Chain, names: tuple[str, ...], scheme: Scheme) -> Chain:
    allowed = allowed_transitions(names, scheme)
    return Chain(
        *(
            score.masked_fill(~torch.tensor(legal), FORBIDDEN)
            for score, legal in zip(chain, allowed, strict=True)
        )
    )


def prefix_mask(lengths: list[int], words: int) -> torch.Tensor:
    return torch.arange(words) < torch.tensor(lengths).unsqueeze(1)


def continues_table(names: tuple[str, ...], scheme: Scheme) -> torch.Tensor:
    parsed = [parse(name) for name in names]
    return torch.tensor(
        [[(a, b) in scheme.continues and left == right for b, right in parsed] for a, left in parsed]
    )


@st.composite
def cases(draw: st.DrawFn, schemes: tuple[Scheme | None, ...] = (None, BIO, BIOES, IOB1)) -> Case:
    """A batch small enough for all its tag sequences to be written down."""
    scheme = draw(st.sampled_from(schemes))
    if scheme is None:
        names = tuple(f"B-{number}" for number in range(draw(st.integers(1, 4))))
        longest = 5
    else:
        labels = "XY" if scheme is not BIOES and draw(st.booleans()) else "X"
        names = tag_names(labels, scheme)
        longest = 4
    words = draw(st.integers(1, longest))
    lengths = draw(st.lists(st.integers(0, words), min_size=1, max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    # From flat to so steep that exponentials in double precision would not do.
    scale = draw(st.sampled_from([0.1, 1.0, 5.0, 300.0]))
    emissions = torch.randn(len(lengths), words, len(names), generator=generator) * scale
    chain = random_chain(len(names), generator)
    if scheme is not None:
        chain = constrained(chain, names, scheme)
    return Case(emissions, chain, prefix_mask(lengths, words), names, scheme)


def sequences(case: Case, post: int) -> dict[tuple[int, ...], float]:
    """The score of every tag sequence of a post, straight from the definition."""
    rows = case.emissions[post].tolist()[: int(case.mask[post].sum())]
    first, pairs, last = (score.tolist() for score in case.chain)
    found = {}
    for tags in itertools.product(range(len(case.names)), repeat=len(rows)):
        score = sum(row[tag] for row, tag in zip(rows, tags, strict=True))
        score += sum(pairs[left][right] for left, right in itertools.pairwise(tags))
        found[tags] = score + first[tags[0]] + last[tags[-1]] if tags else 0.0
    return found


def probabilities(case: Case, post: int) -> tuple[float, dict[tuple[int, ...], float]]:
    """Log Z of a post and the probability of each of its tag sequences."""
    scores = sequences(case, post)
    highest = max(scores.values())
    log_z = highest + math.log(sum(math.exp(score - highest) for score in scores.values()))
    return log_z, {tags: math.exp(score - log_z) for tags, score in scores.items()}


@enumerated
@given(cases())
def test_partition_is_the_sum_over_all_sequences(case: Case) -> None:
    expected = torch.tensor([probabilities(case, post)[0] for post in range(len(case.mask))])
    torch.testing.assert_close(log_partition(*case[:3]), expected, rtol=1e-5, atol=1e-4)


@enumerated
@given(cases(), st.data())
def test_likelihood_is_the_share_of_one_sequence(case: Case, data: st.DataObject) -> None:
    tags = torch.full(case.mask.shape, -100)
    expected = []
    for post in range(len(case.mask)):
        scores = sequences(case, post)
        chosen = data.draw(st.sampled_from(sorted(scores)))
        tags[post, : len(chosen)] = torch.tensor(chosen, dtype=torch.long)
        expected.append(scores[chosen] - probabilities(case, post)[0])
    found = log_likelihood(case.emissions, case.chain, tags, case.mask)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-4)


@enumerated
@given(cases())
def test_viterbi_finds_the_best_of_all_sequences(case: Case) -> None:
    paths, scores = viterbi(*case[:3])
    assert paths.dtype == torch.int64
    assert not paths[~case.mask].any()
    for post, path in enumerate(paths.tolist()):
        every = sequences(case, post)
        best = max(every.values())
        length = int(case.mask[post].sum())
        # Not the sequence but its score: two may differ by less than float32 shows.
        assert every[tuple(path[:length])] == pytest.approx(best, rel=1e-6, abs=1e-4)
        assert float(scores[post]) == pytest.approx(best, rel=1e-5, abs=1e-4)


@enumerated
@given(cases())
def test_marginals_are_sums_of_probabilities(case: Case) -> None:
    of_tags, of_pairs = marginals(*case[:3])
    expected_tags, expected_pairs = torch.zeros_like(of_tags), torch.zeros_like(of_pairs)
    for post in range(len(case.mask)):
        for tags, probability in probabilities(case, post)[1].items():
            for word, tag in enumerate(tags):
                expected_tags[post, word, tag] += probability
            for word, (left, right) in enumerate(itertools.pairwise(tags)):
                expected_pairs[post, word, left, right] += probability
    torch.testing.assert_close(of_tags, expected_tags, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(of_pairs, expected_pairs, rtol=1e-4, atol=1e-5)


def all_spans(length: int) -> list[tuple[int, int]]:
    return [(start, end) for start in range(length) for end in range(start + 1, length + 1)]


def probabilities_of_spans(case: Case, rows: list[tuple[int, int, int, list[int]]]) -> list[float]:
    """`span_probabilities` for rows of post, start, end, tags."""
    assert case.scheme is not None
    longest = max((len(tags) for *_, tags in rows), default=1)
    padded = [tags + [-1] * (longest - len(tags)) for *_, tags in rows]  # padding may hold anything
    posts, starts, ends = (torch.tensor([row[i] for row in rows], dtype=torch.long) for i in range(3))
    tags = torch.tensor(padded, dtype=torch.long).reshape(len(rows), longest)
    table = continues_table(case.names, case.scheme)
    found = span_probabilities(*case[:3], posts, starts, ends, tags, table)
    assert found.shape == (len(rows),)
    return found.tolist()


@enumerated
@given(cases(schemes=(BIO, BIOES, IOB1)), st.data())
def test_span_probability_sums_the_sequences_that_contain_the_tags_and_both_borders(
    case: Case, data: st.DataObject
) -> None:
    assert case.scheme is not None
    table = continues_table(case.names, case.scheme)
    tag = st.integers(0, len(case.names) - 1)
    rows, expected = [], []
    for post in range(len(case.mask)):
        _, every = probabilities(case, post)
        length = int(case.mask[post].sum())
        for start, end in all_spans(length):
            wanted = data.draw(st.lists(tag, min_size=end - start, max_size=end - start))
            rows.append((post, start, end, wanted))
            expected.append(
                sum(
                    probability
                    for tags, probability in every.items()
                    if list(tags[start:end]) == wanted
                    and not (start > 0 and table[tags[start - 1], tags[start]])
                    and not (end < length and table[tags[end - 1], tags[end]])
                )
            )
    assert probabilities_of_spans(case, rows) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def written(span: Span, length: int, case: Case) -> list[int]:
    assert case.scheme is not None
    tags = to_tags([span], length, case.scheme)[span.start : span.end]
    return [case.names.index(tag) for tag in tags]


@enumerated
@given(cases(schemes=(BIO, BIOES)))
def test_span_probability_is_that_of_the_entity_being_read_from_the_tags(case: Case) -> None:
    assert case.scheme is not None
    labels = sorted({parse(name)[1] for name in case.names if name != "O"})
    rows, expected = [], []
    for post in range(len(case.mask)):
        _, every = probabilities(case, post)
        length = int(case.mask[post].sum())
        read = [
            (to_spans([case.names[tag] for tag in tags], case.scheme, "strict"), probability)
            for tags, probability in every.items()
        ]
        for (start, end), label in itertools.product(all_spans(length), labels):
            span = Span(start, end, label)
            rows.append((post, start, end, written(span, length, case)))
            expected.append(sum(probability for spans, probability in read if span in spans))
    assert probabilities_of_spans(case, rows) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("scheme", [BIO, BIOES, IOB1])
def test_every_word_is_outside_or_in_exactly_one_span(scheme: Scheme) -> None:
    """P(O) and the probabilities of all spans over a word sum to 1, on posts too long to enumerate."""
    generator = torch.Generator().manual_seed(3)
    names = tag_names(["PER", "LOC"], scheme)
    lengths = [12, 7, 1]
    case = Case(
        torch.randn(3, 12, len(names), generator=generator) * 2,
        constrained(random_chain(len(names), generator), names, scheme),
        prefix_mask(lengths, 12),
        names,
        scheme,
    )
    total = marginals(*case[:3])[0][..., 0].clone()
    rows = []
    for post, length in enumerate(lengths):
        for (start, end), label in itertools.product(all_spans(length), ["PER", "LOC"]):
            tags = written(Span(start, end, label), length, case)
            rows.append((post, start, end, tags))
            if scheme is IOB1:  # which writes a span in two ways, by what stands before it
                rows.append((post, start, end, [names.index(f"B-{label}"), *tags[1:]]))
    for (post, start, end, _), probability in zip(rows, probabilities_of_spans(case, rows), strict=True):
        total[post, start:end] += probability
    torch.testing.assert_close(total, case.mask.float(), rtol=0, atol=1e-5)


def test_no_spans_have_no_probabilities() -> None:
    case = Case(torch.randn(2, 3, 3), random_chain(3, torch.Generator()), prefix_mask([3, 0], 3), (), None)
    none = torch.zeros(0, dtype=torch.long)
    tags = torch.zeros(0, 2, dtype=torch.long)
    assert span_probabilities(*case[:3], none, none, none, tags, torch.zeros(3, 3).bool()).shape == (0,)


@pytest.mark.parametrize(("posts", "words", "tags"), [(16, 40, 9), (5, 90, 17), (33, 17, 5), (2, 1, 2)])
def test_equal_to_pytorch_crf(posts: int, words: int, tags: int) -> None:
    generator = torch.Generator().manual_seed(posts)
    theirs, ours = CRF(tags, batch_first=True), ChainCRF(tags)
    with torch.no_grad():
        for other, mine in (
            (theirs.start_transitions, ours.first),
            (theirs.transitions, ours.pairs),
            (theirs.end_transitions, ours.last),
        ):
            mine.copy_(other.normal_(generator=generator))
    emissions = torch.randn(posts, words, tags, generator=generator) * 3
    lengths = torch.randint(1, words + 1, (posts,), generator=generator)
    mask = prefix_mask(lengths.tolist(), words)
    gold = torch.randint(tags, (posts, words), generator=generator)
    weights = torch.randn(posts, generator=generator)

    def gradients(likelihood: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # One word alone has no pair: a gradient of zero.
        return torch.autograd.grad((likelihood * weights).sum(), inputs, materialize_grads=True)

    left, right = emissions.clone().requires_grad_(), emissions.clone().requires_grad_()
    mine, other = ours(left, gold, mask), theirs(right, gold, mask, reduction="none")
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
    for a, b in zip(
        gradients(mine, left, ours.first, ours.pairs, ours.last),
        gradients(other, right, theirs.start_transitions, theirs.transitions, theirs.end_transitions),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    paths = viterbi(emissions, ours.chain(), mask)[0].tolist()
    assert [path[:n] for path, n in zip(paths, lengths.tolist(), strict=True)] == theirs.decode(
        emissions, mask
    )


@pytest.mark.parametrize("scale", [1.0, 400.0])
@pytest.mark.parametrize("scheme", [None, BIO])
def test_gradients_by_finite_differences(scale: float, scheme: Scheme | None) -> None:
    generator = torch.Generator().manual_seed(0)
    names = tag_names("X", BIO)
    mask = prefix_mask([4, 2, 0, 1], 4)
    tags = torch.tensor([[0, 1, 2, 0], [1, 2, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    emissions = (torch.randn(4, 4, 3, generator=generator, dtype=torch.float64) * scale).requires_grad_()
    # Of forbidden scores, finite differences have nothing left: 1e-6 of a probability of 0.
    chain = random_chain(3, generator)
    chain = constrained(chain, names, scheme) if scheme is not None else chain
    scores = [score.double().requires_grad_() for score in chain]
    assert torch.autograd.gradcheck(lambda e, *c: log_partition(e, Chain(*c), mask), (emissions, *scores))
    assert torch.autograd.gradcheck(
        lambda e, *c: log_likelihood(e, Chain(*c), tags, mask), (emissions, *scores), atol=1e-4
    )


def recorded_partition(emissions: torch.Tensor, chain: Chain, length: int) -> torch.Tensor:
    """Log Z of one post as the textbook has it, every step recorded by autograd."""
    state = chain.first + emissions[0]
    for row in emissions[1:length]:
        state = torch.logsumexp(state.unsqueeze(1) + chain.pairs, dim=0) + row
    return torch.logsumexp(state + chain.last, dim=0)


@pytest.mark.parametrize("scheme", [BIO, BIOES])
@pytest.mark.parametrize("scale", [3.0, 30.0, 1000.0])
def test_large_emissions_and_forbidden_transitions(scheme: Scheme, scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    names = tag_names(["A", "B"], scheme)
    lengths = [50, 31, 2, 1]
    emissions = (torch.rand(4, 50, len(names), generator=generator) * 2 - 1) * scale
    emissions.requires_grad_()
    chain = Chain(
        *(s.requires_grad_() for s in constrained(random_chain(len(names), generator), names, scheme))
    )
    found = log_partition(emissions, chain, prefix_mask(lengths, 50))
    double = [tensor.detach().double().requires_grad_() for tensor in (emissions, *chain)]
    expected = torch.stack(
        [recorded_partition(double[0][post], Chain(*double[1:]), n) for post, n in enumerate(lengths)]
    )
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)
    for mine, other in zip(
        torch.autograd.grad(found.sum(), (emissions, *chain)),
        torch.autograd.grad(expected.sum(), double),
        strict=True,
    ):
        torch.testing.assert_close(mine.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_ten_thousand_words(scale: float) -> None:
    generator = torch.Generator().manual_seed(2)
    names = tag_names(["A"], BIO)
    emissions = (torch.rand(1, 10_000, 3, generator=generator) * 2 - 1) * scale
    emissions.requires_grad_()
    chain = constrained(random_chain(3, generator), names, BIO)
    mask = torch.ones(1, 10_000, dtype=torch.bool)
    found = log_partition(emissions, chain, mask)
    with torch.no_grad():
        double = Chain(*(score.double() for score in chain))
        expected = recorded_partition(emissions[0].double(), double, 10_000)
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), emissions)
    torch.testing.assert_close(gradient.sum(-1), torch.ones(1, 10_000), rtol=0, atol=1e-5)

    paths, scores = viterbi(emissions, chain, mask)
    best = (emissions[0, 0] + chain.first).detach().double()
    for row in emissions[0, 1:].detach().double():
        best = (best.unsqueeze(1) + double.pairs).amax(0) + row
    assert float(scores) == pytest.approx(float((best + double.last).max()), rel=1e-6)
    allowed = torch.tensor(allowed_transitions(names, BIO).pairs)
    assert allowed[paths[0, :-1], paths[0, 1:]].all()


@pytest.mark.parametrize(("of_pairs", "of_emissions"), [(50, 0), (0, 4096)])
def test_a_constant_on_all_scores_changes_no_long_path(of_pairs: int, of_emissions: int) -> None:
    """Every path gains it alike; plain sums in float32 would lose small differences beside it."""
    generator = torch.Generator().manual_seed(8)
    # In steps of 1/1024, so that the constant can be added to them without rounding.
    emissions = torch.randn(2, 10_000, 4, generator=generator).mul(1024).round() / 1024
    chain = random_chain(4, generator)
    mask = prefix_mask([10_000, 7_000], 10_000)
    expected, _ = viterbi(emissions.double(), Chain(*(score.double() for score in chain)), mask)
    found, _ = viterbi(emissions + of_emissions, chain._replace(pairs=chain.pairs - of_pairs), mask)
    assert (found == expected).float().mean() > 0.9999


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_autocast_and_low_precision_change_nothing(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    crf = ChainCRF(5)
    low = torch.randn(3, 8, 5, generator=generator).to(kind)
    tags, mask = torch.randint(5, (3, 8), generator=generator), prefix_mask([8, 3, 0], 8)
    table = torch.zeros(5, 5, dtype=torch.bool)
    place = torch.tensor([0]), torch.tensor([1]), torch.tensor([3]), torch.tensor([[1, 2]])

    def everything(emissions: torch.Tensor) -> list[torch.Tensor]:
        emissions = emissions.clone().requires_grad_()
        likelihood = crf(emissions, tags, mask)
        likelihood.mean().backward()
        assert emissions.grad is not None
        assert emissions.grad.dtype == emissions.dtype
        chain = crf.chain()
        rest = (
            *viterbi(emissions, chain, mask),
            *marginals(emissions, chain, mask),
            span_probabilities(emissions, chain, mask, *place, table),
        )
        return [likelihood, emissions.grad.to(kind), *rest]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = everything(low)
    assert {tensor.dtype for tensor in found} == {torch.float32, torch.int64, kind}
    for mine, plain in zip(found, everything(low.float()), strict=True):
        assert torch.equal(mine, plain)


def test_what_stands_in_the_padding_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(5)
    names = tag_names(["X"], BIO)
    crf = ChainCRF(3, allowed_transitions(names, BIO))
    mask = prefix_mask([6, 4, 1, 0], 6)
    clean = torch.randn(4, 6, 3, generator=generator).masked_fill(~mask.unsqueeze(2), 0)
    tags = torch.zeros(4, 6, dtype=torch.long)
    place = torch.tensor([1]), torch.tensor([2]), torch.tensor([4]), torch.tensor([[1, 2]])

    def everything(emissions: torch.Tensor, gold: torch.Tensor) -> list[torch.Tensor]:
        emissions = emissions.clone().requires_grad_()
        likelihood = crf(emissions, gold, mask)
        gradients = torch.autograd.grad(likelihood.sum(), (emissions, *crf.parameters()))
        chain = crf.chain()
        rest = (
            *viterbi(emissions, chain, mask),
            *marginals(emissions, chain, mask),
            span_probabilities(emissions, chain, mask, *place, continues_table(names, BIO)),
        )
        assert not gradients[0][~mask].any()
        return [likelihood, *gradients, *rest]

    expected = everything(clean, tags)
    for filling in (1e30, -1e30, math.inf, math.nan):
        dirty = clean.masked_fill(~mask.unsqueeze(2), filling)
        for mine, other in zip(everything(dirty, tags.masked_fill(~mask, -100)), expected, strict=True):
            assert torch.equal(mine, other)


def test_batch_equals_one_by_one() -> None:
    generator = torch.Generator().manual_seed(6)
    chain = random_chain(4, generator)
    lengths = [20, 3, 11, 1]
    emissions = torch.randn(4, 20, 4, generator=generator)
    mask = prefix_mask(lengths, 20)
    together, paths = log_partition(emissions, chain, mask), viterbi(emissions, chain, mask)[0]
    for post, n in enumerate(lengths):
        alone = emissions[post : post + 1, :n], chain, mask[post : post + 1, :n]
        torch.testing.assert_close(log_partition(*alone)[0], together[post])
        assert torch.equal(viterbi(*alone)[0][0], paths[post, :n])


@pytest.mark.parametrize(("posts", "words"), [(2, 0), (0, 3), (2, 3)])
def test_posts_without_words(posts: int, words: int) -> None:
    crf = ChainCRF(3)
    emissions = torch.randn(posts, words, 3, requires_grad=True)
    mask = torch.zeros(posts, words, dtype=torch.bool)
    likelihood = crf(emissions, torch.zeros(posts, words, dtype=torch.long), mask)
    assert torch.equal(likelihood, torch.zeros(posts))
    likelihood.sum().backward()
    for tensor in (emissions, *crf.parameters()):
        assert tensor.grad is not None
        assert not tensor.grad.any()
    assert torch.equal(log_partition(emissions, crf.chain(), mask), torch.zeros(posts))
    paths, scores = viterbi(emissions, crf.chain(), mask)
    assert paths.shape == (posts, words)
    assert not paths.any()
    assert torch.equal(scores, torch.zeros(posts))
    of_tags, of_pairs = marginals(emissions, crf.chain(), mask)
    assert of_tags.shape == (posts, words, 3)
    assert of_pairs.shape == (posts, max(words - 1, 0), 3, 3)
    assert not of_tags.any()
    assert not of_pairs.any()


def test_emissions_that_are_not_numbers_show_in_the_loss() -> None:
    emissions = torch.randn(2, 4, 3)
    emissions[0, 1, 2] = math.nan
    value = log_partition(emissions, ChainCRF(3).chain(), torch.ones(2, 4, dtype=torch.bool))
    assert value.isnan().tolist() == [True, False]


def test_impossible_gold_costs_much_and_keeps_gradients_finite() -> None:
    names = tag_names(["X"], BIO)
    crf = ChainCRF(3, allowed_transitions(names, BIO))
    emissions = torch.randn(1, 3, 3, requires_grad=True)
    gold = torch.tensor([[names.index("O"), names.index("I-X"), names.index("O")]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    likelihood = crf(emissions, gold, mask)
    assert FORBIDDEN - 20 < float(likelihood.detach()) < FORBIDDEN + 20
    likelihood.sum().backward()
    assert emissions.grad is not None
    assert emissions.grad.isfinite().all()
    # What is forbidden is no parameter: no gradient reaches it.
    assert not crf.pairs.grad[~crf.allowed_pairs].any()
    assert float(crf(emissions, gold, mask, constrained=False).detach()) > -30


def test_constrained_chain_forbids_what_the_scheme_forbids() -> None:
    names = tag_names(["X", "Y"], BIOES)
    allowed = allowed_transitions(names, BIOES)
    crf = ChainCRF(len(names), allowed)
    chain, free = crf.chain(), crf.chain(constrained=False)
    for scores, unforbidden, legal in zip(chain, free, allowed, strict=True):
        assert torch.equal(scores == FORBIDDEN, ~torch.tensor(legal))
        assert (unforbidden.abs() <= 0.1).all()
    emissions = torch.randn(64, 9, len(names)) * 100
    paths, _ = viterbi(emissions, chain, torch.ones(64, 9, dtype=torch.bool))
    for path in paths.tolist():
        tags = [names[tag] for tag in path]
        assert to_tags(to_spans(tags, BIOES, "strict"), 9, BIOES) == tags


def test_transitions_are_saved_and_survive_a_reset() -> None:
    names = tag_names(["X"], BIO)
    crf = ChainCRF(3, allowed_transitions(names, BIO))
    before = {name: value.clone() for name, value in crf.state_dict().items()}
    assert set(before) == {"first", "pairs", "last", "allowed_first", "allowed_pairs", "allowed_last"}
    crf.reset_parameters()
    for name, value in crf.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("allowed")
    other = ChainCRF(3)
    other.load_state_dict(crf.state_dict())
    for mine, loaded in zip(crf.chain(), other.chain(), strict=True):
        assert torch.equal(mine, loaded)
    assert int((other.chain().pairs == FORBIDDEN).sum()) == 1  # O before I-X


def test_wrong_shapes_and_masks_are_refused() -> None:
    chain = ChainCRF(3).chain()
    whole = torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(UsageError, match=r"do not fit.*\(2, 4, 5\)"):
        log_partition(torch.randn(2, 4, 5), chain, whole)
    with pytest.raises(UsageError, match="do not fit"):
        viterbi(torch.randn(2, 3, 3), chain, whole)
    with pytest.raises(UsageError, match="Tags and mask"):
        log_likelihood(torch.randn(2, 4, 3), chain, torch.zeros(2, 3, dtype=torch.long), whole)
    with pytest.raises(UsageError, match=r"torch\.bool.*torch\.int64"):
        marginals(torch.randn(2, 4, 3), chain, whole.long())
    holed = whole.clone()
    holed[1, 2] = False
    with pytest.raises(UsageError, match="row 1"):
        viterbi(torch.randn(2, 4, 3), chain, holed)
    with pytest.raises(UsageError, match="number of tags"):
        ChainCRF(4, allowed_transitions(tag_names(["X"], BIO), BIO))
