"""What a table's runs gave, scored from their predictions: by cell, over seeds, beside what was published."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from mner.evaluation.scores import Counts as EntityCounts
from mner.evaluation.scores import Scores, score
from mner.evaluation.significance import Comparison, Counts, compare, post_counts
from mner.experiments.plans import Cell, GivenPlan, Plan, RunPlan
from mner.experiments.published import PublishedTable, published_table
from mner.experiments.shelf import KeptPost, Shelf, State
from mner.experiments.tables import Row, Setting, TableFile
from mner.posts import Entity
from mner.progress import Reporter, silent
from mner.tags import Convention

MEASURES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Result:
    """A cell scored on one set of posts.

    Args:
        cell: The cell.
        run: Its run, or its predictions where they were made elsewhere.
        scored: The data set that it was scored on.
        gold: The hash of the posts.
        scores: The scores by convention; the data set's own comes first.
        counts: (N, 3) for each post its gold, predicted and correct entities, under that one.
        predicted: For each post the entities that were predicted.
    """

    cell: Cell
    run: RunPlan | GivenPlan
    scored: str
    gold: str
    scores: Mapping[str, Scores]
    counts: Counts
    predicted: list[list[Entity]]

    @property
    def convention(self) -> str:
        """The data set's own convention."""
        return next(iter(self.scores))


@dataclass(frozen=True)
class Summary:
    """The mean of some scores.

    Args:
        values: The scores, as fractions.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, with n - 1; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        return {"mean": self.mean, "deviation": self.deviation, "values": list(self.values)}


@dataclass(frozen=True)
class Group:
    """All seeds and draws of one row on one data set with one setting, scored on one set of posts.

    Args:
        row: The row.
        data: The data set that was trained on.
        scored: The one that was scored.
        setting: The setting's name.
        results: What there is; empty where nothing is done yet, and for quoted rows.
        cells: How many cells the table asks for.
        published: Published percentages by measure, and by measure and type.
    """

    row: Row
    data: str
    scored: str
    setting: str
    results: tuple[Result, ...]
    cells: int
    published: Mapping[tuple[str, str | None], float] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, str]:
        """What is trained on, what is scored, and with which setting."""
        return self.data, self.scored, self.setting

    def summary(
        self, measure: str = "f1", label: str | None = None, convention: str | None = None
    ) -> Summary | None:
        """Scores over seeds and draws; None where there are none.

        Args:
            measure: ``precision``, ``recall`` or ``f1``.
            label: Of this type alone.
            convention: Under this convention; the data set's own where None.
        """
        values = []
        for result in self.results:
            scores = result.scores[convention or result.convention]
            # A type that nobody predicted and that is not in the gold has scores of 0, as everywhere.
            counts = scores.overall if label is None else scores.per_type.get(label, EntityCounts())
            values.append(getattr(counts, measure))
        return Summary(tuple(values)) if values else None


def types_of(groups: Iterable[Group]) -> list[str]:
    """The types that stand in the gold of what was scored; domains of a table have their own."""
    found: set[str] = set()
    for group in groups:
        for result in group.results:
            per_type = result.scores[result.convention].per_type
            found.update(label for label, counts in per_type.items() if counts.gold)
    return sorted(found)


@dataclass(frozen=True)
class Pair:
    """Two groups compared on the same posts.

    Args:
        first: One.
        second: The other.
        comparison: The mean F1 of the first less that of the second.
        corrected: The p-value after Holm (1979), for all pairs that the report compares.
        runs: How many runs of the first were compared.
        other_runs: How many of the second; as many, where draws and seeds are shared.
        shared: Whether these are the runs of the draws and seeds that both have. Where they have none in
            common, they are all runs of each.
    """

    first: Group
    second: Group
    comparison: Comparison
    corrected: float
    runs: int
    other_runs: int
    shared: bool


@dataclass
class Results:
    """What there is of a table.

    Args:
        file: The table.
        shelf: Where its runs are.
        plan: Its cells and runs.
        groups: Its groups, in the table's order.
        open_cells: Cells without results, with their state and error.
        published: The published table beside it, or None.
    """

    file: TableFile
    shelf: Shelf
    plan: Plan
    groups: list[Group]
    open_cells: list[tuple[Cell, State, str]]
    published: PublishedTable | None

    @property
    def results(self) -> list[Result]:
        """All results."""
        return [result for group in self.groups for result in group.results]

    @property
    def labels(self) -> list[str]:
        """The types of all results' gold."""
        return types_of(self.groups)

    def places(self) -> list[tuple[str, str]]:
        """What is trained on and what is scored, in the table's order."""
        return list(dict.fromkeys((group.data, group.scored) for group in self.groups))

    def posts(self, result: Result) -> tuple[KeptPost, ...]:
        """The posts of a result."""
        return self.shelf.posts(result.gold)


