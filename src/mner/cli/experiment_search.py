"""`mner experiment search`: values of a recipe, chosen on validation posts."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from mner.cli.console import bars, err, out, print_json, print_whole, titled_table
from mner.cli.experiment import (
    OUTPUT,
    DataOption,
    JobsOption,
    KnowledgeOption,
    OutputOption,
    TableArgument,
    app,
    places_of,
    refuse_file,
    run_plan,
    say_stores,
    show_plan,
    slots_for,
)


@app.command()
def search(
    file: TableArgument,
    output: OutputOption = OUTPUT,
    data: DataOption = None,
    knowledge: KnowledgeOption = None,
    jobs: JobsOption = None,
    test: Annotated[
        bool, typer.Option("--test", help="Score the winner, and no other trial, on the test posts.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and for how long.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Try values of a recipe, and choose among them on the validation posts alone."""
    from mner.experiments.plans import make_plan
    from mner.experiments.results import collect
    from mner.experiments.search import keep_result, read_search, trials_of
    from mner.experiments.shelf import Shelf

    refuse_file(output, "Results", "--output")
    found = read_search(file)
    places = places_of(found.file, data, knowledge)
    plan = make_plan(found.file, places, bars, test=False)
    say_stores(plan, knowledge)
    shelf = Shelf(output)
    slots = slots_for(jobs, len(plan.runs))
    if dry_run:
        show_plan(plan, shelf, len(slots), as_json)
        return
    failed = bool(run_plan(plan, shelf, slots).failed)
    trials = trials_of(found, plan, shelf)
    winner = found.winner(trials)
    scores: dict[str, Any] | None = None
    if test and winner is not None:
        tested = make_plan(found.only_winner(winner), places, bars)
        failed = bool(run_plan(tested, shelf, slots).failed) or failed
        (group,) = collect(tested, shelf, bars).groups
        scores = {
            measure: summary.as_dict()
            for measure in ("precision", "recall", "f1")
            if (summary := group.summary(measure)) is not None
        }
    result = keep_result(found, shelf, trials, scores)
    if as_json:
        print_json(result)
    else:
        _show(result)
    if failed:
        raise typer.Exit(1)


def _show(result: dict[str, Any]) -> None:
    table = titled_table(f"{result['title']} (chosen on {result['chosen_on']})")
    names = list(result["trials"][0]["values"])
    for name in names:
        table.add_column(Text(name))
    table.add_column("F1 on validation", justify="right")
    table.add_column("by seed", justify="right")
    # Sentences can be wrapped, where something failed.
    table.add_column("", max_width=60)
    for trial in sorted(result["trials"], key=lambda one: -one.get("mean_validation_f1", -1.0)):
        scores = [f"{100 * value:.2f}" for value in trial["validation_f1"]]
        mean = f"{100 * trial['mean_validation_f1']:.2f}" if scores else ""
        verdict = trial.get("problem") or ("best" if trial == result["winner"] else "")
        values = (Text(str(trial["values"][name])) for name in names)
        table.add_row(*values, mean, ", ".join(scores), Text(verdict))
    print_whole(table)
    if result["test"]:
        out.print(f"The winner's F1 on the test posts: {100 * result['test']['f1']['mean']:.2f}")
    elif result["tested_winners"]:
        err.print("The winner was not scored on test posts; --test scores it.", markup=False)
    else:
        err.print("No test post was looked at; --test scores the winner.", markup=False)
