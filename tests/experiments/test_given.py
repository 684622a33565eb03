"""Rows of predictions that were made elsewhere: those of a row that was run here score as it does."""

from __future__ import annotations

import json
import shutil

import pytest

from mner.cli.app import run
from mner.data import read_folder, write_folder
from mner.data.dataset import Dataset
from mner.experiments.shelf import Shelf
from tests.experiments.conftest import TABLE


@pytest.fixture
def bench(finished, tmp_path):
    """A copy of the finished workshop, and of its runs' predictions by row and seed as another tool had them."""
    folder = tmp_path / finished[0].name
    shutil.copytree(finished[0], folder)
    plan, shelf = finished[1], Shelf(folder / "results")
    said = {}
    for cell in plan.cells:
        ((_, key),) = cell.targets
        said[cell.row, cell.seed] = folder / f"{cell.row}-{cell.seed}.jsonl"
        shutil.copy(shelf.predictions_file(plan.runs[cell.run], key), said[cell.row, cell.seed])
    return folder, said


def written(folder, *rows, text=TABLE):
    """The words of a command about the table with further rows."""
    path = folder / "table.toml"
    path.write_text("\n".join([text, *(f"[[rows]]\n{row}" for row in rows)]))
    return [str(path), "--output", str(folder / "results")]


