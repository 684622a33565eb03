"""Rows of predictions that were made elsewhere: those of a row that was run here score as it does."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from mner.cli.app import run
from mner.data import read_folder, write_folder
from mner.data.dataset import Dataset
from mner.evaluation.scores import score
from mner.experiments.shelf import Shelf
from mner.tags import BIO
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
    assert (document["cells"], document["runs"], len(document["predictions_to_be_read"])) == (2, [], 3)
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
        ("said.jsonl", lambda path: path.unlink(), "No such file"),
        ("said.jsonl", lambda path: (path.unlink(), path.mkdir()), "Got: a folder"),
        ("said.jsonl", lambda path: path.write_text(again(path.read_text())), "twice"),
        ("said.jsonl", lambda path: path.write_text(scored(path.read_text(), "-3.5")), "no probability"),
        ("said.jsonl", lambda path: path.write_text(scored(path.read_text(), "NaN")), "no probability"),
        ("said.jsonl", lambda path: path.write_text(path.read_text().partition("\n")[0]), "of these posts"),
        ("said.jsonl", lambda path: path.write_text(path.read_text().replace('"LOC"', '"PLACE"')), "PLACE"),
        ("said.jsonl", lambda path: path.write_text("Ada\tB-PER\n\nLund\tO\n"), "said.jsonl, line 1"),
        ("said.txt", lambda path: path.write_text("Ada\tB-PER\n\nLund\tO\n"), "as word 1. Got: 'Ada'"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_run(bench, capsys, name, change, problem):
    folder, said = bench
    shutil.rmtree(folder / "results")
    shutil.copy(said["one", 1], folder / name)
    change(folder / name)
    words = written(folder, f'name = "mine"\npredictions = {{ small = "{name}" }}')
    for more in ([], ["--dry-run"]):
        assert run(["experiment", "run", *words, "--data", str(folder), *more]) == 1
        shown = " ".join(capsys.readouterr().err.split())
        assert problem in shown
        assert "Traceback" not in shown
        assert "something failed" not in shown
    assert not (folder / "results" / "runs").exists()


def again(text):
    """Predictions in which one entity stands twice."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        line["entities"] *= 2
    return "".join(json.dumps(line) + "\n" for line in lines)


def scored(text, score):
    """Predictions that are as sure of themselves as said."""
    return re.sub(r'"score": [-\d.e]+', f'"score": {score}', text)


def test_both_conventions_hold_for_columns_whatever_stands_between_them(bench, capsys):
    folder, _ = bench
    words = written(folder)
    assert run(["experiment", "report", *words, "--data", str(folder), "--to", str(folder), "--conll"]) == 0
    (columns,) = folder.rglob("one/*-seed-1.txt")
    # A tool that begins with `I-` what it should begin with `B-`: half of all entities, and another one all.
    half = iter(range(10**6))
    some = re.sub(r"\bB-", lambda _: ("B-", "I-")[next(half) % 2], columns.read_text())
    every = columns.read_text().replace("B-", "I-")
    rows, wanted = [], {}
    data = read_folder(folder / "small").split("test")
    for name, text in (("some", some), ("every", every)):
        for separator, called in (("\t", "tabs"), (" ", "blanks")):
            (folder / f"{name}-{called}.txt").write_text(text.replace("\t", separator))
            rows.append(f'name = "{name} {called}"\npredictions = {{ small = "{name}-{called}.txt" }}')
            # What conlleval does with them: a span goes on where an `I-` follows one of its type, else begins.
            wanted[f"{name} {called}"] = {
                convention: score(
                    [post.gold(convention) for post in data],
                    [list(post.gold(convention)) for post in with_tags(data, text)],
                ).overall.f1
                for convention in ("conll", "strict")
            }
    for convention in ("conll", "strict"):
        text = TABLE.replace("[data.small]", f'[data.small]\nconvention = "{convention}"')
        words = written(folder, *rows, text=text.partition("[[rows]]")[0])
        assert run(["experiment", "run", *words, "--data", str(folder)]) == 0
        for row, group in by_row(reported(words, capsys)).items():
            for one, f1 in wanted[row].items():
                assert group["scores"][one]["all"]["f1"]["values"] == pytest.approx([f1])
    assert wanted["every tabs"]["conll"] > wanted["some tabs"]["strict"] > 0
    assert wanted["every tabs"]["strict"] == 0


