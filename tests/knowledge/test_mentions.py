"""Mentions out of answers: places, refusals, and whatever form models give JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner import Post
from mner.knowledge.mentions import (
    INVENTED,
    MALFORMED,
    TAKEN,
    UNKNOWN_TYPE,
    UNREADABLE,
    read_mentions,
)

LABELS = ("PER", "LOC", "ORG", "MISC")
POST = Post.from_text("Paris Hilton met Ann in Paris , again in paris : #Ann's 😀 Annual  Ball")


def answer(*entries):
    return json.dumps({"entities": [{"text": text, "type": label} for text, label in entries]})


def found(text, post=POST):
    return [(one.text, one.label, one.start) for one in read_mentions(text, post, LABELS).entities]


def test_mentions_stand_where_the_text_has_them():
    got = read_mentions(answer(("Paris Hilton", "PER"), ("Paris", "LOC"), ("Ann", "per")), POST, LABELS)
    assert [(one.text, one.label) for one in got.entities] == [
        ("Paris Hilton", "PER"),
        ("Ann", "PER"),
        ("Paris", "LOC"),
    ]
    assert got.entities[2].start == POST.text.index("Paris ,")
    assert all(POST.text[one.start : one.end] == one.text and one.score is None for one in got.entities)
    assert not got.refused


def test_a_name_that_is_given_again_takes_its_next_place_and_then_none():
    got = read_mentions(answer(*[("Paris", "LOC")] * 4), POST, LABELS)
    assert [one.text for one in got.entities] == ["Paris", "Paris", "paris"]
    assert got.refused == {TAKEN: 1}


def test_part_of_a_word_takes_the_word_and_a_beginning_of_another_word_is_none():
    post = Post.from_words(["#Trump", "in", "Annual", "LA-based", "x"])
    got = read_mentions(answer(("Trump", "PER"), ("Ann", "PER"), ("LA", "LOC")), post, LABELS)
    assert [(one.text, one.start) for one in got.entities] == [("#Trump", 0), ("LA-based", 17)]
    assert got.refused == {INVENTED: 1}


def test_white_space_within_a_mention_may_be_any():
    assert found(answer(("Annual Ball", "MISC"))) == [("Annual  Ball", "MISC", POST.text.index("Annual"))]


def test_what_is_not_in_the_text_not_a_type_or_not_whole_is_refused_and_counted():
    text = json.dumps(
        [
            {"text": "Nicky Hilton", "type": "PER"},
            {"text": "Ann", "type": "WOMAN"},
            {"text": "Hilton"},
            {"text": "", "type": "PER"},
            {"text": " ", "type": "PER"},
            {"text": "Paris Hilton", "type": "PER"},
            {"text": "Hilton", "type": "ORG"},
        ]
    )
    got = read_mentions(text, POST, LABELS)
    assert [one.text for one in got.entities] == ["Paris Hilton"]
    assert got.refused == {INVENTED: 2, UNKNOWN_TYPE: 1, MALFORMED: 2, TAKEN: 1}


@pytest.mark.parametrize(
    "text",
    [
        '{"entities": [{"text": "Ann", "type": "PER"}]}',
        '[{"text": "Ann", "type": "PER"}]',
        '{"text": "Ann", "type": "PER"}',
        '```json\n{"entities": [{"mention": "Ann", "label": "PER"}]}\n```',
        'Here [1] is it: {"entities": [{"entity": "Ann", "type": "PER"}]} {really}',
        '<think>{"entities": []}</think>\n{"entities": [{"text": "Ann", "type": "PER"}]}',
    ],
)
def test_forms_that_models_give_are_read(text):
    assert [one[:2] for one in found(text)] == [("Ann", "PER")]


@pytest.mark.parametrize(
    "text", ["", "none", "Ann is a PER", '{"entities": [{"text": "Ann"', "[1, 2]", "[" * 9999]
)
def test_an_answer_of_no_such_form_is_unreadable_and_no_error(text):
    got = read_mentions(text, POST, LABELS)
    assert (got.entities, got.readable) == ((), False)
    assert got.refused == {UNREADABLE: 1}


def test_an_empty_list_is_an_answer():
    got = read_mentions('{"entities": []}', POST, LABELS)
    assert (got.entities, got.readable, got.refused.total()) == ((), True, 0)


WORDS = st.lists(st.sampled_from(["Ann", "Paris", "New", "York", "in", "😀", "(x)", "a+b", "中"]), min_size=1)


@given(WORDS, st.data())
def test_the_gold_of_a_post_given_as_an_answer_comes_back(words, data):
    """Where every mention is told in the order of the text, places are right whatever repeats."""
    post = Post.from_words(words)
    spans = []
    place = 0
    while place < len(words):
        end = data.draw(st.integers(place, min(place + 2, len(words))))
        if end > place:
            spans.append((place, end, data.draw(st.sampled_from(LABELS))))
        place = max(end, place + 1)
    # A name left out before its like would take the earlier place: then all of them have to be told.
    covered = {place for start, end, _ in spans for place in range(start, end)}
    spans = spans if len(covered) == len(words) else []
    gold = tuple((post.offsets[start][0], post.offsets[end - 1][1], label) for start, end, label in spans)
    text = answer(*[(post.text[start:end], label) for start, end, label in gold])
    got = read_mentions(text, post, LABELS)
    assert tuple((one.start, one.end, one.label) for one in got.entities) == gold


@given(st.text(max_size=60), st.lists(st.tuples(st.text(max_size=8), st.sampled_from(LABELS)), max_size=6))
def test_entities_are_words_of_the_text_in_order_whatever_is_said(text, entries):
    post = Post.from_text(text)
    got = read_mentions(answer(*entries), post, LABELS)
    starts, ends = {one[0] for one in post.offsets}, {one[1] for one in post.offsets}
    last = 0
    for one in got.entities:
        assert one.start in starts
        assert one.end in ends
        assert last <= one.start < one.end
        assert text[one.start : one.end] == one.text
        last = one.end
    assert len(got.entities) + got.refused.total() == len(entries)
