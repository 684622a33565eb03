"""How fast this machine is while a test runs: what the figures of the tests, and their patience, are measured with."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds that a test waits for what must come. Only what hangs takes so long, on a busy machine too."""

USUAL_SECONDS = 0.065
"""CPU seconds of `_fixed_work` on an undisturbed core of the two-core machine that the figures were measured on."""


def _fixed_work() -> None:
    total = 0
    for number in range(500_000):
        total += number * number % 7


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of a piece of work in this process, in all of its threads; others on the machine do not count."""
    started = time.process_time()
    work()
    return time.process_time() - started


def at_usual_speed(
    measure: Callable[[], float],
    rounds: int = 3,
    like: Callable[[], object] = _fixed_work,
    usual: float = USUAL_SECONDS,
) -> float:
    """The seconds that `measure` gives, as they would be on a machine of the usual speed.

    A core that is slowed down, by its clock or by who else runs on it, takes more CPU seconds for the same work. What
    it takes for another piece of work, before and after each measurement, says how much; a machine that is faster than
    usual gets no stricter figure for it. The least of all rounds is returned: whatever disturbs a measurement adds to
    it.

    Args:
        measure: Gives seconds.
        rounds: How often it is asked.
        like: Work that is slowed down as the measured one is. A loop of numbers does for what computes; what reads
            all over the memory is slowed down apart from it, by those who use the same caches.
        usual: CPU seconds of that work on an undisturbed core.
    """
    found = []
    for _ in range(rounds):
        before = cpu_seconds(like)
        seconds = measure()
        slowness = min(before, cpu_seconds(like)) / usual
        found.append(seconds / max(1.0, slowness))
    return min(found)
