"""Tables as files: what they mean, and what is refused before anything runs."""

from __future__ import annotations

import pytest

from mner.errors import RecipeError, UsageError
from mner.experiments.tables import merged, only, read_table
from tests.experiments.conftest import TABLE

SIZED = """
title = "Sized"
seeds = [1, 2]
[sizes.small]
set = { training.epochs = 5, training.batch_size = 4 }
[sizes.full]
seeds = [7]
data = ["b"]
[data.a]
[data.b]
[[rows]]
name = "row"
recipe = { small = "recipe.toml", full = "other.toml" }
set = { training.epochs = 6 }
set_at = { full = { training.epochs = 9 } }
[[rows]]
name = "quoted"
quoted = true
[[settings]]
name = "slow"
set = { training.learning_rate = 1e-3 }
[[settings]]
name = "fast"
set = { training.epochs = 8 }
data = ["a"]
"""


def written(workshop, text):
    path = workshop / "table.toml"
    path.write_text(text)
    return path


def test_changes_are_made_in_the_order_size_row_setting(workshop):
    file = read_table(written(workshop, SIZED.replace('full = "other.toml"', 'full = "recipe.toml"')))
    assert file.size == "small"
    (row, _) = file.table.rows
    slow, fast = file.settings_of(row, "a")
    assert [one.name for one in file.settings_of(row, "b")] == ["slow"]
    recipe = file.recipe(row, slow).training
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (6, 4, 1e-3)
    assert file.recipe(row, fast).training.epochs == 8


def test_another_size_has_other_recipes_seeds_and_data(workshop):
    (workshop / "other.toml").write_text('[model]\nname = "cnn-bilstm-crf"\n')
    file = read_table(written(workshop, SIZED), "full")
    row = file.table.rows[0]
    assert file.table.seeds == [7]
    assert file.data_of(row) == ["b"]
    recipe = file.recipe(row, file.settings_of(row, "b")[0])
    assert (recipe.model.name, recipe.training.epochs) == ("cnn-bilstm-crf", 9)


def test_a_row_that_is_not_run_at_a_size_is_quoted_or_left_out(workshop):
    (workshop / "other.toml").write_text('[model]\nname = "cnn-bilstm-crf"\n')
    text = SIZED.replace('name = "row"\n', 'name = "row"\nsizes = ["full"]\n')
    assert [(row.name, row.quoted) for row in read_table(written(workshop, text)).table.rows] == [
        ("row", True),
        ("quoted", True),
    ]
    without = text.replace('sizes = ["full"]\n', 'sizes = ["full"]\npublished = ""\n')
    assert [row.name for row in read_table(written(workshop, without)).table.rows] == ["quoted"]
    assert [row.name for row in read_table(written(workshop, without), "full").table.rows] == [
        "row",
        "quoted",
    ]


def test_only_some_rows_and_data(workshop):
    file = read_table(written(workshop, TABLE))
    assert [row.name for row in only(file, ["two"]).table.rows] == ["two"]
    with pytest.raises(RecipeError, match="no row 'three'"):
        only(file, ["three"])
    with pytest.raises(RecipeError, match="no data set 'smal'. Did you mean 'small'"):
        only(file, [], ["smal"])


def test_a_row_that_is_left_out_can_still_be_started_from(workshop):
    text = TABLE + 'pretrain = { data = "small", row = "one" }\n'
    file = only(read_table(written(workshop, text)), ["two"])
    (row,) = file.table.rows
    (setting,) = file.settings_of(row, "small")
    assert file.recipe(row, setting).training.epochs == 2
    assert file.recipe(row, setting, pretraining=True).training.epochs == 3


def test_only_some_seeds(workshop):
    text = TABLE.replace('name = "two"', 'name = "two"\nseeds = [5]')
    file = only(read_table(written(workshop, text)), seeds=[2])
    assert file.table.seeds == [2]
    assert [row.seeds for row in file.table.rows] == [None, []]
    with pytest.raises(RecipeError, match="no seed '3'"):
        only(read_table(written(workshop, text)), seeds=[3])


