"""`mner experiment` at the command line, in this process."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest

from mner.cli.app import run
from mner.cli.console import out
from mner.cli.experiment import _board, slots_for
from mner.experiments.shelf import Shelf
from mner.knowledge.store import KnowledgeStore
from tests.experiments.conftest import TABLE, make_workshop


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workshop."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return tmp_path / "copy"


def with_a_post_less(folder, place, split):
    """A copy of a finished workshop, whose data have lost a post since; its tables are called the same."""
    moved = place / folder.name
    shutil.copytree(folder, moved)
    path = moved / "small" / f"{split}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    return moved


def test_a_report_needs_neither_data_nor_weights_once_the_table_was_run(finished, tmp_path, capsys):
    folder, _ = finished
    moved = tmp_path / folder.name
    shutil.copytree(folder, moved)
    shutil.rmtree(moved / "small")
    for weights in moved.rglob("*.safetensors"):
        weights.unlink()
    words = ["experiment", "report", str(moved / "table.toml"), "--output", str(moved / "results")]
    assert run([*words, "--to", str(tmp_path / "report"), "--samples", "100", "--conll", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [len(group["runs"]) for group in document["groups"]] == [2, 2]
    written = {path.suffix for path in (tmp_path / "report").iterdir() if path.is_file()}
    assert written == {".html", ".md", ".tex", ".csv"}
    assert len(list((tmp_path / "report").rglob("*-seed-*.txt"))) == 4


def test_a_part_of_a_table_is_reported_without_data_once_the_whole_was_run(finished, tmp_path, capsys):
    # A table's plan goes by the name of its folder too.
    moved = tmp_path / finished[0].name
    shutil.copytree(finished[0], moved)
    shutil.rmtree(moved / "small")
    words = ["experiment", "report", str(moved / "table.toml"), "--output", str(moved / "results"), "--json"]
    assert run([*words, "--row", "two", "--seed", "2"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    plan = finished[1]
    wanted = [plan.runs[cell.run].folder_name for cell in plan.cells if (cell.row, cell.seed) == ("two", 2)]
    assert (group["row"], group["runs"]) == ("two", wanted)
    # Who names the data means those.
    assert run([*words, "--data", str(moved)]) == 1
    assert "data set small" in capsys.readouterr().err


def test_a_report_of_a_part_says_so_and_leaves_that_of_the_whole(copied, capsys):
    words = ["experiment", "report", str(copied / "table.toml"), "--output", str(copied / "results")]
    words += ["--to", str(copied / "out"), "--samples", "20", "--conll", "--figures", "svg"]
    assert run(words) == 0
    whole = {path: path.read_bytes() for path in (copied / "out").rglob("*") if path.is_file()}
    # All there is, named one by one, is no part.
    assert run([*words, "--row", "two", "--row", "one", "--seed", "1", "--seed", "2", "--draws", "3"]) == 0
    assert {path for path in (copied / "out").rglob("*") if path.is_file()} == set(whole)
    whole = {path: path.read_bytes() for path in whole}
    capsys.readouterr()
    assert run([*words, "--row", "two", "--seed", "2"]) == 0
    assert "A part of the table alone: row two; seed 2." in capsys.readouterr().err
    assert {path: path.read_bytes() for path in whole} == whole
    added = {path for path in (copied / "out").rglob("*") if path.is_file()} - set(whole)
    folder = (copied / "out").resolve()
    reports = {path.suffix: path.read_text() for path in added if path.resolve().parent == folder}
    assert set(reports) == {".html", ".md", ".tex", ".csv"}
    for suffix in (".html", ".md", ".tex"):
        assert "Small (row two; seed 2)" in reports[suffix]
    assert "| part | row two; seed 2 |" in reports[".md"]
    assert {path.suffix for path in added if path.resolve().parent != folder} == {".svg", ".txt"}
    # Another part is another report.
    assert run([*words, "--row", "two"]) == 0
    assert all(path.read_text() == reports[path.suffix] for path in added if path.suffix in reports)
    assert len(list(folder.glob("*.md"))) == 3


def test_changed_data_stop_a_dry_run_as_they_stop_the_run_and_a_report_says_why_cells_are_missing(
    finished, tmp_path, capsys
):
    moved = with_a_post_less(finished[0], tmp_path, "test")
    words = [str(moved / "table.toml"), "--output", str(moved / "results"), "--data", str(moved)]
    assert run(["experiment", "run", *words]) == 1
    problems = [capsys.readouterr().err]
    before = {path: path.read_bytes() for path in (moved / "results").rglob("*") if path.is_file()}
    assert run(["experiment", "run", *words, "--dry-run"]) == 1
    problems.append(capsys.readouterr().err)
    assert problems[0] == problems[1]
    assert "12 posts before, 11 now" in problems[0]
    assert run(["experiment", "report", *words, "--samples", "0"]) == 0
    assert "12 posts before, 11 now" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in (moved / "results").rglob("*") if path.is_file()}
    assert after == before


def test_a_part_that_is_run_again_on_changed_data_stands_in_the_report_of_the_whole(
    finished, tmp_path, capsys
):
    moved = with_a_post_less(finished[0], tmp_path, "train")
    words = [str(moved / "table.toml"), "--output", str(moved / "results"), "--json"]
    part = ["--row", "two", "--seed", "2", "--accept-changed-data"]
    assert run(["experiment", "run", *words, *part, "--data", str(moved)]) == 0
    (new,) = json.loads(capsys.readouterr().out)["ran"]
    assert run(["experiment", "report", *words, "--samples", "0"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    old = {(cell.row, cell.seed): finished[1].runs[cell.run].folder_name for cell in finished[1].cells}
    assert {group["row"]: group["runs"] for group in groups} == {
        "one": [old["one", 1], old["one", 2]],
        "two": [old["two", 1], new],
    }


def test_a_report_can_be_of_some_formats_and_others_are_refused(copied, tmp_path, capsys):
    words = ["experiment", "report", str(copied / "table.toml"), "--output", str(copied / "results")]
    assert run([*words, "--to", str(tmp_path / "out"), "--format", "md", "--samples", "0"]) == 0
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".md"]
    assert "Scores on small" in capsys.readouterr().out
    assert run([*words, "--format", "htlm"]) == 2
    assert "Did you mean 'html'" in capsys.readouterr().err
    assert run([*words, "--figures", "pgn"]) == 2
    assert "Did you mean 'png'" in capsys.readouterr().err
    assert run([*words, "--format", "md"]) == 2
    assert "--to" in capsys.readouterr().err


BESIDE = """
title = "Beside"
published = "mgips-cl/table-2"
seeds = [1, 2]
[data.small]
published = "twitter2015"
[[rows]]
name = "BERT-CRF, with published numbers beside"
recipe = "recipe.toml"
published = "BERT-CRF"
[[rows]]
name = "BERT-CRF, with published numbers that differ"
recipe = "recipe.toml"
set = { training.epochs = 2 }
published = "BERT-BiLSTM-CRF"
"""


@pytest.mark.parametrize("columns", [20, 80, 400])
def test_a_report_is_shown_whole_however_narrow_the_terminal(copied, capsys, monkeypatch, columns):
    monkeypatch.setattr(out, "width", columns)
    (copied / "beside.toml").write_text(BESIDE)
    words = ["experiment", "report", str(copied / "beside.toml"), "--output", str(copied / "results")]
    assert run([*words, "--samples", "50", "--to", str(copied / "out"), "--format", "md"]) == 0
    printed = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    (written,) = (copied / "out").glob("*.md")
    sections = written.read_text().split("\n## ")
    for title in ("Scores on small", "Any two rows on the same posts"):
        (section,) = (one for one in sections if one.startswith(title))
        table = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
        shown = [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in printed.splitlines()]
        for row in table[2:]:
            assert row in shown
        # A header may go on in the next lines, and has all its words.
        heads = [line for line in shown if len(line) == len(table[0])]
        heads = heads[: heads.index(table[2])] if len(heads) > 1 else heads
        for number, name in enumerate(table[0]):
            assert " ".join(line[number] for line in heads).split()[-len(name.split()) :] == name.split()


def test_figures_of_a_report_are_files_of_their_own(copied, tmp_path, capsys):
    words = ["experiment", "report", str(copied / "table.toml"), "--output", str(copied / "results")]
    assert (
        run([*words, "--to", str(tmp_path / "out"), "--format", "csv", "--samples", "0", "--figures", "pdf"])
        == 0
    )
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert f"figures in {folder}" in capsys.readouterr().err.replace("\n", "")
    drawn = sorted(folder.iterdir())
    assert {path.name.partition("-on-")[0] for path in drawn} >= {"learning-curves", "classes-of-errors"}
    assert all(path.read_bytes().startswith(b"%PDF-") for path in drawn)


def test_a_dry_run_says_what_is_left_and_does_nothing(copied, capsys, monkeypatch):
    (copied / "more.toml").write_text(TABLE.replace("[1, 2]", "[1, 2, 3]"))
    before = sorted((copied / "results").rglob("*"))
    words = ["experiment", "run", str(copied / "more.toml"), "--output", str(copied / "results"), "--dry-run"]
    assert run([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    states = {one["for"][0]: one["state"] for one in document["runs"]}
    assert states == {
        **{f"{row}, small, seed {seed}": "done" for row in ("one", "two") for seed in (1, 2)},
        **{f"{row}, small, seed 3": "to be run" for row in ("one", "two")},
    }
    assert document["seconds"] > 0
    monkeypatch.setenv("COLUMNS", "40")
    assert run([*words, "--row", "two"]) == 0
    shown = capsys.readouterr().out
    assert "3 runs for 3 cells" in shown
    # However narrow the terminal, it is said what would run.
    assert {"two,", "small", "done,"} <= set(shown.split())
    assert "…" not in shown
    assert sorted((copied / "results").rglob("*")) == before


def test_it_is_said_which_store_of_a_folder_is_read_and_for_which_data_there_is_none(workshop, capsys):
    (workshop / "mmavk.toml").write_text('[model]\nname = "mmavk"\n')
    for name in ("other", "plain"):
        shutil.copytree(workshop / "small", workshop / name)
    (workshop / "table.toml").write_text(
        'title = "x"\n[data.small]\n[data.other]\n[data.plain]\n'
        '[[rows]]\nname = "text"\nrecipe = "recipe.toml"\n'
        '[[rows]]\nname = "pictures"\nrecipe = "mmavk.toml"\ndata = ["small", "other"]\n'
    )
    stores = workshop / "stores"
    stores.mkdir()
    with KnowledgeStore(stores / "small.sqlite"), KnowledgeStore(stores / "othr.sqlite"):
        pass
    words = ["experiment", "run", str(workshop / "table.toml"), "--output", str(workshop / "results")]
    assert run([*words, "--dry-run", "--knowledge", str(stores)]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "nowledge" in line] == [
        f"Knowledge of small: {stores / 'small.sqlite'}.",
        "Knowledge of other: no knowledge store, so it is read without; --knowledge other=STORE names one.",
    ]
    # Without a folder of stores only what may have been forgotten is said.
    none = "Knowledge of {0}: no knowledge store, so it is read without; --knowledge {0}=STORE names one."
    assert run([*words, "--dry-run", "--knowledge", f"small={stores / 'small.sqlite'}"]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "nowledge" in line] == [
        none.format("other")
    ]
    assert run([*words, "--dry-run"]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "nowledge" in line] == [
        none.format("small"),
        none.format("other"),
    ]
    # Where the posts themselves say something, nothing was forgotten.
    path = workshop / "other" / "train.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), "alt": "a man"}), *others]) + "\n")
    assert run([*words, "--dry-run"]) == 0
    assert none.format("other") not in capsys.readouterr().err


def test_a_file_where_results_are_to_lie_is_refused_before_anything_is_read(copied, capsys):
    file = copied / "file"
    file.write_text("mine")
    search = copied / "search.toml"
    search.write_text(
        'title = "x"\nrecipe = "recipe.toml"\n[data.small]\n[values]\n"training.epochs" = [1, 2]\n'
    )
    for words in (
        ["run", str(copied / "table.toml")],
        ["run", str(copied / "table.toml"), "--dry-run"],
        ["report", str(copied / "table.toml")],
        ["search", str(search)],
    ):
        for output in (file, file / "below"):
            assert run(["experiment", *words, "--output", str(output)]) == 2
            said = " ".join(capsys.readouterr().err.split())
            assert f"Got: the file {file}. Give another folder with --output." in said
    assert file.read_text() == "mine"


def test_a_table_that_is_done_is_not_run_again(copied, capsys):
    words = ["experiment", "run", str(copied / "table.toml"), "--output", str(copied / "results"), "--json"]
    assert run(words) == 0
    written = capsys.readouterr()
    assert written.err.splitlines()[-1] == "0 runs done, 4 were there already, 0 failed"
    document = json.loads(written.out)
    assert (len(document["ran"]), len(document["kept"]), document["failed"]) == (0, 4, {})


def test_without_a_terminal_each_epoch_is_a_line(finished, capsys):
    folder, plan = finished
    with _board(plan, Shelf(folder / "results")) as board:
        for cell in plan.cells:
            board.started(plan.runs[cell.run], 0)
            board.said(plan.runs[cell.run], "Epoch 1: F1 50.00 on the validation posts.")
    assert capsys.readouterr().err.splitlines() == [
        f"{cell.title}: Epoch 1: F1 50.00 on the validation posts." for cell in plan.cells
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--row", "thre"], "there is no row 'thre'"),
        (["--on", "big"], "there is no data set 'big'"),
        (["--size", "full"], "there is no size 'full'"),
        (["--data", "smal=x"], "no data set 'smal'"),
        (["--data", "small="], "cannot be understood"),
        (["--data", "a", "--data", "b"], "cannot be understood"),
        (["--jobs", "0"], "--jobs"),
    ],
)
def test_wrong_use_is_refused(tmp_path, capsys, options, message):
    folder = make_workshop(tmp_path)
    (folder / "table.toml").write_text(TABLE)
    assert (
        run(["experiment", "run", str(folder / "table.toml"), "--output", str(folder / "out"), *options]) == 2
    )
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_data_that_are_not_there_say_how_to_name_them(workshop, capsys):
    (workshop / "table.toml").write_text(TABLE.replace("[data.small]", '[data.small]\nfolder = "gone"'))
    assert run(["experiment", "run", str(workshop / "table.toml"), "--output", str(workshop / "out")]) == 1
    assert "--data small=FOLDER" in capsys.readouterr().err


def test_runs_share_the_cores_unless_the_number_of_threads_is_given(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    alone, many = slots_for(1, 8), slots_for(2 * cores, 8 * cores)
    assert [slot.environment["OMP_NUM_THREADS"] for slot in alone] == [str(cores)]
    assert {slot.environment["OMP_NUM_THREADS"] for slot in many} == {"1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots_for(2, 8)} == {"3"}


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_report_is_not_written_into_a_file(copied, tmp_path, capsys, below):
    (tmp_path / "file").write_text("there")
    words = ["experiment", "report", str(copied / "table.toml"), "--output", str(copied / "results")]
    assert run([*words, "--to", str(tmp_path / "file" / below)]) == 2
    told = capsys.readouterr()
    assert f"the file {tmp_path / 'file'}" in told.err
    assert told.out == ""
    assert (tmp_path / "file").read_text() == "there"


def test_names_that_look_like_markup_are_shown_as_they_are(copied, capsys, monkeypatch):
    monkeypatch.setattr(out, "width", 200)
    text = TABLE.replace('"Small"', '"Small [/b] [i]"').replace('"one"', '"[red]one[/red]"')
    text = text.replace("[data.small]", '[data.small]\ntitle = "small [/i]"')
    text += '[[settings]]\nname = "[/b] 50"\n[[settings]]\nname = "[x]"\nset = { training.epochs = 2 }\n'
    (copied / "markup.toml").write_text(text)
    words = [str(copied / "markup.toml"), "--output", str(copied / "results")]
    assert run(["experiment", "run", *words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "Small [/b] [i]" in printed
    assert "[red]one[/red], small, [/b] 50" in printed
    assert run(["experiment", "report", *words, "--samples", "20"]) == 0
    printed = capsys.readouterr().out
    for name in ("[red]one[/red]", "[/b] 50", "[x]", "Scores on small [/i]", "small [/i], [x]"):
        assert name in printed
