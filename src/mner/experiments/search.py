"""Searching for values of a recipe: on the validation posts alone.

Each trial is a row of a table that scores nothing, so no test post is looked at while values are chosen. The
winner, and no other trial, may then be scored on the test posts.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from mner.errors import RecipeError, shown
from mner.experiments.plans import Plan
from mner.experiments.shelf import Shelf, now, write_document
from mner.experiments.tables import Changes, DataEntry, Row, Seeds, Table, TableFile, merged, only
from mner.recognizer import read_json
from mner.training.recipe import Section, explained, read_toml

_FOLDER = "searches"


class Range(Section):
    """Values between two numbers, drawn at random; whole ones between whole numbers.

    Args:
        low: The least.
        high: The greatest.
        logarithmic: Draw the logarithm evenly.
    """

    low: float | int
    high: float | int
    logarithmic: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high or (self.logarithmic and self.low <= 0):
            raise ValueError("low under high, and over 0 on a logarithmic scale")
        return self

    def draw(self, source: random.Random) -> float | int:
        """One of the values."""
        if isinstance(self.low, int) and isinstance(self.high, int) and not self.logarithmic:
            return source.randint(self.low, self.high)
        if self.logarithmic:
            value = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = source.uniform(self.low, self.high)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return round(value)
        # Three digits say as much as anybody can measure, and can be typed again.
        return float(f"{value:.3g}")


class Search(Section):
    """A search.

    Args:
        title: What is searched.
        recipe: The recipe, from the file's own folder.
        set: Changes of it for all trials.
        data: The data set, one alone.
        method: ``grid`` tries each combination of values, ``random`` draws some.
        trials: How many are drawn.
        seed: Decides the draws.
        seeds: Seeds of training; a trial is judged by the mean over them.
        values: What is tried for which setting, by dotted name: a list, or a range for random draws.
    """

    title: Annotated[str, Field(min_length=1)]
    recipe: str
    set: Changes = Field(default_factory=dict)
    data: Annotated[dict[str, DataEntry], Field(min_length=1, max_length=1)]
    method: Literal["grid", "random"] = "grid"
    trials: Annotated[int, Field(ge=1)] = 16
    seed: int = 1
    seeds: Seeds = Field(default_factory=lambda: [1])
    values: Annotated[dict[str, list[Any] | Range], Field(min_length=1)]

    @model_validator(mode="after")
    def _fit(self) -> Search:
        for key, values in self.values.items():
            if isinstance(values, Range) and self.method == "grid":
                raise ValueError(f'a list of values for {key}, or method = "random"')
            if isinstance(values, list) and not values:
                raise ValueError(f"at least one value for {key}")
            if key == "training.seed":
                raise ValueError("no search over the seed: a trial is judged over `seeds`")
        return self

    def choices(self) -> list[dict[str, Any]]:
        """The values of each trial, by dotted name; none twice."""
        if self.method == "grid":
            names = list(self.values)
            lists = [values for values in self.values.values() if isinstance(values, list)]
            return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*lists)]
        source = random.Random(self.seed)
        found: dict[str, dict[str, Any]] = {}
        # Few values may not have so many combinations; then the search is over sooner.
        for _ in range(20 * self.trials):
            if len(found) == self.trials:
                break
            drawn = {
                key: values.draw(source) if isinstance(values, Range) else source.choice(values)
                for key, values in self.values.items()
            }
            found.setdefault(json.dumps(drawn), drawn)
        return list(found.values())


@dataclass(frozen=True)
class Trial:
    """What a trial gave.

    Args:
        name: Its name in the table of trials.
        values: What was tried, by dotted name.
        f1: The F1 on the validation posts by seed, of the checkpoint that they chose.
        problem: Why there is nothing.
        runs: The keys of its runs by seed. The same values with another recipe, or data, are other runs.
    """

    name: str
    values: Mapping[str, Any]
    f1: tuple[float, ...] = ()
    problem: str = ""
    runs: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """The mean F1 over seeds."""
        return statistics.fmean(self.f1)

    def identity(self) -> dict[str, Any]:
        """What tells it from others, also from those of the file when it was another."""
        return {"values": dict(self.values), "runs": list(self.runs)}

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        found: dict[str, Any] = {**self.identity(), "validation_f1": list(self.f1)}
        if self.f1:
            found["mean_validation_f1"] = self.mean
        return {**found, "problem": self.problem} if self.problem else found


@dataclass(frozen=True)
class SearchFile:
    """A search with the table of its trials.

    Args:
        search: The search.
        file: The table: a row a trial.
        values: The values of each row.
    """

    search: Search
    file: TableFile
    values: Mapping[str, Mapping[str, Any]]

    def winner(self, trials: Sequence[Trial]) -> Trial | None:
        """The finished trial with the best mean on the validation posts, the first of several."""
        finished = [trial for trial in trials if len(trial.f1) == len(self.search.seeds)]
        return max(finished, key=lambda trial: trial.mean) if finished else None

    def only_winner(self, winner: Trial) -> TableFile:
        """The table with the winner's row alone."""
        return only(self.file, [winner.name])


