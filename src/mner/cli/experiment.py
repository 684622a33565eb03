"""`mner experiment`: tables of experiments run, and what its other commands share."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mner.cli.app import app as root
from mner.cli.console import bars, counted, err, out, print_json, print_whole, titled_table
from mner.errors import UsageError, shown

if TYPE_CHECKING:
    from mner.experiments.estimates import Estimate
    from mner.experiments.material import Place
    from mner.experiments.plans import Plan, RunPlan
    from mner.experiments.runner import Outcome, Slot
    from mner.experiments.shelf import Shelf, State
    from mner.experiments.tables import TableFile

app = typer.Typer(
    no_args_is_help=True,
    help="The papers' tables: run, compared, and shown beside what was published.",
)
root.add_typer(app, name="experiment")

OUTPUT = Path("runs/experiments")
# What a run is reckoned to need of the machine's memory, in bytes.
_MEMORY_OF_A_RUN = 3 * 2**30

TableArgument = Annotated[
    Path, typer.Argument(help="A TOML table; docs/experiments.md says how to write one.")
]
OutputOption = Annotated[Path, typer.Option(help="Folder of all results; tables share it.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=FOLDER of a data set, or one FOLDER with those of all others in it."),
]
KnowledgeOption = Annotated[
    list[str] | None,
    typer.Option(help="NAME=STORE of a knowledge store, or one FOLDER with a NAME.sqlite for each."),
]
SizeOption = Annotated[str | None, typer.Option(help="One of the table's sizes; its first one by default.")]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Runs side by side; by GPUs, or by cores and memory.")
]
RowOption = Annotated[list[str] | None, typer.Option(help="Only this row; may be given several times.")]
SeedOption = Annotated[list[int] | None, typer.Option(help="Only this seed; may be given several times.")]
OnOption = Annotated[list[str] | None, typer.Option("--on", help="Only this data set; several times.")]
SettingOption = Annotated[list[str] | None, typer.Option(help="Only this setting; several times.")]
DrawsOption = Annotated[int | None, typer.Option(min=1, help="Only the first so many draws of a sample.")]


@app.command()
def run(
    table: TableArgument,
    output: OutputOption = OUTPUT,
    data: DataOption = None,
    knowledge: KnowledgeOption = None,
    size: SizeOption = None,
    row: RowOption = None,
    on: OnOption = None,
    seed: SeedOption = None,
    setting: SettingOption = None,
    draws: DrawsOption = None,
    jobs: JobsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and for how long.")] = False,
    keep_weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Keep the weights of finished runs.")
    ] = True,
    accept: Annotated[
        bool, typer.Option("--accept-changed-data", help="Run all again on data that have changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run what is missing of a table; goes on where it was stopped, and never repeats what is done."""
    from mner.experiments.shelf import Shelf

    refuse_file(output, "Results", "--output")
    file = table_of(table, size, row, on, seed, setting, draws)
    plan = plan_of(file, data, knowledge)
    shelf = Shelf(output)
    slots = slots_for(jobs, len(plan.runs))
    if dry_run:
        show_plan(plan, shelf, len(slots), as_json, accept=accept)
        return
    whole = table_of(table, size)
    outcome = run_plan(plan, shelf, slots, whole=whole, keep_weights=keep_weights, accept=accept)
    if as_json:
        print_json(
            {
                "table": str(table),
                "output": str(output),
                "ran": [plan.runs[key].folder_name for key in outcome.ran],
                "read": outcome.read,
                "kept": [plan.runs[key].folder_name for key in outcome.kept],
                "failed": {plan.runs[key].folder_name: problem for key, problem in outcome.failed.items()},
            }
        )
    if outcome.failed:
        raise typer.Exit(1)


@app.command(hidden=True)
def job() -> None:
    """Do one run, read from stdin as JSON; progress goes to stdout as JSON lines."""
    from mner.experiments.runner import serve
    from mner.training.memory import keep_freed_memory

    keep_freed_memory()
    # Whatever a library prints must not come between the messages.
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Unbuffered, since a thread that waits in a buffered stream keeps the interpreter from ending in order.
    tasks = os.fdopen(os.dup(0), "rb", buffering=0)
    raise typer.Exit(serve(tasks, _sender(messages), os._exit))


