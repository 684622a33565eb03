"""Tables of experiments as files: systems x data x settings x seeds, made of recipes, checked strictly.

A table names rows (a recipe with changes), data sets, settings (changes that every row is run with) and
seeds. A cell of it is one training run. Nothing here reads data or trains; `mner.experiments.plans` makes
the cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from mner.data.sampling import Bound
from mner.errors import MnerError, RecipeError, did_you_mean, shown
from mner.experiments.published import published_table
from mner.training.recipe import DataSection, Recipe, Section, check_recipe, explained, read_toml

Changes = dict[str, Any]
"""Changes of a recipe, as the recipe's own tables: ``{ model.threshold = 0.3 }``."""

Whose = Literal["own", "another", "none"]
"""Whose picture and knowledge a post is given: its own, another post's of the same split, nobody's."""


def _each_once(values: list[int]) -> list[int]:
    if len(set(values)) < len(values):
        raise ValueError("each seed once: the same run twice is no second run")
    return values


Seeds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(_each_once)
]
"""Seeds of training, at least one and none twice."""


def _by_data_set(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError('files by data set, such as { twitter2017 = "said.jsonl" }')
    return value


GivenFiles = Annotated[
    dict[str, Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]],
    BeforeValidator(_by_data_set),
]
"""Files of predictions by what they are of, see `GivenPlace`: one, or one for each seed."""

WHOLE = ""
"""The name of the only setting of a table that lists none."""


@dataclass(frozen=True)
class GivenPlace:
    """What predictions made elsewhere are of, written ``DATA``, ``DATA->SCORED`` or ``DATA@SETTING``.

    Args:
        data: The data set that was trained on.
        scored: The one whose test posts they are of.
        setting: The table's setting, `WHOLE` where it has none.
    """

    data: str
    scored: str
    setting: str

    @classmethod
    def named(cls, name: str) -> GivenPlace:
        """The place of that name."""
        sets, _, setting = name.partition("@")
        data, _, scored = sets.partition("->")
        return cls(data, scored or data, setting)


class Sample(Section):
    """Which part of the training posts is trained on; exactly one of the first three keys.

    Args:
        posts: So many posts.
        share: A share of the posts.
        shots: So many mentions of each type.
        bound: Whether these are the most that a type may have or the fewest; see `sample_shots`.
    """

    posts: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    shots: Annotated[int, Field(ge=1)] | None = None
    bound: Bound = "at-most"

    @model_validator(mode="after")
    def _one_size(self) -> Sample:
        if sum(value is not None for value in (self.posts, self.share, self.shots)) != 1:
            raise ValueError("exactly one of posts, share and shots")
        if "bound" in self.model_fields_set and self.shots is None:
            raise ValueError("a bound is for shots alone")
        return self


class DataEntry(DataSection):
    """``[data.NAME]``: a data set, as a recipe's ``[data]`` has it, and what a table says besides.

    Folders start from the table's own; `folder` is NAME where None, and `--data` replaces it.

    Args:
        knowledge: Its knowledge store, from the table's own folder; `--knowledge` replaces it.
        sample: Train on a part of the posts.
        also_score: Other data sets of the table whose test posts are scored too, and the name of that
            column in the published table ("" where it has none).
        published: Name of this set's columns in the published table; NAME where None.
        title: What the report calls it; NAME where None.
        shown: Whether its cells stand in the report; not where it is only there to start from.
    """

    knowledge: str | None = None
    sample: Sample | None = None
    also_score: dict[str, str] = Field(default_factory=dict)
    published: str | None = None
    title: str | None = None
    shown: bool = True


class Pretraining(Section):
    """``pretrain`` of a row: the run whose weights each of the row's runs starts from, of the same seed.

    Args:
        data: The data set to pre-train on; never sampled.
        row: Pre-train as this row does; as the row itself where None.
        recipe: Pre-train with another recipe, by size (see `Row.recipe`); the row's changes apply to it.
        set: Changes besides.
    """

    data: str
    row: str | None = None
    recipe: str | dict[str, str] | None = None
    set: Changes = Field(default_factory=dict)