def read_search(path: str | Path) -> SearchFile:
    """Read and check a search, each trial's recipe included.

    Raises:
        RecipeError: It is not there, is no TOML, or has an unknown key or a value of a wrong type; a setting
            that is searched does not exist; its data set is not to be run on, or others are to be scored.
    """
    path = Path(path)
    try:
        search = Search.model_validate(read_toml(path, "search"))
    except ValidationError as error:
        raise explained(error, str(path), Search) from error
    _check_data(search, path)
    rows, values = [], {}
    for chosen in search.choices():
        name = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in chosen.items())
        changes = search.set
        for key, value in chosen.items():
            changes = merged(changes, _nested(key, value), f"{path}, values.{key}")
        if name in values:
            raise RecipeError(
                f"{path}: two trials are called {name}.",
                hint="Two of the searched settings share a last name.",
            )
        rows.append(Row(name=name, recipe=search.recipe, set=changes))
        values[name] = chosen
    table = Table(title=search.title, seeds=search.seeds, data=search.data, rows=rows)
    file = TableFile(path, table, None, tuple(rows))
    for row in rows:
        for setting in file.settings_of(row, next(iter(search.data))):
            file.recipe(row, setting)
    return SearchFile(search, file, values)


def _check_data(search: Search, path: Path) -> None:
    """Refuse what a table may say of a data set and a search may not, whose trials all run on its one set."""
    for name, entry in search.data.items():
        if entry.also_score:
            raise RecipeError(
                f"{path}, data.{name}: a search scores no other data set.",
                got=f"also_score of {shown(', '.join(entry.also_score))}",
                hint="Leave also_score out; a table of experiments can score the winner on others.",
            )
        if not entry.shown:
            raise RecipeError(
                f"{path}, data.{name}: every trial of a search is run on it.",
                got="shown = false",
                hint="Leave shown out.",
            )


def _nested(key: str, value: Any) -> Changes:
    names = key.split(".")
    if not all(names) or len(names) < 2:
        raise RecipeError(f"{key} names no setting.", expected="section.key, such as training.learning_rate")
    for name in reversed(names):
        value = {name: value}
    found: Changes = value
    return found


def trials_of(search: SearchFile, plan: Plan, shelf: Shelf) -> list[Trial]:
    """What the trials gave, in the order of the table."""
    found = []
    for row in search.file.table.rows:
        scores, problems = [], []
        runs = [plan.runs[cell.run] for cell in plan.cells if cell.row == row.name]
        for run in runs:
            if shelf.is_trained(run):
                scores.append(shelf.training_of(run)["chosen"]["f1"])
            else:
                problems.append(shelf.failure_of(run).get("error") or str(shelf.state(run)))
        keys = tuple(run.key for run in runs)
        found.append(Trial(row.name, search.values[row.name], tuple(scores), "; ".join(problems), keys))
    return found


def keep_result(
    search: SearchFile,
    shelf: Shelf,
    trials: Sequence[Trial],
    test: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write the result of a search, and say in it what it was chosen on.

    Args:
        search: The search.
        shelf: The folder of results.
        trials: What its trials gave.
        test: The winner's scores on the test posts, if they were scored now.

    Returns:
        The result as it is written. It names all winners of this file that have been scored on test posts,
        with their scores; those of the winner stay while its runs are the same.
    """
    path = shelf.root / _FOLDER / f"{search.file.name}.json"
    before = read_json(path) if path.is_file() else {}
    winner = search.winner(trials)
    identity = None if winner is None else winner.identity()
    tested = list(before.get("tested_winners", []))
    if test and identity is not None:
        tested = [*(one for one in tested if not _is(one, identity)), {**identity, "test": dict(test)}]
    scores = next((one["test"] for one in tested if identity is not None and _is(one, identity)), None)
    result = {
        "title": search.search.title,
        "method": search.search.method,
        "chosen_on": _chosen_on(len(tested), winner_tested=scores is not None),
        "seeds": search.search.seeds,
        "winner": None if winner is None else winner.as_dict(),
        "test": scores,
        "tested_winners": tested,
        "trials": [trial.as_dict() for trial in trials],
        "written": now(),
    }
    write_document(path, result)
    return result


def _is(tested: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether a winner that was scored on test posts is this one."""
    return all(tested.get(key) == value for key, value in identity.items())


def _chosen_on(tested: int, *, winner_tested: bool) -> str:
    """What the winner was chosen on.

    Args:
        tested: How many winners of the file have ever been scored on test posts.
        winner_tested: Whether this winner is one of them.
    """
    validation = "the validation posts alone"
    if not tested:
        return f"{validation}; no test post was looked at"
    if not winner_tested:
        earlier = "an earlier winner" if tested == 1 else f"{tested} earlier winners"
        return f"{validation}; test posts were scored for {earlier} of this file, not for this one"
    found = f"{validation}; test posts were then scored for the winner alone"
    if tested > 1:
        found += (
            f", but for {tested} winners of this file, which has changed in between: the last score on "
            "test posts is not free of what was learnt from the ones before"
        )
    return found
