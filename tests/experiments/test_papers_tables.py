"""The papers' experiments as table files: all there, readable at both sizes, beside the numbers of their paper."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import pytest

from mner.experiments.published import papers, published_table
from mner.experiments.tables import read_table
from mner.models import registered

RECIPES = Path(__file__).parents[2] / "recipes"
TABLES = sorted(
    path for path in RECIPES.rglob("*.toml") if "rows" in tomllib.loads(path.read_text(encoding="utf-8"))
)
# No paper has these numbers, and they have one size.
OURS = [path for path in TABLES if path.parent.name in ("probe", "cp-mner")]
FILES = [path for path in TABLES if path not in OURS]
IDS = [f"{path.parent.name}/{path.stem}" for path in FILES]
# Tables that count posts and mentions, which is no experiment.
STATISTICS = {"dghc/table-1", "dghc/table-2", "mgips-cl/table-1", "mmavk/table-1", "cdner/table-3"}


@cache
def read(path, size):
    return read_table(path, size)


def beside(table, row):
    """The published table of a row."""
    key = row.published_in or table.published
    return None if key is None or row.published_name is None else published_table(key)


def test_the_probe_s_ablations_can_be_read():
    (table,) = (path for path in OURS if path.parent.name == "probe")
    assert len(read(table, None).table.rows) > 20


@pytest.mark.parametrize("path", OURS, ids=[path.parent.name for path in OURS])
def test_our_own_ablations_change_what_those_of_the_papers_change(path):
    ours = {row.name: row.set for row in read(path, None).table.rows}
    compared = 0
    for system, name in (("cat-mner", "CAT-MNER"), ("dghc", "DGHC"), ("mgips-cl", "MGIPS-CL")):
        for row in read(RECIPES / system / "ablation.toml", "small").table.rows:
            between = ", " if row.name == "text only" else " "
            if f"{name}{between}{row.name}" in ours:
                assert ours[f"{name}{between}{row.name}"] == row.set
                compared += 1
    assert compared >= 11


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_table_can_be_read_at_both_sizes(path, size):
    file = read(path, size)
    assert list(file.table.sizes) == ["small", "full"]
    assert any(not row.quoted for row in file.table.rows)
    if path.parent.name in registered():
        assert file.table.paper == path.parent.name


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_full_size_has_the_papers_backbones_and_small_the_embedded_ones(path):
    for size in ("small", "full"):
        file = read(path, size)
        for row in file.table.rows:
            if row.quoted:
                continue
            for data in file.data_of(row):
                for setting in file.settings_of(row, data):
                    model = file.recipe(row, setting, data).model
                    if model.name.endswith("bilstm-crf") and not model.name.startswith("bert"):
                        continue
                    assert (model.backbone == "default") == (size == "small"), row.name
                    assert model.vision_backbone in (
                        (None, "scratch") if size == "small" else (None, "openai/clip-vit-base-patch32")
                    )


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_rows_have_their_published_numbers(path):
    """A quoted row has a number for a data set; a row that names a published one finds its numbers too."""
    table = read(path, "full").table
    datas = [name for entry in table.data.values() for name in entry.also_score.values()]
    datas += [entry.published or name for name, entry in table.data.items() if entry.shown]
    settings = [setting.published or setting.name for setting in table.settings] or [None]
    for row in table.rows:
        source = beside(table, row)
        if source is None or not (row.quoted or row.published):
            continue
        numbers = [
            source.find(row.published_name, data, measure, label, setting)
            for data in datas
            for setting in settings
            for measure, label in [("f1", None), ("f1", "PER"), ("precision", None)]
        ]
        printed = any(value is not None for value in source.row(row.published_name).values.values())
        assert any(number is not None for number in numbers) == printed, row.name


def test_every_experiment_of_the_papers_has_a_table():
    published = {table.key for paper in papers() for table in paper.tables} - STATISTICS
    used = set()
    for path in FILES:
        table = read(path, "small").table
        used |= {table.published, *(row.published_in for row in table.rows)}
    assert published <= used


def test_every_row_of_the_papers_main_tables_is_run_or_quoted():
    for name, key in [
        ("cat-mner", "table-1"),
        ("dghc", "table-3"),
        ("dghc", "table-4"),
        ("mgips-cl", "table-2"),
        ("mmavk", "table-2"),
        ("mmavk", "table-3"),
        ("cat-mner", "table-3"),
        ("dghc", "table-5"),
        ("mgips-cl", "table-3"),
        ("mmavk", "table-4"),
    ]:
        (path,) = [
            one
            for one in FILES
            if read(one, "small").table.published == f"{name}/{key}" and one.parent.name == name
        ]
        rows = {row.published_name for row in read(path, "small").table.rows}
        there = {row.name for row in published_table(f"{name}/{key}").rows}
        assert there <= rows, path


def test_ablations_change_what_they_are_called_after():
    """Rows of an ablation differ from each other in the model's settings, or in whose knowledge is tested with."""
    for path in FILES:
        if not path.stem.startswith("ablation"):
            continue
        file = read(path, "small")
        setting = file.settings_of(file.table.rows[0], next(iter(file.table.data)))[0]
        options = [
            (str(sorted(file.recipe(row, setting).model.options.items())), row.whose_tested)
            for row in file.table.rows
            if not row.quoted
        ]
        assert len(set(options)) == len(options), path


def test_curves_have_the_papers_points():
    points = {
        "cat-mner/low-resource": [50, 100, 200, 400],
        "mgips-cl/low-resource": [10, 20, 30, 40, 50, 100],
        "mgips-cl/positives": [1, 2, 3, 4, 5, 6],
        "mgips-cl/interweave-encoders": [1, 2, 3, 4, 5, 6, 7],
        # Those with so many mentions or more are no points of the curve.
        "cdner/few-shot": [5, 10, 20, 50, None, None],
    }
    for name, values in points.items():
        table = read(RECIPES / f"{name}.toml", "full").table
        assert [setting.value for setting in table.settings] == values
    assert read(RECIPES / "cat-mner/low-resource.toml", "full").table.samplings == 8
    assert read(RECIPES / "mgips-cl/main-results.toml", "full").table.seeds == [1, 2, 3, 4, 5]
    dghc = read(RECIPES / "dghc/main-results.toml", "full")
    row = dghc.table.row("DGHC")
    epochs = {
        data: dghc.recipe(row, dghc.settings_of(row, data)[0], data).training.epochs
        for data in dghc.table.data
    }
    assert epochs == {"twitter2015": 30, "twitter2017": 35}
