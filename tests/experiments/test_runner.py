"""Tables run from the command line: side by side, killed, resumed, with cells that fail, on a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from mner.cli.app import run as main
from mner.errors import UsageError
from mner.experiments.estimates import Estimates
from mner.experiments.results import collect
from mner.experiments.runner import Slot, run_missing
from mner.experiments.shelf import DiskFullError, Shelf, State
from tests.experiments.conftest import FROM, TABLE, planned, run_here
from tests.machine import PATIENCE

COMMAND = [sys.executable, "-m", "mner"]


def command(*words):
    return [*COMMAND, *map(str, words)]


def run_table(folder, *options):
    words = command("experiment", "run", folder / "table.toml", "--output", folder / "results", *options)
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        pause.wait(0.02)


def epochs_done(path):
    # The file is replaced as a whole, so that it can be read at any time.
    return len(json.loads(path.read_text()).get("curve", [])) if path.is_file() else 0


LONG = """
title = "Long"
[data.small]
[[rows]]
name = "long"
recipe = "recipe.toml"
set = { training.epochs = 40 }
"""


def test_a_killed_runner_leaves_nobody_behind_and_the_run_goes_on_to_the_same_bits(workshop):
    plan = planned(workshop, LONG)
    (run,) = plan.runs.values()
    shelf = Shelf(workshop / "results")
    words = command("experiment", "run", workshop / "table.toml", "--output", shelf.root)
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as runner:
        wait_until(lambda: epochs_done(shelf.run_folder(run) / "run.json") >= 3)
        # A second process on the table, which this one would be, is refused.
        with pytest.raises(UsageError, match=f"process {runner.pid}"), shelf.working_on(plan.file.name):
            pass
        os.kill(runner.pid, signal.SIGKILL)
    # Its lock is free once the process of the run has ended, which it does by itself.
    shelf.lock_of(run).acquire(timeout=PATIENCE)
    shelf.lock_of(run).release()
    assert shelf.state(run) is State.INTERRUPTED
    done = epochs_done(shelf.run_folder(run) / "run.json")
    assert done < 40
    assert run_here(plan, shelf) == [run.key]
    assert shelf.record_of(run)["resumed"] == 1
    whole = Shelf(workshop / "whole")
    run_here(plan, whole)
    (target,) = run.targets
    assert shelf.predictions(run, target) == whole.predictions(run, target)
    assert shelf.training_of(run)["curve"] == whole.training_of(run)["curve"]
    weights = [(one.run_folder(run) / "model.safetensors").read_bytes() for one in (shelf, whole)]
    assert weights[0] == weights[1]


def test_a_checkpoint_that_was_cut_off_does_not_stop_a_run(workshop):
    plan = planned(workshop, LONG.replace("40", "4"))
    (run,) = plan.runs.values()
    shelf, whole = Shelf(workshop / "results"), Shelf(workshop / "whole")
    run_here(plan, whole)
    # What a run is after its first epoch, with a second checkpoint of which half is there.
    cut = shelf.run_folder(run)
    half = cut / "checkpoints" / "checkpoint-10"
    half.mkdir(parents=True)
    (half / "trainer_state.json").write_text('{"epoch": ')
    record = {**whole.training_of(run), "status": "running", "curve": []}
    (cut / "run.json").write_text(json.dumps(record))
    assert shelf.state(run) is State.INTERRUPTED
    run_here(plan, shelf)
    assert shelf.training_of(run)["curve"] == whole.training_of(run)["curve"]


FAILING = """
title = "Failing"
[data.small]
[[rows]]
name = "broken"
recipe = "recipe.toml"
set = { model.vectors = "nowhere.txt" }
[[rows]]
name = "built on it"
recipe = "recipe.toml"
pretrain = { data = "small", row = "broken" }
[[rows]]
name = "whole"
recipe = "recipe.toml"
"""


def test_a_failing_cell_is_kept_with_its_error_and_the_others_go_on(workshop):
    plan = planned(workshop, FAILING)
    broken, built, whole = (plan.runs[cell.run] for cell in plan.cells)
    done = run_table(workshop, "--jobs", 1, "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["ran"] == [whole.folder_name]
    assert document["failed"].keys() == {broken.folder_name, built.folder_name}
    assert "nowhere.txt" in done.stderr
    shelf = Shelf(workshop / "results")
    assert [shelf.state(run) for run in (broken, built, whole)] == ["failed", "failed", "done"]
    errors = {cell.row: error for cell, _, error in collect(plan, shelf).open_cells}
    assert "nowhere.txt" in errors["broken"]
    assert "starts from failed" in errors["built on it"]
    assert "Traceback" in shelf.failure_of(broken)["traceback"]
    for run in (broken, built):
        assert shelf.failure_file(run).is_file()
        assert str(shelf.failure_file(run)) in done.stderr
    # What is left will take as long as what was measured; nothing more is left of what is done.
    estimates = Estimates(plan, shelf)
    assert estimates.of(whole).seconds == 0
    took = shelf.training_of(whole)["seconds"]
    assert estimates.of(broken).seconds == pytest.approx(took)
    assert estimates.of(broken).basis == "its system, measured"


def test_a_source_is_trained_again_for_its_weights_only_where_a_run_starts_from_them(workshop, capsys):
    def told(*options):
        words = [
            "experiment",
            "run",
            str(workshop / "table.toml"),
            "--output",
            str(workshop / "results"),
            "--json",
        ]
        assert main([*words, *options]) == 0
        return json.loads(capsys.readouterr().out)

    plan = planned(workshop, FROM)
    source, run = plan.runs.values()
    shelf = Shelf(workshop / "results")
    run_here(plan, shelf)
    weights = shelf.run_folder(source) / "model.safetensors"
    weights.unlink()
    for predictions in (shelf.run_folder(run) / "predictions").iterdir():
        predictions.unlink()
    # Who is scored alone starts from nothing.
    assert told()["ran"] == [run.folder_name]
    assert not weights.exists()
    shutil.rmtree(shelf.run_folder(run))
    assert [one["state"] for one in told("--dry-run")["runs"]] == [
        "to be trained again for its weights",
        "to be run",
    ]
    given = shelf.predictions_file(source, *source.targets).stat().st_mtime_ns
    assert told("--no-weights")["ran"] == [source.folder_name, run.folder_name]
    assert weights.exists()
    assert shelf.predictions_file(source, *source.targets).stat().st_mtime_ns == given


def test_a_process_that_dies_without_a_word_is_a_failure(workshop):
    plan = planned(workshop, TABLE)
    # As a process that is killed for its memory.
    dying = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    outcome = run_missing(plan, workshop / "results", dying, [Slot(0, os.environ), Slot(1, os.environ)])
    assert set(outcome.failed) == set(plan.runs)
    assert all("exit status -9" in problem for problem in outcome.failed.values())


def test_a_full_disk_stops_the_table_and_keeps_what_is_done(finished, tmp_path):
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    ):
        pytest.skip("a small disk of its own needs `unshare`, which is not allowed here")
    folder, plan = finished
    one, other = list(plan.runs.values())[:2]
    small = tmp_path / "disk"
    small.mkdir()
    # One run is done and on it; for the checkpoints of the next there is no room.
    size = sum(path.stat().st_size for path in (folder / "results").rglob("*") if path.is_file())
    script = (
        f'mount -t tmpfs -o size={size // 1024 + 100}k none "$DISK" && cp -r "$FROM/." "$DISK" && '
        f'rm -r "$DISK/runs/{other.folder_name}" && '
        'head -c 10000000 /dev/zero > "$DISK/fill" 2>/dev/null; truncate -s -120000 "$DISK/fill"; '
        '"$@"; status=$?; cp -r "$DISK/runs" "$BACK"; exit $status'
    )
    words = command("experiment", "run", folder / "table.toml", "--output", small, "--jobs", 1)
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *words],
        env={
            **os.environ,
            "DISK": str(small),
            "FROM": str(folder / "results"),
            "BACK": str(tmp_path / "back"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "There is no room left" in done.stderr
    assert "What is done is kept" in done.stderr
    shutil.copytree(folder / "results" / "posts", tmp_path / "posts")
    kept = Shelf(tmp_path)
    (tmp_path / "back").rename(tmp_path / "runs")
    assert kept.state(one) is State.DONE
    assert kept.state(other) is not State.DONE


def test_the_runner_itself_says_that_the_disk_is_full(workshop):
    plan = planned(workshop, TABLE)
    message = json.dumps({"event": "failed", "error": "No space left on device", "disk_full": True})
    saying = [sys.executable, "-c", f"print({message!r})"]
    with pytest.raises(DiskFullError, match="0 runs done, 4 not"):
        run_missing(plan, workshop / "results", saying, [Slot(0, os.environ)])
