"""What keeps results: shared runs, deleted ones, changed data, locks, a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mner.data import write_folder
from mner.data.dataset import Dataset
from mner.errors import DataError, UsageError
from mner.experiments.estimates import Estimates
from mner.experiments.job import do_run
from mner.experiments.material import places, what_changed
from mner.experiments.plans import make_plan, plan_name
from mner.experiments.shelf import Shelf, State, is_disk_full
from mner.experiments.tables import only
from mner.recognizer import Recognizer
from tests.experiments.conftest import FROM, TABLE, StopAfter, planned, run_here
from tests.training.conftest import small_posts


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workshop that may be changed, with the plan and shelf in it."""
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy", planned(tmp_path / "copy", TABLE), Shelf(tmp_path / "copy" / "results")


def test_a_run_is_a_folder_that_predicts_alone_with_its_record(finished):
    folder, plan = finished
    shelf = Shelf(folder / "results")
    assert {shelf.state(run) for run in plan.runs.values()} == {State.DONE}
    for run in plan.runs.values():
        record = shelf.record_of(run)
        assert record["key"] == run.key
        assert record["recipe"]["training"]["seed"] == run.recipe.training.seed
        assert record["code"]
        assert {"train", "valid"} == record["prints"].keys()
        (target,) = run.targets
        posts = shelf.posts(run.targets[target].gold)
        again = Recognizer.from_pretrained(shelf.run_folder(run)).predict(
            [post.as_post(()) for post in posts]
        )
        assert again == shelf.predictions(run, target)


def test_what_is_done_is_not_done_again_for_whatever_table(copied):
    folder, plan, shelf = copied
    before = {path: path.stat().st_mtime_ns for path in shelf.root.rglob("*.safetensors")}
    assert run_here(plan, shelf) == []
    wider = planned(folder, TABLE.replace("[1, 2]", "[1, 2, 3]").replace("Small", "Other"), "other")
    assert len(run_here(wider, shelf)) == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_deleted_run_is_run_again_and_deleted_predictions_are_made_again(copied):
    _, plan, shelf = copied
    one, two, *_ = plan.runs.values()
    (target,) = two.targets
    wanted = shelf.predictions_file(two, target).read_text()
    shutil.rmtree(shelf.run_folder(one))
    shelf.predictions_file(two, target).unlink()
    assert [shelf.state(run) for run in (one, two)] == [State.MISSING, State.SCORING]
    weights = shelf.run_folder(two) / "model.safetensors"
    trained = weights.stat().st_mtime_ns
    assert run_here(plan, shelf) == [one.key, two.key]
    assert weights.stat().st_mtime_ns == trained
    assert shelf.predictions_file(two, target).read_text() == wanted


def test_without_weights_there_are_predictions_still(workshop):
    plan = planned(workshop, TABLE)
    run = next(iter(plan.runs.values()))
    shelf = Shelf(workshop / "results")
    do_run(run, shelf.root, keep_weights=False)
    assert not (shelf.run_folder(run) / "model.safetensors").exists()
    assert shelf.state(run) is State.DONE
    (target,) = run.targets
    shelf.predictions_file(run, target).unlink()
    assert shelf.state(run) is State.MISSING
    do_run(run, shelf.root)
    assert shelf.state(run) is State.DONE
    # Whoever asks for the weights, to start from them, gets them back.
    weights = shelf.run_folder(run) / "model.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    do_run(run, shelf.root, weights_needed=True)
    assert weights.read_bytes() == before


