"""What a table asks for: its cells, and the training runs that they need, each named by what goes into it.

A run's name is a hash of its recipe, seed included, of the posts it is trained and chosen on, and of the run
that it starts from. So two cells, or two tables, that ask for the same share one run, whatever they call it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from mner.errors import BackboneError, DataError, shown
from mner.experiments.material import Material, Place, digest
from mner.experiments.tables import GivenPlace, Row, Sample, Setting, TableFile, Whose
from mner.knowledge.attaching import KINDS
from mner.models import model_named
from mner.nn.vision import SCRATCH
from mner.pretrained import DEFAULT, cached_sha256_of, revision_of
from mner.progress import Reporter, silent
from mner.training.recipe import Recipe, check_recipe

# What of a recipe says where something lies or who looks on, and not what is computed.
_NOT_COMPUTED = {
    "data": ("folder", "format", "images", "label_map", "train", "valid", "test"),
    "knowledge": ("store",),
    "training": ("kept_features", "tracker"),
}

# What a system sees that is told nothing: the text alone, or the picture besides.
_TEXT_VIEW = "text"
_PICTURE_VIEW = "pictures"


@dataclass(frozen=True)
class Target:
    """A set of posts that a run is scored on.

    Args:
        place: The data set.
        whose: Whose picture and knowledge its posts have.
        kinds: What the system sees of knowledge; None where it reads the text alone.
        key: A hash of the posts as the system sees them.
        gold: A hash of the posts' text and gold.
    """

    place: Place
    whose: Whose
    kinds: tuple[str, ...] | None
    key: str
    gold: str


class Predicting(Protocol):
    """What there are predictions of: a run, or another tool.

    Attributes:
        key: The hash that names it.
        targets: The posts that are predicted, by key.
    """

    key: str
    targets: dict[str, Target]

    @property
    def folder_name(self) -> str:
        """The name of its folder."""


@dataclass
class GivenPlan:
    """Predictions that were made elsewhere.

    Args:
        key: The hash that names them: of the files and of the posts.
        files: The file of each set of posts, by the key of these.
        targets: The posts they are of, by key.
    """

    key: str
    files: dict[str, str]
    targets: dict[str, Target]

    @property
    def folder_name(self) -> str:
        """The name of its folder."""
        return f"predictions-{self.key}"

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> GivenPlan:
        """The same again, of what `dataclasses.asdict` gave."""
        targets = {key: _target(given) for key, given in document["targets"].items()}
        return cls(**{**document, "targets": targets})


@dataclass
class RunPlan:
    """A training run.

    Args:
        key: The hash that names it.
        recipe: What to do.
        place: The data set to train and choose on.
        sample: The part of its training posts, if not all.
        sampling_seed: Which part.
        whose: Whose picture and knowledge posts have.
        kinds: What the system sees of knowledge; None where it reads the text alone.
        posts: How many posts it is trained on.
        prints: Hashes of the posts to train and to choose on.
        start_from: The key of the run it starts from, or None.
        targets: What it is scored on, by key.
        chosen_on: How many posts choose the checkpoint, after each epoch.
    """

    key: str
    recipe: Recipe
    place: Place
    sample: Sample | None
    sampling_seed: int
    whose: Whose
    kinds: tuple[str, ...] | None
    posts: int
    prints: dict[str, str]
    start_from: str | None
    targets: dict[str, Target] = field(default_factory=dict)
    chosen_on: int = 0

    @property
    def folder_name(self) -> str:
        """The name of its folder."""
        return f"{self.recipe.model.name}-{self.key}"

    def as_dict(self) -> dict[str, Any]:
        """All that another process needs to do it, as JSON writes it."""
        return {
            "key": self.key,
            "recipe": self.recipe.as_dict(),
            "place": self.place.as_dict(),
            "sample": None if self.sample is None else self.sample.model_dump(exclude_defaults=True),
            "sampling_seed": self.sampling_seed,
            "whose": self.whose,
            "kinds": self.kinds,
            "posts": self.posts,
            "chosen_on": self.chosen_on,
            "prints": self.prints,
            "start_from": self.start_from,
            "targets": [asdict(target) for target in self.targets.values()],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> RunPlan:
        """The same again."""
        given = dict(document)
        targets = [_target(target) for target in given["targets"]]
        return cls(
            **{
                **given,
                "recipe": check_recipe(given["recipe"]),
                "place": Place(**given["place"]),
                "sample": None if given["sample"] is None else Sample(**given["sample"]),
                "kinds": _kinds(given["kinds"]),
                "targets": {target.key: target for target in targets},
            }
        )


@dataclass(frozen=True)
class Cell:
    """One place of a table, for one draw and one seed.

    Args:
        row: The row's name.
        data: The data set that is trained on.
        setting: The setting's name, empty where the table has none.
        sampling: Which draw, from 1; 0 where all posts are trained on.
        seed: The seed of training; None for predictions of which none is said.
        run: The key of its run, or of its predictions where they were made elsewhere.
        targets: For each data set that is scored its name and the key of the posts.
    """

    row: str
    data: str
    setting: str
    sampling: int
    seed: int | None
    run: str
    targets: tuple[tuple[str, str], ...]

    @property
    def place(self) -> tuple[str, str, str, int, int | None]:
        """Where in its table it stands, whatever its run is: row, data set, setting, draw, seed."""
        return self.row, self.data, self.setting, self.sampling, self.seed

    @property
    def title(self) -> str:
        """The cell in words."""
        return ", ".join(part for part in (self.row, self.data, self.setting, self.repeat) if part)

    @property
    def repeat(self) -> str:
        """Which draw and seed of its row it is, in words."""
        draw = f"draw {self.sampling}" if self.sampling else ""
        seed = "" if self.seed is None else f"seed {self.seed}"
        return ", ".join(part for part in (draw, seed) if part)


@dataclass
class Plan:
    """A table's cells and runs.

    Args:
        file: The table.
        cells: All cells, in the table's order.
        runs: The runs they need, by key; one that another starts from comes before it.
        given: The predictions made elsewhere, by key.
        materials: The data sets that were read, by name.
        views: For each data set what systems see of it: names and kinds of knowledge.
        roles: For each data set the splits that are used.
    """

    file: TableFile
    cells: list[Cell] = field(default_factory=list)
    runs: dict[str, RunPlan] = field(default_factory=dict)
    given: dict[str, GivenPlan] = field(default_factory=dict)
    materials: dict[str, Material] = field(default_factory=dict)
    views: dict[str, dict[str, tuple[str, ...] | None]] = field(default_factory=dict)
    roles: dict[str, list[str]] = field(default_factory=dict)

    @property
    def given_cells(self) -> list[Cell]:
        """The cells of predictions made elsewhere."""
        return [cell for cell in self.cells if cell.run in self.given]

    def source(self, cell: Cell) -> RunPlan | GivenPlan:
        """What a cell's predictions come from."""
        return self.runs.get(cell.run) or self.given[cell.run]