# What says how a row is run.
_OF_RUNS = {"recipe", "set", "set_at", "settings", "pretrain", "whose", "whose_tested"}


class Row(Section):
    """``[[rows]]``: a system with its settings; one that is run, one that was run elsewhere, or a quoted one.

    Args:
        name: Its name in the table.
        recipe: The recipe, from the table's own folder; or one a size: ``{ small = "small.toml", full =
            "full-size.toml" }``.
        predictions: Instead of a recipe, files of predictions that were made elsewhere, from the table's own
            folder: by data set, ``DATA->SCORED`` for the test posts of another one, ``DATA@SETTING`` where
            the table has settings. One file, or one for each of the row's `seeds`.
        set: Changes of the recipe.
        set_at: Changes at a size, by size, or at a size on a data set, by ``SIZE/DATA``.
        data: The data sets it is run on; all where None.
        settings: The settings it is run with; all where None.
        seeds: Its seeds; the table's where None, and of predictions none.
        sizes: The sizes at which it is run; at the others it is quoted, or left out where nothing was
            published. All where None.
        pretrain: A run to start from.
        whose: Whose picture and knowledge a post has, in training and in scoring.
        whose_tested: The same in scoring, where it differs from training.
        published: Name of the row in the published table; the row's own name where None, "" for none.
        published_in: Published table of this row, where it is not the table's.
        quoted: The row is not run: it has the published numbers alone, and is marked so.
        note: A remark that stands below the report's table.
    """

    name: Annotated[str, Field(min_length=1)]
    recipe: str | dict[str, str] | None = None
    predictions: GivenFiles = Field(default_factory=dict)
    set: Changes = Field(default_factory=dict)
    set_at: dict[str, Changes] = Field(default_factory=dict)
    data: list[str] | None = None
    settings: list[str] | None = None
    seeds: Seeds | None = None
    sizes: list[str] | None = None
    pretrain: Pretraining | None = None
    whose: Whose = "own"
    whose_tested: Whose | None = None
    published: str | None = None
    published_in: str | None = None
    quoted: bool = False
    note: str = ""

    @property
    def is_run(self) -> bool:
        """Whether its cells are runs; else it was run elsewhere, or is quoted."""
        return self.recipe is not None

    @property
    def given(self) -> dict[GivenPlace, list[str]]:
        """Its files of predictions, one for each of its seeds."""
        return {
            GivenPlace.named(name): [files] if isinstance(files, str) else files
            for name, files in self.predictions.items()
        }

    @property
    def published_name(self) -> str | None:
        """The row's name in the published table, or None."""
        name = self.name if self.published is None else self.published
        return name or None

    @model_validator(mode="after")
    def _quoted_or_run(self) -> Row:
        if self.quoted and (self.recipe is not None or self.pretrain is not None or self.predictions):
            raise ValueError("a quoted row is not run, so it has neither recipe nor predictions")
        if not self.quoted and self.recipe is None and not self.predictions:
            raise ValueError(
                'a recipe, predictions made elsewhere, or "quoted = true" for numbers from the paper alone'
            )
        if self.predictions:
            named = sorted(self.model_fields_set & _OF_RUNS)
            if named:
                raise ValueError(f"a row of predictions is not run here, so it has no {named[0]}")
            wanted = len(self.seeds or (1,))
            for name, files in self.predictions.items():
                if isinstance(files, list) and len(files) > 1 and self.seeds is None:
                    raise ValueError(f"{name}: several files want `seeds` of the row, in their order")
                if wanted != (1 if isinstance(files, str) else len(files)):
                    raise ValueError(f"{name}: as many files as the row has seeds, {wanted}")
        return self


class Setting(Section):
    """``[[settings]]``: what every row is run with besides; one point of a plot's horizontal axis.

    Args:
        name: Its name.
        value: Its place on the axis.
        set: Changes of the recipes.
        data: The data sets it is for; all where None.
        sample: Train on a part of the posts.
        published: Name of this setting in the published table.
    """

    name: Annotated[str, Field(min_length=1)]
    value: float | None = None
    set: Changes = Field(default_factory=dict)
    data: list[str] | None = None
    sample: Sample | None = None
    published: str | None = None


