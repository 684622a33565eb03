"""Tag schemes against an independent statement of each: regular expressions over strings of prefixes.

A row of tags is written as a string, a letter a word: capital letters for one type, small ones for another,
'.' for outside. ``B-PER I-PER O B-LOC`` is ``BI.b``.
"""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.errors import TagError, UsageError
from mner.tags import (
    BIO,
    BIOES,
    IOB1,
    SCHEMES,
    Convention,
    Scheme,
    Span,
    allowed_transitions,
    convert,
    guess_scheme,
    is_stray,
    parse,
    scheme_named,
    tag_names,
    to_spans,
    to_tags,
)

UPPER, LOWER = "PER", "LOC-2"  # a type may itself contain a hyphen


def both(pattern: str) -> str:
    """A pattern for either type."""
    return f"(?:{pattern})|(?:{pattern.lower()})"


ALPHABET = {BIO.name: ".BIbi", IOB1.name: ".BIbi", BIOES.name: ".BIESbies"}
LENGTHS = {BIO.name: range(6), IOB1.name: range(6), BIOES.name: range(5)}
# Whole rows that are right.
VALID = {
    BIO.name: rf"(?:\.|{both('BI*')})*",
    IOB1.name: rf"(?:\.|{both('I[BI]*')})*",
    BIOES.name: rf"(?:\.|{both('S|BI*E')})*",
}
# Spans written entirely as the scheme demands, wherever they stand.
STRICT = {
    BIO.name: both("BI*"),
    IOB1.name: both("(?<![BI])I+|(?<=[BI])BI*"),
    BIOES.name: both("S|BI*E"),
}
# Spans where a stray tag opens one.
CONLL = {
    BIO.name: both("[BI]I*"),
    IOB1.name: both("[BI]I*"),
    BIOES.name: both("S|[BI]I*E?|E"),
}
# Rows in which every tag fits what stands before it; a span may lack its end.
NO_STRAY = {
    BIO.name: VALID[BIO.name],
    IOB1.name: VALID[IOB1.name],
    BIOES.name: rf"(?:\.|{both('S|BI*E?')})*",
}

schemes = pytest.mark.parametrize("scheme", list(SCHEMES.values()), ids=list(SCHEMES))


def tag(letter: str) -> str:
    if letter == ".":
        return "O"
    return f"{letter.upper()}-{UPPER if letter.isupper() else LOWER}"


def all_rows(scheme: Scheme):
    for length in LENGTHS[scheme.name]:
        for letters in itertools.product(ALPHABET[scheme.name], repeat=length):
            yield "".join(letters), [tag(letter) for letter in letters]


def spans_of(pattern: str, row: str) -> list[Span]:
    return [
        Span(match.start(), match.end(), UPPER if match.group().isupper() else LOWER)
        for match in re.finditer(pattern, row)
    ]


@schemes
def test_transitions_accept_exactly_the_valid_rows(scheme):
    names = tag_names([UPPER, LOWER], scheme)
    allowed = allowed_transitions(names, scheme)
    accepted = 0
    for row, tags in all_rows(scheme):
        if not row:
            continue
        path = [names.index(t) for t in tags]
        walks = (
            allowed.first[path[0]]
            and allowed.last[path[-1]]
            and all(allowed.pairs[i][j] for i, j in itertools.pairwise(path))
        )
        assert walks == bool(re.fullmatch(VALID[scheme.name], row)), row
        accepted += walks
    assert accepted > 100


@schemes
def test_allows_is_the_same_table(scheme):
    for row, tags in all_rows(scheme):
        if len(row) == 2 and re.fullmatch(VALID[scheme.name], row):
            assert scheme.allows(*tags)


@schemes
@pytest.mark.parametrize("convention", list(Convention))
def test_spans_of_every_short_row_are_what_the_pattern_finds(scheme, convention):
    patterns = STRICT if convention is Convention.STRICT else CONLL
    for row, tags in all_rows(scheme):
        assert to_spans(tags, scheme, convention) == spans_of(patterns[scheme.name], row), row


@schemes
def test_conventions_agree_on_every_valid_row(scheme):
    for row, tags in all_rows(scheme):
        if re.fullmatch(VALID[scheme.name], row):
            spans = to_spans(tags, scheme, "strict")
            assert spans == to_spans(tags, scheme, "conll")
            assert to_tags(spans, len(tags), scheme) == tags, row


@schemes
def test_a_row_has_a_stray_tag_exactly_where_the_pattern_breaks(scheme):
    for row, tags in all_rows(scheme):
        strays = [
            place
            for place, one in enumerate(tags)
            if is_stray(tags[place - 1] if place else "O", one, scheme)
        ]
        assert bool(strays) == (re.fullmatch(NO_STRAY[scheme.name], row) is None), row
        if strays:
            # The first stray is where the longest sound beginning ends.
            sound = max(n for n in range(len(row)) if re.fullmatch(NO_STRAY[scheme.name], row[:n]))
            assert strays[0] == sound, row