def run_plan(
    plan: Plan,
    shelf: Shelf,
    slots: list[Slot],
    *,
    whole: TableFile | None = None,
    keep_weights: bool = True,
    accept: bool = False,
) -> Outcome:
    """Run what is missing of a plan, with bars, and say what came of it.

    Args:
        plan: The plan.
        shelf: The folder of all results.
        slots: Where runs are computed.
        whole: The table that the plan is of a part of.
        keep_weights: Whether weights are kept.
        accept: Take data as they are, though they have changed.
    """
    from mner.experiments.given import read_given
    from mner.experiments.runner import run_missing

    with shelf.working_on(plan.file.name):
        shelf.check_data(plan, accept=accept)
        # What is wrong with them is said before anything is trained.
        files = read_given(plan, shelf, bars)
        shelf.keep_plan(plan, whole)
        _show_beginning(plan, shelf, len(slots))
        with _board(plan, shelf) as watcher:
            outcome = run_missing(
                plan,
                shelf.root,
                [sys.executable, "-m", "mner", "experiment", "job"],
                slots,
                keep_weights=keep_weights,
                watcher=watcher,
            )
    titles = _titles(plan)
    outcome.read = files
    for file in files:
        err.print(f"Read: {file}", markup=False, soft_wrap=True)
    err.print(
        f"{counted(len(outcome.ran), 'run')} done, {len(outcome.kept)} were there already, "
        f"{len(outcome.failed)} failed",
        markup=False,
        soft_wrap=True,
    )
    for key, problem in outcome.failed.items():
        err.print(f"Failed: {titles[key][0]}: {problem}", markup=False, soft_wrap=True)
        err.print(f"        {shelf.failure_file(plan.runs[key])}", markup=False, soft_wrap=True)
    return outcome