class Size(Section):
    """``[sizes.NAME]``: what the whole table is run with, chosen by `--size`.

    Args:
        set: Changes of all recipes.
        seeds: The seeds; the table's where None.
        samplings: How many samplings; the table's where None.
        data: The data sets; all where None.
        note: A remark for the report.
    """

    set: Changes = Field(default_factory=dict)
    seeds: Seeds | None = None
    samplings: Annotated[int, Field(ge=1)] | None = None
    data: list[str] | None = None
    note: str = ""


class Table(Section):
    """A whole table.

    Args:
        title: What it shows.
        paper: The paper that it follows.
        published: The published table that stands beside it.
        note: A remark for the report.
        axis: What `Setting.value` counts; settings are then drawn as a curve.
        seeds: The seeds of every row.
        samplings: How many samples are drawn where `sample` is given, each of them run with every seed.
        sampling_seed: Seed of the first one; the others follow.
        sample: Train on a part of the posts.
        sizes: What can be chosen with `--size`; the first is the default.
        data: The data sets by name.
        rows: The rows.
        settings: The settings; one without changes where there are none.
    """

    title: Annotated[str, Field(min_length=1)]
    paper: str | None = None
    published: str | None = None
    note: str = ""
    axis: str | None = None
    seeds: Seeds = Field(default_factory=lambda: [1])
    samplings: Annotated[int, Field(ge=1)] = 1
    sampling_seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    sample: Sample | None = None
    sizes: dict[str, Size] = Field(default_factory=dict)
    data: Annotated[dict[str, DataEntry], Field(min_length=1)]
    rows: Annotated[list[Row], Field(min_length=1)]
    settings: list[Setting] = Field(default_factory=list)

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class TableFile:
    """A table with where it stands and the size that was chosen.

    Args:
        path: The file.
        table: What it says, the size's seeds, samplings and data sets applied.
        size: The chosen size, or None where the table has none.
        rows: The rows of the file, with those that were left out: another may pre-train as they do.
        part: Which part of the table this is, in words, where `only` has left something out.
    """

    path: Path
    table: Table
    size: str | None
    rows: tuple[Row, ...]
    part: str = ""

    @property
    def name(self) -> str:
        """A name for files: the table's folder and file."""
        stem = f"{self.path.resolve().parent.name}-{self.path.stem}"
        sized = stem if self.size is None else f"{stem}-{self.size}"
        return re.sub(r"[^\w.-]+", "-", sized)

    def settings_of(self, row: Row, data: str) -> list[Setting]:
        """The settings that a row is run with on a data set, or that its predictions there are of."""
        settings = self.table.settings or [Setting.model_construct(name=WHOLE)]
        given = {place.setting for place in row.given if place.data == data}
        return [
            one
            for one in settings
            if (row.settings is None or one.name in row.settings)
            and (one.data is None or data in one.data)
            and (not row.predictions or one.name in given)
        ]

    def scored_of(self, row: Row, data: str, setting: Setting) -> list[str]:
        """The data sets whose test posts a row is scored on, where it is trained on one of them."""
        sets = [data, *self.table.data[data].also_score]
        given = row.given
        return [one for one in sets if not given or GivenPlace(data, one, setting.name) in given]

    def data_of(self, row: Row) -> list[str]:
        """The data sets that a row is run on."""
        return [name for name, entry in self.table.data.items() if _runs_on(row, name, entry)]

    def sample_of(self, data: str, setting: Setting) -> Sample | None:
        """The part of the training posts that is trained on; None for all."""
        return setting.sample or self.table.data[data].sample or self.table.sample

    def recipe(
        self, row: Row, setting: Setting, data: str | None = None, *, pretraining: bool = False
    ) -> Recipe:
        """The recipe of a row with a setting, all changes made, without data and seed.

        Args:
            row: A row that is run.
            setting: One of its settings.
            data: The data set that it is run on; that of the changes made for one alone.
            pretraining: Give that of the run which the row starts from instead.

        Raises:
            RecipeError: The recipe with its changes is not valid.
            UsageError: It names an unknown system.
        """
        origin = f"{self.path}, row {shown(row.name)}"
        source, changed = row, [row]
        more: Changes = {}
        given = row.recipe
        if pretraining and row.pretrain is not None:
            more = row.pretrain.set
            if row.pretrain.row is not None:
                source = next(one for one in self.rows if one.name == row.pretrain.row)
                changed, given = [source], source.recipe
            if row.pretrain.recipe is not None:
                given = row.pretrain.recipe
            origin += ", pretrain"
        tables = read_toml(self._recipe_path(given, origin), "recipe")
        steps = [self.table.sizes[self.size].set if self.size is not None else {}]
        for one in changed:
            steps += [one.set, *(one.set_at.get(key, {}) for key in (self.size or "", f"{self.size}/{data}"))]
        # Which posts there are is the table's matter, so the recipe's own data is not looked at.
        tables.pop("data", None)
        tables.get("knowledge", {}).pop("store", None)
        for changes in (*steps, setting.set, more):
            if "data" in changes or _sets(changes, "knowledge", "store"):
                raise RecipeError(
                    f"{origin}: data and knowledge.store cannot be changed for a row.",
                    hint="Describe the data set under [data.NAME] and choose it with the row's `data`.",
                )
            if _sets(changes, "training", "seed"):
                raise RecipeError(
                    f"{origin}: training.seed cannot be changed by `set`.",
                    expected="`seeds`, of the table, a size or a row",
                    hint="Each seed is a cell of its own, whatever the recipe says.",
                )
            tables = merged(tables, changes, origin)
        try:
            return check_recipe(tables, origin)
        except RecipeError:
            raise
        except MnerError as error:
            raise RecipeError(f"{origin}: {error.what}", hint=error.hint) from error

    def _recipe_path(self, given: str | dict[str, str] | None, origin: str) -> Path:
        if isinstance(given, dict):
            if self.size not in given:
                raise RecipeError(
                    f"{origin}: there is no recipe for the size {self.size}.",
                    got=", ".join(given),
                    hint="Add one, or choose another --size.",
                )
            given = given[self.size]
        if given is None:
            raise RecipeError(
                f"{origin}: the row to pre-train as is not run at the size {self.size}.",
                hint="Name its recipe under `pretrain`.",
            )
        return self.path.parent / given