def reported(words, capsys, *more):
    capsys.readouterr()
    assert run(["experiment", "report", *words, *more, "--samples", "200", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def by_row(document, **place):
    return {
        group["row"]: group
        for group in document["groups"]
        if all(group[key] == value for key, value in place.items())
    }


def test_the_predictions_of_a_row_score_as_the_row_without_being_run(bench, capsys):
    folder, said = bench
    files = [said["one", seed].name for seed in (1, 2)]
    words = written(folder, f'name = "mine"\npredictions = {{ small = {json.dumps(files)} }}\nseeds = [1, 2]')
    assert run(["experiment", "run", *words, "--data", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ran"] == []
    # Neither data nor files are needed from here on.
    shutil.rmtree(folder / "small")
    for path in said.values():
        path.unlink()
    document = reported(words, capsys, "--to", str(folder / "report"), "--conll")
    groups = by_row(document)
    assert groups["mine"]["scores"] == groups["one"]["scores"]
    assert groups["mine"]["seeds"] == [1, 2]
    pairs = {(pair["first"]["row"], pair["second"]["row"]): pair for pair in document["comparisons"]}
    assert pairs["one", "mine"]["value"] == 0
    assert pairs["one", "mine"]["p_value"] == 1
    assert pairs["one", "mine"]["draws_and_seeds_shared"]
    assert pairs["two", "mine"]["value"] == -pairs["one", "two"]["value"]
    assert any("mine was not run here" in note and files[0] in note for note in document["notes"])
    columns = sorted((folder / "report").rglob("*-seed-1.txt"))
    texts = {path.parent.name: path.read_text() for path in columns}
    assert texts["mine"] == texts["one"]


def test_columns_of_another_tool_are_a_row_without_a_seed_beside_all_seeds(bench, capsys):
    folder, _ = bench
    words = written(folder)
    options = ["--data", str(folder), "--to", str(folder / "before"), "--conll", "--figures", "svg"]
    assert run(["experiment", "report", *words, *options]) == 0
    (columns,) = folder.rglob("one/*-seed-2.txt")
    shutil.copy(columns, folder / "said.txt")
    words = written(folder, 'name = "theirs"\npredictions = { small = "said.txt" }\nnote = "Greedy."')
    assert run(["experiment", "run", *words, "--data", str(folder)]) == 0
    document = reported(words, capsys, "--to", str(folder / "after"), "--figures", "svg")
    # Columns say nothing of how sure the tool was, so that nothing is drawn of it.
    before, after = (len(list(folder.rglob(f"{which}/*/confidence*"))) for which in ("before", "after"))
    assert before == after > 0
    groups = by_row(document)
    assert groups["theirs"]["seeds"] == [None]
    values = {row: group["scores"]["conll"]["all"]["f1"]["values"] for row, group in groups.items()}
    assert values["theirs"] == [values["one"][1]]
    pairs = {(pair["first"]["row"], pair["second"]["row"]): pair for pair in document["comparisons"]}
    pair = pairs["one", "theirs"]
    assert (pair["runs"], pair["runs_of_second"], pair["draws_and_seeds_shared"]) == (2, 1, False)
    assert pair["value"] == pytest.approx((values["one"][0] - values["one"][1]) / 2)
    # A part by seeds has what has none, and `mner compare` reads the file too.
    assert set(by_row(reported(words, capsys, "--seed", "1"))) == {"one", "two", "theirs"}
    both = [str(folder / "said.txt"), str(folder / "one-2.jsonl")]
    assert run(["compare", *both, "--data", str(folder / "small"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["first_less_second"]["value"] == 0


def test_a_changed_file_is_read_anew(bench, capsys):
    folder, said = bench
    shutil.copy(said["one", 1], folder / "said.jsonl")
    words = written(folder, 'name = "mine"\npredictions = { small = "said.jsonl" }')
    for row in ("one", "two"):
        shutil.copy(said[row, 1], folder / "said.jsonl")
        assert run(["experiment", "run", *words, "--data", str(folder)]) == 0
        groups = by_row(reported(words, capsys))
        f1 = {name: group["scores"]["conll"]["all"]["f1"]["values"] for name, group in groups.items()}
        assert f1["mine"] == f1[row][:1]
    assert f1["one"][0] != f1["two"][0]


def test_each_set_of_posts_and_each_setting_has_a_file_and_types_are_renamed(bench, capsys):
    folder, said = bench
    data = read_folder(folder / "small")
    write_folder(Dataset("other", {"test": data.split("test")[:5]}), folder / "other")
    lines = said["one", 1].read_text().splitlines(keepends=True)
    (folder / "five.jsonl").write_text("".join(lines[:5]))
    renamed = TABLE.replace(
        "[data.small]",
        """
        [data.small]
        label_map = { LOC = "PLACE" }
        also_score = { other = "" }
        [data.other]
        label_map = { LOC = "PLACE" }
        shown = false
        [[settings]]
        name = "a"
        [[settings]]
        name = "b"
        """,
    )
    head = renamed.partition("[[rows]]")[0]
    row = """name = "mine"
    predictions = { "small@a" = "one-1.jsonl", "small@b" = "two-1.jsonl", "small->other@a" = "five.jsonl" }"""
    words = written(folder, row, text=head)
    data_option = ["--data", str(folder)]
    assert run(["experiment", "run", *words, *data_option, "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["cells"], document["runs"], len(document["predictions"])) == (2, [], 3)
    assert run(["experiment", "run", *words, *data_option]) == 0
    groups = {(group["scored_on"], group["setting"]): group for group in reported(words, capsys)["groups"]}
    assert set(groups) == {("small", "a"), ("small", "b"), ("other", "a")}
    words = written(folder)
    plain = by_row(reported(words, capsys, *data_option))
    for setting, name in (("a", "one"), ("b", "two")):
        here, there = groups["small", setting]["scores"]["conll"], plain[name]["scores"]["conll"]
        assert here["all"]["f1"]["values"] == there["all"]["f1"]["values"][:1]
        assert here["PLACE"]["f1"]["values"] == there["LOC"]["f1"]["values"][:1]
    assert "PLACE" in groups["other", "a"]["scores"]["conll"]


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("said.jsonl", lambda path: path.unlink(), "there is no file"),
        ("said.jsonl", lambda path: path.write_text(path.read_text().partition("\n")[0]), "of these posts"),
        ("said.jsonl", lambda path: path.write_text(path.read_text().replace('"LOC"', '"PLACE"')), "PLACE"),
        ("said.jsonl", lambda path: path.write_text("Ada\tB-PER\n\nLund\tO\n"), "said.jsonl, line 1"),
        ("said.txt", lambda path: path.write_text("Ada\tB-PER\n\nLund\tO\n"), "not of the post"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_run(bench, capsys, name, change, problem):
    folder, said = bench
    shutil.rmtree(folder / "results")
    shutil.copy(said["one", 1], folder / name)
    change(folder / name)
    words = written(folder, f'name = "mine"\npredictions = {{ small = "{name}" }}')
    assert run(["experiment", "run", *words, "--data", str(folder)]) == 1
    shown = capsys.readouterr().err
    assert problem in shown
    assert "Traceback" not in shown
    assert not (folder / "results" / "runs").exists()
