"""The published numbers: every table's shape, and every number against the others."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from importlib import resources

import pytest

from mner.errors import UsageError
from mner.experiments import published
from mner.experiments.published import (
    Column,
    Note,
    check_published,
    disagreements,
    paper,
    papers,
    published_table,
)
from mner.models import registered

# Rows and columns of every table, counted in the papers.
SHAPES = {
    "cat-mner/table-1": (14, 14),
    "cat-mner/table-2": (3, 6),
    "cat-mner/table-3": (6, 4),
    "dghc/table-1": (5, 2),
    "dghc/table-2": (6, 6),
    "dghc/table-3": (13, 6),
    "dghc/table-4": (13, 8),
    "dghc/table-5": (4, 6),
    "dghc/table-6": (4, 6),
    "mgips-cl/table-1": (6, 8),
    "mgips-cl/table-2": (30, 14),
    "mgips-cl/table-3": (5, 6),
    "mmavk/table-1": (6, 6),
    "mmavk/table-2": (17, 14),
    "mmavk/table-3": (4, 6),
    "mmavk/table-4": (4, 6),
    "cdner/table-1": (5, 6),
    "cdner/table-2": (6, 2),
    "cdner/table-3": (8, 4),
    "cdner/table-4": (3, 8),
    "cdner/table-5": (9, 10),
    "cdner/table-6": (4, 5),
}


def tables():
    return [table for one in papers() for table in one.tables]


def test_every_table_of_the_papers_is_there_with_its_rows_and_columns():
    found = {table.key: (len(table.rows), len(table.columns)) for table in tables() if "/table-" in table.key}
    assert found == SHAPES


def test_papers_are_systems_and_types_and_data_sets_have_the_names_of_the_house():
    assert {one.key for one in papers()} <= set(registered())
    labels = {column.label for table in tables() for column in table.columns}
    assert labels == {None, "PER", "LOC", "ORG", "MISC"}
    datas = {column.data for table in tables() for column in table.columns}
    domain = r"crossner-(politics|science|music|literature|ai|mean)(@\d+-shot)?"
    known = rf"twitter201[57](->twitter201[57]|@\d+( %)?)?|{domain}|train|valid|test|types"
    assert not [data for data in datas if not re.fullmatch(known, data)]


def test_nothing_deviates_without_a_note_and_every_note_is_true():
    assert check_published() == []


def every_f1():
    """F1 by the definition, over the file as it stands, without the module that reads it."""
    content = tomllib.loads(resources.files("mner.experiments").joinpath("published.toml").read_text())
    for table in content["tables"]:
        columns = table["columns"]
        columns = content["columns"][columns] if isinstance(columns, str) else columns
        noted = {
            (note["row"], note["column"]): note["computed"]
            for note in table.get("notes", ())
            if note["kind"] == "f1"
        }
        for row in table["rows"]:
            values = dict(zip(columns, row["values"], strict=True))
            for column, value in values.items():
                data, _, measure = column.rpartition(".")
                parts = [values.get(f"{data}.precision"), values.get(f"{data}.recall")]
                if measure == "f1" and all(isinstance(one, float) for one in (value, *parts)):
                    where = (row["name"], column)
                    yield table["paper"], where, value, 2 / (1 / parts[0] + 1 / parts[1]), noted.get(where)


def test_an_f1_that_its_precision_and_recall_contradict_has_a_note_with_the_right_one():
    checked = list(every_f1())
    # Rows with precision and recall, two data sets each: 14 + 3 + 13 + 4 + 4 + 30 + 5 + 17 + 4 + 4 tables'
    # rows, less the dashes.
    assert len(checked) > 160
    for _, where, printed, computed, noted in checked:
        assert (noted is None) == (abs(printed - computed) <= 0.02), where
        if noted is not None:
            assert noted == pytest.approx(computed, abs=0.0051), where
    assert sum(noted is not None for *_, noted in checked) == 12


def with_table(monkeypatch, key, **changes):
    """The papers with one table altered."""
    altered = tuple(
        dataclasses.replace(
            one,
            tables=tuple(
                dataclasses.replace(table, **changes) if table.key == key else table for table in one.tables
            ),
        )
        for one in papers()
    )
    monkeypatch.setattr(published, "_read", lambda: (altered, published_disagreements))


published_disagreements = disagreements()


def changed(table, row, column, value):
    return tuple(
        dataclasses.replace(one, values={**one.values, Column.parse(column): value})
        if one.name == row
        else one
        for one in table.rows
    )


@pytest.mark.parametrize(
    ("key", "row", "column", "value", "said"),
    [
        ("mmavk/table-2", "MMAVK", "twitter2015.f1", 79.58, "deviates (f1 is 79.85) without a note"),
        ("dghc/table-2", "ORG", "twitter2015.train", 982.0, "deviates (sum is 6230.00) without a note"),
        ("mgips-cl/table-1", "PER", "twitter2017.test", 612.0, "deviates (sum is 4181.00) without a note"),
        ("cat-mner/table-3", "w/o T2I", "twitter2017.drop", 0.07, "the drop is 0.70"),
        ("cdner/table-1", "UniNER-7B", "crossner-mean.f1", 67.22, "a note (mean) where nothing deviates"),
        ("cdner/table-1", "UniNER-7B", "crossner-ai.f1", 61.90, "the note says 67.22, it is 67.020"),
        ("cdner/table-6", "20-shot", "crossner-ai.f1", 57.76, "57.76 is not 57.67, as the note says"),
        ("mgips-cl/table-2", "VEC-MNER", "twitter2017.f1", 87.54, "MGIPS-CL less VEC-MNER is 0.98"),
        ("mgips-cl/table-2", "TMR", "twitter2015.f1", 76.87, "deviates"),
        ("mmavk/table-2", "UMGF", "twitter2017.f1.ORG", 83.31, "UMGF: disagreements noted and found differ"),
        ("cdner/table-2", "VEC-MNER", "twitter2017.f1", 87.51, "VEC-MNER: disagreements noted and found"),
    ],
)
def test_a_slip_of_the_pen_is_found(monkeypatch, key, row, column, value, said):
    table = published_table(key)
    with_table(monkeypatch, key, rows=changed(table, row, column, value))
    assert any(said in sentence for sentence in check_published()), check_published()


def test_a_note_about_a_number_that_is_right_is_found(monkeypatch):
    note = Note("f1", "it is not", row="PGIM", columns=(Column("twitter2015", "f1"),), computed=79.33)
    table = published_table("mmavk/table-2")
    with_table(monkeypatch, table.key, notes=(*table.notes, note))
    assert check_published() == ["mmavk/table-2, PGIM, twitter2015.f1: a note (f1) where nothing deviates"]


def test_a_row_is_found_by_data_measure_type_and_setting():
    results = published_table("mgips-cl/2")
    assert results.key == "mgips-cl/table-2"
    assert results.value("MGIPS-CL", "twitter2015.f1") == results.find("MGIPS-CL", "twitter2015") == 76.86
    assert results.find("MGIPS-CL", "twitter2017", label="PER") == 94.87
    assert results.find("ChatGPT", "twitter2017", "recall") is None
    assert results.find("no such system", "twitter2017") is None
    sensitivity = published_table("mgips-cl/figure-6")
    assert sensitivity.find("MGIPS-CL", "twitter2017", setting="K = 3") == 88.52
    assert sensitivity.find("MGIPS-CL", "twitter2017", setting="K = 2") is None
    shots = published_table("cdner/table-5")
    assert shots.find("Ours", "crossner-music", setting="50-shot") == 74.82
    crossed = published_table("dghc/table-6")
    assert crossed.find("OurModel", "twitter2017->twitter2015") == 66.56


def test_a_wrong_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'mgips-cl'"):
        paper("mgips")
    with pytest.raises(UsageError, match="Did you mean 'dghc/table-3'"):
        published_table("dghc/tabel-3")
    with pytest.raises(UsageError, match="Did you mean 'HVPNet'"):
        published_table("dghc/3").row("HVPnet")
    with pytest.raises(UsageError, match="has no column"):
        published_table("dghc/3").value("HVPNet", "twitter2016.f1")