def read_table(path: str | Path, size: str | None = None) -> TableFile:
    """Read and check a table, its recipes included.

    Args:
        path: The TOML file.
        size: One of its sizes; its first one where None.

    Raises:
        RecipeError: It is not there, is no TOML, has an unknown key, a value of a wrong type, or names a
            row, data set, setting, size or recipe that is not there.
        UsageError: It names an unknown system.
    """
    path = Path(path)
    try:
        table = Table.model_validate(read_toml(path, "table"))
    except ValidationError as error:
        raise explained(error, str(path), Table) from error
    _check_names(table, path)
    chosen = _chosen(table, size, path)
    rows = tuple(table.rows if chosen is None else (_at_size(row, chosen) for row in table.rows))
    if chosen is not None:
        entry = table.sizes[chosen]
        table = table.model_copy(
            update={
                "seeds": entry.seeds or table.seeds,
                "samplings": entry.samplings or table.samplings,
                "data": _showing(table.data, entry.data),
                # Neither run at this size nor published anywhere: there is nothing to show.
                "rows": [row for row in rows if not row.quoted or row.published_name],
            }
        )
    file = TableFile(path, table, chosen, rows)
    for row in table.rows:
        if row.is_run:
            for data in file.data_of(row):
                for setting in file.settings_of(row, data):
                    file.recipe(row, setting, data)
                    if row.pretrain is not None:
                        file.recipe(row, setting, pretraining=True)
    return file


