"""One run of an experiment, in a process of its own: trained or gone on with, then scored where it is not."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout
from transformers.trainer import TRAINER_STATE_NAME

from mner.data import Dataset
from mner.errors import DataError
from mner.experiments.material import Material, digest, print_of
from mner.experiments.plans import RunPlan, Target
from mner.experiments.shelf import (
    RECORD_FILE,
    Shelf,
    State,
    is_disk_full,
    now,
    write_document,
)
from mner.posts import Post
from mner.progress import Advance, Reporter, silent
from mner.recognizer import WEIGHTS_FILE, Recognizer
from mner.training.run import (
    CHECKPOINTS,
    TRAINING,
    Say,
    git_says,
    is_interrupted,
    machine,
    train,
    unsaid,
    versions,
)


def do_run(
    run: RunPlan,
    output: Path,
    *,
    start_from: RunPlan | None = None,
    keep_weights: bool = True,
    weights_needed: bool = False,
    progress: Reporter = silent,
    say: Say = unsaid,
) -> None:
    """Train a run unless it is trained, and predict for all its targets that have no predictions.

    A run that is trained may have lost its weights. It is trained again, to the same bits, where there is
    something to predict or its weights are needed; what it has given already stays where it is.

    Args:
        run: The run.
        output: The folder of all results.
        start_from: The run whose weights it starts from, which is trained.
        keep_weights: Whether its weights are kept once all is predicted; they are where a run of any table on
            the shelf starts from it.
        weights_needed: Whether another run is going to start from its weights.
        progress: Told of every step and post.
        say: Told what happens.

    Raises:
        DataError: The posts are not those of the plan any more.
        MnerError: Training failed in a way that a user can put right.
    """
    shelf = Shelf(output)
    lock = shelf.lock_of(run)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("Another process is at this very run; waiting for it.")
        lock.acquire()
    try:
        shelf.failure_file(run).unlink(missing_ok=True)
        bare = weights_needed and not shelf.is_trained(run, with_weights=True)
        if bare or shelf.state(run) is not State.DONE:
            _do(run, shelf, start_from, progress, say)
        if not (keep_weights or weights_needed or shelf.is_started_from(run)):
            (shelf.run_folder(run) / WEIGHTS_FILE).unlink(missing_ok=True)
    finally:
        lock.release()


def _do(run: RunPlan, shelf: Shelf, start_from: RunPlan | None, progress: Reporter, say: Say) -> None:
    materials = _Materials()
    recognizer = None
    if not shelf.is_trained(run, with_weights=True):
        recognizer = _train(run, shelf, start_from, materials, progress, say)
    lacking = shelf.lacking(run)
    if lacking:
        recognizer = recognizer or Recognizer.from_pretrained(shelf.run_folder(run))
        for key in lacking:
            _predict(run, run.targets[key], recognizer, shelf, materials, progress)


def code_version() -> str:
    """The package's version; in a checkout with its commit, and whether the code differs from that."""
    found = versions()
    if "commit" not in found:
        return found["mner"]
    text = f"{found['mner']} {found['commit']}"
    changed = git_says("status", "--porcelain", "--untracked-files=no", "--", ".")
    if changed is None:
        return f"{text}, perhaps with changes: git did not say"
    return f"{text} with changes" if changed else text


class _Materials:
    """The data sets of a run, each read once."""

    def __init__(self) -> None:
        self._read: dict[str, Material] = {}

    def of(self, place: Any) -> Material:
        if place.name not in self._read:
            self._read[place.name] = Material.read(place)
        return self._read[place.name]


def _train(
    run: RunPlan,
    shelf: Shelf,
    start_from: RunPlan | None,
    materials: _Materials,
    progress: Reporter,
    say: Say,
) -> Recognizer:
    material = materials.of(run.place)
    posts = {role: material.posts(role, run.kinds, run.whose) for role in ("train", "valid")}
    train_posts = material.sampled(posts["train"], run.sample, run.sampling_seed, run.recipe.data.convention)
    # What the plan saw are the posts as they stand in the files; whose pictures they have comes after.
    own = {role: material.posts(role, run.kinds) for role in ("train", "valid")}
    own["train"] = material.sampled(own["train"], run.sample, run.sampling_seed, run.recipe.data.convention)
    for role, seen in own.items():
        if _print(seen, run) != run.prints[role]:
            raise _changed(run.place.name, role)
    place = run.place
    # Who chooses on the training posts chooses on all of them, whatever part is trained on.
    chosen_on = place.valid if place.valid != place.train else f"all of {place.valid}"
    dataset = Dataset(place.name, {place.train: train_posts, chosen_on: posts["valid"]})
    splits = run.recipe.data.model_copy(update={"valid": chosen_on})
    recipe = run.recipe.model_copy(update={"data": splits})
    # A finished run lacks its weights alone; while they are made again beside it, reports can show it.
    finished = shelf.run_folder(run) if shelf.is_trained(run) else None
    folder = shelf.run_folder(run) if finished is None else finished.with_name(f"{finished.name}.again")
    source = None if start_from is None else shelf.run_folder(start_from)
    trained_on = digest(print_of(post, False) for post in train_posts)[:16]
    # Reports show the posts as they are, whatever this row was given in place of their pictures.
    plain = material.dataset.split(place.train)
    shelf.write_posts(
        trained_on, material.sampled(plain, run.sample, run.sampling_seed, run.recipe.data.convention)
    )
    record = {**run.as_dict(), "trained_on": trained_on, "code": code_version(), "begun": now()}
    interrupted = is_interrupted(folder)
    record["resumed"] = shelf.record_of(run).get("resumed", 0) + interrupted
    write_document(folder / RECORD_FILE, record)

    def training(*, resume: bool) -> Recognizer:
        steps.advances, steps.ended = 0, False
        return train(
            recipe,
            folder,
            dataset=dataset,
            start_from=source,
            resume=resume,
            overwrite=not resume,
            progress=steps,
            say=say,
        ).recognizer

    steps = _Steps(progress)
    if not interrupted:
        found = training(resume=False)
    else:
        _drop_halves(folder / CHECKPOINTS)
        say("Going on with the interrupted run.")
        try:
            found = training(resume=True)
        except Exception as error:
            # The first advance tells of the steps of old. After new ones, or where none was left, it is not
            # what the interruption left behind that is wrong, and on a full disk nothing is: the checkpoints
            # are good for another time.
            if steps.advances > 1 or steps.ended or is_disk_full(error):
                raise
            say(f"The interrupted run cannot be gone on with ({error}); starting from its beginning.")
            found = _anew(folder, lambda: training(resume=False), steps)
    # Starting anew clears the folder, this file with it.
    write_document(folder / RECORD_FILE, record)
    shutil.rmtree(_aside(folder), ignore_errors=True)
    if finished is not None:
        _fill_up(finished, folder)
    return found


