"""Trying again, with growing pauses and an end, when a service says that it is busy or breaks off."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

Result = TypeVar("Result")


class PassingError(Exception):
    """Something went wrong that may go right at the next try.

    Args:
        what: What went wrong, for people.
        wait: Seconds to wait, where the service said so.
        raw: What the service answered.
    """

    def __init__(self, what: str, *, wait: float | None = None, raw: str = "") -> None:
        super().__init__(what)
        self.wait = wait
        self.raw = raw


@dataclass
class Retry:
    """How often and how long to try again. Safe to share between threads.

    Where a service names a time to wait, all threads that share this object wait for it: the other
    requests would only be refused as well.

    Args:
        attempts: Tries in all.
        first_pause: Seconds before the second try, doubled before each further one; half of each pause
            is left to chance, so that many clients do not come back at once.
        longest_pause: The longest that is waited, also where a service asks for more: then the try is
            given up.
    """

    attempts: int = 5
    first_pause: float = 1.0
    longest_pause: float = 60.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._not_before = 0.0

    def __call__(self, attempt: Callable[[], Result]) -> Result:
        """Call until it gives a result.

        Raises:
            PassingError: The last try failed too, or the service asks for a longer wait than is allowed.
        """
        for number in range(1, self.attempts + 1):
            self._wait()
            try:
                return attempt()
            except PassingError as error:
                if number == self.attempts or (error.wait or 0.0) > self.longest_pause:
                    raise
                if error.wait is not None:
                    with self._lock:
                        self._not_before = max(self._not_before, time.monotonic() + error.wait)
                else:
                    pause = min(self.longest_pause, self.first_pause * 2 ** (number - 1))
                    time.sleep(pause * random.uniform(0.5, 1.0))
        raise AssertionError("a retry tries at least once")

    def _wait(self) -> None:
        with self._lock:
            pause = self._not_before - time.monotonic()
        if pause > 0:
            time.sleep(pause)


def seconds_to_wait(header: str | None) -> float | None:
    """What a Retry-After header says: a number of seconds, or a date. None where it says nothing clear."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
