"""Seen and unseen mentions: by hand, and by a count over tuples that knows nothing of the classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.evaluation.overlap import (
    Familiarity,
    Mentions,
    folded,
    seen_scores,
    train_test_overlap,
)
from mner.evaluation.scores import Counts, score
from mner.posts import Entity, Post

NAMES = ("Paris", "PARIS", "Rome", "Apple")
LABELS = ("LOC", "PER")


def post(words: str, tags: str, identity: str = "") -> Post:
    return Post.from_words(words.split(), tags=tags.split(), id=identity)


TRAIN = [
    post("Ada saw Paris", "B-PER O B-LOC", "a"),
    post("New York and APPLE", "B-LOC I-LOC O B-ORG", "b"),
]


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        ("Paris", "LOC", Familiarity.SEEN),
        ("PARIS", "LOC", Familiarity.SEEN),
        ("paris", "PER", Familiarity.OTHER_TYPE),
        ("new \n york", "LOC", Familiarity.SEEN),
        ("York", "LOC", Familiarity.UNSEEN),
        ("apple", "ORG", Familiarity.SEEN),
    ],
)
def test_familiarity(text, label, expected):
    mentions = Mentions(post.gold() for post in TRAIN)
    assert mentions.familiarity(Entity(text, label, 0, len(text))) is expected


def test_folding_is_unicode_case_folding():
    assert folded(" Straße \t 1") == folded("STRASSE 1")


def test_scores_of_the_parts_by_hand():
    test = [post("Paris met Rome", "B-LOC O B-LOC"), post("ada in Oslo", "B-PER O B-LOC")]
    gold = [one.gold() for one in test]
    predicted = [
        [Entity("Paris", "LOC", 0, 5), Entity("Rome", "PER", 10, 14)],
        [Entity("ada", "LOC", 0, 3), Entity("Oslo", "LOC", 7, 11)],
    ]
    found = seen_scores(Mentions(one.gold() for one in TRAIN), gold, predicted)
    # Gold: Paris and ada are seen, Rome and Oslo are not. Predicted: Paris seen, ada as another type.
    assert found.parts[Familiarity.SEEN] == Counts(gold=2, predicted=1, correct=1)
    assert found.parts[Familiarity.OTHER_TYPE] == Counts(gold=0, predicted=1, correct=0)
    assert found.parts[Familiarity.UNSEEN] == Counts(gold=2, predicted=2, correct=1)
    rows = {row[0]: row[1:] for row in found.rows()}
    # Without gold there is no recall, but there is a precision.
    assert rows["seen as another type"] == (0.0, None, 0.0, 0, 1, 0)
    assert found.as_dict()["parts"]["seen"]["recall"] == 0.5


# All posts read alike, with a name at every tenth character.
entities = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(LABELS)).map(
        lambda parts: Entity(NAMES[parts[0]], parts[1], 10 * parts[0], 10 * parts[0] + len(NAMES[parts[0]]))
    ),
    max_size=4,
)


@given(st.lists(entities, max_size=3), st.lists(st.tuples(entities, entities), max_size=4))
def test_the_parts_add_up_and_are_those_of_a_plain_count(train, posts):
    gold, predicted = [true for true, _ in posts], [found for _, found in posts]
    result = seen_scores(Mentions(train), gold, predicted)
    total = sum(result.parts.values(), Counts())
    assert total == score(gold, predicted).overall
    pairs = {(one.text.lower(), one.label) for entities in train for one in entities}
    texts = {text for text, _ in pairs}
    wanted = [one for entities in gold for one in entities]
    seen = sum((one.text.lower(), one.label) in pairs for one in wanted)
    unseen = sum(one.text.lower() not in texts for one in wanted)
    assert result.parts[Familiarity.SEEN].gold == seen
    assert result.parts[Familiarity.UNSEEN].gold == unseen


def test_overlap_counts_posts_mentions_and_different_mentions():
    test = [
        post("ada saw paris", "B-PER O B-LOC", "x"),
        post("PARIS and paris", "B-LOC O B-PER", "a"),
        post("nothing here", "O O", "y"),
    ]
    found = train_test_overlap(TRAIN, test)
    assert (found.posts.by_text, found.posts.by_id, found.posts.either) == (1, 1, 2)
    assert found.mentions == {
        Familiarity.SEEN: 3,
        Familiarity.OTHER_TYPE: 1,
        Familiarity.UNSEEN: 0,
    }
    # Paris as a place stands there twice.
    assert found.different[Familiarity.SEEN] == 2
    assert found.as_dict()["posts"]["all"] == 3
