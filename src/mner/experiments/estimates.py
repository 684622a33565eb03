"""How long runs will take: from what like runs took, else from a rate, which is then said."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from mner.experiments.plans import Plan, RunPlan
from mner.experiments.shelf import Shelf, State

ASSUMED_POSTS_A_SECOND = 60.0
"""What is assumed where nothing was measured: about what the embedded encoder trains on two cores."""

ASSUMED = "assumed"
"""The basis of an estimate where nothing was measured."""


@dataclass(frozen=True)
class Estimate:
    """How long a run will take.

    Args:
        seconds: So long.
        basis: What says so.
    """

    seconds: float
    basis: str


class Estimates:
    """Estimates for the runs of a plan.

    Args:
        plan: The plan.
        shelf: Where finished runs are, these and others.

    Attributes:
        states: How far each run is, by key.
    """

    def __init__(self, plan: Plan, shelf: Shelf) -> None:
        self.plan, self.shelf = plan, shelf
        self.states = shelf.states(plan)
        rows = {cell.run: (cell.row, cell.data) for cell in plan.cells}
        self._rows = rows
        self._by_row: dict[tuple[str, str], list[float]] = {}
        self._by_system: dict[tuple[str, str], list[float]] = {}
        self._all: list[float] = []
        for key, run in plan.runs.items():
            seconds = shelf.training_of(run).get("seconds") if shelf.is_trained(run) else None
            if not seconds:
                continue
            rate = _work(run) / seconds
            if key in rows:
                self._by_row.setdefault(rows[key], []).append(rate)
            self._by_system.setdefault(_system(run), []).append(rate)
            self._all.append(rate)

    @cached_property
    def _elsewhere(self) -> dict[tuple[str, str], list[float]]:
        # Read only where the plan's own runs tell nothing: it is a file for every run on the shelf.
        rates: dict[tuple[str, str], list[float]] = {}
        for run, seconds in self.shelf.finished_besides(self.plan):
            rates.setdefault(_system(run), []).append(_work(run) / seconds)
        return rates

    def of(self, run: RunPlan) -> Estimate:
        """How long a run will take from where it is."""
        state = self.states[run.key]
        if state is State.DONE:
            return Estimate(0.0, "done")
        if state is State.SCORING:
            return Estimate(0.0, "to be scored alone")
        rate, basis = self._rate(run)
        done = 0.0
        if state is State.INTERRUPTED:
            training = self.shelf.training_of(run)
            curve = training.get("curve") or []
            done = max((point["epoch"] for point in curve), default=0.0) / run.recipe.training.epochs
            if done and training.get("seconds"):
                rate, basis = _work(run) * done / training["seconds"], "its epochs so far, measured"
        return Estimate(_work(run) * (1 - min(done, 1.0)) / rate, basis)

    def _rate(self, run: RunPlan) -> tuple[float, str]:
        row = self._rows.get(run.key)
        if row in self._by_row:
            return _mean(self._by_row[row]), "this row, measured"
        if _system(run) in self._by_system:
            return _mean(self._by_system[_system(run)]), "its system, measured"
        if _system(run) in self._elsewhere:
            return _mean(self._elsewhere[_system(run)]), "its system in other tables, measured"
        if self._all:
            return _mean(self._all), "others, measured"
        return ASSUMED_POSTS_A_SECOND, ASSUMED


def total_seconds(seconds: Iterable[float], jobs: int) -> float:
    """How long runs of these lengths take side by side, each started as soon as there is a place."""
    places = [0.0] * max(jobs, 1)
    for one in seconds:
        earliest = places.index(min(places))
        places[earliest] += one
    return max(places)


def spoken(seconds: float) -> str:
    """A duration in words that are as precise as it deserves."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _work(run: RunPlan) -> float:
    # Reading a post costs about a third of learning from it; after each epoch the validation posts are read.
    section = run.recipe.training
    evaluations = max(section.epochs - section.evaluate_from + 1, 0)
    return float(run.posts * section.epochs) + run.chosen_on * evaluations / 3


def _system(run: RunPlan) -> tuple[str, str]:
    return run.recipe.model.name, run.recipe.model.backbone


def _mean(rates: list[float]) -> float:
    # Times add up, rates do not.
    return statistics.harmonic_mean(rates)