def _fill_up(finished: Path, again: Path) -> None:
    """Move what a finished run's folder lacks to it, from that of the same run trained again."""
    for path in again.iterdir():
        if not (finished / path.name).exists():
            path.rename(finished / path.name)
    shutil.rmtree(again)


class _Steps:
    """Passes on how far a training is, counts what it was told, and notes whether it came to its last step.

    Args:
        progress: Told of everything.
    """

    def __init__(self, progress: Reporter) -> None:
        self._progress = progress
        self.advances = 0
        self.ended = False

    @contextmanager
    def __call__(self, description: str, total: int | None = None, /) -> Iterator[Advance]:
        """See `mner.progress.Reporter`."""
        with self._progress(description, total) as advance:

            def counted(count: int = 1, /, **notes: object) -> None:
                self.advances += description == TRAINING
                advance(count, **notes)

            yield counted
        self.ended = self.ended or description == TRAINING


def _anew(folder: Path, training: Callable[[], Recognizer], steps: _Steps) -> Recognizer:
    """Train from the beginning; an interrupted run is put back if not even a first step can be made.

    After a first step there is something new to go on with, and what could not be gone on with is dropped.
    """
    aside = _aside(folder)
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    try:
        return training()
    except Exception:
        if steps.advances:
            shutil.rmtree(aside, ignore_errors=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        raise


def _aside(folder: Path) -> Path:
    """Where an interrupted run is put while it is trained from the beginning."""
    return folder.with_name(f"{folder.name}.interrupted")


def _predict(
    run: RunPlan,
    target: Target,
    recognizer: Recognizer,
    shelf: Shelf,
    materials: _Materials,
    progress: Reporter,
) -> None:
    material = materials.of(target.place)
    seen = [print_of(post, target.kinds is not None) for post in material.posts("test", target.kinds)]
    if digest([target.whose, *seen])[:16] != target.key:
        raise _changed(target.place.name, "test")
    posts = [
        recognizer.knowledge.without_placeholders(post)
        for post in material.posts("test", target.kinds, target.whose)
    ]
    bare = next((post for post in posts if not post.is_annotated), None)
    if bare is not None:
        raise DataError(
            f"The data set {target.place.name} has a test post without gold: {bare.id or bare.text}."
        )
    started = time.monotonic()
    predicted = recognizer.predict(posts, progress=progress)
    seconds = round(time.monotonic() - started, 1)
    shelf.write_posts(target.gold, material.dataset.split(target.place.test))
    shelf.write_predictions(run, target.key, posts, predicted)
    write_document(
        shelf.predictions_file(run, target.key).with_suffix(".json"),
        {
            "data": target.place.as_dict(),
            "whose": target.whose,
            "gold": target.gold,
            "posts": len(posts),
            "seconds": seconds,
            "written": now(),
            "code": code_version(),
            "versions": versions(),
            "machine": machine(),
            "pictures": recognizer.picture_summary,
        },
    )


def _print(posts: list[Post], run: RunPlan) -> str:
    return digest([print_of(post, run.kinds is not None) for post in posts])


def _changed(name: str, role: str) -> DataError:
    return DataError(
        f"The {role} posts of {name} have changed since the table was started.",
        hint="Run the table again: it says what has changed.",
    )


def _drop_halves(checkpoints: Path) -> None:
    """Remove checkpoints that were not written to their end; the trainer writes its state last."""
    for checkpoint in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)


Send = Callable[[Mapping[str, Any]], None]


class SendingReporter:
    """Tells another process how far the work is.

    Args:
        send: Takes one message.
    """

    _SECONDS = 0.3

    def __init__(self, send: Send) -> None:
        self._send = send

    def __call__(self, description: str, total: int | None = None, /) -> _Sending:
        """See `mner.progress.Reporter`."""
        return _Sending(self._send, description, total, self._SECONDS)


class _Sending:
    def __init__(self, send: Send, description: str, total: int | None, seconds: float) -> None:
        self._send, self._description, self._total, self._seconds = send, description, total, seconds
        self._done = 0
        self._sent = 0.0

    def __enter__(self) -> _Sending:
        self._tell()
        return self

    def __exit__(self, *problem: object) -> None:
        self._tell()

    def __call__(self, count: int = 1, /, **notes: object) -> None:
        del notes
        self._done += count
        if time.monotonic() - self._sent > self._seconds:
            self._tell()

    def _tell(self) -> None:
        self._sent = time.monotonic()
        self._send({"event": "progress", "what": self._description, "done": self._done, "total": self._total})