def make_plan(
    file: TableFile, places: Mapping[str, Place], progress: Reporter = silent, *, test: bool = True
) -> Plan:
    """The cells of a table, and the runs they need.

    Args:
        file: The table.
        places: Where each data set lies.
        test: Whether anything is scored; without, no test posts are looked at.
        progress: Told of each data set that is read.

    Raises:
        DataError: A data set cannot be read, has no posts where some are needed, or too few for a sample.
    """
    plan = Plan(file)
    wanted = _wanted(file)
    with progress("reading data", len(wanted)) as advance:
        for name in wanted:
            plan.materials[name] = Material.read(places[name])
            advance(data=name)
    planner = Planner(plan, test=test)
    plan.cells = [planner.cell(*place) for place in _asked(file)]
    return plan


def _asked(file: TableFile) -> Iterator[tuple[Row, str, Setting, int, int | None]]:
    """Row, data set, setting, draw and seed of each cell that a table asks for, in its order.

    Draws are numbered 1, 2, … where a part of the posts is trained on; else, and for predictions that were
    made elsewhere, there is 0 alone.
    """
    for row in file.table.rows:
        if row.quoted:
            continue
        for data in file.data_of(row):
            for setting in file.settings_of(row, data):
                if row.predictions:
                    for of_predictions in (None,) if row.seeds is None else row.seeds:
                        yield row, data, setting, 0, of_predictions
                    continue
                sampled = file.sample_of(data, setting) is not None
                for sampling in range(1, file.table.samplings + 1) if sampled else (0,):
                    for seed in file.table.seeds if row.seeds is None else row.seeds:
                        yield row, data, setting, sampling, seed


