"""`mner experiment published`: for people and for programs."""

from __future__ import annotations

import json

from mner.cli.app import run
from mner.experiments.published import papers, published_table


def test_all_papers_are_listed(capsys):
    assert run(["experiment", "published"]) == 0
    shown = capsys.readouterr().out
    assert all(one.key in shown for one in papers())
    assert "figure-11" in shown


def test_the_list_of_a_paper_is_one_json_document(capsys):
    assert run(["experiment", "published", "mmavk", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["table"] for entry in document["tables"]] == [table.key for table in papers()[3].tables]


def test_a_table_is_shown_whole_with_its_notes_however_narrow_the_terminal(capsys):
    assert run(["experiment", "published", "cat-mner", "1"]) == 0
    shown = capsys.readouterr().out
    table = published_table("cat-mner/table-1")
    for row in table.rows:
        line = next(line for line in shown.splitlines() if f" {row.name} " in line)
        for value in row.values.values():
            assert value is None or f"{value:.2f}" in line
    assert "look swapped" in shown


def test_a_table_for_programs(capsys):
    assert run(["experiment", "published", "cdner", "table-5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    table = published_table("cdner/table-5")
    assert document["columns"][0] == "crossner-politics@20-shot.f1"
    assert [row["values"] for row in document["rows"]] == [list(row.values.values()) for row in table.rows]


def test_a_wrong_name_leaves_with_status_two(capsys):
    assert run(["experiment", "published", "cat-mnre"]) == 2
    assert "Did you mean 'cat-mner'?" in capsys.readouterr().err
