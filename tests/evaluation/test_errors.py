"""Error classes against a search of all pairings, confusion against scikit-learn, differences by definition."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from mner.errors import DataError
from mner.evaluation.errors import (
    ERROR_COLUMNS,
    ErrorClass,
    confusion,
    differences,
    find_errors,
)
from mner.evaluation.scores import identity, score
from mner.posts import Entity

TEXT = "abcdefghij"
LABELS = ("LOC", "ORG", "PER")


def entity(start: int, end: int, label: str) -> Entity:
    return Entity(TEXT[start:end], label, start, end)


@st.composite
def _apart(draw) -> list[Entity]:
    """Entities of one post that do not overlap, as every decoder gives them."""
    borders = sorted(draw(st.sets(st.integers(0, len(TEXT)), max_size=6)))
    pairs = list(zip(borders[::2], borders[1::2], strict=False))
    return [entity(start, end, draw(st.sampled_from(LABELS))) for start, end in pairs]


any_entities = st.lists(
    st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from(LABELS)).map(
        lambda parts: entity(parts[0], min(parts[0] + parts[1], len(TEXT)), parts[2])
    ),
    max_size=4,
)
posts_apart = st.lists(st.tuples(_apart(), _apart()), max_size=4)
posts_any = st.lists(st.tuples(any_entities, any_entities), max_size=3)


def unzip(posts):
    return [true for true, _ in posts], [found for _, found in posts]


@pytest.mark.parametrize(
    ("gold", "predicted", "kind", "label"),
    [
        ([entity(0, 3, "PER")], [], ErrorClass.MISSED, "PER"),
        ([], [entity(0, 3, "ORG")], ErrorClass.SPURIOUS, "ORG"),
        ([entity(0, 3, "PER")], [entity(1, 3, "PER")], ErrorClass.BORDER, "PER"),
        ([entity(0, 3, "PER")], [entity(0, 3, "ORG")], ErrorClass.TYPE, "PER"),
        ([entity(0, 3, "PER")], [entity(2, 5, "ORG")], ErrorClass.BOTH, "PER"),
    ],
)
def test_each_class(gold, predicted, kind, label):
    report = find_errors([gold], [predicted])
    (error,) = report.errors
    assert (error.kind, error.label) == (kind, label)
    assert report.counts()[kind][label] == 1
    assert sum(sum(of.values()) for of in report.counts().values()) == 1


def test_neighbours_that_only_touch_are_missed_and_spurious():
    report = find_errors([[entity(0, 3, "PER")]], [[entity(3, 5, "PER")]])
    assert {error.kind for error in report.errors} == {ErrorClass.MISSED, ErrorClass.SPURIOUS}


def test_the_pair_that_shares_most_comes_first():
    # One prediction over two gold entities of its type belongs to the longer one.
    report = find_errors([[entity(0, 2, "PER"), entity(3, 8, "PER")]], [[entity(0, 8, "PER")]])
    found = {error.kind: error for error in report.errors}
    assert set(found) == {ErrorClass.BORDER, ErrorClass.MISSED}
    assert found[ErrorClass.BORDER].gold == entity(3, 8, "PER")
    assert found[ErrorClass.MISSED].gold == entity(0, 2, "PER")


@given(posts_any)
def test_classes_add_up_to_gold_and_predicted(posts):
    gold, predicted = unzip(posts)
    report = find_errors(gold, predicted)
    scores = score(gold, predicted)
    for row in report.rows()[:-1]:
        label, right, missed, spurious, border, kind, both = row
        counts = scores.per_type[label]
        assert right == counts.correct
        assert right + missed + border + kind + both == counts.gold
    assert report.rows()[-1][0] == "all"
    _, right, missed, spurious, border, kind, both = report.rows()[-1]
    overall = scores.overall
    assert (right, right + missed + border + kind + both) == (overall.correct, overall.gold)
    assert right + spurious + border + kind + both == overall.predicted
    assert len(ERROR_COLUMNS) == len(report.rows()[-1])


@given(posts_any)
def test_each_entity_is_in_one_error_at_most_and_in_the_right_class(posts):
    gold, predicted = unzip(posts)
    for error in find_errors(gold, predicted).errors:
        true, found = error.gold, error.predicted
        if true is not None and found is not None:
            assert max(true.start, found.start) < min(true.end, found.end)
            same_span = (true.start, true.end) == (found.start, found.end)
            same_type = true.label == found.label
            assert not (same_span and same_type)
            expected = {
                (True, False): ErrorClass.TYPE,
                (False, True): ErrorClass.BORDER,
                (False, False): ErrorClass.BOTH,
            }
            assert error.kind is expected[same_span, same_type]
    for number in range(len(posts)):
        mine = [error for error in find_errors(gold, predicted).errors if error.post == number]
        wanted = Counter(map(identity, gold[number]))
        given_ = Counter(map(identity, predicted[number]))
        right = wanted & given_
        assert Counter(identity(e.gold) for e in mine if e.gold) == wanted - right
        assert Counter(identity(e.predicted) for e in mine if e.predicted) == given_ - right


@given(posts_apart)
@settings(max_examples=60)
def test_where_entities_do_not_overlap_no_pairing_has_more_wrong_types(posts):
    # By enumeration: among all one-to-one pairings of what overlaps, none has more pairs of equal span, and
    # among those with as many, none that leaves gold and prediction unpaired which still overlap.
    gold, predicted = unzip(posts)
    report = find_errors(gold, predicted)
    for number in range(len(posts)):
        right = set(map(identity, gold[number])) & set(map(identity, predicted[number]))
        wanted = [one for one in gold[number] if identity(one) not in right]
        given_ = [one for one in predicted[number] if identity(one) not in right]
        mine = [error for error in report.errors if error.post == number]
        same_spans = sum((a.start, a.end) == (b.start, b.end) for a, b in product(wanted, given_))
        assert sum(error.kind is ErrorClass.TYPE for error in mine) == same_spans
        missed = [error.gold for error in mine if error.kind is ErrorClass.MISSED]
        spurious = [error.predicted for error in mine if error.kind is ErrorClass.SPURIOUS]
        assert not any(max(a.start, b.start) < min(a.end, b.end) for a, b in product(missed, spurious))


@given(posts_apart)
def test_confusion_is_that_of_scikit_learn(posts):
    gold, predicted = unzip(posts)
    rows, columns = [], []
    for true, found in posts:
        a = {(one.start, one.end): one.label for one in true}
        b = {(one.start, one.end): one.label for one in found}
        for span in a.keys() | b.keys():
            rows.append(a.get(span, "none"))
            columns.append(b.get(span, "none"))
    result = confusion(gold, predicted, LABELS)
    assert result.labels == LABELS
    expected = (
        confusion_matrix(rows, columns, labels=[*LABELS, "none"]) if rows else np.zeros((4, 4), dtype=int)
    )
    assert result.matrix.tolist() == expected.tolist()


@given(posts_any)
def test_rows_are_gold_and_columns_predicted_even_where_entities_overlap(posts):
    gold, predicted = unzip(posts)
    result = confusion(gold, predicted)
    scores = score(gold, predicted)
    for number, label in enumerate(result.labels):
        counts = scores.per_type[label]
        assert result.matrix[number].sum() == counts.gold
        assert result.matrix[:, number].sum() == counts.predicted
        assert result.matrix[number, number] == counts.correct
    assert result.matrix[-1, -1] == 0


def test_a_type_called_none_is_not_taken_for_no_entity():
    result = confusion([[entity(0, 2, "none")]], [[]])
    assert result.names == ("none", "none")
    assert result.matrix.tolist() == [[0, 1], [0, 0]]


def test_unknown_types_are_put_behind_the_given_ones():
    result = confusion([[entity(0, 2, "PER")]], [[entity(0, 2, "LOC")]], ["PER"])
    assert result.labels == ("PER", "LOC")
    assert result.matrix.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


@given(st.lists(st.tuples(_apart(), _apart(), _apart()), max_size=4))
def test_differences_are_the_posts_with_other_entities(posts):
    gold, first, second = ([post[place] for post in posts] for place in range(3))
    found = {one.post: one for one in differences(gold, first, second)}
    for number, (true, one, other) in enumerate(posts):
        sets = [set(map(identity, entities)) for entities in (true, one, other)]
        assert (number in found) == (sets[1] != sets[2])
        if number in found:
            wrong = len(sets[0] ^ sets[1]), len(sets[0] ^ sets[2])
            assert (found[number].first_errors, found[number].second_errors) == wrong
            better = "neither" if wrong[0] == wrong[1] else "first" if wrong[0] < wrong[1] else "second"
            assert found[number].better == better


def test_other_numbers_of_posts_are_refused():
    with pytest.raises(DataError, match="not of the same posts"):
        find_errors([[]], [])
    with pytest.raises(DataError, match="not of the same posts"):
        confusion([[]], [[], []])
    with pytest.raises(DataError, match="not of the same posts"):
        differences([[], []], [[], []], [[]])
