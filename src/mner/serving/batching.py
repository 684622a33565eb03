"""Posts of many clients computed together, on one thread.

Requests wait in a queue; a worker takes a post of each in turn until the batch is full, so that one large
request does not hold up the small ones. A batch that is not full waits a few milliseconds for as many posts
as the last one had: a lone client never waits, and many clients that ask again as soon as they are
answered meet in the same batch.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")


class QueueFullError(Exception):
    """Nothing more is accepted now.

    Args:
        retry_after: Seconds after which there may be room, judged by the speed so far.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class QueueClosedError(Exception):
    """Nothing is accepted any more."""


class _Request(Generic[Item, Result]):
    # The items of one caller: which wait, which are answered, and whether anybody still wants to know.
    def __init__(self, items: Sequence[Item], done: asyncio.Future[list[Result]]) -> None:
        self.items = items
        self.next = 0
        self.results: list[Result | None] = [None] * len(items)
        self.missing = len(items)
        self.done = done

    @property
    def waiting(self) -> int:
        return 0 if self.done.done() else len(self.items) - self.next


class Batcher(Generic[Item, Result]):
    """Gathers items of many callers into batches.

    Args:
        compute: Results of a batch, one an item, in order; called on the worker thread alone.
        most: Most items of a batch.
        weigh: How much of `heaviest` an item takes up.
        heaviest: Most that a batch weighs, unless a single item weighs more.
        wait: Seconds that a batch waits for as many items as the last one had.
        room: Most items that wait or are computed.
        observe: Told of each batch: how many items, and how many seconds it took.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        most: int = 32,
        weigh: Callable[[Item], int] = lambda _: 1,
        heaviest: int = 2**31,
        wait: float = 0.005,
        room: int = 1024,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        self._compute = compute
        self.most = most
        self._weigh = weigh
        self.heaviest = heaviest
        self.wait = wait
        self.room = room
        self._observe = observe
        self._requests: deque[_Request[Item, Result]] = deque()
        self._works: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._waiting = 0
        self._held = 0
        self._last = 1
        self._pace = 0.01  # seconds an item, as far as seen
        self._closing = False
        self._thread: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def held(self) -> int:
        """How many items wait or are computed."""
        return self._held

    @property
    def is_working(self) -> bool:
        """Whether items are accepted and computed."""
        return self._task is not None and not self._task.done() and not self._closing

    def start(self) -> None:
        """Begin; to be called in the running event loop that will submit."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recognising")
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Accept nothing more, compute what waits, and end."""
        self._closing = True
        if self._task is None or self._thread is None:
            return
        self._arrived.set()
        self._enough.set()
        await self._task
        self._thread.shutdown()

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results of items, once they have been computed.

        A caller that is cancelled takes those of its items along that still wait.

        Raises:
            QueueFullError: There is no room for them.
            QueueClosedError: Nothing is accepted any more.
        """
        if not self.is_working:
            raise QueueClosedError
        if not items:
            return []
        if self._held + len(items) > self.room:
            raise QueueFullError(max(1, min(60, math.ceil(self._held * self._pace))))
        done: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        request = _Request(items, done)
        self._requests.append(request)
        self._waiting += len(items)
        self._held += len(items)
        self._arrived.set()
        if self._waiting >= min(self.most, self._last):
            self._enough.set()
        try:
            return await done
        finally:
            # Those that still wait (the caller was cancelled) are forgotten; others have been let go.
            left = len(items) - request.next
            request.next = len(items)
            self._waiting -= left
            self._held -= left

    async def run(self, work: Callable[[], Other]) -> Other:
        """The result of other work that has to be done on the worker thread, between two batches."""
        if not self.is_working:
            raise QueueClosedError
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._works.append((work, done))
        self._arrived.set()
        self._enough.set()
        return await done  # type: ignore[no-any-return]

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            if self._works:
                await self._run_next()
            elif self._waiting:
                await self._gather()
                if batch := self._take():
                    await self._answer(batch)
                else:
                    # All who waited have gone; they have yet to say so.
                    await asyncio.sleep(0)
            elif self._closing:
                return
            else:
                self._arrived.clear()

    async def _gather(self) -> None:
        wanted = min(self.most, self._last)
        if self._waiting >= wanted or self._closing or not self.wait:
            return
        self._enough.clear()
        try:
            async with asyncio.timeout(self.wait):
                await self._enough.wait()
        except TimeoutError:
            return

    def _take(self) -> list[tuple[_Request[Item, Result], int]]:
        batch: list[tuple[_Request[Item, Result], int]] = []
        weight = 0
        while self._requests and len(batch) < self.most:
            request = self._requests.popleft()
            if not request.waiting:
                continue
            weight += self._weigh(request.items[request.next])
            if batch and weight > self.heaviest:
                # It is the first of the next batch.
                self._requests.appendleft(request)
                break
            batch.append((request, request.next))
            request.next += 1
            self._waiting -= 1
            if request.waiting:
                self._requests.append(request)
        return batch

    async def _answer(self, batch: list[tuple[_Request[Item, Result], int]]) -> None:
        began = time.perf_counter()
        items = [request.items[index] for request, index in batch]
        try:
            results = await self._on_thread(lambda: self._compute(items))
        except Exception as error:
            await self._answer_one_by_one(batch, error)
        else:
            for (request, index), result in zip(batch, results, strict=True):
                _fill(request, index, result)
        self._held -= len(batch)
        self._last = len(batch)
        took = time.perf_counter() - began
        self._pace = 0.8 * self._pace + 0.2 * took / len(batch)
        if self._observe is not None:
            self._observe(len(batch), took)

    async def _answer_one_by_one(
        self, batch: list[tuple[_Request[Item, Result], int]], error: Exception
    ) -> None:
        # One item that cannot be computed must not fail those that it happened to meet.
        for request, index in batch:
            if request.done.done():
                continue
            if len(batch) > 1:
                item = request.items[index]
                try:
                    (result,) = await self._on_thread(lambda item=item: self._compute([item]))  # type: ignore[misc]
                except Exception as its_own:
                    error = its_own
                else:
                    _fill(request, index, result)
                    continue
            if not request.done.done():
                request.done.set_exception(error)

    async def _run_next(self) -> None:
        work, done = self._works.popleft()
        if done.done():
            return
        try:
            result = await self._on_thread(work)
        except Exception as error:
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(result)

    async def _on_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _fill(request: _Request[Any, Any], index: int, result: Any) -> None:
    request.results[index] = result
    request.missing -= 1
    if not request.missing and not request.done.done():
        request.done.set_result(request.results)
