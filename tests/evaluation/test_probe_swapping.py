"""Own, another and no picture: who gets whose, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mner.errors import DataError
from mner.evaluation.probe_swapping import probe_posts, swapped, without_picture
from mner.posts import Entity, Knowledge, Post


def post(number, image, **fields):
    return Post.from_text(
        "Ada reads",
        id=str(number),
        image=None if image is None else Path(f"{image}.png"),
        entities=(Entity("Ada", "PER" if (image or 0) % 2 else "LOC", 0, 3),),
        **fields,
    )


@settings(max_examples=200)
@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=12), st.integers(0, 9))
def test_everyone_gets_another_picture_and_each_is_used_once(images, seed):
    posts = [post(number, image) for number, image in enumerate(images)]
    holders = [image for image in images if image is not None]
    most = max((holders.count(image) for image in holders), default=0)
    if 2 * most > len(holders):
        with pytest.raises(DataError, match="swapped"):
            swapped(posts, seed)
        return
    given_to = swapped(posts, seed)
    assert [one.id for one in given_to] == [one.id for one in posts]
    assert [one.entities for one in given_to] == [one.entities for one in posts]
    for before, after in zip(posts, given_to, strict=True):
        assert (before.image is None) == (after.image is None)
        assert before.image is None or before.image != after.image
    assert sorted(str(one.image) for one in given_to) == sorted(str(one.image) for one in posts)


def test_what_is_said_goes_with_the_picture():
    first = post(1, 1, knowledge=(Knowledge("caption", "a harbour"),), alt="one")
    second = post(
        2, 2, knowledge=(Knowledge("caption", "a dog"), Knowledge("relevance", score=0.1)), alt="two"
    )
    third = post(3, None)
    after = swapped([first, second, third])
    assert (after[0].image, after[0].alt, after[0].knowledge) == (second.image, "two", second.knowledge)
    assert (after[1].image, after[1].alt, after[1].knowledge) == (first.image, "one", first.knowledge)
    assert after[2] == third
    bare = without_picture(second)
    assert (bare.image, bare.alt, bare.knowledge, bare.text) == (None, None, (), second.text)


def test_knowledge_alone_is_swapped_too():
    posts = [post(number, None, knowledge=(Knowledge("caption", f"text {number}"),)) for number in range(6)]
    after = swapped(posts, seed=2)
    assert all(a.knowledge != b.knowledge for a, b in zip(posts, after, strict=True))
    assert swapped(posts, seed=2) == after


def test_the_seed_decides_who_gets_whose():
    posts = [post(number, number) for number in range(40)]
    assert swapped(posts, seed=1) == swapped(posts, seed=1) != swapped(posts, seed=2)


class Looker:
    """Types every name by its picture's number, as `post` does."""

    def predict(self, posts, *, progress=None):
        del progress
        numbers = [None if one.image is None else int(one.image.stem) for one in posts]
        return [
            [] if number is None else [Entity("Ada", "PER" if number % 2 else "LOC", 0, 3, 1.0)]
            for number in numbers
        ]


class Ignorant:
    """Sees nothing."""

    def predict(self, posts, *, progress=None):
        del progress
        return [[Entity("Ada", "PER", 0, 3, 1.0)] for _ in posts]


def test_who_looks_loses_by_another_picture_and_who_does_not_does_not():
    posts = [post(number, number) for number in range(60)]
    looked = probe_posts(Looker(), posts, samples=300)
    assert looked.scores["own"].overall.f1 == 1.0
    assert looked.scores["none"].overall.f1 == 0.0
    parities = [
        (int(a.image.stem) + int(b.image.stem)) % 2 for a, b in zip(posts, swapped(posts, 1), strict=True)
    ]
    assert looked.scores["swapped"].overall.f1 == pytest.approx(parities.count(0) / 60)
    assert looked.differences["swapped"].difference.low > 0
    assert looked.differences["swapped"].p_value < 0.01
    ignored = probe_posts(Ignorant(), posts, samples=300)
    assert ignored.scores["own"] == ignored.scores["swapped"] == ignored.scores["none"]
    assert ignored.differences["none"].difference.value == 0
    assert ignored.differences["none"].p_value == 1.0
    document = looked.as_dict()
    assert document["own_less"]["swapped"]["value"] == pytest.approx(1 - parities.count(0) / 60)
    assert document["modes"]["own"]["f1_interval"]["low"] == 1.0


def test_posts_without_any_picture_cannot_be_probed():
    with pytest.raises(DataError, match="nothing to probe"):
        probe_posts(Looker(), [post(1, None), post(2, None)])
