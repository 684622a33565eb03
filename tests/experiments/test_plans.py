"""Which runs a table needs: what makes two cells share one, and what does not."""

from __future__ import annotations

import json
import shutil

import pytest

from mner.data import read_folder, write_folder
from mner.data.dataset import Dataset
from mner.errors import DataError, UsageError
from mner.experiments.material import places
from mner.experiments.plans import make_plan, part_of, plan_as_dict, plan_from_dict, plan_name
from mner.experiments.tables import only, read_table
from mner.knowledge.exchange import import_file
from mner.knowledge.store import KnowledgeStore
from tests.experiments.conftest import RECIPE, TABLE, planned
from tests.training.conftest import backbone  # noqa: F401 (a fixture)


def keys(plan):
    return set(plan.runs)


def test_a_cell_for_each_row_and_seed_and_names_do_not_matter(workshop):
    plan = planned(workshop, TABLE)
    assert [(cell.row, cell.seed) for cell in plan.cells] == [("one", 1), ("one", 2), ("two", 1), ("two", 2)]
    assert len(plan.runs) == 4
    renamed = (
        TABLE.replace('"one"', '"eins"')
        .replace("Small", "Klein")
        .replace("[data.small]", '[data.data]\nfolder = "small"')
    )
    assert keys(planned(workshop, renamed, "other")) == keys(plan)
    (workshop / "recipe.toml").write_text('title = "another title"\n' + RECIPE)
    assert keys(planned(workshop, TABLE)) == keys(plan)


def test_what_is_computed_matters(workshop):
    one = '[[rows]]\nname = "one"\nrecipe = "recipe.toml"\n'
    base = 'title = "x"\n[data.small]\n' + one
    changed = [
        base.replace('title = "x"', 'title = "x"\nseeds = [2]'),
        base + "set = { model.dropout = 0.3 }\n",
        base.replace("[data.small]", '[data.small]\nlabel_map = { LOC = "PLACE" }'),
        base.replace("[data.small]", '[data.small]\nconvention = "strict"'),
        base.replace("[data.small]", "sample = { posts = 10 }\n[data.small]"),
        base + 'pretrain = { data = "small" }\n',
    ]
    found = [planned(workshop, text).cells[0].run for text in [base, *changed]]
    assert len(set(found)) == len(found)


def test_a_changed_post_changes_what_it_is_for_and_nothing_else(workshop):
    before = planned(workshop, TABLE)
    for split, stays in (("test", True), ("valid", False), ("train", False)):
        path = workshop / "small" / f"{split}.jsonl"
        whole = path.read_text()
        lines = whole.splitlines()
        record = json.loads(lines[1])
        record["entities"] = record["entities"][:1]
        path.write_text("\n".join([lines[0], json.dumps(record), *lines[2:]]) + "\n")
        after = planned(workshop, TABLE)
        assert (keys(after) == keys(before)) is stays
        assert (after.cells[0].targets == before.cells[0].targets) is not stays
        path.write_text(whole)


def test_settings_samples_and_other_data_make_cells(workshop):
    data = read_folder(workshop / "small")
    write_folder(Dataset("other", {"test": data.split("test")[:5]}), workshop / "other")
    text = """
title = "x"
samplings = 3
seeds = [4, 5]
[data.small]
also_score = { other = "" }
[data.other]
shown = false
[[rows]]
name = "row"
recipe = "recipe.toml"
[[settings]]
name = "10"
sample = { posts = 10 }
[[settings]]
name = "shots"
sample = { shots = 2 }
[[settings]]
name = "or more"
sample = { shots = 2, bound = "at-least" }
[[settings]]
name = "all"
"""
    plan = planned(workshop, text)
    found = [(cell.setting, cell.sampling, cell.seed) for cell in plan.cells]
    assert found == [
        *(
            (setting, draw, seed)
            for setting in ("10", "shots", "or more")
            for draw in (1, 2, 3)
            for seed in (4, 5)
        ),
        ("all", 0, 4),
        ("all", 0, 5),
    ]
    sizes = {cell.setting: plan.runs[cell.run].posts for cell in plan.cells}
    assert sizes["10"] == 10
    assert sizes["all"] == 40
    assert sizes["shots"] <= 4
    assert sizes["shots"] <= sizes["or more"] <= 40
    # Another draw has other posts, another seed the same ones.
    prints = {(c.setting, c.sampling, c.seed): plan.runs[c.run].prints["train"] for c in plan.cells}
    assert prints["10", 1, 4] == prints["10", 1, 5] != prints["10", 2, 4]
    assert [name for name, _ in plan.cells[0].targets] == ["small", "other"]
    assert len({key for cell in plan.cells for _, key in cell.targets}) == 2
    with pytest.raises(DataError, match="data set small: There are fewer posts.*Expected: 41"):
        planned(workshop, text.replace("posts = 10", "posts = 41"))


