"""Trying again: how often, how long, and until when."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from mner.knowledge.retrying import PassingError, Retry, seconds_to_wait


def failing(times: int, **fields: float) -> tuple[object, list[float]]:
    moments: list[float] = []

    def attempt() -> str:
        moments.append(time.monotonic())
        if len(moments) <= times:
            raise PassingError(f"failure {len(moments)}", **fields)
        return "done"

    return attempt, moments


def test_a_result_after_failures_with_growing_pauses() -> None:
    attempt, moments = failing(3)
    assert Retry(5, first_pause=0.04)(attempt) == "done"
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    for pause, least in zip(pauses, (0.02, 0.04, 0.08), strict=True):
        assert pause >= least * 0.99


def test_the_last_failure_is_told() -> None:
    attempt, moments = failing(9)
    with pytest.raises(PassingError, match="failure 3"):
        Retry(3, first_pause=0.001)(attempt)
    assert len(moments) == 3


def test_the_time_that_a_service_names_is_waited_by_all_threads() -> None:
    retry = Retry(2, first_pause=0.001)
    attempt, moments = failing(1, wait=0.3)
    first = threading.Thread(target=lambda: retry(attempt))
    first.start()
    while not moments:
        pass
    while retry._not_before == 0.0:
        pass
    other, others = failing(0)
    retry(other)
    first.join()
    assert moments[1] - moments[0] >= 0.29
    assert others[0] - moments[0] >= 0.29


def test_a_wait_that_is_too_long_is_given_up() -> None:
    attempt, moments = failing(1, wait=3600.0)
    with pytest.raises(PassingError):
        Retry(5, longest_pause=1.0)(attempt)
    assert len(moments) == 1


def test_what_the_header_says() -> None:
    assert seconds_to_wait("3") == 3.0
    assert seconds_to_wait("0.5") == 0.5
    assert seconds_to_wait("-2") == 0.0
    assert seconds_to_wait(None) is None
    assert seconds_to_wait("soon") is None
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 27 < seconds_to_wait(later) <= 30
    assert seconds_to_wait(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0.0