def only(
    file: TableFile,
    rows: Iterable[str] = (),
    data: Iterable[str] = (),
    seeds: Iterable[int] = (),
    settings: Iterable[str] = (),
    draws: int | None = None,
) -> TableFile:
    """A table with some of its rows, data sets, seeds, settings and draws alone.

    Args:
        file: The table.
        rows: Names of rows; all where empty.
        data: Names of data sets; all where empty.
        seeds: Seeds; all where empty.
        settings: Names of settings; all where empty.
        draws: At most so many draws of each sample; all where None.

    Raises:
        RecipeError: There is no such row, data set, seed or setting.
    """
    table = file.table
    rows, data, seeds, settings = list(rows), list(data), list(seeds), list(settings)
    known = {*table.seeds, *(seed for row in table.rows for seed in row.seeds or ())}
    for seed in seeds:
        _known(str(seed), [str(each) for each in sorted(known)], f"{file.path}: there is no seed")
    for name in rows:
        _known(name, [row.name for row in table.rows], f"{file.path}: there is no row")
    for name in data:
        _known(name, table.data, f"{file.path}: there is no data set")
    for name in settings:
        _known(name, [setting.name for setting in table.settings], f"{file.path}: there is no setting")
    return replace(
        file,
        table=table.model_copy(
            update={
                "rows": [_of_seeds(row, seeds) for row in table.rows if not rows or row.name in rows],
                "seeds": _among(table.seeds, seeds),
                "settings": [each for each in table.settings if not settings or each.name in settings],
                "samplings": min(table.samplings, draws or table.samplings),
                "data": _showing(table.data, data or None),
            }
        ),
        part="; ".join(filter(None, (file.part, _part(table, rows, data, seeds, settings, draws)))),
    )


def _part(
    table: Table,
    rows: Sequence[str],
    data: Sequence[str],
    seeds: Sequence[int],
    settings: Sequence[str],
    draws: int | None,
) -> str:
    """What is left of a table by `only`, in words and in the table's order; empty where all of it is."""
    found = []
    for what, there, wanted in (
        ("row", [row.name for row in table.rows], rows),
        ("data set", [name for name, entry in table.data.items() if entry.shown], data),
        ("setting", [setting.name for setting in table.settings], settings),
        ("seed", sorted({*table.seeds, *(seed for row in table.rows for seed in row.seeds or ())}), seeds),
        ("draw", range(1, table.samplings + 1), range(1, (draws or 0) + 1)),
    ):
        # A data set that no row is run on may be named too.
        left = [name for name in there if name in wanted] or list(wanted)
        if left and len(left) < len(there):
            found.append(f"{what}{'s' if len(left) > 1 else ''} {', '.join(map(str, left))}")
    return "; ".join(found)


def _of_seeds(row: Row, wanted: Sequence[int]) -> Row:
    """A row with some of its seeds alone, where it has its own, and with their predictions."""
    if row.seeds is None:
        return row
    seeds = _among(row.seeds, wanted)
    # A single file is that of the only seed; without it the row has no cell.
    given = {
        name: [file for seed, file in zip(row.seeds, files, strict=True) if seed in seeds]
        for name, files in row.predictions.items()
        if isinstance(files, list)
    }
    return row.model_copy(update={"seeds": seeds, "predictions": {**row.predictions, **given}})


def _among(there: Iterable[int], wanted: Sequence[int]) -> list[int]:
    return [seed for seed in there if not wanted or seed in wanted]


