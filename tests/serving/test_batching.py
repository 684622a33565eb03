"""Posts of many callers computed together."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mner.serving.batching import Batcher, QueueClosedError, QueueFullError
from tests.machine import PATIENCE


def square(items):
    return [item * item for item in items]


class Gate:
    """A computation that waits until it is let go, and remembers what it was given."""

    def __init__(self):
        self.open = threading.Event()
        self.began = threading.Event()
        self.batches = []

    def __call__(self, items):
        self.batches.append(list(items))
        self.began.set()
        assert self.open.wait(PATIENCE)
        return square(items)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


@settings(max_examples=60)
@given(
    requests=st.lists(st.lists(st.integers(-99, 99), max_size=9), max_size=12),
    most=st.integers(1, 7),
    wait=st.sampled_from([0.0, 0.001]),
)
def test_every_caller_gets_its_own_results_in_order(requests, most, wait):
    sizes = []

    def compute(items):
        sizes.append(len(items))
        return square(items)

    async def run():
        batcher = Batcher(compute, most=most, wait=wait, room=1000)
        batcher.start()
        try:
            return await asyncio.gather(*(batcher.submit(items) for items in requests)), batcher
        finally:
            await batcher.close()

    results, batcher = asyncio.run(run())
    assert results == [[item * item for item in items] for items in requests]
    assert sum(sizes) == sum(map(len, requests))
    assert max(sizes, default=0) <= most
    assert batcher.held == 0


def test_what_arrives_while_a_batch_is_computed_is_the_next_batch():
    async def run():
        gate = Gate()
        batcher = Batcher(gate, most=8, wait=0.0)
        batcher.start()
        first = asyncio.create_task(batcher.submit([1]))
        await until(gate.began.is_set)
        others = [asyncio.create_task(batcher.submit([number])) for number in range(2, 7)]
        await until(lambda: batcher.held == 6)
        gate.open.set()
        await asyncio.gather(first, *others)
        await batcher.close()
        return gate.batches

    assert asyncio.run(run()) == [[1], [2, 3, 4, 5, 6]]


def test_a_large_request_does_not_hold_up_a_small_one():
    async def run():
        gate = Gate()
        batcher = Batcher(gate, most=4, wait=0.0)
        batcher.start()
        first = asyncio.create_task(batcher.submit([0]))
        await until(gate.began.is_set)
        large = asyncio.create_task(batcher.submit(list(range(100, 120))))
        small = asyncio.create_task(batcher.submit([1]))
        await until(lambda: batcher.held == 22)
        gate.open.set()
        await asyncio.gather(first, large, small)
        await batcher.close()
        return gate.batches

    batches = asyncio.run(run())
    assert 1 in batches[1], "the small request, which came last, is in the first batch after it came"
    assert len(batches[1]) == 4


def test_heavy_items_are_computed_apart():
    async def run():
        gate = Gate()
        batcher = Batcher(gate, most=8, weigh=lambda item: item, heaviest=10, wait=0.0)
        batcher.start()
        first = asyncio.create_task(batcher.submit([1]))
        await until(gate.began.is_set)
        others = asyncio.create_task(batcher.submit([4, 6, 1, 50, 9, 2]))
        await until(lambda: batcher.held == 7)
        gate.open.set()
        assert await others == square([4, 6, 1, 50, 9, 2])
        await first
        await batcher.close()
        return gate.batches

    assert asyncio.run(run()) == [[1], [4, 6], [1], [50], [9], [2]]


def test_a_lone_caller_does_not_wait_for_others():
    async def run():
        batcher = Batcher(square, most=32, wait=2 * PATIENCE)
        batcher.start()
        async with asyncio.timeout(PATIENCE):
            for number in range(5):
                assert await batcher.submit([number]) == [number * number]
        await batcher.close()

    asyncio.run(run())


def test_what_has_no_room_is_refused_and_room_comes_back():
    async def run():
        gate = Gate()
        batcher = Batcher(gate, most=2, wait=0.0, room=3)
        batcher.start()
        first = asyncio.create_task(batcher.submit([1, 2, 3]))
        await until(gate.began.is_set)
        with pytest.raises(QueueFullError) as refused:
            await batcher.submit([4])
        assert refused.value.retry_after >= 1
        gate.open.set()
        assert await first == [1, 4, 9]
        assert await batcher.submit([4]) == [16]
        await batcher.close()

    asyncio.run(run())


def test_what_nobody_waits_for_any_more_is_not_computed():
    async def run():
        gate = Gate()
        batcher = Batcher(gate, most=2, wait=0.0)
        batcher.start()
        first = asyncio.create_task(batcher.submit([1]))
        await until(gate.began.is_set)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await batcher.submit([7, 8, 9])
        assert batcher.held == 1
        gate.open.set()
        await first
        assert await batcher.submit([2]) == [4]
        await batcher.close()
        return gate.batches

    assert asyncio.run(run()) == [[1], [2]]


def test_one_that_fails_does_not_fail_those_it_met():
    calls = Counter()

    def compute(items):
        calls[len(items)] += 1
        if 13 in items:
            raise ValueError("unlucky")
        return square(items)

    async def run():
        batcher = Batcher(compute, most=8, wait=0.0)
        batcher.start()
        results = await asyncio.gather(
            batcher.submit([1, 2]), batcher.submit([13, 5]), batcher.submit([3]), return_exceptions=True
        )
        assert await batcher.submit([6]) == [36]
        assert batcher.held == 0
        await batcher.close()
        return results

    good, bad, other = asyncio.run(run())
    assert (good, other) == ([1, 4], [9])
    assert isinstance(bad, ValueError)


def test_closing_finishes_what_was_accepted_and_refuses_the_rest():
    async def run():
        gate = Gate()
        batcher = Batcher(gate, most=2, wait=0.0)
        batcher.start()
        accepted = asyncio.create_task(batcher.submit([1, 2, 3, 4, 5]))
        await until(gate.began.is_set)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(QueueClosedError):
            await batcher.submit([6])
        gate.open.set()
        await closing
        return await accepted

    assert asyncio.run(run()) == [1, 4, 9, 16, 25]


def test_other_work_runs_on_the_same_thread_and_its_failure_is_its_own():
    async def run():
        threads = set()

        def compute(items):
            threads.add(threading.get_ident())
            return square(items)

        batcher = Batcher(compute)
        batcher.start()
        await batcher.submit([1])
        assert {await batcher.run(threading.get_ident)} == threads
        with pytest.raises(ZeroDivisionError):
            await batcher.run(lambda: 1 / 0)
        assert await batcher.submit([3]) == [9]
        await batcher.close()

    asyncio.run(run())
