"""Windows cover all words, stay within their capacity, and each word is read furthest from an edge."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.encoding.windows import choose_windows, plan_windows
from mner.errors import UsageError

CASES = st.integers(4, 20).flatmap(
    lambda capacity: st.tuples(
        st.lists(st.integers(1, min(6, capacity)), max_size=60),
        st.just(capacity),
        st.integers(0, capacity - 1),
    )
)


@given(CASES)
def test_windows_cover_every_word_within_capacity(case):
    lengths, capacity, overlap = case
    windows = plan_windows(lengths, capacity, overlap)
    assert sorted({word for start, end in windows for word in range(start, end)}) == list(range(len(lengths)))
    for start, end in windows:
        assert start < end
        assert sum(lengths[start:end]) <= capacity
    for before, after in itertools.pairwise(windows):
        assert before.start < after.start
        assert before.end < after.end
        shared = sum(lengths[after.start : before.end])
        # As much is shared as was asked for, unless the next window could not get further then.
        assert shared >= overlap or sum(lengths[after.start - 1 : before.end + 1]) > capacity
    if sum(lengths) <= capacity:
        assert len(windows) == (1 if lengths else 0)


@given(CASES)
def test_each_word_is_read_where_it_stands_furthest_from_an_edge(case):
    lengths, capacity, overlap = case
    windows = plan_windows(lengths, capacity, overlap)
    chosen = choose_windows(lengths, windows)
    for word in range(len(lengths)):
        distances = []
        for start, end in windows:
            if not start <= word < end:
                distances.append(-1)
                continue
            before = sum(lengths[start:word]) if start > 0 else 10**6
            after = sum(lengths[word + 1 : end]) if end < len(lengths) else 10**6
            distances.append(min(before, after))
        assert distances[chosen[word]] == max(distances)
        assert distances[chosen[word]] >= 0


def test_impossible_windows_are_refused():
    with pytest.raises(UsageError, match="overlap"):
        plan_windows([1, 1], 4, 4)
    with pytest.raises(UsageError, match="more sub-words"):
        plan_windows([1, 9], 4, 1)
