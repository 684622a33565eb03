"""Data sets: splits, types, fingerprint, types renamed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner import Entity, Post
from mner.data import Dataset
from mner.data.dataset import labels_of, rename_labels
from mner.errors import DataError
from mner.tags import BIO, BIOES, IOB1, Span, to_spans, to_tags

POST = Post.from_words(["New", "York", "won"], id="1", tags=("B-LOC", "I-LOC", "O"))


def test_a_split_has_customary_names_and_an_absent_one_lists_those_there():
    dataset = Dataset("mine", {"train": [POST], "valid": []})
    assert dataset.split("dev") is dataset.split("valid") is dataset.splits["valid"]
    with pytest.raises(DataError) as caught:
        dataset.split("test")
    assert "no split 'test'" in str(caught.value)
    assert "train (1 posts), valid (0 posts)" in str(caught.value)


def test_labels_come_from_tags_and_entities_of_all_splits():
    other = Post.from_text("a b", entities=(Entity("a", "ZZ", 0, 1),))
    dataset = Dataset("mine", {"train": [POST], "test": [other, Post.from_text("c")]})
    assert dataset.labels == ("LOC", "ZZ")
    assert labels_of([other]) == ("ZZ",)


CHANGES = [
    {"id": "2"},
    {"text": "New York lost"},
    {"words": ("New", "York", "wo"), "offsets": ((0, 3), (4, 8), (9, 11))},
    {"tags": ("B-LOC", "B-LOC", "O")},
    {"scheme": IOB1},
    {"entities": ()},
    {"entities": (Entity("New", "LOC", 0, 3),)},
    {"alt": ""},
    {"image": Path("a/1.jpg")},
    {"image": Path("a/2.jpg")},
    {"image": b"1"},
]


def test_the_fingerprint_changes_with_every_part_of_a_post_and_with_nothing_else():
    prints = {Dataset("x", {"train": [POST.with_fields(**change)]}).fingerprint for change in ({}, *CHANGES)}
    assert len(prints) == len(CHANGES) + 1
    here, there = ({"image": Path(folder) / "1.jpg"} for folder in ("here", "there"))
    assert (
        Dataset("a", {"train": [POST.with_fields(**here)]}).fingerprint
        == Dataset("b", {"train": [POST.with_fields(**there)]}).fingerprint
    )


def test_the_fingerprint_tells_where_a_post_stands():
    other = POST.with_fields(id="2")
    prints = {
        Dataset("x", splits).fingerprint
        for splits in (
            {"train": [POST, other]},
            {"train": [other, POST]},
            {"train": [POST], "valid": [other]},
            {"valid": [POST, other]},
            {"train": [POST, other], "valid": []},
        )
    }
    assert len(prints) == 5


def test_types_are_renamed_in_tags_and_entities():
    entities = (Entity("b", "OTHER", 2, 3, 0.5), Entity("a", "PER", 0, 1))
    posts = [
        Post.from_words(["a", "b"], tags=("B-OTHER", "I-PER")),
        Post.from_text("a b", entities=entities),
        Post.from_text("c"),
    ]
    tags, spans, bare = rename_labels(posts, {"OTHER": "MISC", "ABSENT": "X"})
    assert tags.tags == ("B-MISC", "I-PER")
    assert spans.entities == (Entity("b", "MISC", 2, 3, 0.5), Entity("a", "PER", 0, 1))
    assert bare == posts[2]


@st.composite
def spans_and_length(draw):
    borders = sorted(draw(st.sets(st.integers(0, 12), min_size=2)))
    spans = [
        Span(start, end, draw(st.sampled_from(["GPE", "LOC", "PER"])))
        for start, end in itertools.pairwise(borders)
        if draw(st.booleans())
    ]
    return spans, 12


@pytest.mark.parametrize("scheme", [BIO, IOB1, BIOES], ids=lambda scheme: scheme.name)
@given(drawn=spans_and_length())
def test_two_types_made_one_do_not_melt_neighbours_together(scheme, drawn):
    spans, length = drawn
    post = Post.from_words(["w"] * length, tags=tuple(to_tags(spans, length, scheme)), scheme=scheme)
    (renamed,) = rename_labels([post], {"GPE": "LOC"})
    wanted = [Span(s.start, s.end, "LOC" if s.label == "GPE" else s.label) for s in spans]
    assert to_spans(renamed.tags, scheme) == wanted
    assert to_spans(renamed.tags, scheme, "strict") == wanted


@given(st.lists(st.sampled_from(["O", "B-GPE", "I-GPE", "B-LOC", "I-LOC", "I-PER"]), max_size=8))
def test_stray_tags_too(tags):
    post = Post.from_words(["w"] * len(tags), tags=tuple(tags))
    (renamed,) = rename_labels([post], {"GPE": "LOC"})
    wanted = [(s.start, s.end, "LOC" if s.label == "GPE" else s.label) for s in to_spans(tags)]
    assert [tuple(s[:3]) for s in to_spans(renamed.tags)] == wanted