def test_only_some_settings_and_draws(workshop):
    text = SIZED.replace('full = "other.toml"', 'full = "recipe.toml"').replace(
        "seeds = [1, 2]", "samplings = 4", 1
    )
    file = read_table(written(workshop, text))
    some = only(file, settings=["fast"], draws=3)
    assert [setting.name for setting in some.settings_of(some.table.rows[0], "a")] == ["fast"]
    assert some.settings_of(some.table.rows[0], "b") == []
    assert some.table.samplings == 3
    assert only(file, draws=9).table.samplings == 4
    with pytest.raises(RecipeError, match="no setting 'fest'. Did you mean 'fast'"):
        only(file, settings=["fest"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds =", "sedes =", "no setting sedes. Did you mean 'seeds'"),
        ("seeds = [1, 2]", 'seeds = ["a"]', r"seeds.1 has a wrong value"),
        ("seeds = [1, 2]", "seeds = []", "seeds has a wrong value. Expected: at least 1 item. Got"),
        (
            "seeds = [1, 2]",
            "seeds = [1, -1]",
            "seeds.2 has a wrong value. Expected: greater than or equal to 0",
        ),
        ("seeds = [1, 2]", "seeds = [1, 2, 1]", "seeds has a wrong value.*each seed once"),
        ("set =", "sett =", r"no setting rows.2.sett. Did you mean 'set'"),
        ("epochs = 2", "epohcs = 2", "row 'two'.*training.epohcs.*Did you mean 'epochs'"),
        (
            "training.epochs = 2",
            "model.positives = 2",
            "positives is not a setting of bilstm-crf. It is one of mgips-cl",
        ),
        (
            "training.epochs = 2",
            'model.name = "bilstm-cfr"',
            "row 'two'.*no model 'bilstm-cfr'.*'bilstm-crf'",
        ),
        ("training.epochs = 2", "training = 2", "change of training does not fit"),
        ("training.epochs = 2", "knowledge = 2", "row 'two'.*knowledge"),
        ("training.epochs = 2", 'data.folder = "x"', "data and knowledge.store cannot be changed"),
        ("training.epochs = 2", "training.seed = 7", "row 'two'.*training.seed cannot be changed.*`seeds`"),
        (
            "training.epochs = 2 }",
            'model.dropout = 0.3 }\n[[settings]]\nname = "seed 7"\nset = { training.seed = 7 }',
            "training.seed cannot be changed",
        ),
        (
            "[data.small]",
            "[sizes.small]\nset = { training.seed = 7 }\n[data.small]",
            "training.seed cannot be changed",
        ),
        (
            "set = { training.epochs = 2 }",
            'pretrain = { data = "small", set = { training.seed = 7 } }',
            "row 'two', pretrain: training.seed cannot be changed",
        ),
        ('recipe = "recipe.toml"\nset', 'recipe = "nowhere.toml"\nset', "no recipe '.*nowhere.toml'"),
        ('name = "two"', 'name = "one"', "two rows are called 'one'"),
        ('name = "two"', 'name = "two"\nquoted = true', "a quoted row is not run"),
        (
            'recipe = "recipe.toml"\n[[',
            "[[",
            "rows.1 has a wrong value. Expected: a recipe, predictions made",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { smal = "said.jsonl" }',
            "row 'two': there is no data set 'smal'. Did you mean 'small'",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { "small->other" = "said.jsonl" }',
            "row 'two': beside those of small there are no test posts of 'other'",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { "small@50" = "said.jsonl" }',
            "row 'two': there is no setting '50'",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { small = ["one.jsonl", "two.jsonl"] }',
            "small: several files want `seeds`",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { small = "one.jsonl", "small->small" = "two.jsonl" }',
            "row 'two': the predictions of 'small->small' are named twice",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { small = "one.jsonl", other = "two.jsonl" }\n[data.other]\nshown = false',
            "row 'two': the table has no cell for the predictions of 'other'",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { small = "one.jsonl" }\n[[settings]]\nname = "50"',
            "which setting the predictions of 'small' are of is not said. Expected: 'small@50'",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = "one.jsonl"',
            "Expected: files by data set, such as",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { small = "one.jsonl" }\nseeds = [1, 2]',
            "small: as many files as the row has seeds, 2",
        ),
        (
            'recipe = "recipe.toml"\nset',
            'predictions = { small = "one.jsonl" }\nset',
            "a row of predictions is not run here, so it has no set",
        ),
        (
            'recipe = "recipe.toml"\nset = { training.epochs = 2 }',
            'predictions = { small = "one.jsonl" }\nquoted = true',
            "a quoted row is not run",
        ),
        (
            'name = "two"',
            'name = "two"\ndata = ["smal"]',
            "row 'two'.*no data set 'smal'. Did you mean 'small'",
        ),
        ('name = "two"', 'name = "two"\nsettings = ["k"]', "no setting 'k'. There is none"),
        ('name = "two"', 'name = "two"\npretrain = { data = "conll" }', "no data set 'conll'"),
        ('name = "two"', 'name = "two"\nset_at = { full = {} }', "no size 'full'. There is none"),
        ('name = "two"', 'name = "two"\nwhose = "mine"', r"rows.2.whose has a wrong value"),
        ("[data.small]", "sample = { posts = 3, share = 0.5 }\n[data.small]", "exactly one of posts, share"),
        (
            "[data.small]",
            'sample = { posts = 3, bound = "at-least" }\n[data.small]',
            "a bound is for shots alone",
        ),
        (
            "[data.small]",
            'sample = { shots = 3, bound = "some" }\n[data.small]',
            "sample.bound has a wrong value",
        ),
        ("[data.small]", '[data.big]\ntitle = "small"\n[data.small]', "two data sets are called 'small'"),
        ("[data.small]", '[data.small]\nalso_score = { big = "" }', "also_score: there is no data set 'big'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(workshop, old, new, message):
    assert old in TABLE
    head, _, tail = TABLE.rpartition(old)
    with pytest.raises(UsageError, match=message):
        read_table(written(workshop, head + new + tail))


def test_an_unknown_size_and_a_missing_table_are_named(workshop):
    with pytest.raises(RecipeError, match="no size 'ful'. Did you mean 'full'"):
        read_table(written(workshop, SIZED.replace("other.toml", "recipe.toml")), "ful")
    with pytest.raises(RecipeError, match="no table"):
        read_table(workshop / "nowhere.toml")
    with pytest.raises(RecipeError, match="not valid TOML"):
        read_table(written(workshop, "title = "))


def test_merging_goes_table_by_table_and_changes_neither():
    base, changes = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "e": {"f": 6}}
    assert merged(base, changes, "here") == {"a": {"b": 5, "c": 2}, "d": 3, "e": {"f": 6}}
    assert (base, changes) == ({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 5}, "e": {"f": 6}})