def plan_name(file: TableFile) -> str:
    """A name for a table's plan, which changes with the table and its recipes."""
    recipes = [
        recipe.as_dict()
        for row in file.table.rows
        if row.is_run
        for data in file.data_of(row)
        for setting in file.settings_of(row, data)
        for recipe in (
            file.recipe(row, setting, data),
            *([file.recipe(row, setting, pretraining=True)] if row.pretrain is not None else []),
        )
    ]
    content = json.dumps([file.table.model_dump(mode="json"), recipes], sort_keys=True)
    return f"{file.name}-{digest([content])[:8]}"


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """A plan as JSON writes it, without the posts."""
    return {
        "cells": [asdict(cell) for cell in plan.cells],
        "runs": [run.as_dict() for run in plan.runs.values()],
        "given": [asdict(given) for given in plan.given.values()],
    }


def plan_from_dict(file: TableFile, document: Mapping[str, Any]) -> Plan:
    """A plan as `plan_as_dict` gave it; its posts are not there, so it is good for reports alone."""
    plan = Plan(file)
    for given in document["cells"]:
        targets = tuple((name, key) for name, key in given["targets"])
        plan.cells.append(Cell(**{**given, "targets": targets}))
    runs = (RunPlan.from_dict(one) for one in document["runs"])
    plan.runs = {run.key: run for run in runs}
    plan.given = {one["key"]: GivenPlan.from_dict(one) for one in document.get("given", ())}
    return plan


def part_of(plan: Plan, file: TableFile) -> Plan | None:
    """The cells of a table's plan that are of a part of the table, and their runs; good for reports alone.

    Args:
        plan: The plan of the whole table, or of some of its parts.
        file: The part, as `mner.experiments.tables.only` gave it.

    Returns:
        None where the plan lacks a cell that the part asks for.
    """
    cells = {cell.place: cell for cell in plan.cells}
    wanted = list(_places(file))
    if not all(place in cells for place in wanted):
        return None
    return _with_runs_of(plan, Plan(file, [cells[place] for place in wanted]))


def joined(plan: Plan, earlier: Plan) -> Plan:
    """An earlier plan of a table with the cells of a later one in place of its own; good for reports alone.

    Args:
        plan: What is run now, the table or a part of it.
        earlier: What was run of the table before.
    """
    cells = {cell.place: cell for cell in (*earlier.cells, *plan.cells)}
    both = Plan(earlier.file, runs=dict(earlier.runs), given={**earlier.given, **plan.given})
    for key, run in plan.runs.items():
        before = both.runs.get(key)
        targets = {} if before is None else before.targets
        both.runs[key] = replace(run, targets={**targets, **run.targets})
    places = list(_places(earlier.file))
    return _with_runs_of(both, Plan(earlier.file, [cells[place] for place in places if place in cells]))


def _places(file: TableFile) -> Iterator[tuple[str, str, str, int, int | None]]:
    for row, data, setting, sampling, seed in _asked(file):
        yield row.name, data, setting.name, sampling, seed


def _with_runs_of(plan: Plan, part: Plan) -> Plan:
    """A part of a plan with the runs that its cells need, those that these start from included."""
    needed: dict[str | None, set[str]] = {}
    for cell in part.cells:
        needed.setdefault(cell.run, set()).update(key for _, key in cell.targets)
    # A run comes after the one that it starts from.
    for key, run in reversed(plan.runs.items()):
        if key in needed:
            needed.setdefault(run.start_from, set())
    for key, run in plan.runs.items():
        if key in needed:
            targets = {one: target for one, target in run.targets.items() if one in needed[key]}
            part.runs[key] = replace(run, targets=targets)
    part.given = {key: given for key, given in plan.given.items() if key in needed}
    return part