def test_rows_that_start_from_the_same_run_share_it(workshop):
    text = TABLE + 'pretrain = { data = "small", set = { training.epochs = 1 } }\n'
    text += '[[rows]]\nname = "three"\nrecipe = "recipe.toml"\npretrain = { data = "small", row = "two", set = { training.epochs = 1 } }\n'
    plan = planned(workshop, text)
    by_row = {(cell.row, cell.seed): plan.runs[cell.run] for cell in plan.cells}
    assert by_row["two", 1].start_from == by_row["three", 1].start_from != by_row["two", 2].start_from
    assert by_row["one", 1].start_from is None
    order = list(plan.runs)
    assert all(
        order.index(run.start_from) < order.index(key) for key, run in plan.runs.items() if run.start_from
    )
    source = plan.runs[by_row["two", 1].start_from]
    assert (source.recipe.training.epochs, source.recipe.training.seed, source.targets) == (1, 1, {})


def test_knowledge_and_pictures_matter_to_those_alone_that_read_them(workshop):
    row = '[[rows]]\nname = "{0}"\nrecipe = "{0}.toml"\n'
    for name in ("bert-crf", "mmavk"):
        (workshop / f"{name}.toml").write_text(f'[model]\nname = "{name}"\n')
    (workshop / "text.toml").write_text('[model]\nname = "mmavk"\nfusion = "text-only"\n')
    text = 'title = "x"\n[data.small]\n' + "".join(map(row.format, ("bert-crf", "mmavk", "text")))

    def runs():
        return {cell.row: (cell.run, cell.targets) for cell in planned(workshop, text).cells}

    before = runs()
    for split in ("train", "test"):
        path = workshop / "small" / f"{split}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({**line, "alt": "a harbour"}) + "\n" for line in lines))
    after = runs()
    assert after["bert-crf"] == before["bert-crf"]
    assert after["text"] == before["text"]
    assert after["mmavk"][0] != before["mmavk"][0]
    assert after["mmavk"][1] != before["mmavk"][1]


def test_what_a_store_says_matters_to_those_alone_that_it_can_reach(workshop):
    row = '[[rows]]\nname = "{0}"\nrecipe = "{0}.toml"\n'
    names = ("bert-crf", "mmavk", "cdner", "cat-mner", "mgips-cl", "dghc")
    for name in names:
        (workshop / f"{name}.toml").write_text(f'[model]\nname = "{name}"\n')
    (workshop / "table.toml").write_text('title = "x"\n[data.small]\n' + "".join(map(row.format, names)))
    file = read_table(workshop / "table.toml")
    posts = read_folder(workshop / "small")
    regions = [[0.1, 0.1, 0.5, 0.5, "man", 0.9]]

    def runs(store=None):
        plan = make_plan(file, places(file, {}, {} if store is None else {"small": str(store)}))
        return {cell.row: (cell.run, cell.targets) for cell in plan.cells}

    def changed_by(**said):
        told, store = (workshop / f"{next(iter(said))}.{suffix}" for suffix in ("jsonl", "sqlite"))
        told.write_text(
            "".join(
                json.dumps({"id": post.id, **said}) + "\n"
                for split in ("train", "valid", "test")
                for post in posts.split(split)
            )
        )
        with KnowledgeStore(store) as opened:
            import_file(opened, told)
        before, after = runs(), runs(store)
        assert all(
            (before[name][0] == after[name][0]) == (before[name][1] == after[name][1]) for name in names
        )
        return {name for name in names if before[name] != after[name]}

    assert changed_by(caption="a man") == {"mmavk", "cdner"}
    assert changed_by(regions=regions) == {"mmavk", "cdner", "mgips-cl", "dghc"}


def test_a_run_is_named_by_what_a_folder_holds_and_not_by_where_it_lies(workshop, backbone):
    def run(folder):
        (workshop / "recipe.toml").write_text(f'[model]\nname = "bert-crf"\nbackbone = "{folder}"\n')
        return planned(workshop, TABLE).cells[0].run

    shutil.copytree(backbone, workshop / "one")
    shutil.copytree(backbone, workshop / "two")
    first = run(workshop / "one")
    assert run(workshop / "two") == first
    settings = workshop / "one" / "config.json"
    settings.write_text(settings.read_text().replace("}", " }"))
    assert run(workshop / "one") != first
    # What is no model is the matter of the run, and not of the table.
    (workshop / "three").mkdir()
    assert run(workshop / "three") != first


def test_a_run_is_named_by_what_a_file_of_vectors_holds(workshop):
    def run(name):
        (workshop / "recipe.toml").write_text(
            f'[model]\nname = "bilstm-crf"\nvectors = "{workshop / name}"\n'
        )
        return planned(workshop, TABLE).cells[0].run

    (workshop / "one.txt").write_text("man 1.0 2.0\n")
    (workshop / "two.txt").write_text("man 1.0 2.0\n")
    first = run("one.txt")
    assert run("two.txt") == first
    (workshop / "one.txt").write_text("man 1.0 2.5\n")
    assert run("one.txt") != first