def merged(tables: Mapping[str, Any], changes: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Tables with changes made in them, table by table.

    Raises:
        RecipeError: A change puts a table in a value's place, or a value in a table's.
    """
    result = dict(tables)
    for key, value in changes.items():
        there = result.get(key)
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            result[key] = merged(there, value, origin)
        elif there is not None and isinstance(there, Mapping) != isinstance(value, Mapping):
            raise RecipeError(
                f"{origin}: a change of {key} does not fit.",
                expected="a table" if isinstance(there, Mapping) else "a value",
                got=shown(value),
            )
        else:
            result[key] = merged({}, value, origin) if isinstance(value, Mapping) else value
    return result


def _sets(changes: Mapping[str, Any], section: str, key: str) -> bool:
    """Whether changes change that key of that section."""
    given = changes.get(section)
    return isinstance(given, Mapping) and key in given


def _runs_on(row: Row, name: str, entry: DataEntry) -> bool:
    given = {place.data for place in row.given}
    return entry.shown and (row.data is None or name in row.data) and (not given or name in given)


def _at_size(row: Row, size: str) -> Row:
    """The row, or where it is not run at a size, its published numbers alone."""
    if row.sizes is None or size in row.sizes:
        return row
    return row.model_copy(update={"recipe": None, "predictions": {}, "pretrain": None, "quoted": True})


def _showing(data: Mapping[str, DataEntry], names: list[str] | None) -> dict[str, DataEntry]:
    """The data sets, of which only some are run on; the others may still be started from or scored."""
    return {
        name: entry if names is None or name in names else entry.model_copy(update={"shown": False})
        for name, entry in data.items()
    }


def _chosen(table: Table, size: str | None, path: Path) -> str | None:
    if size is None:
        return next(iter(table.sizes), None)
    _known(size, table.sizes, f"{path}: there is no size")
    return size


def _check_names(table: Table, path: Path) -> None:
    for what, names in (
        ("rows", [row.name for row in table.rows]),
        ("settings", [setting.name for setting in table.settings]),
        # A report calls them by their titles; two would be one column.
        ("data sets", [entry.title or key for key, entry in table.data.items()]),
    ):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise RecipeError(f"{path}: two {what} are called {shown(twice)}.", expected="a name of its own")
    settings = [setting.name for setting in table.settings]
    rows = [row.name for row in table.rows if row.is_run]
    for row in table.rows:
        where = f"{path}, row {shown(row.name)}: there is no"
        for name in row.data or ():
            _known(name, table.data, f"{where} data set")
        for name in row.settings or ():
            _known(name, settings, f"{where} setting")
        _check_given(row, table, f"{path}, row {shown(row.name)}")
        sized = row.recipe if isinstance(row.recipe, dict) else {}
        for name in (*row.set_at, *sized, *(row.sizes or ())):
            size, slash, data = name.partition("/")
            _known(size, table.sizes, f"{where} size")
            if slash:
                _known(data, table.data, f"{where} data set")
        if row.pretrain is not None:
            _known(row.pretrain.data, table.data, f"{where} data set")
            if row.pretrain.row is not None:
                _known(row.pretrain.row, rows, f"{where} row with a recipe")
        beside = row.published_in or table.published
        # A name that is given, or without which a row would be empty, must be there.
        if beside is not None and (row.published or row.quoted) and row.published_name is not None:
            published_table(beside).row(row.published_name)
    if table.published is not None:
        published_table(table.published)
    for setting in table.settings:
        for name in setting.data or ():
            _known(name, table.data, f"{path}, setting {shown(setting.name)}: there is no data set")
    for key, entry in table.data.items():
        for name in entry.also_score:
            _known(name, table.data, f"{path}, data.{key}.also_score: there is no data set")
    for key, size in table.sizes.items():
        for name in size.data or ():
            _known(name, table.data, f"{path}, sizes.{key}: there is no data set")


def _check_given(row: Row, table: Table, where: str) -> None:
    """Refuse files of predictions that no cell would have."""
    taken = set()
    for name in row.predictions:
        place = GivenPlace.named(name)
        _known(place.data, table.data, f"{where}: there is no data set")
        also = [place.data, *table.data[place.data].also_score]
        _known(place.scored, also, f"{where}: beside those of {place.data} there are no test posts of")
        settings = [one.name for one in table.settings if one.data is None or place.data in one.data]
        if settings and place.setting == WHOLE:
            raise RecipeError(
                f"{where}: which setting the predictions of {shown(name)} are of is not said.",
                expected=", ".join(shown(f"{name}@{setting}") for setting in settings),
            )
        if settings or place.setting != WHOLE:
            _known(place.setting, settings, f"{where}: there is no setting")
        if not _runs_on(row, place.data, table.data[place.data]):
            raise RecipeError(
                f"{where}: the table has no cell for the predictions of {shown(name)}.",
                hint=f"Its own `data` leaves {place.data} out, or [data.{place.data}] is not shown.",
            )
        if place in taken:
            raise RecipeError(f"{where}: the predictions of {shown(name)} are named twice.")
        taken.add(place)


def _known(name: str, names: Iterable[str], what: str) -> None:
    names = list(names)
    if name not in names:
        raise RecipeError(f"{what} {shown(name)}.", hint=did_you_mean(name, names))