def _wanted(file: TableFile) -> list[str]:
    """The data sets that the table's cells touch, in its order."""
    touched: set[str] = set()
    for row in file.table.rows:
        if row.quoted:
            continue
        for data in file.data_of(row):
            touched.update((data, *file.table.data[data].also_score))
            if row.pretrain is not None:
                touched.add(row.pretrain.data)
    return [name for name in file.table.data if name in touched]


class Planner:
    """Makes cells, and enters the runs they need into a plan.

    Args:
        plan: The plan to fill; its data sets are read.
        test: Whether anything is scored.
    """

    def __init__(self, plan: Plan, *, test: bool = True) -> None:
        self.plan, self.test = plan, test
        self._samples: dict[Any, list[int]] = {}
        self._given_places: set[tuple[str, str, str, str]] = set()

    def cell(self, row: Row, data: str, setting: Setting, sampling: int, seed: int | None) -> Cell:
        """One cell; its run and the one that this starts from, or its predictions, are entered."""
        if row.predictions:
            return self._given(row, data, setting, seed)
        assert seed is not None
        file = self.plan.file
        start_from = None
        if row.pretrain is not None:
            recipe = file.recipe(row, setting, pretraining=True)
            start_from = self.run(recipe, row.pretrain.data, row.whose, seed).key
        sample = file.sample_of(data, setting)
        run = self.run(
            file.recipe(row, setting, data),
            data,
            row.whose,
            seed,
            sample=sample,
            sampling_seed=file.table.sampling_seed + max(sampling - 1, 0),
            start_from=start_from,
        )
        targets = []
        for name in file.scored_of(row, data, setting) if self.test else ():
            target = self.target(name, row.whose_tested or row.whose, run.kinds)
            run.targets[target.key] = target
            targets.append((name, target.key))
        return Cell(row.name, data, setting.name, sampling, seed, run.key, tuple(targets))

    def _given(self, row: Row, data: str, setting: Setting, seed: int | None) -> Cell:
        """The cell of predictions that were made elsewhere."""
        file = self.plan.file
        which = 0 if seed is None or row.seeds is None else row.seeds.index(seed)
        given = GivenPlan("", {}, {})
        scored: list[tuple[str, str]] = []
        parts: list[str] = []
        for name in file.scored_of(row, data, setting):
            path = file.path.parent / row.given[GivenPlace(data, name, setting.name)][which]
            try:
                content = cached_sha256_of(path)
            except OSError as error:
                raise DataError(
                    f"{file.path}, row {shown(row.name)}: the predictions {path} cannot be read.",
                    expected="a file of predictions of the test posts, as JSON lines or as columns",
                    got="a folder" if path.is_dir() else error.strerror,
                ) from error
            target = self.target(name, "own", None)
            given.files[target.key], given.targets[target.key] = str(path), target
            scored.append((name, target.key))
            entry = file.table.data[name]
            renamed = json.dumps(sorted(target.place.label_map.items()))
            parts += [target.key, content, entry.convention, renamed]
        given.key = digest(parts)[:16]
        place = (row.name, data, setting.name, given.key)
        if place in self._given_places:
            raise DataError(
                f"{file.path}, row {shown(row.name)}: two seeds have the same predictions.",
                expected="a file of each seed: the same run twice is no second run",
                got=", ".join(given.files.values()),
            )
        self._given_places.add(place)
        self.plan.given[given.key] = given
        return Cell(row.name, data, setting.name, 0, seed, given.key, tuple(scored))

    def run(
        self,
        recipe: Recipe,
        data: str,
        whose: Whose,
        seed: int,
        *,
        sample: Sample | None = None,
        sampling_seed: int = 0,
        start_from: str | None = None,
    ) -> RunPlan:
        """The run of a recipe on a data set, entered into the plan."""
        entry, material = self.plan.file.table.data[data], self.plan.materials[data]
        kinds = _seen(recipe)
        if kinds is None:
            whose = "own"
        tables = recipe.as_dict()
        tables["training"]["seed"] = seed
        tables["data"] = {
            "convention": entry.convention,
            **{role: getattr(entry, role) for role in ("train", "valid", "test")},
        }
        recipe = check_recipe(tables)
        chosen = self._sampled(material, sample, sampling_seed, entry.convention)
        train = self._prints(material, "train", kinds)
        valid = self._prints(material, "valid", kinds)
        prints = {"train": digest([train[index] for index in chosen]), "valid": digest(valid)}
        identity = {
            "recipe": _computed(recipe, reads_knowledge=bool(kinds)),
            "prints": prints,
            "whose": whose,
            "start_from": start_from,
        }
        key = digest([json.dumps(identity, sort_keys=True)])[:16]
        if key not in self.plan.runs:
            self.plan.runs[key] = RunPlan(
                key,
                recipe,
                material.place,
                sample,
                sampling_seed,
                whose,
                kinds,
                len(chosen),
                prints,
                start_from,
                chosen_on=len(valid),
            )
        return self.plan.runs[key]

    def target(self, data: str, whose: Whose, kinds: tuple[str, ...] | None) -> Target:
        """The test posts of a data set as a system sees them."""
        material = self.plan.materials[data]
        seen = self._prints(material, "test", kinds)
        whose = "own" if kinds is None else whose
        gold = digest(self._prints(material, "test", None))[:16]
        return Target(material.place, whose, kinds, digest([whose, *seen])[:16], gold)

    def _prints(self, material: Material, role: str, kinds: tuple[str, ...] | None) -> list[str]:
        name = material.place.name
        view = _TEXT_VIEW if kinds is None else ", ".join(kinds) or _PICTURE_VIEW
        self.plan.views.setdefault(name, {})[view] = kinds
        roles = self.plan.roles.setdefault(name, [])
        if role not in roles:
            roles.append(role)
        found = material.prints(role, kinds)
        if not found:
            raise DataError(
                f"The data set {name} has no posts in its split {getattr(material.place, role)!r}."
            )
        return found

    def _sampled(self, material: Material, sample: Sample | None, seed: int, convention: str) -> list[int]:
        """The places of the posts that are trained on."""
        key = (material.place.name, sample and sample.model_dump_json(), seed, convention)
        if key not in self._samples:
            posts = material.dataset.split(material.place.train)
            place_of = {id(post): place for place, post in enumerate(posts)}
            chosen = material.sampled(posts, sample, seed, convention)
            self._samples[key] = [place_of[id(post)] for post in chosen]
        return self._samples[key]


