"""The folder that keeps what experiments gave: runs, their predictions, the posts these are of.

```
runs/MODEL-KEY/             a run folder that predicts alone, with experiment.json and predictions/
runs/MODEL-KEY.again/       the same run trained again, for its weights, until these are there
runs/MODEL-KEY.interrupted/ what cannot be gone on with, while the run is trained from its beginning
given/predictions-KEY/      predictions that were made elsewhere, as those of a run
posts/KEY.jsonl             text and gold of posts that were scored or trained on
logs/KEY.txt                what the process of a run wrote
failures/KEY.json           the error of a run that failed
data/NAME-KEY.json          prints of a data set's posts when it was first used
tables/NAME-KEY.json        the cells of a table that was run
tables/NAME.lock, locks/    who is at work
```

A report needs nothing else: neither data nor models. Every file is there whole or not at all, except logs.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mner.data.files import writing
from mner.errors import DataError, MnerError, RunFolderError, UsageError
from mner.experiments.material import state_of, what_changed
from mner.experiments.plans import (
    GivenPlan,
    Plan,
    Predicting,
    RunPlan,
    joined,
    part_of,
    plan_as_dict,
    plan_from_dict,
    plan_name,
)
from mner.experiments.tables import TableFile
from mner.posts import Entity, Post
from mner.recognizer import SETTINGS_FILE, WEIGHTS_FILE, read_json
from mner.tags import Convention

RECORD_FILE = "experiment.json"
TRAINING_FILE = "run.json"


class DiskFullError(MnerError):
    """There is no room left where results are written."""


class State(StrEnum):
    """How far a run is."""

    DONE = "done"
    SCORING = "to be scored"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    MISSING = "to be run"
    BARE = "to be trained again for its weights"
    UNREAD = "predictions to be read"

    @property
    def trains(self) -> bool:
        """Whether a run in this state has to be trained, or its training gone on with."""
        return self not in (State.DONE, State.SCORING)


@dataclass(frozen=True)
class KeptPost:
    """A post as reports need it.

    Args:
        id: Its name, empty where it has none.
        text: Its text.
        offsets: For each word where it stands in the text.
        image: The path of its picture, or None.
        gold: Its entities under each convention.
    """

    id: str
    text: str
    offsets: tuple[tuple[int, int], ...]
    image: str | None
    gold: Mapping[str, tuple[Entity, ...]]

    def as_post(self, entities: Sequence[Entity]) -> Post:
        """A post with the given entities as its gold, such as those that were predicted."""
        words = tuple(self.text[start:end] for start, end in self.offsets)
        image = None if self.image is None else Path(self.image)
        return Post(
            text=self.text,
            words=words,
            offsets=self.offsets,
            id=self.id,
            image=image,
            entities=tuple(entities),
        )


@dataclass(frozen=True)
class Shelf:
    """The folder.

    Args:
        root: Where it is.
    """

    root: Path

    def run_folder(self, run: Predicting) -> Path:
        """Where a run lies, or predictions that were made elsewhere."""
        return self.root / ("given" if isinstance(run, GivenPlan) else "runs") / run.folder_name

    def predictions_file(self, run: Predicting, target: str, convention: str | None = None) -> Path:
        """Where a run's predictions for a set of posts lie; see `write_predictions`."""
        name = target if convention is None else f"{target}.{convention}"
        return self.run_folder(run) / "predictions" / f"{name}.jsonl"

    def posts_file(self, gold: str) -> Path:
        """Where the posts of that hash lie."""
        return self.root / "posts" / f"{gold}.jsonl"

    def log_file(self, run: RunPlan) -> Path:
        """Where the process of a run writes."""
        return self.root / "logs" / f"{run.folder_name}.txt"

    def failure_file(self, run: RunPlan) -> Path:
        """Where the error of a run lies."""
        return self.root / "failures" / f"{run.folder_name}.json"

    def is_trained(self, run: RunPlan, *, with_weights: bool = False) -> bool:
        """Whether a run has been trained to its end.

        Args:
            run: The run.
            with_weights: Only if its weights have been kept.
        """
        folder = self.run_folder(run)
        if not (folder / SETTINGS_FILE).is_file() or (with_weights and not (folder / WEIGHTS_FILE).is_file()):
            return False
        return bool(self.training_of(run).get("status") == "finished")

    def training_of(self, run: Predicting) -> dict[str, Any]:
        """What the trainer recorded of a run; nothing where there is no record, or half of one."""
        return _read(self.run_folder(run) / TRAINING_FILE)

    def finished_besides(self, plan: Plan) -> Iterator[tuple[RunPlan, float]]:
        """Runs that other tables left here, with the seconds that their training took.

        Args:
            plan: The plan whose own runs are left out.
        """
        names = {field.name for field in fields(RunPlan)}
        for path in sorted(self.root.glob(f"runs/*/{RECORD_FILE}")):
            record = _read(path)
            if record.get("key") in plan.runs:
                continue
            try:
                run = RunPlan.from_dict({name: record[name] for name in names})
            except (KeyError, TypeError, MnerError):
                # Of an earlier version, perhaps.
                continue
            seconds = self.training_of(run).get("seconds")
            if seconds and self.is_trained(run):
                yield run, seconds

    def record_of(self, run: Predicting) -> dict[str, Any]:
        """What is known about a run besides."""
        return _read(self.run_folder(run) / RECORD_FILE)

    def failure_of(self, run: RunPlan) -> dict[str, Any]:
        """The error of a run that failed; nothing where it did not."""
        return _read(self.failure_file(run))

    def lacking(self, run: Predicting) -> list[str]:
        """The keys of the posts for which there are no predictions."""
        return [key for key in run.targets if not self.has_predictions(run, key)]

    def has_predictions(self, run: Predicting, target: str) -> bool:
        """Whether there are predictions, and the posts they are of."""
        gold = run.targets[target].gold
        return self.predictions_file(run, target).is_file() and self.posts_file(gold).is_file()

    def state(self, run: RunPlan) -> State:
        """How far a run is."""
        if self.is_trained(run):
            lacking = self.lacking(run)
            if not lacking:
                return State.DONE
            return State.SCORING if self.is_trained(run, with_weights=True) else State.MISSING
        if self.failure_of(run):
            return State.FAILED
        if (self.run_folder(run) / TRAINING_FILE).is_file():
            return State.INTERRUPTED
        return State.MISSING

    def states(self, plan: Plan) -> dict[str, State]:
        """How far each run of a plan is, by key; `BARE` is what has lost weights that others start from."""
        found: dict[str, State] = {}
        needed: set[str | None] = set()
        # A run comes after the one that it starts from.
        for key, run in reversed(plan.runs.items()):
            state = self.state(run)
            if state is State.DONE and key in needed and not self.is_trained(run, with_weights=True):
                state = State.BARE
            if state.trains:
                needed.add(run.start_from)
            found[key] = state
        return {key: found[key] for key in plan.runs}

    def is_started_from(self, run: RunPlan) -> bool:
        """Whether a table that was run here has a run that starts from this one."""
        documents = (_read(path) for path in (self.root / "tables").glob("*.json"))
        return any(
            other["start_from"] == run.key for document in documents for other in document.get("runs", ())
        )

    def write_predictions(
        self,
        run: Predicting,
        target: str,
        posts: Sequence[Post],
        predicted: Sequence[Sequence[Entity]],
        convention: str | None = None,
    ) -> None:
        """Keep predictions, one post a line as `mner predict` writes them.

        Args:
            run: Whose they are.
            target: The key of the posts.
            posts: The posts.
            predicted: For each the entities.
            convention: Under which other convention for stray tags than the data set's own these are
                predicted, where that makes a difference.
        """
        lines = (
            {
                **({"id": post.id} if post.id else {}),
                "text": post.text,
                "entities": [entity.as_dict() for entity in found],
            }
            for post, found in zip(posts, predicted, strict=True)
        )
        _write_lines(self.predictions_file(run, target, convention), lines)

    def predictions(self, run: Predicting, target: str, convention: str | None = None) -> list[list[Entity]]:
        """For each post the entities that a run predicted.

        Args:
            run: Whose they are.
            target: The key of the posts.
            convention: As `write_predictions` was given it.

        Raises:
            RunFolderError: The file is damaged.
        """
        path = self.predictions_file(run, target, convention)
        return [[Entity(**entity) for entity in line["entities"]] for line in _lines(path)]

    def write_posts(self, gold: str, posts: Sequence[Post]) -> None:
        """Keep posts with their gold and the paths of their pictures, unless they are kept already.

        Posts that were kept without pictures are kept anew when they have come to have some.
        """
        path = self.posts_file(gold)
        pictured = any(post.image is not None for post in posts)
        if not path.is_file() or (pictured and all(kept.image is None for kept in self.posts(gold))):
            _write_lines(path, (_kept(post) for post in posts))

    def posts(self, gold: str) -> tuple[KeptPost, ...]:
        """The posts of that hash.

        Raises:
            RunFolderError: The file is damaged.
        """
        path = self.posts_file(gold)
        return _read_posts(path, path.stat().st_mtime_ns)

    def check_data(self, plan: Plan, *, accept: bool = False, remember: bool = True) -> None:
        """Compare the data sets with what they were when they were first used, and remember them.

        Args:
            plan: The table's plan.
            accept: Take the sets as they are now.
            remember: Keep how they are; without it nothing is written.

        Raises:
            DataError: A data set has changed since; the message says what.
        """
        changes: list[str] = []
        states = {}
        for name, material in plan.materials.items():
            path = self.root / "data" / f"{material.place.key}.json"
            now = state_of(material, plan.views.get(name, {}), plan.roles.get(name, []))
            before = _read(path)
            if before and not accept:
                changes += what_changed(name, before, now)
                now["views"] = {
                    view: {**now["views"].get(view, {}), **before["views"].get(view, {})}
                    for view in {**before["views"], **now["views"]}
                }
            states[path] = now
        if changes:
            raise DataError(
                "The data have changed since this folder's results were computed:\n"
                + "\n".join(f"- {change}" for change in changes)
                + "\nNew results would stand beside those of other posts.",
                hint="Put the data back, choose another --output, or give --accept-changed-data to run all "
                "cells of these sets again.",
            )
        if remember:
            for path, state in states.items():
                write_document(path, state)

    def keep_plan(self, plan: Plan, whole: TableFile | None = None) -> None:
        """Keep a table's plan, so that its report can be made without the data.

        Args:
            plan: The plan, of the table or of a part of it.
            whole: The table that it is a part of. What is kept of the table's other cells stays.
        """
        if whole is not None:
            document = _read(self._plan_file(whole))
            plan = joined(plan, plan_from_dict(whole, document) if document else Plan(whole))
        write_document(self._plan_file(plan.file), plan_as_dict(plan))

    def kept_plan(self, file: TableFile, whole: TableFile | None = None) -> Plan | None:
        """The plan of exactly this table with exactly these recipes; None where not all of it has been run.

        Args:
            file: The table.
            whole: The table that it is a part of, whose plan has its cells too.
        """
        kept = {self._plan_file(one): one for one in (file, whole) if one is not None}
        # Parts of a table were once kept on their own; what was written last knows of what was run last.
        there = [path for path in kept if path.is_file()]
        for path in sorted(there, key=lambda one: one.stat().st_mtime_ns, reverse=True):
            document = _read(path)
            plan = part_of(plan_from_dict(kept[path], document), file) if document else None
            if plan is not None:
                return plan
        return None

    def _plan_file(self, file: TableFile) -> Path:
        return self.root / "tables" / f"{plan_name(file)}.json"

    @contextmanager
    def working_on(self, table: str) -> Iterator[None]:
        """Be the only process that runs a table; the operating system ends this with the process.

        Raises:
            UsageError: Another process is at it.
        """
        lock = self.root / "tables" / f"{table}.lock"
        holder = lock.with_suffix(".json")
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock, timeout=0)
        try:
            held.acquire()
        except Timeout:
            other = {"process": "unknown", "started": "some time ago", **_read(holder)}
            raise UsageError(
                f"Another process runs this table in {self.root} already.",
                got=f"process {other['process']}, started {other['started']}",
                hint="Wait for it, or choose another --output.",
            ) from None
        with held:
            write_document(holder, {"process": os.getpid(), "started": now()})
            yield

    def lock_of(self, run: RunPlan) -> FileLock:
        """The lock that the process of a run holds; other tables wait for it."""
        path = self.root / "locks" / f"{run.folder_name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)