def collect(plan: Plan, shelf: Shelf, progress: Reporter = silent) -> Results:
    """Score all predictions that there are for a table.

    Args:
        plan: The table's plan.
        shelf: Where its runs are.
        progress: Told of each cell.

    Raises:
        UsageError: There is no published table of the name that the table gives.
        RunFolderError: A file is damaged.
    """
    found: dict[tuple[str, str, str, str], list[Result]] = {}
    wanted: dict[tuple[str, str, str, str], int] = {}
    open_cells = []
    with progress("scoring", len(plan.cells)) as advance:
        for cell in plan.cells:
            source = plan.source(cell)
            if isinstance(source, GivenPlan):
                ready, state, problem = True, State.UNREAD, ""
            else:
                ready, state = shelf.is_trained(source), shelf.state(source)
                problem = shelf.failure_of(source).get("error", "")
            lacking = False
            for scored, key in cell.targets:
                place = (cell.row, cell.data, scored, cell.setting)
                wanted[place] = wanted.get(place, 0) + 1
                if ready and shelf.has_predictions(source, key):
                    found.setdefault(place, []).append(_score(plan.file, shelf, cell, source, scored, key))
                else:
                    lacking = True
            if lacking:
                open_cells.append((cell, state, problem))
            advance(1)
    table = plan.file.table
    default = None if table.published is None else published_table(table.published)
    groups = []
    for row in table.rows:
        beside = default if row.published_in is None else published_table(row.published_in)
        for data in plan.file.data_of(row):
            for scored in (data, *table.data[data].also_score):
                for setting in plan.file.settings_of(row, data):
                    if scored not in plan.file.scored_of(row, data, setting):
                        continue
                    place = (row.name, data, scored, setting.name)
                    groups.append(
                        Group(
                            row,
                            data,
                            scored,
                            setting.name,
                            tuple(found.get(place, ())),
                            wanted.get(place, 0),
                            _published(plan.file, beside, row, data, scored, setting),
                        )
                    )
    return Results(plan.file, shelf, plan, groups, open_cells, default)


def _score(
    file: TableFile, shelf: Shelf, cell: Cell, run: RunPlan | GivenPlan, scored: str, key: str
) -> Result:
    gold_key = run.targets[key].gold
    own = Convention(file.table.data[scored].convention)
    posts, predicted = shelf.posts(gold_key), shelf.predictions(run, key)
    conventions = [own, *(other for other in Convention if other is not own)]
    gold = {one: [post.gold[one.value] for post in posts] for one in conventions}
    # A tagger of our own predicts legal tags alone; those of other tools may mean something else.
    depends = isinstance(run, GivenPlan)
    said = {
        one: shelf.predictions(run, key, one) if depends and one is not own else predicted
        for one in conventions
    }
    scores = {one.value: score(gold[one], said[one], one) for one in conventions}
    return Result(cell, run, scored, gold_key, scores, post_counts(gold[own], predicted), predicted)


def _published(
    file: TableFile, beside: PublishedTable | None, row: Row, data: str, scored: str, setting: Setting
) -> dict[tuple[str, str | None], float]:
    entry = file.table.data[data]
    column = (entry.published or data) if scored == data else entry.also_score[scored]
    name = row.published_name
    if beside is None or not name or not column:
        return {}
    # The names of published settings are those of rows, or stand with the data.
    of_setting = setting.published or setting.name or None
    labels = {one.label for one in beside.columns}
    found = {}
    for measure in MEASURES:
        for label in labels:
            value = beside.find(name, column, measure, label, of_setting)
            if value is not None:
                found[measure, label] = value
    return found


def compare_rows(
    results: Results, *, samples: int = 2000, seed: int = 1, progress: Reporter = silent
) -> list[Pair]:
    """Compare any two rows that were scored on the same posts; settings, where there is one row alone.

    The mean F1 over runs is compared, of the draws and seeds that both have; where they share none, of all
    runs of each. All runs' outputs for a post are drawn together, and change places together with those of
    the same draw and seed.

    Args:
        results: The results.
        samples: Bootstrap samples, and random exchanges.
        seed: Decides them.
        progress: Told of each pair.
    """
    pairs = [
        (first, second)
        for first, second in combinations([group for group in results.groups if group.results], 2)
        if _comparable(first, second)
    ]
    if not pairs:
        several = [group for group in results.groups if group.results]
        pairs = [
            (first, second)
            for first, second in combinations(several, 2)
            if first.row is second.row and first.place[:2] == second.place[:2] and _same_posts(first, second)
        ]
    found = []
    compared = [_compared(first, second) for first, second in pairs]
    with progress("comparing rows", len(pairs)) as advance:
        for one, two, _ in compared:
            found.append(compare(*_side_by_side(one, two), samples=samples, seed=seed))
            advance(1)
    corrected = holm([one.p_value for one in found])
    return [
        Pair(first, second, comparison, p, len(one), len(two), shared)
        for (first, second), (one, two, shared), comparison, p in zip(
            pairs, compared, found, corrected, strict=True
        )
    ]


def _compared(first: Group, second: Group) -> tuple[list[Counts], list[Counts], bool]:
    """The counts of the runs of two groups that are compared.

    Returns:
        Those of the draws and seeds that both have, in the same order, and True; where they share none,
        those of all runs of each, and False.
    """
    one, two = (
        {(result.cell.sampling, result.cell.seed): result.counts for result in group.results}
        for group in (first, second)
    )
    # What has no seed shares none.
    shared = [name for name in one if name in two and name[1] is not None]
    if shared:
        return [one[name] for name in shared], [two[name] for name in shared], True
    return list(one.values()), list(two.values()), False


def _side_by_side(one: Sequence[Counts], two: Sequence[Counts]) -> tuple[Counts, Counts]:
    """The counts of runs as (R, N, 3) of as many runs; each is repeated as often as the others of its side.

    So the mean over runs stays what it is, and each run has one of the other side to change places with.
    """
    count = math.lcm(len(one), len(two))
    return np.stack([*one] * (count // len(one))), np.stack([*two] * (count // len(two)))


def _comparable(first: Group, second: Group) -> bool:
    return first.row is not second.row and first.place == second.place and _same_posts(first, second)


def _same_posts(first: Group, second: Group) -> bool:
    return {result.gold for result in first.results} == {result.gold for result in second.results}


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979, "A Simple Sequentially Rejective Multiple Test").

    Args:
        p_values: Those of all tests that are looked at together.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in the order in which they first come; without empty ones."""
    return [value for value in dict.fromkeys(values) if value]