def test_swapped_knowledge_in_scoring_alone_shares_the_run(workshop):
    (workshop / "mmavk.toml").write_text('[model]\nname = "mmavk"\n')
    row = '[[rows]]\nname = "{}"\nrecipe = "mmavk.toml"\n'
    text = 'title = "x"\n[data.small]\n' + row.format("own")
    text += (
        row.format("swapped after")
        + 'whose_tested = "another"\n'
        + row.format("swapped")
        + 'whose = "another"\n'
    )
    own, after, before = planned(workshop, text).cells
    assert own.run == after.run != before.run
    assert own.targets != after.targets == before.targets


def test_a_plan_as_json_is_the_same_plan(workshop):
    plan = planned(workshop, TABLE + 'pretrain = { data = "small" }\n')
    again = plan_from_dict(plan.file, json.loads(json.dumps(plan_as_dict(plan))))
    assert again.cells == plan.cells
    assert again.runs == plan.runs


def test_folders_come_from_the_table_or_the_command_line(workshop):
    (workshop / "table.toml").write_text(
        TABLE.replace("[data.small]", '[data.small]\nknowledge = "k.sqlite"')
    )
    file = read_table(workshop / "table.toml")
    assert places(file, {}, {})["small"].folder == str(workshop / "small")
    assert places(file, {"small": "here"}, {})["small"].folder == "here"
    assert places(file, {"": "all"}, {"": "stores"})["small"].folder == "all/small"
    assert places(file, {"": "all"}, {"": "stores"})["small"].knowledge == "stores/k.sqlite"
    with pytest.raises(UsageError, match="no data set 'smal'. Did you mean 'small'"):
        places(file, {"smal": "x"}, {})
    with pytest.raises(DataError, match="data set small: .*--data small=FOLDER"):
        planned(workshop, TABLE.replace("[data.small]", '[data.small]\nfolder = "nowhere"'))


def test_a_folder_of_stores_has_one_for_each_data_set(workshop, tmp_path):
    (workshop / "table.toml").write_text(TABLE.replace("[data.small]", "[data.small]\n[data.other]"))
    file = read_table(workshop / "table.toml")
    stores = tmp_path / "stores"
    for wrong, got in (
        (stores, "no such folder"),
        (workshop / "recipe.toml", "a file"),
        (workshop, "none of"),
    ):
        with pytest.raises(
            UsageError, match=f"small.sqlite, other.sqlite. Got: {got}.*--knowledge NAME=STORE"
        ):
            places(file, {}, {"": str(wrong)})
    stores.mkdir()
    (stores / "small.sqlite").touch()
    found = places(file, {}, {"": str(stores)})
    assert (found["small"].knowledge, found["other"].knowledge) == (str(stores / "small.sqlite"), None)
    named = places(file, {}, {"": str(stores), "other": "others.sqlite"})
    assert (named["small"].knowledge, named["other"].knowledge) == (
        str(stores / "small.sqlite"),
        "others.sqlite",
    )


def test_a_store_may_go_by_the_name_of_its_data_sets_folder(workshop, tmp_path):
    stores = tmp_path / "stores"
    (stores / "crossner").mkdir(parents=True)
    (workshop / "table.toml").write_text(
        TABLE
        + '[data.politics]\nfolder = "crossner/politics"\n[data.beside]\nfolder = "../crossner/beside"\n'
    )
    file = read_table(workshop / "table.toml")
    with pytest.raises(
        UsageError, match=r"small.sqlite, politics.sqlite or crossner/politics.sqlite, beside.sqlite\."
    ):
        places(file, {}, {"": str(stores)})
    nested = stores / "crossner" / "politics.sqlite"
    nested.touch()
    (tmp_path / "crossner").mkdir()
    (tmp_path / "crossner" / "beside.sqlite").touch()
    found = places(file, {}, {"": str(stores)})
    assert {name: place.knowledge for name, place in found.items()} == {
        "small": None,
        "politics": str(nested),
        "beside": None,
    }
    (stores / "politics.sqlite").touch()
    assert places(file, {}, {"": str(stores)})["politics"].knowledge == str(stores / "politics.sqlite")


def test_a_plan_changes_with_the_recipe_that_is_started_from(workshop):
    (workshop / "before.toml").write_text(RECIPE)
    text = TABLE + 'pretrain = { data = "small", recipe = "before.toml" }\n'
    name = plan_name(planned(workshop, text).file)
    assert plan_name(planned(workshop, text).file) == name
    (workshop / "before.toml").write_text(RECIPE.replace("batch_size = 8", "batch_size = 4"))
    assert plan_name(planned(workshop, text).file) != name


def test_a_part_of_a_plan_is_the_plan_of_the_part(workshop):
    text = (
        TABLE.replace("[data.small]", "samplings = 3\nsample = { posts = 9 }\n[data.small]") + "seeds = [5]\n"
    )
    whole = planned(workshop, text)
    for chosen in (
        {"rows": ["two"]},
        {"seeds": [2]},
        {"draws": 2},
        {"rows": ["one"], "seeds": [1], "draws": 1},
    ):
        file = only(whole.file, **chosen)
        alone, part = make_plan(file, places(file, {}, {})), part_of(whole, file)
        assert part.cells == alone.cells != whole.cells
        assert part.runs == alone.runs
