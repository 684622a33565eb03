"""Progress: the reporter that says nothing, and what any reporter must allow."""

from __future__ import annotations

import pytest

from mner.progress import Reporter, silent


def work(reporter: Reporter, items: list[int]) -> int:
    done = 0
    with reporter("adding", len(items)) as advance:
        for item in items:
            done += item
            advance()
            advance(0, total=done, best=0.5)
    return done


def test_silence(capfd):
    assert work(silent, [1, 2, 3]) == 6
    with silent("unknown length") as advance:
        advance(1000)
    assert capfd.readouterr() == ("", "")


def test_an_error_in_the_work_is_not_swallowed():
    with pytest.raises(ZeroDivisionError), silent("dividing", 1):
        _ = 1 // 0