def files_of(folder):
    """What each file of a folder holds, and when it was written."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_finished_run_whose_weights_nobody_needs_is_left_as_it_is(workshop):
    plan = planned(workshop, TABLE)
    run = next(iter(plan.runs.values()))
    shelf = Shelf(workshop / "results")
    do_run(run, shelf.root, keep_weights=False)
    before = files_of(shelf.run_folder(run))
    # As the job of another table, which keeps weights and has waited for this run.
    do_run(run, shelf.root, keep_weights=True)
    assert files_of(shelf.run_folder(run)) == before


def test_weights_are_made_again_beside_what_a_run_has_given(workshop):
    plan = planned(workshop, TABLE)
    run = next(iter(plan.runs.values()))
    shelf = Shelf(workshop / "results")
    do_run(run, shelf.root)
    folder = shelf.run_folder(run)
    # Predictions that another table has asked for, of posts that this one knows nothing of.
    (folder / "predictions" / "another.jsonl").write_text("{}\n")
    whole = files_of(folder)
    weights = folder / "model.safetensors"
    weights.unlink()
    without = files_of(folder)
    with pytest.raises(ConnectionError):
        do_run(run, shelf.root, weights_needed=True, progress=StopAfter(8))
    assert shelf.state(run) is State.DONE
    assert files_of(folder) == without
    said = []
    do_run(run, shelf.root, weights_needed=True, say=said.append)
    assert "Going on with the interrupted run." in said
    now = files_of(folder)
    assert now.pop(weights.relative_to(folder))[0] == whole[weights.relative_to(folder)][0]
    assert now == without
    assert [path.name for path in (shelf.root / "runs").iterdir()] == [run.folder_name]


def test_a_new_target_of_a_run_without_weights_leaves_the_other_ones_alone(workshop):
    text = TABLE.replace("seeds = [1, 2]", "seeds = [1]")
    shelf = Shelf(workshop / "results")
    (run, _) = planned(workshop, text).runs.values()
    do_run(run, shelf.root, keep_weights=False)
    before = files_of(shelf.run_folder(run))
    write_folder(Dataset("other", {"test": small_posts(5, 4)}), workshop / "other")
    wider = text.replace(
        "[data.small]", '[data.small]\nalso_score = { other = "" }\n[data.other]\nshown = false'
    )
    again = planned(workshop, wider, "wider").runs[run.key]
    do_run(again, shelf.root, keep_weights=False)
    after = files_of(shelf.run_folder(run))
    assert {path: after[path] for path in before} == before
    (new,) = again.targets.keys() - run.targets.keys()
    assert len(shelf.predictions(again, new)) == 5


def test_weights_that_a_run_of_any_table_starts_from_are_kept(workshop):
    built_on = planned(workshop, FROM)
    plan = planned(workshop, TABLE.replace("seeds = [1, 2]", "seeds = [1]"), "other")
    source, other = plan.runs.values()
    assert source.key in built_on.runs
    shelf = Shelf(workshop / "results")
    shelf.keep_plan(built_on)
    for run in (source, other):
        do_run(run, shelf.root, keep_weights=False)
    kept = [(shelf.run_folder(run) / "model.safetensors").is_file() for run in (source, other)]
    assert kept == [True, False]


def test_a_source_is_trained_again_for_who_is_to_be_trained_alone(workshop):
    plan = planned(workshop, FROM)
    source, run = plan.runs.values()
    assert run.start_from == source.key
    shelf = Shelf(workshop / "results")
    run_here(plan, shelf)
    (shelf.run_folder(source) / "model.safetensors").unlink()
    assert set(shelf.states(plan).values()) == {State.DONE}
    (target,) = run.targets
    shelf.predictions_file(run, target).unlink()
    assert shelf.states(plan) == {source.key: State.DONE, run.key: State.SCORING}
    (shelf.run_folder(run) / "model.safetensors").unlink()
    assert shelf.states(plan) == {source.key: State.BARE, run.key: State.MISSING}
    assert Estimates(plan, shelf).of(source).seconds > 0


def test_estimates_come_from_other_tables_too_and_from_the_epochs_of_an_interrupted_run(copied):
    folder, plan, shelf = copied
    longer = planned(
        folder, TABLE.replace("set = { training.epochs = 2 }", "set = { training.epochs = 8 }"), "longer"
    )
    new = next(run for key, run in longer.runs.items() if key not in plan.runs)
    # In a table of its own, whose other rows would tell.
    alone = replace(longer, runs={new.key: new}, cells=[cell for cell in longer.cells if cell.run == new.key])
    found = Estimates(alone, shelf).of(new)
    assert found.basis == "its system in other tables, measured"
    read = [
        run.posts * run.recipe.training.epochs + run.chosen_on * run.recipe.training.epochs / 3
        for run in plan.runs.values()
    ]
    took = [shelf.training_of(run)["seconds"] for run in plan.runs.values()]
    rates = [posts / seconds for posts, seconds in zip(read, took, strict=True)]
    work = 8 * (new.posts + new.chosen_on / 3)
    assert found.seconds == pytest.approx(work * sum(1 / rate for rate in rates) / len(rates))
    # Two epochs took ten seconds: six will take thirty.
    shelf.run_folder(new).mkdir(parents=True)
    record = {"status": "running", "seconds": 10.0, "curve": [{"epoch": 1.0}, {"epoch": 2.0}]}
    (shelf.run_folder(new) / "run.json").write_text(json.dumps(record))
    found = Estimates(alone, shelf).of(new)
    assert (found.seconds, found.basis) == (pytest.approx(30), "its epochs so far, measured")


def test_changed_data_are_refused_with_what_changed(copied):
    folder, plan, shelf = copied
    path = folder / "small" / "train.jsonl"
    lines = path.read_text().splitlines()
    changed = json.loads(lines[1])
    changed["entities"] = []
    path.write_text("\n".join([lines[0], json.dumps(changed), *lines[2:-1]]) + "\n")
    after = planned(folder, TABLE)
    with pytest.raises(DataError, match="small, train: 40 posts before, 39 now") as caught:
        shelf.check_data(after)
    assert f"({changed['id']})" in str(caught.value)
    assert "2 gone" in str(caught.value)
    assert "--accept-changed-data" in str(caught.value)
    shelf.check_data(after, accept=True)
    shelf.check_data(after)
    assert {shelf.state(run) for run in after.runs.values()} == {State.MISSING}
    assert {shelf.state(run) for run in plan.runs.values()} == {State.DONE}


def test_of_posts_that_are_as_many_as_before_it_is_said_which_are_others(copied):
    folder, _, shelf = copied
    path = folder / "small" / "train.jsonl"
    posts = [json.loads(line) for line in path.read_text().splitlines()]
    others = [post["id"] for post in posts if post["entities"]][1:-1]
    assert len(others) > 3
    path.write_text(
        "".join(
            json.dumps({**post, "entities": []} if post["id"] in others else post) + "\n" for post in posts
        )
    )
    with pytest.raises(DataError) as caught:
        shelf.check_data(planned(folder, TABLE))
    changes = [line[2:] for line in caught.value.what.splitlines() if line.startswith("- ")]
    assert len(changes) == 2
    assert changes[0].startswith("small: the folder was ")
    shown = ", ".join(others[:3])
    assert changes[1] == f"small, train: {len(others)} of 40 posts have other text or gold: {shown}, …"


def test_another_store_is_named_before_what_it_changes():
    before = {
        "folder": "data",
        "knowledge": "a.sqlite",
        "views": {"caption": {"train": {"1": "x", "2": "y"}}},
    }
    now = {"folder": "data", "knowledge": None, "views": {"caption": {"train": {"1": "z", "2": "w"}}}}
    assert what_changed("small", before, now) == [
        "small: the knowledge store was a.sqlite before, and is none now",
        "small, train: 2 of 2 posts have other text, pictures or knowledge (caption): 1, 2",
    ]
    assert what_changed("small", before, {**now, "views": before["views"]}) == []


def test_data_that_change_while_a_table_runs_are_noticed(workshop):
    plan = planned(workshop, TABLE)
    run = next(iter(plan.runs.values()))
    path = workshop / "small" / "valid.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match="valid posts of small have changed"):
        do_run(run, workshop / "results")


def test_a_picture_of_another_size_is_a_change(workshop):
    from mner.data import read_folder, write_folder
    from tests.contract.tiny import tiny_picture

    (workshop / "picture.png").write_bytes(tiny_picture(1))
    data = read_folder(workshop / "small")
    splits = {
        split: [post.with_fields(image=workshop / "picture.png") for post in posts]
        for split, posts in data.splits.items()
    }
    write_folder(Dataset("small", splits), workshop / "small", overwrite=True)
    (workshop / "mmavk.toml").write_text('[model]\nname = "mmavk"\n')
    text = TABLE + '[[rows]]\nname = "three"\nrecipe = "mmavk.toml"\n'
    shelf = Shelf(workshop / "results")
    shelf.check_data(planned(workshop, text))
    (workshop / "picture.png").write_bytes(tiny_picture(1) + b"x")
    with pytest.raises(DataError, match=r"pictures or knowledge \(caption"):
        shelf.check_data(planned(workshop, text))


def test_the_second_process_on_a_table_is_refused_until_the_first_one_is_gone(tmp_path):
    shelf = Shelf(tmp_path)
    (tmp_path / "tables").mkdir()
    hold = "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    lock = tmp_path / "tables" / "table.lock"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match="Another process runs this table"), shelf.working_on("table"):
            pass
        with shelf.working_on("another table"):
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with shelf.working_on("table"):
            pass


def test_half_a_file_is_no_file(copied):
    _, plan, shelf = copied
    run = next(iter(plan.runs.values()))
    record = shelf.run_folder(run) / "run.json"
    record.write_text(record.read_text()[:100])
    assert shelf.state(run) is not State.DONE


def test_a_full_disk_is_recognised_however_it_is_said():
    assert is_disk_full(OSError(28, "No space left on device"))
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    wrapped = DataError("cannot be written")
    wrapped.__cause__ = OSError(28, "No space left on device")
    assert is_disk_full(wrapped)
    assert not is_disk_full(OSError(13, "Permission denied"))
    with pytest.raises(RuntimeError) as found:
        torch.save(torch.zeros(300_000), "/dev/full")
    assert is_disk_full(found.value)


def test_a_damaged_checkpoint_is_no_full_disk(tmp_path):
    torch.save(torch.zeros(300_000), tmp_path / "optimizer.pt")
    whole = (tmp_path / "optimizer.pt").read_bytes()
    (tmp_path / "optimizer.pt").write_bytes(whole[:1000])
    with pytest.raises(RuntimeError) as found:
        torch.load(tmp_path / "optimizer.pt")
    assert not is_disk_full(found.value)


_FULL = """
import shutil, sys
from pathlib import Path
from mner.experiments.shelf import DiskFullError, write_document
root = Path(sys.argv[1])
write_document(root / "first.json", {"a": 1})
try:
    write_document(root / "second.json", ["x" * 100] * 3000)
