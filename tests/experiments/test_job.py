"""Runs of experiments: whose picture a post has, what a run starts from, what it is scored on."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mner import __version__
from mner.data import read_folder, write_folder
from mner.data.dataset import Dataset
from mner.errors import MnerError
from mner.evaluation.probe_swapping import swapped, without_picture
from mner.experiments.job import code_version, do_run
from mner.experiments.reports import describe
from mner.experiments.results import collect
from mner.experiments.shelf import Shelf
from mner.posts import Post
from mner.recognizer import Recognizer
from mner.training.recipe import check_recipe
from tests.experiments.conftest import StopAfter, planned, run_here
from tests.training.conftest import backbone  # noqa: F401 (a fixture)

TABLE = """
title = "Whose"
[data.small]
also_score = { other = "" }
[data.other]
shown = false
[[rows]]
name = "own"
recipe = "mmavk.toml"
[[rows]]
name = "another's when tested"
recipe = "mmavk.toml"
whose_tested = "another"
[[rows]]
name = "none"
recipe = "mmavk.toml"
whose = "none"
"""


def test_posts_have_the_knowledge_that_the_row_says(workshop, backbone):
    (workshop / "mmavk.toml").write_text(
        f'[model]\nname = "mmavk"\nbackbone = "{backbone}"\n[training]\nepochs = 2\nlearning_rate = 5e-3\n'
        'precision = "float32"\n'
    )
    data = read_folder(workshop / "small")
    words = ("reads", "opens", "left", "today", "here")
    splits = {
        split: [post.with_fields(alt=f"{words[n % 5]} {words[n // 5 % 5]}") for n, post in enumerate(posts)]
        for split, posts in data.splits.items()
    }
    write_folder(Dataset("small", splits), workshop / "small", overwrite=True)
    write_folder(Dataset("other", {"test": splits["train"][:7]}), workshop / "other")
    plan = planned(workshop, TABLE)
    shelf = Shelf(workshop / "results")
    own, tested, none = plan.cells
    assert own.run == tested.run != none.run
    assert len(run_here(plan, shelf)) == 2
    run = plan.runs[own.run]
    test = read_folder(workshop / "small").split("test")
    recognizer = Recognizer.from_pretrained(shelf.run_folder(run))
    for cell, posts in ((own, test), (tested, swapped(test))):
        assert shelf.predictions(run, dict(cell.targets)["small"]) == recognizer.predict(posts)
    scores = [
        [
            entity.score
            for entities in shelf.predictions(run, dict(cell.targets)["small"])
            for entity in entities
        ]
        for cell in (own, tested)
    ]
    assert scores[0] != scores[1]
    assert len(shelf.predictions(run, dict(own.targets)["other"])) == 7
    without = plan.runs[none.run]
    again = Recognizer.from_pretrained(shelf.run_folder(without))
    plain = [without_picture(post) for post in test]
    assert shelf.predictions(without, dict(none.targets)["small"]) == again.predict(plain)
    # Nobody told this run anything, in training neither.
    record = json.loads((shelf.run_folder(without) / "run.json").read_text())
    assert set(map(str, record["knowledge"]["coverage"].values())) == {"{}"}
    facts = dict(describe(collect(plan, shelf)).facts)
    assert facts["knowledge of small"] == (
        "alt for 100 % of the training posts; none for 1 of the runs, though their systems read knowledge"
    )


def test_reports_show_each_post_with_its_own_picture(workshop, backbone):
    (workshop / "mmavk.toml").write_text(
        f'[model]\nname = "mmavk"\nbackbone = "{backbone}"\n[training]\nepochs = 1\nprecision = "float32"\n'
    )
    data = read_folder(workshop / "small")
    pictures = [workshop / f"{n}.png" for n in range(3)]
    for n, path in enumerate(pictures):
        Image.new("RGB", (8, 8), (80 * n, 0, 0)).save(path)
    splits = {
        split: [post.with_fields(image=pictures[n % 3], alt=f"{n}") for n, post in enumerate(posts)]
        for split, posts in data.splits.items()
    }
    write_folder(Dataset("small", splits), workshop / "small", overwrite=True)
    # Whatever came first wrote the posts: a system that reads the text alone, one that is given others' pictures.
    text = 'title = "Whose"\n[data.small]\n'
    text += '[[rows]]\nname = "text"\nrecipe = "recipe.toml"\nset = { training.epochs = 1 }\n'
    text += '[[rows]]\nname = "another"\nrecipe = "mmavk.toml"\nwhose = "another"\n'
    plan = planned(workshop, text)
    shelf = Shelf(workshop / "results")
    run_here(plan, shelf)
    for cell in plan.cells:
        run = plan.runs[cell.run]
        tested = shelf.posts(run.targets[dict(cell.targets)["small"]].gold)
        trained = shelf.posts(shelf.record_of(run)["trained_on"])
        for kept, posts in ((tested, splits["test"]), (trained, splits["train"])):
            assert [Path(post.image).name for post in kept] == [post.image.name for post in posts]


def test_posts_that_come_to_have_pictures_are_kept_with_them(tmp_path):
    shelf = Shelf(tmp_path)
    bare = [Post.from_text("one", entities=()), Post.from_text("two", entities=())]
    shelf.write_posts("gold", bare)
    assert [post.image for post in shelf.posts("gold")] == [None, None]
    path = tmp_path / "1.png"
    shelf.write_posts("gold", [bare[0], bare[1].with_fields(image=path)])
    assert [post.image for post in shelf.posts("gold")] == [None, str(path.resolve())]
    shelf.write_posts("gold", bare)
    assert [post.image for post in shelf.posts("gold")] == [None, str(path.resolve())]


def test_choosing_on_the_training_posts_trains_on_the_sample_alone(workshop):
    text = 'title = "x"\n[data.small]\nvalid = "train"\nsample = { posts = 7 }\n[[rows]]\nname = "row"\n'
    plan = planned(workshop, text + 'recipe = "recipe.toml"\nset = { training.epochs = 1 }\n')
    (run,) = plan.runs.values()
    said = []
    do_run(run, workshop / "results", say=said.append)
    assert "7 posts to train on, 40 to choose on" in " ".join(said)


def test_a_run_starts_from_the_weights_of_another(workshop):
    text = """
