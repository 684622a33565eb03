"""Batches hold every post once, and are the same for the same seed and epoch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mner.encoding import LengthGroupedBatches, sorted_batches

LENGTHS = st.lists(st.integers(0, 300), max_size=80)


@given(LENGTHS, st.integers(1, 9), st.one_of(st.none(), st.integers(1, 600)))
def test_sorted_batches_hold_every_post_once(lengths, posts, cells):
    batches = sorted_batches(lengths, posts, cells)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    flat = [lengths[index] for batch in batches for index in batch]
    assert flat == sorted(flat)
    for batch in batches:
        assert 1 <= len(batch) <= posts
        if cells is not None and len(batch) > 1:
            assert len(batch) * max(lengths[index] for index in batch) <= cells


@given(LENGTHS, st.integers(1, 9), st.integers(0, 5), st.integers(0, 5), st.integers(1, 4))
def test_random_batches_hold_every_post_once_and_repeat(lengths, posts, seed, epoch, group):
    sampler = LengthGroupedBatches(lengths, posts, seed, group)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    again = LengthGroupedBatches(lengths, posts, seed, group)
    again.set_epoch(epoch)
    assert list(again) == batches


def test_epochs_differ_and_padding_is_little():
    lengths = [1 + (7 * number) % 97 for number in range(640)]
    sampler = LengthGroupedBatches(lengths, 16, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in first)
    unsorted = sum(max(lengths[start : start + 16]) * 16 for start in range(0, 640, 16))
    assert padded < 1.1 * sum(lengths)
    assert padded < 0.7 * unsorted
