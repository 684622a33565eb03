"""Sampling: sizes, nesting, determinism; few-shot samples against their definition."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mner import Post
from mner.data import read_folder
from mner.data.sampling import count_mentions, sample_posts, sample_shots
from mner.errors import DataError, UsageError

TAGS = ["O", "B-PER", "B-LOC", "B-ORG"]


def a_post(tags: list[str], name: str = "") -> Post:
    return Post.from_words([f"w{place}" for place in range(len(tags))], id=name, tags=tags)


@st.composite
def splits(draw: st.DrawFn) -> list[Post]:
    rows = draw(st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=5), min_size=1, max_size=25))
    return [a_post(tags, str(number)) for number, tags in enumerate(rows)]


def labels(post: Post) -> Counter[str]:
    return Counter(tag[2:] for tag in post.tags or () if tag != "O")


def names(posts: list[Post]) -> list[int]:
    return [int(post.id) for post in posts]


@given(splits(), st.data(), st.integers())
def test_a_sample_has_its_size_no_post_twice_and_the_order_of_the_split(posts, data, seed):
    count = data.draw(st.integers(1, len(posts)))
    drawn = sample_posts(posts, count=count, seed=seed)
    assert len(drawn) == count
    assert names(drawn) == sorted(set(names(drawn)))
    assert drawn == sample_posts(posts, count=count, seed=seed)
    smaller = sample_posts(posts, count=data.draw(st.integers(1, count)), seed=seed)
    assert set(names(smaller)) <= set(names(drawn))


@given(splits(), st.floats(0.001, 1), st.integers())
def test_a_share_is_a_count(posts, share, seed):
    drawn = sample_posts(posts, share=share, seed=seed)
    assert abs(len(drawn) - share * len(posts)) <= 0.5 or len(drawn) == 1
    assert drawn == sample_posts(posts, count=len(drawn), seed=seed)
    assert sample_posts(posts, share=1.0, seed=seed) == posts


def test_every_post_is_drawn_about_equally_often():
    posts = [a_post(["O"], str(number)) for number in range(10)]
    seen = Counter(name for seed in range(2000) for name in names(sample_posts(posts, count=3, seed=seed)))
    # 600 expected; five standard deviations of a binomial with p = 0.3 are 102.
    assert all(abs(seen[name] - 600) < 103 for name in range(10))


@given(splits(), st.integers(1, 6), st.integers())
def test_shots_are_never_exceeded_and_no_post_could_be_added(posts, shots, seed):
    assume(any(0 < max(labels(post).values(), default=0) <= shots for post in posts))
    drawn = sample_shots(posts, shots, seed)
    assert drawn == sample_shots(posts, shots, seed)
    assert names(drawn) == sorted(set(names(drawn)))
    total: Counter[str] = Counter()
    for post in drawn:
        assert labels(post)
        total += labels(post)
    assert all(number <= shots for number in total.values())
    assert total == Counter(count_mentions(drawn))
    left_out = [post for post in posts if post not in drawn and labels(post)]
    for post in left_out:
        assert max((total + labels(post)).values()) > shots


def test_a_rare_type_is_served_before_a_frequent_one_fills_up():
    # Every post with ORG has PER too: were PER served first, other posts could use its mentions up.
    posts = [a_post(["B-PER"]) for _ in range(50)] + [a_post(["B-PER", "B-ORG"]) for _ in range(3)]
    for seed in range(20):
        assert count_mentions(sample_shots(posts, 3, seed)) == {"ORG": 3, "PER": 3}


def drawn_one_by_one(posts, shots, seed):
    """Algorithm 1 of Yang and Katiyar (2020) as it stands: draw a post with the type until the type has enough."""
    source = random.Random(seed)
    keys = [source.random() for _ in posts]
    total = sum((labels(post) for post in posts), Counter())
    chosen, counts = set(), Counter()
    for label in sorted(total, key=lambda name: (total[name], name)):
        while counts[label] < shots:
            able = [
                place for place, post in enumerate(posts) if label in labels(post) and place not in chosen
            ]
            if not able:
                break
            place = min(able, key=keys.__getitem__)
            chosen.add(place)
            counts += labels(posts[place])
    return [posts[place] for place in sorted(chosen)]


@given(splits(), st.integers(1, 6), st.integers())
def test_at_least_so_many_shots_are_drawn_one_after_the_other(posts, shots, seed):
    available = Counter(count_mentions(posts))
    assume(available)
    drawn = sample_shots(posts, shots, seed, bound="at-least")
    assert names(drawn) == names(drawn_one_by_one(posts, shots, seed))
    total = Counter(count_mentions(drawn))
    assert all(total[label] >= min(shots, number) for label, number in available.items())
    # Enough is enough: each type takes one post a missing mention, no more.
    assert len(drawn) <= sum(min(shots, number) for number in available.values())


def test_seeds_draw_different_samples():
    posts = [a_post(["B-PER"], str(number)) for number in range(50)]
    assert len({tuple(names(sample_posts(posts, count=5, seed=seed))) for seed in range(20)}) == 20
    assert len({tuple(names(sample_shots(posts, 5, seed))) for seed in range(20)}) == 20


@pytest.mark.parametrize(
    ("size", "error"),
    [
        ({}, UsageError),
        ({"count": 1, "share": 0.5}, UsageError),
        ({"count": 0}, UsageError),
        ({"share": 0.0}, UsageError),
        ({"share": 1.1}, UsageError),
        ({"share": float("nan")}, UsageError),
        ({"count": 3}, DataError),
    ],
)
def test_a_size_that_cannot_be_is_refused(size, error):
    with pytest.raises(error):
        sample_posts([a_post(["O"]), a_post(["O"])], seed=1, **size)


def test_an_empty_split_and_posts_without_gold_are_refused():
    with pytest.raises(DataError):
        sample_posts([], share=0.5, seed=1)
    with pytest.raises(DataError, match="at most 1 of a type"):
        sample_shots([a_post(["O"]), a_post(["B-PER", "B-PER"])], 1, seed=1)
    with pytest.raises(DataError, match="no gold"):
        sample_shots([Post.from_text("no tags")], 1, seed=1)
    with pytest.raises(UsageError):
        sample_shots([a_post(["B-PER"])], 0, seed=1)
    with pytest.raises(DataError, match="posts with one mention or more\\. Got: 1 posts with 0 mentions"):
        sample_shots([a_post(["O"])], 1, seed=1, bound="at-least")
    # What is too much for one bound is fine for the other.
    assert len(sample_shots([a_post(["B-PER", "B-PER"])], 1, seed=1, bound="at-least")) == 1


@pytest.mark.data
def test_shots_of_a_real_domain_come_close_to_their_number(real_data):
    """With whole sentences of up to a dozen mentions each type gets most of what it may have."""
    posts = read_folder(real_data / "crossner" / "ai").split("train")
    available = count_mentions(posts)
    for shots in (5, 20):
        drawn = count_mentions(sample_shots(posts, shots, seed=1))
        assert max(drawn.values()) <= shots
        reachable = sum(min(shots, number) for number in available.values())
        assert sum(drawn.values()) >= 0.6 * reachable