except DiskFullError as error:
    print(error)
assert sorted(path.name for path in root.iterdir()) == ["first.json"], list(root.iterdir())
"""


def test_a_really_full_disk_leaves_whole_files_alone(tmp_path):
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    ):
        pytest.skip("a small disk of its own needs `unshare`, which is not allowed here")
    command = (
        f'mount -t tmpfs -o size=64k none "{tmp_path}" && exec "{sys.executable}" -c "$SCRIPT" "{tmp_path}"'
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        env={**os.environ, "SCRIPT": _FULL},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "There is no room left for" in done.stdout
    assert "second.json" in done.stdout


def shown(shelf, whole, **part):
    """What a report of a part of a table shows: for each row and seed the run."""
    kept = shelf.kept_plan(only(whole, **part), whole)
    return None if kept is None else {(cell.row, cell.seed): cell.run for cell in kept.cells}


def with_a_post_less(workshop):
    """Change the data."""
    path = workshop / "small" / "train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def kept_of(workshop, shelf, **part):
    """Keep the plan of a part of the table as the data are now; the run of each row and seed."""
    whole = planned(workshop, TABLE).file
    file = only(whole, **part)
    plan = make_plan(file, places(file, {}, {}))
    shelf.keep_plan(plan, whole)
    return {(cell.row, cell.seed): cell.run for cell in plan.cells}


def test_what_was_run_last_is_reported_of_a_table_and_of_its_parts(workshop):
    shelf = Shelf(workshop / "results")
    whole = planned(workshop, TABLE).file
    old = kept_of(workshop, shelf)
    with_a_post_less(workshop)
    new = kept_of(workshop, shelf, rows=["two"])
    assert set(new) == {("two", 1), ("two", 2)}
    assert not set(new.values()) & set(old.values())
    assert shown(shelf, whole) == {**old, **new}
    assert shown(shelf, whole, rows=["two"], seeds=[2]) == {("two", 2): new["two", 2]}
    # The other way round: the whole table after the part.
    with_a_post_less(workshop)
    newest = kept_of(workshop, shelf)
    assert not set(newest.values()) & {*old.values(), *new.values()}
    assert shown(shelf, whole) == newest
    assert shown(shelf, whole, rows=["two"]) == {place: newest[place] for place in (("two", 1), ("two", 2))}


def test_parts_of_a_table_that_were_run_one_by_one_are_the_table(workshop):
    shelf = Shelf(workshop / "results")
    whole = planned(workshop, TABLE).file
    two = kept_of(workshop, shelf, rows=["two"])
    assert shown(shelf, whole) is None
    assert shown(shelf, whole, rows=["one"]) is None
    assert shown(shelf, whole, rows=["two"]) == two
    # A part of a part, on other data, comes in its place.
    with_a_post_less(workshop)
    again = kept_of(workshop, shelf, rows=["two"], seeds=[1])
    assert shown(shelf, whole, rows=["two"]) == {**two, **again}
    one = kept_of(workshop, shelf, rows=["one"])
    assert shown(shelf, whole) == {**one, **two, **again}


def test_a_part_that_was_kept_on_its_own_counts_until_the_table_is_run_again(workshop):
    # As shelves have it whose parts were run when they did not yet join the table.
    shelf = Shelf(workshop / "results")
    whole = planned(workshop, TABLE).file
    kept_of(workshop, shelf)
    with_a_post_less(workshop)
    file = only(whole, ["two"])
    part = make_plan(file, places(file, {}, {}))
    shelf.keep_plan(part)
    (alone,) = set((shelf.root / "tables").iterdir()) - {shelf.root / "tables" / f"{plan_name(whole)}.json"}
    later = (shelf.root / "tables" / f"{plan_name(whole)}.json").stat().st_mtime_ns + 10**9
    os.utime(alone, ns=(later, later))
    assert shown(shelf, whole, rows=["two"]) == {(c.row, c.seed): c.run for c in part.cells}
    os.utime(alone, ns=(0, 0))
    newest = kept_of(workshop, shelf)
    assert shown(shelf, whole, rows=["two"]) == {place: newest[place] for place in (("two", 1), ("two", 2))}


def test_a_run_that_others_start_from_stays_with_what_is_kept(workshop):
    text = TABLE + 'pretrain = { data = "small" }\n'
    whole = planned(workshop, text)
    shelf = Shelf(workshop / "results")
    shelf.keep_plan(whole)
    file = only(whole.file, ["two"], seeds=[2])
    shelf.keep_plan(make_plan(file, places(file, {}, {})), whole.file)
    kept = shelf.kept_plan(whole.file, whole.file)
    assert kept.cells == whole.cells
    assert kept.runs == whole.runs