def _sender(messages: BinaryIO) -> Any:
    lock = threading.Lock()

    def send(message: Mapping[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with lock:
            messages.write(line)
            messages.flush()

    return send


def table_of(
    path: Path,
    size: str | None,
    rows: list[str] | None = None,
    on: list[str] | None = None,
    seeds: list[int] | None = None,
    settings: list[str] | None = None,
    draws: int | None = None,
) -> TableFile:
    """A table at a size, of which only what is named is left."""
    from mner.experiments.tables import only, read_table

    file = read_table(path, size)
    return only(file, rows or (), on or (), seeds or (), settings or (), draws)


def plan_of(file: TableFile, data: list[str] | None, knowledge: list[str] | None) -> Plan:
    """A table's plan; its data sets are read."""
    from mner.experiments.plans import make_plan

    plan = make_plan(file, places_of(file, data, knowledge), bars)
    say_stores(plan, knowledge)
    return plan


def places_of(file: TableFile, data: list[str] | None, knowledge: list[str] | None) -> dict[str, Place]:
    """Where a table's data sets lie, by what was given on the command line."""
    from mner.experiments.material import places

    return places(file, _named(data, "--data"), _named(knowledge, "--knowledge"))


def say_stores(plan: Plan, knowledge: list[str] | None) -> None:
    """Say of which data set knowledge is read that has no store; of a folder of stores also which has which.

    Args:
        plan: The plan.
        knowledge: What was given on the command line.
    """
    from mner.experiments.material import stores_read
    from mner.knowledge.supplying import coverage

    whole_folder = "" in _named(knowledge, "--knowledge")
    for name, store in stores_read(plan.materials, plan.views).items():
        splits = plan.materials[name].dataset.splits.values()
        if store is None and any(coverage(posts) for posts in splits):
            continue
        without = f"no knowledge store, so it is read without; --knowledge {name}=STORE names one"
        if whole_folder or store is None:
            err.print(f"Knowledge of {name}: {store or without}.", markup=False, soft_wrap=True)


def refuse_file(folder: Path, what: str, option: str) -> None:
    """Refuse a file where a folder is to be, before anything is computed.

    Args:
        folder: Where the folder is to be.
        what: What is to be written there.
        option: The option that names it.

    Raises:
        UsageError: The path, or one above it, is a file.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if there is not None and not there.is_dir():
        raise UsageError(
            f"{what} cannot be written to {folder}.",
            expected="a folder, which need not be there yet",
            got=f"the file {there}",
            hint=f"Give another folder with {option}.",
        )


def _named(given: list[str] | None, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given or ():
        name, equals, path = one.partition("=")
        key, value = (name, path) if equals else ("", one)
        if not value or key in found:
            raise UsageError(
                f"{option} {shown(one)} cannot be understood.",
                expected=f"{option} NAME=PATH once a data set, or {option} FOLDER once",
            )
        found[key] = value
    return found


def slots_for(jobs: int | None, runs: int) -> list[Slot]:
    """Where runs are computed: a GPU each where there are some, else a share of the cores.

    A number of threads in OMP_NUM_THREADS is that of each run.

    Args:
        jobs: How many at a time; by the machine where None.
        runs: How many there are.
    """
    import torch

    from mner.experiments.runner import Slot

    environment = dict(os.environ)
    devices = []
    if torch.cuda.is_available():
        visible = environment.get("CUDA_VISIBLE_DEVICES")
        count = torch.cuda.device_count()
        devices = visible.split(",")[:count] if visible else [str(number) for number in range(count)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs is None:
        by_machine = len(devices) if devices else min(cores, max(1, _memory() // _MEMORY_OF_A_RUN))
        jobs = max(1, min(by_machine, runs))
    threads = environment.get("OMP_NUM_THREADS") or str(max(1, cores // jobs))
    slots = []
    for number in range(jobs):
        own = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
        if devices:
            own["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        slots.append(Slot(number, {**environment, **own}))
    return slots


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _MEMORY_OF_A_RUN


def show_plan(plan: Plan, shelf: Shelf, jobs: int, as_json: bool, *, accept: bool = False) -> None:
    """Show what would run, and about how long it would take; data that would stop the run stop this too."""
    from mner.experiments.estimates import ASSUMED, ASSUMED_POSTS_A_SECOND, Estimates, spoken, total_seconds
    from mner.experiments.given import read_given

    shelf.check_data(plan, accept=accept, remember=False)
    unread = read_given(plan, shelf, bars, remember=False)
    estimates = Estimates(plan, shelf)
    titles = _titles(plan)
    rows = [(run, estimates.states[key], estimates.of(run)) for key, run in plan.runs.items()]
    whole = total_seconds((estimate.seconds for _, _, estimate in rows), jobs)
    if as_json:
        print_json(
            {
                "table": str(plan.file.path),
                "size": plan.file.size,
                "cells": len(plan.cells),
                "predictions_to_be_read": unread,
                "jobs": jobs,
                "seconds": round(whole, 1),
                "runs": [
                    {
                        "run": run.folder_name,
                        "for": titles[run.key],
                        "state": str(state),
                        "seconds": round(estimate.seconds, 1),
                        "basis": estimate.basis,
                    }
                    for run, state, estimate in rows
                ],
            }
        )
        return
    # The seeds and draws of a row in one line.
    lines: dict[str, list[tuple[RunPlan, State, Estimate]]] = {}
    for one in rows:
        lines.setdefault(titles[one[0].key][0].rpartition(", seed")[0].partition(", draw")[0], []).append(one)
    shown_table = titled_table(plan.file.table.title)
    for column in ("runs of", "posts x epochs", "state", "about", "by"):
        shown_table.add_column(column, no_wrap=column in ("posts x epochs", "about"))
    for title, of_line in lines.items():
        states = Counter(str(state) for _, state, _ in of_line)
        first = of_line[0][0]
        left = [estimate for _, _, estimate in of_line if estimate.seconds]
        shown_table.add_row(
            Text(title),
            f"{first.posts} x {first.recipe.training.epochs}",
            ", ".join(f"{count} {state}" for state, count in states.items()),
            spoken(sum(estimate.seconds for estimate in left)) if left else "",
            left[0].basis if left else "",
        )
    if rows:
        print_whole(shown_table)
    if any(estimate.basis == ASSUMED for _, _, estimate in rows):
        out.print(
            f"Where nothing like it was run yet, {ASSUMED_POSTS_A_SECOND:g} posts a second are assumed.",
            markup=False,
            soft_wrap=True,
        )
    for file in unread:
        out.print(f"Predictions to be read: {file}", markup=False, soft_wrap=True)
    out.print(
        f"{counted(len(rows), 'run')} for {counted(len(plan.cells) - len(plan.given_cells), 'cell')}; "
        f"about {spoken(whole)} with {jobs} at a time.",
        markup=False,
        soft_wrap=True,
    )


def _titles(plan: Plan) -> dict[str, list[str]]:
    """For each run the cells it is for, in words."""
    titles: dict[str, list[str]] = {key: [] for key in plan.runs}
    for cell in plan.cells:
        if cell.run in titles:
            titles[cell.run].append(cell.title)
    for key, run in plan.runs.items():
        if not titles[key]:
            titles[key] = [
                f"{run.recipe.model.name} on {run.place.name} to start from, seed {run.recipe.training.seed}"
            ]
    return titles


def _show_beginning(plan: Plan, shelf: Shelf, jobs: int) -> None:
    from mner.experiments.estimates import Estimates, spoken, total_seconds
    from mner.experiments.shelf import State

    estimates = Estimates(plan, shelf)
    states = list(estimates.states.values())
    done = states.count(State.DONE)
    left = total_seconds((estimates.of(run).seconds for run in plan.runs.values()), jobs)
    err.print(
        f"{plan.file.table.title}: {counted(len(plan.cells), 'cell')}"
        + (f" ({len(plan.given_cells)} of predictions made elsewhere)" if plan.given else "")
        + f", {counted(len(states), 'run')}, {done} of them done; "
        + (
            f"the others take about {spoken(left)}, {jobs} at a time."
            if done < len(states)
            else "nothing to do."
        ),
        markup=False,
        soft_wrap=True,
    )


class _Board:
    """A bar for the table and one for each run that is being computed."""

    def __init__(self, plan: Plan, progress: Progress, total: int) -> None:
        self.titles = _titles(plan)
        self.bars = progress
        self.total, self.done = total, 0
        self.whole = progress.add_task(plan.file.table.title, total=total)
        self.tasks: dict[str, TaskID] = {}

    def started(self, run: RunPlan, slot: int) -> None:
        del slot
        self.tasks[run.key] = self.bars.add_task(f"  {self.titles[run.key][0]}", total=None)

    def progress(self, run: RunPlan, slot: int, what: str, done: int, total: int | None) -> None:
        del slot
        title = f"  {self.titles[run.key][0]}: {what}"
        self.bars.update(self.tasks[run.key], description=title, completed=done, total=total)

    def said(self, run: RunPlan, message: str) -> None:
        # On a terminal the bar of the run tells of its epochs.
        if err.is_terminal and message.startswith("Epoch"):
            return
        err.print(f"{self.titles[run.key][0]}: {message}", markup=False, soft_wrap=True)

    def ended(self, run: RunPlan, slot: int, problem: str | None) -> None:
        del slot
        task = self.tasks.pop(run.key, None)
        if task is not None:
            self.bars.remove_task(task)
        self.done += 1
        self.bars.advance(self.whole)
        verdict = "done" if problem is None else f"failed: {problem}"
        err.print(
            f"{self.done} of {self.total}: {self.titles[run.key][0]}: {verdict}", markup=False, soft_wrap=True
        )


@contextmanager
def _board(plan: Plan, shelf: Shelf) -> Iterator[_Board]:
    from mner.experiments.shelf import State

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    total = sum(state is not State.DONE for state in shelf.states(plan).values())
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        yield _Board(plan, progress, total)