def now() -> str:
    """The time, as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write_document(path: Path, document: Any) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        DiskFullError: There is no room.
        DataError: It cannot be written.
    """
    _write_lines(path, [document], indent=2)


# What torch says when it cannot go on writing a checkpoint; not why, but only a full disk does that.
_STOPPED_WRITING = re.compile(r"inline_container\.cc.*unexpected pos|PytorchStreamWriter failed writing")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no room left; libraries say so in several ways."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DiskFullError) or getattr(seen, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        text = str(seen)
        if os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text:
            return True
        if _STOPPED_WRITING.search(text):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _write_lines(path: Path, documents: Iterable[Any], indent: int | None = None) -> None:
    try:
        with writing(path, overwrite=True) as file:
            for document in documents:
                # Half of a surrogate pair has no UTF-8, but JSON has a way to write it.
                text = json.dumps(document, ensure_ascii=False, indent=indent)
                try:
                    file.write(text.encode() + b"\n")
                except UnicodeEncodeError:
                    file.write(json.dumps(document, indent=indent).encode() + b"\n")
    except DataError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"There is no room left for {path}.", hint="Make room and run the same again: it goes on."
            ) from error
        raise


def _kept(post: Post) -> dict[str, Any]:
    return {
        "id": post.id,
        "text": post.text,
        "offsets": [list(place) for place in post.offsets],
        "image": str(Path(post.image).resolve()) if isinstance(post.image, Path) else None,
        "gold": {
            convention.value: [[entity.start, entity.end, entity.label] for entity in post.gold(convention)]
            for convention in Convention
        },
    }


@lru_cache(maxsize=8)
def _read_posts(path: Path, changed: int) -> tuple[KeptPost, ...]:
    del changed
    found = []
    for line in _lines(path):
        text = line["text"]
        gold = {
            convention: tuple(
                Entity(text=text[start:end], label=label, start=start, end=end)
                for start, end, label in entities
            )
            for convention, entities in line["gold"].items()
        }
        offsets = tuple((start, end) for start, end in line["offsets"])
        found.append(KeptPost(line["id"], text, offsets, line["image"], gold))
    return tuple(found)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        # Not by `splitlines`: a text may contain separators that only Unicode takes for line ends.
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line:
                yield json.loads(line)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path} cannot be read.", got=str(error), hint="Delete it: `mner experiment run` makes it again."
        ) from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = read_json(path)
    except RunFolderError:
        # Half a file is no file: what it was about is done again.
        return {}
    return document if isinstance(document, dict) else {}