title = "From"
[data.small]
[[rows]]
name = "row"
recipe = "recipe.toml"
pretrain = { data = "small", set = { training.epochs = 1 } }
"""
    plan = planned(workshop, text)
    shelf = Shelf(workshop / "results")
    source, run = plan.runs.values()
    assert run_here(plan, shelf) == [source.key, run.key]
    record = shelf.training_of(run)
    assert record["start_from"] == str(shelf.run_folder(source))
    assert record["tensors_taken_over"] > 0
    assert not (shelf.run_folder(source) / "predictions").exists()


LONG = 'title = "x"\n[data.small]\n[[rows]]\nname = "row"\nrecipe = "recipe.toml"\nset = { training.epochs = 4 }\n'


def interrupted(workshop):
    """A run that was broken off in its third epoch of five steps, and the shelf it lies on."""
    plan = planned(workshop, LONG)
    shelf = Shelf(workshop / "results")
    (run,) = plan.runs.values()
    with pytest.raises(ConnectionError):
        do_run(run, shelf.root, progress=StopAfter(12))
    return run, shelf


def checkpoints(run, shelf):
    return sorted(path.name for path in (shelf.run_folder(run) / "checkpoints").iterdir())


def test_what_goes_wrong_after_new_steps_leaves_the_checkpoints_alone(workshop):
    run, shelf = interrupted(workshop)
    said = []
    before = checkpoints(run, shelf)
    with pytest.raises(ConnectionError):
        do_run(run, shelf.root, progress=StopAfter(13), say=said.append)
    assert checkpoints(run, shelf) == before
    assert not any("from its beginning" in message for message in said)
    do_run(run, shelf.root)
    whole = Shelf(workshop / "whole")
    do_run(run, whole.root)
    (target,) = run.targets
    assert shelf.predictions(run, target) == whole.predictions(run, target)


def test_damaged_checkpoints_are_not_gone_on_with(workshop):
    run, shelf = interrupted(workshop)
    for path in shelf.run_folder(run).rglob("checkpoint-*/*.safetensors"):
        path.write_bytes(b"half of it")
    said = []
    do_run(run, shelf.root, say=said.append)
    assert any("from its beginning" in message for message in said)
    assert shelf.is_trained(run)
    assert [path.name for path in (shelf.root / "runs").iterdir()] == [run.folder_name]


def test_what_goes_wrong_after_the_last_step_leaves_the_checkpoints_alone(workshop):
    plan = planned(workshop, LONG)
    shelf = Shelf(workshop / "results")
    (run,) = plan.runs.values()
    in_the_way = shelf.run_folder(run) / "model.safetensors"

    @contextmanager
    def blocking(*about):
        del about

        def advance(count=1, **notes):
            del count, notes
            in_the_way.mkdir(exist_ok=True)

        yield advance

    with pytest.raises(Exception, match="directory"):
        do_run(run, shelf.root, progress=blocking)
    before = checkpoints(run, shelf)
    assert before
    said = []
    with pytest.raises(Exception, match="directory"):
        do_run(run, shelf.root, say=said.append)
    assert checkpoints(run, shelf) == before
    assert not any("from its beginning" in message for message in said)
    assert [path.name for path in (shelf.root / "runs").iterdir()] == [run.folder_name]
    in_the_way.rmdir()
    said.clear()
    do_run(run, shelf.root, say=said.append)
    # All epochs were trained before; none is trained again.
    assert not any(message.startswith("Epoch") for message in said)
    whole = Shelf(workshop / "whole")
    do_run(run, whole.root)
    (target,) = run.targets
    assert shelf.predictions(run, target) == whole.predictions(run, target)


def test_a_new_beginning_that_fails_after_some_steps_is_what_is_gone_on_with(workshop):
    run, shelf = interrupted(workshop)
    for path in shelf.run_folder(run).rglob("checkpoint-*/*.safetensors"):
        path.write_bytes(b"half of it")
    with pytest.raises(ConnectionError):
        do_run(run, shelf.root, progress=StopAfter(7))
    assert [path.name for path in (shelf.root / "runs").iterdir()] == [run.folder_name]
    assert checkpoints(run, shelf) == ["checkpoint-5"]


def test_an_interrupted_run_is_kept_where_no_training_can_begin(workshop):
    run, shelf = interrupted(workshop)
    before = checkpoints(run, shelf)
    # No model can be built any more, with checkpoints or without.
    elsewhere = replace(run, recipe=check_recipe({"model": {"name": "mmavk", "backbone": str(workshop)}}))
    elsewhere.key = run.key
    shelf.run_folder(run).rename(shelf.run_folder(elsewhere))
    with pytest.raises(MnerError):
        do_run(elsewhere, shelf.root)
    assert checkpoints(elsewhere, shelf) == before


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("exit 0", ""),
        ("echo ' M a.py'", " with changes"),
        ("exit 1", ", perhaps with changes: git did not say"),
    ],
)
def test_the_version_of_the_code_says_what_git_says_of_it(status, told, tmp_path, monkeypatch):
    git = tmp_path / "git"
    git.write_text(f'#!/bin/sh\ncase "$3" in rev-parse) echo abc;; *) {status};; esac\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == f"{__version__} abc{told}"
    git.unlink()
    assert code_version() == __version__
