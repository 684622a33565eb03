"""Searches: which values are tried, and that test posts are not looked at."""

from __future__ import annotations

import json
import math

import pytest

from mner.cli.app import run
from mner.cli.console import out
from mner.errors import RecipeError
from mner.experiments.material import places
from mner.experiments.plans import make_plan
from mner.experiments.search import keep_result, read_search, trials_of
from mner.experiments.shelf import Shelf
from tests.experiments.conftest import run_here

SEARCH = """
title = "Rates"
recipe = "recipe.toml"
seeds = [1, 2]
[data.small]
[values]
"training.learning_rate" = [1e-4, 2e-2]
"training.epochs" = [1, 2]
"""


def written(workshop, text):
    path = workshop / "search.toml"
    path.write_text(text)
    return read_search(path)


def test_a_grid_tries_every_combination(workshop):
    search = written(workshop, SEARCH)
    tried = [(one["training.learning_rate"], one["training.epochs"]) for one in search.values.values()]
    assert tried == [(1e-4, 1), (1e-4, 2), (2e-2, 1), (2e-2, 2)]
    row = search.file.table.rows[2]
    recipe = search.file.recipe(row, search.file.settings_of(row, "small")[0])
    assert (recipe.training.learning_rate, recipe.training.epochs) == (2e-2, 1)


def test_draws_are_seeded_within_their_range_and_none_is_tried_twice(workshop):
    text = SEARCH.replace('title = "Rates"', 'title = "Rates"\nmethod = "random"\ntrials = 60\nseed = 5')
    text = text.replace("[1e-4, 2e-2]", "{ low = 1e-5, high = 1e-1, logarithmic = true }")
    text = text.replace("[1, 2]\n[data", "[1]\n[data") + '"training.batch_size" = { low = 2, high = 4 }\n'
    values = list(written(workshop, text).values.values())
    assert values == list(written(workshop, text).values.values())
    assert values != list(written(workshop, text.replace("seed = 5", "seed = 6")).values.values())
    rates = [one["training.learning_rate"] for one in values]
    assert len(set(rates)) > 50
    assert all(1e-5 <= rate <= 1e-1 for rate in rates)
    # Evenly in the logarithm: half of the draws under the geometric middle, where 1 in 1000 would be otherwise.
    assert 15 < sum(math.log10(rate) < -3 for rate in rates) < 45
    assert {one["training.batch_size"] for one in values} == {2, 3, 4}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate", "learning_rat", "training.learning_rat. Did you mean 'learning_rate'"),
        ("[1e-4, 2e-2]", "{ low = 1e-4, high = 2e-2 }", 'a list of values .*or method = "random"'),
        (
            "[1e-4, 2e-2]",
            "{ low = 2e-2, high = 1e-4 }",
            "values.training.learning_rate has a wrong value. Expected: low under high",
        ),
        ("[1e-4, 2e-2]", '["fast"]', "learning_rate has a wrong value"),
        ("[1e-4, 2e-2]", "[]", "at least one value"),
        ("training.epochs", "training.seed", "no search over the seed"),
        ("training.epochs", "epochs", "epochs names no setting"),
        ("[values]", "[valeus]", "no setting valeus. Did you mean 'values'"),
        ("[data.small]", "[data.small]\n[data.other]", "data has a wrong value"),
        (
            "[data.small]",
            '[data.small]\nalso_score = { other = "" }',
            "a search scores no other data set.*also_score",
        ),
        (
            "[data.small]",
            '[data.small]\nalso_score = { small = "" }',
            "a search scores no other data set.*also_score",
        ),
        (
            "[data.small]",
            "[data.small]\nshown = false",
            "every trial of a search is run on it.*shown = false",
        ),
    ],
)
def test_what_does_not_fit_is_refused(workshop, old, new, message):
    with pytest.raises(RecipeError, match=message):
        written(workshop, SEARCH.replace(old, new))