def with_tags(posts, columns):
    """Posts with the tags of columns in BIO as they stand, read by hand."""
    blocks = [block.split("\n") for block in columns.strip("\n").split("\n\n")]
    tags = [[line.split("\t")[-1] for line in lines if not line.startswith("IMGID")] for lines in blocks]
    return [
        post.with_fields(tags=tuple(of), scheme=BIO, entities=None)
        for post, of in zip(posts, tags, strict=True)
    ]


def test_a_part_by_seeds_has_the_files_of_these_seeds(bench, capsys):
    folder, said = bench
    names = [said["one", seed].name for seed in (1, 2)]
    single = f'name = "single"\nseeds = [2]\npredictions = {{ small = "{names[1]}" }}'
    both = f'name = "both"\nseeds = [1, 2]\npredictions = {{ small = {json.dumps(names)} }}'
    words = written(folder, single, both)
    assert run(["experiment", "run", *words, "--data", str(folder)]) == 0
    assert "7 cells (3 of predictions made elsewhere)" in capsys.readouterr().err
    for seed, rows in ((1, {"one", "two", "both"}), (2, {"one", "two", "both", "single"})):
        groups = by_row(reported(words, capsys, "--seed", str(seed)))
        assert {row for row, group in groups.items() if group["runs"]} == rows
        assert groups["both"]["scores"] == groups["one"]["scores"]
        assert groups["both"]["seeds"] == [seed]
    # The same predictions are no second run.
    words = written(folder, both.replace(names[1], names[0]))
    assert run(["experiment", "run", *words, "--data", str(folder)]) == 1
    assert "two seeds have the same predictions" in capsys.readouterr().err


def test_types_of_the_set_that_is_trained_on_may_be_predicted_on_another(bench, capsys):
    folder, said = bench
    data = read_folder(folder / "small")
    plain = [post for post in data.split("test") if all(entity.label != "PER" for entity in post.gold())]
    assert plain
    write_folder(Dataset("other", {"test": plain}), folder / "other")
    lines = said["one", 1].read_text().splitlines(keepends=True)
    texts = {post.text for post in plain}
    of_plain = [json.loads(line) for line in lines if json.loads(line)["text"] in texts]
    start, _, end = of_plain[0]["text"].partition(" ")
    del end
    of_plain[0]["entities"] = [{"text": start, "label": "PER", "start": 0, "end": len(start)}]
    (folder / "plain.jsonl").write_text("".join(json.dumps(line) + "\n" for line in of_plain))
    text = TABLE.replace(
        "[data.small]", '[data.small]\nalso_score = { other = "" }\n[data.other]\nshown = false'
    )
    row = 'name = "mine"\npredictions = { "small->other" = "plain.jsonl" }'
    words = written(folder, row, text=text.partition("[[rows]]")[0])
    assert run(["experiment", "run", *words, "--data", str(folder)]) == 0
    (group,) = reported(words, capsys)["groups"]
    assert (group["trained_on"], group["scored_on"]) == ("small", "other")


def test_columns_cannot_hold_all_that_was_predicted_and_that_is_said(bench, capsys):
    folder, said = bench
    lines = [json.loads(line) for line in said["one", 1].read_text().splitlines()]
    found = next(line for line in lines if line["entities"] and line["entities"][0]["end"] > 1)
    found["entities"][0].update(start=found["entities"][0]["start"] + 1)
    found["entities"][0]["text"] = found["text"][found["entities"][0]["start"] : found["entities"][0]["end"]]
    (folder / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = written(folder, 'name = "mine"\npredictions = { small = "said.jsonl" }')
    assert run(["experiment", "run", *words, "--data", str(folder)]) == 0
    capsys.readouterr()
    options = ["--to", str(folder / "report"), "--conll", "--format", "csv"]
    assert run(["experiment", "report", *words, *options]) == 0
    assert "1 predicted entity ended inside a word" in capsys.readouterr().err


def test_types_of_a_file_are_renamed_with_those_of_the_data(bench, capsys):
    folder, said = bench
    plain = ["--data", str(folder / "small"), "--json"]
    found = []
    for more in ([], ["--label-map", "LOC=LOCATION"]):
        assert run(["errors", str(said["one", 1]), *plain, *more]) == 0
        found.append(json.loads(capsys.readouterr().out.replace("LOCATION", "LOC")))
    assert found[0] == found[1]
    assert run(["errors", "nowhere.jsonl", *plain]) == 2
    assert "a file of predictions" in " ".join(capsys.readouterr().err.split())