@st.composite
def rows_of_spans(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Non-overlapping spans, often touching one another, and the number of words."""
    spans = []
    position = 0
    for gap, width, label in draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(["A", "B", "I-x"])), max_size=8
        )
    ):
        position += gap
        spans.append(Span(position, position + width, label))
        position += width
    return spans, position + draw(st.integers(0, 3))


@schemes
@given(rows_of_spans(), st.sampled_from(list(Convention)), st.randoms(use_true_random=False))
def test_spans_written_as_tags_come_back(scheme, drawn, convention, shuffle):
    spans, length = drawn
    mixed = list(spans)
    shuffle.shuffle(mixed)
    tags = to_tags(mixed, length, scheme)
    assert to_spans(tags, scheme, convention) == spans
    allowed = allowed_transitions(names := tag_names(sorted({s.label for s in spans}), scheme), scheme)
    path = [names.index(one) for one in tags]
    assert all(allowed.pairs[i][j] for i, j in itertools.pairwise(path))


@given(rows_of_spans(), st.lists(st.sampled_from(list(SCHEMES.values())), min_size=1, max_size=4))
def test_conversion_there_and_back_changes_nothing(drawn, way):
    spans, length = drawn
    tags = start = to_tags(spans, length, BIO)
    current = BIO
    for scheme in way:
        tags = convert(tags, current, scheme)
        assert to_spans(tags, scheme, "strict") == spans
        current = scheme
    assert convert(tags, current, BIO) == start


@pytest.mark.parametrize(
    ("source", "convention", "target", "expected"),
    [
        ("O I-A I-A B-A", "conll", BIO, "O B-A I-A B-A"),
        ("O I-A I-A B-A", "strict", BIO, "O O O B-A"),
        ("B-A I-B I-B", "conll", BIOES, "S-A B-B E-B"),
        ("B-A I-B I-B", "strict", BIOES, "S-A O O"),
        ("B-A I-A B-A B-B", "conll", IOB1, "I-A I-A B-A I-B"),
    ],
)
def test_a_repaired_tag_is_repaired_as_the_convention_says(source, convention, target, expected):
    assert convert(source.split(), BIO, target, convention) == expected.split()


@schemes
@given(st.lists(rows_of_spans(), min_size=1, max_size=4))
def test_a_scheme_is_recognised_from_its_tags(scheme, rows):
    written = [to_tags(spans, length, scheme) for spans, length in rows]
    if any(spans for spans, _ in rows):
        assert guess_scheme(written) is scheme
    else:
        assert guess_scheme(written) is BIO


def test_the_guess_survives_a_few_mistakes():
    sound = to_tags([Span(0, 2, "A"), Span(3, 4, "B"), Span(5, 6, "A")], 7, BIO)
    assert guess_scheme([sound, sound, ["O", "I-A", "I-A"]]) is BIO


@pytest.mark.parametrize(
    "bad", ["", "B", "B-", "-PER", "X-PER", "b-PER", "BPER", "o", "O-PER", "B_PER", " O"]
)
def test_what_is_no_tag_is_refused_and_quoted(bad):
    with pytest.raises(TagError) as caught:
        parse(bad)
    assert repr(bad) in str(caught.value)
    assert "B-PER" in str(caught.value.expected)


@pytest.mark.parametrize("scheme", [BIO, IOB1], ids=lambda s: s.name)
@pytest.mark.parametrize("convention", list(Convention))
def test_a_prefix_of_another_scheme_is_refused(scheme, convention):
    with pytest.raises(TagError, match=scheme.name) as caught:
        to_spans(["O", "S-PER"], scheme, convention)
    assert "S-PER" in str(caught.value)


@pytest.mark.parametrize("span", [Span(0, 0, "A"), Span(2, 1, "A"), Span(-1, 1, "A"), Span(2, 4, "A")])
def test_a_span_outside_its_post_is_refused(span):
    with pytest.raises(TagError, match="within its post"):
        to_tags([span], 3)


@pytest.mark.parametrize(
    "spans",
    [
        [Span(0, 2, "A"), Span(1, 3, "B")],
        [Span(0, 3, "A"), Span(1, 2, "A")],
        [Span(0, 1, "A"), Span(0, 1, "A", 0.5)],  # gold and predicted, otherwise the same
    ],
)
def test_overlapping_spans_are_refused(spans):
    with pytest.raises(TagError, match="overlap"):
        to_tags(spans, 3)


def test_names_of_tags():
    assert tag_names(["A", "B"], BIO) == ("O", "B-A", "I-A", "B-B", "I-B")
    assert tag_names(["A"], BIOES) == ("O", "B-A", "I-A", "E-A", "S-A")
    assert tag_names([], IOB1) == ("O",)


def test_schemes_are_found_by_name_and_misspelt_ones_get_the_nearest():
    assert scheme_named("bioes") is BIOES
    with pytest.raises(UsageError, match="BIOES"):
        scheme_named("BIOE")


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="lenient"):
        to_spans(["O"], BIO, "lenient")


@pytest.mark.data
@pytest.mark.parametrize(
    ("split", "strays", "lenient", "strict"),
    [("train", 186, 6352, 6166), ("valid", 53, 1594, 1541), ("test", 135, 5207, 5072)],
)
def test_real_tags_that_break_their_scheme(real_data, split, strays, lenient, strict):
    """Twitter-2015, whose numbers were counted with another program."""
    lines = (real_data / "twitter2015" / f"{split}.txt").read_text(encoding="utf-8").split("\n")
    rows: list[list[str]] = [[]]
    for line in lines:
        if "\t" in line:
            rows[-1].append(line.split("\t")[1].strip())
        elif not line:
            rows.append([])
    assert guess_scheme(rows) is BIO
    found = sum(is_stray(row[i - 1] if i else "O", one, BIO) for row in rows for i, one in enumerate(row))
    assert found == strays
    assert sum(len(to_spans(row, BIO, "conll")) for row in rows) == lenient
    assert sum(len(to_spans(row, BIO, "strict")) for row in rows) == strict