def _seen(recipe: Recipe) -> tuple[str, ...] | None:
    """What a system sees of knowledge; None where it reads the text alone."""
    model = model_named(recipe.model.name).model
    if not model.reads_pictures_with(recipe.model.options):
        return None
    # What is no kind is a source's name, whose kind the store knows.
    return tuple(
        kind
        for kind in recipe.knowledge.kinds
        if model.reads_knowledge is None or kind in model.reads_knowledge or kind not in KINDS
    )


def _computed(recipe: Recipe, *, reads_knowledge: bool) -> dict[str, Any]:
    """What of a recipe decides what a run computes."""
    tables = recipe.as_dict()
    tables.pop("title")
    for section, keys in _NOT_COMPUTED.items():
        for key in keys:
            tables[section].pop(key, None)
    if not reads_knowledge:
        del tables["knowledge"]
    for key in ("backbone", "vision_backbone", "vectors"):
        if key in tables["model"]:
            tables["model"][key] = _content_of(tables["model"][key])
    return tables


def _content_of(name: str) -> str:
    """What a folder or file holds, which may change, in place of its name; other names stay."""
    path = Path(name).expanduser()
    # Whose name means something else is not looked for on the disk.
    if name in (DEFAULT, SCRATCH) or not path.exists():
        return name
    if path.is_file():
        return f"sha256:{cached_sha256_of(path)}"
    try:
        return revision_of(name)
    except BackboneError:
        # The run says what is wrong with it; the others go on.
        return name


def _target(given: Mapping[str, Any]) -> Target:
    return Target(**{**given, "place": Place(**given["place"]), "kinds": _kinds(given["kinds"])})


def _kinds(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)