def test_values_are_chosen_without_test_posts_and_the_winner_alone_is_scored(workshop):
    search = written(workshop, SEARCH)
    where = places(search.file, {}, {})
    shelf = Shelf(workshop / "results")
    test_posts = (workshop / "small" / "test.jsonl").read_text()
    # What is not there cannot be looked at.
    (workshop / "small" / "test.jsonl").unlink()
    plan = make_plan(search.file, where, test=False)
    run_here(plan, shelf)
    trials = trials_of(search, plan, shelf)
    best = max(range(4), key=lambda n: sum(trials[n].f1))
    winner = search.winner(trials)
    assert winner == trials[best]
    assert [len(trial.f1) for trial in trials] == [2, 2, 2, 2]
    for trial in trials:
        runs = [plan.runs[cell.run] for cell in plan.cells if cell.row == trial.name]
        records = [json.loads((shelf.run_folder(run) / "run.json").read_text()) for run in runs]
        assert trial.f1 == tuple(max(point["f1"] for point in record["curve"]) for record in records)
    result = keep_result(search, shelf, trials, None)
    assert "no test post was looked at" in result["chosen_on"]
    assert not list(shelf.root.rglob("predictions"))

    (workshop / "small" / "test.jsonl").write_text(test_posts)
    tested = make_plan(search.only_winner(winner), where)
    assert set(tested.runs) < set(plan.runs)
    run_here(tested, shelf)
    scored = {path.parent.parent.name for path in shelf.root.rglob("predictions/*.jsonl")}
    assert scored == {run.folder_name for run in tested.runs.values()}
    result = keep_result(search, shelf, trials, {"f1": {"mean": 0.5}})
    assert "for the winner alone" in result["chosen_on"]
    assert result["winner"]["values"] == dict(winner.values)
    # Another winner of the same file, scored as well, is not kept quiet.
    loser = [trials[best - 1]]
    again = keep_result(search, shelf, loser, {"f1": {"mean": 0.6}})
    assert "2 winners" in again["chosen_on"]


def test_a_score_on_test_posts_stays_with_its_winner_and_every_winner_counts(workshop, capsys):
    text = (
        SEARCH.replace("[1, 2]\n[data", "[1]\n[data")
        .replace("[1e-4, 2e-2]", "[2e-2]")
        .replace("[1, 2]", "[2]")
    )
    shelf = Shelf(workshop / "results")

    def search(*options):
        """The search at the command line: what is printed, and the document; its runs are done before."""
        found = written(workshop, text)
        for test in (False, True):
            run_here(make_plan(found.file, places(found.file, {}, {}), test=test), shelf)
        words = ["experiment", "search", str(workshop / "search.toml"), "--output", str(shelf.root)]
        assert run([*words, *options]) == 0
        printed = "".join(capsys.readouterr()).replace("\n", " ")
        assert run([*words, "--json"]) == 0
        return printed, json.loads(capsys.readouterr().out)

    untested, document = search()
    assert "No test post was looked at" in untested
    assert (document["test"], document["tested_winners"]) == (None, [])
    tested, document = search("--test")
    scores = document["test"]
    assert f"on the test posts: {100 * scores['f1']['mean']:.2f}" in tested
    # Asking without --test forgets nothing.
    again, document = search()
    assert f"on the test posts: {100 * scores['f1']['mean']:.2f}" in again
    assert document["test"] == scores
    # The same values of another recipe are another winner, which was not scored.
    recipe = (workshop / "recipe.toml").read_text()
    (workshop / "recipe.toml").write_text(recipe.replace("batch_size = 8", "batch_size = 5"))
    changed, document = search()
    assert "The winner was not scored on test posts" in changed
    assert "No test post was looked at" not in changed
    assert "an earlier winner of this file, not for this one" in document["chosen_on"]
    assert document["test"] is None
    _, document = search("--test")
    first, second = document["tested_winners"]
    assert first["values"] == second["values"]
    assert first["runs"] != second["runs"]
    assert document["test"] == second["test"]
    assert "2 winners of this file" in document["chosen_on"]
    (workshop / "recipe.toml").write_text(recipe)
    assert search()[1]["test"] == first["test"] == scores


def test_scores_of_trials_are_shown_whole_however_narrow_the_terminal(workshop, capsys, monkeypatch):
    search = written(
        workshop, SEARCH.replace("[1, 2]\n[data", "[1, 2, 3, 4]\n[data").replace("= [1, 2]", "= [1]")
    )
    shelf = Shelf(workshop / "results")
    plan = make_plan(search.file, places(search.file, {}, {}), test=False)
    run_here(plan, shelf)
    monkeypatch.setattr(out, "width", 40)
    words = ["experiment", "search", str(workshop / "search.toml"), "--output", str(shelf.root)]
    assert run(words) == 0
    printed = capsys.readouterr().out
    for trial in trials_of(search, plan, shelf):
        by_seed = ", ".join(f"{100 * value:.2f}" for value in trial.f1)
        line = next(
            line for line in printed.splitlines() if f" {trial.values['training.learning_rate']} " in line
        )
        assert f" {100 * trial.mean:.2f} " in line
        assert f" {by_seed} " in line
