"""Runs what is missing of a table, several runs side by side, each in a process of its own."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from mner.experiments.plans import Plan, RunPlan
from mner.experiments.shelf import DiskFullError, Shelf, State, now, write_document

_TAIL_LINES = 12
_PATIENCE = 5.0


@dataclass(frozen=True)
class Slot:
    """A place where one run is computed at a time.

    Args:
        number: Which, from 0.
        environment: The environment of its processes.
    """

    number: int
    environment: Mapping[str, str]


class Watcher(Protocol):
    """Is told how the work goes."""

    def started(self, run: RunPlan, slot: int) -> None:
        """A run's process was started."""

    def progress(self, run: RunPlan, slot: int, what: str, done: int, total: int | None) -> None:
        """A run has come so far."""

    def said(self, run: RunPlan, message: str) -> None:
        """A run says something."""

    def ended(self, run: RunPlan, slot: int, problem: str | None) -> None:
        """A run has ended, well or with a problem."""


class Unwatched:
    """The watcher that looks away."""

    def started(self, run: RunPlan, slot: int) -> None:
        """Do nothing."""

    def progress(self, run: RunPlan, slot: int, what: str, done: int, total: int | None) -> None:
        """Do nothing."""

    def said(self, run: RunPlan, message: str) -> None:
        """Do nothing."""

    def ended(self, run: RunPlan, slot: int, problem: str | None) -> None:
        """Do nothing."""


@dataclass
class Outcome:
    """What came of it.

    Args:
        ran: Keys of the runs that were computed.
        kept: Keys of those that were there already.
        failed: Errors by key.
        read: Files of predictions made elsewhere that were read.
    """

    ran: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)


@dataclass
class _Process:
    run: RunPlan
    slot: Slot
    child: subprocess.Popen[bytes]
    problem: str | None = "its process ended without a word"
    disk_full: bool = False
    details: dict[str, Any] = field(default_factory=dict)


def run_missing(
    plan: Plan,
    output: Path,
    command: Sequence[str],
    slots: Sequence[Slot],
    *,
    keep_weights: bool = True,
    watcher: Watcher | None = None,
) -> Outcome:
    """Do all runs of a plan that are not done.

    A run that fails is noted and the others go on. Where the disk is full nothing more is started.

    Args:
        plan: The table's plan.
        output: The folder of all results.
        command: How to start the process of a run; it reads what to do from its standard input.
        slots: Where runs are computed, as many at a time as there are slots.
        keep_weights: Whether weights are kept once all is predicted.
        watcher: Told how the work goes.

    Raises:
        DiskFullError: There is no room left for results.
    """
    return _Runner(plan, Shelf(output), command, keep_weights, watcher or Unwatched()).run(slots)


class _Runner:
    def __init__(
        self, plan: Plan, shelf: Shelf, command: Sequence[str], keep_weights: bool, watcher: Watcher
    ) -> None:
        self.plan, self.shelf, self.command = plan, shelf, command
        self.keep_weights, self.watcher = keep_weights, watcher
        self.events: queue.Queue[Callable[[], _Process | None]] = queue.Queue()
        self.outcome = Outcome()
        self.states = shelf.states(plan)

    def run(self, slots: Sequence[Slot]) -> Outcome:
        waiting = []
        for key, run in self.plan.runs.items():
            if self.states[key] is State.DONE:
                self.outcome.kept.append(key)
            else:
                waiting.append(run)
        free = list(slots)
        working: list[_Process] = []
        disk_full = False
        try:
            while waiting or working:
                while free and not disk_full and (ready := self._next(waiting, working)) is not None:
                    working.append(self._start(ready, free.pop(0)))
                if not working:
                    break
                ended = self.events.get()()
                if ended is not None:
                    working.remove(ended)
                    free.insert(0, ended.slot)
                    self._note(ended)
                    disk_full = disk_full or ended.disk_full
        finally:
            for process in working:
                _stop(process.child)
        if disk_full:
            raise DiskFullError(
                f"There is no room left in {self.shelf.root}.",
                got=f"{len(self.outcome.ran)} runs done, {len(waiting) + len(self.outcome.failed)} not",
                hint="What is done is kept. Make room and run the same again: it goes on.",
            )
        return self.outcome

    def _next(self, waiting: list[RunPlan], working: list[_Process]) -> RunPlan | None:
        """The next run that can be started; those whose source failed are noted on the way."""
        busy = {process.run.key for process in working} | {run.key for run in waiting}
        for run in list(waiting):
            source = self._source(run)
            if source in self.outcome.failed:
                waiting.remove(run)
                problem = "the run that it starts from failed"
                self._fail(run, problem, {"error": problem})
                self.watcher.ended(run, -1, problem)
            elif source not in busy:
                waiting.remove(run)
                return run
        return None

    def _source(self, run: RunPlan) -> str | None:
        """The key of the run whose weights this one needs; who is trained already needs none."""
        return run.start_from if self.states[run.key].trains else None

    def _start(self, run: RunPlan, slot: Slot) -> _Process:
        source = None if run.start_from is None else self.plan.runs[run.start_from]
        others = self.plan.runs.values()
        task = {
            "run": run.as_dict(),
            "output": str(self.shelf.root),
            "start_from": None if source is None else source.as_dict(),
            # A run that others start from must keep its weights.
            "keep_weights": self.keep_weights or any(other.start_from == run.key for other in others),
            "weights_needed": any(self._source(other) == run.key for other in others),
        }
        log = self.shelf.log_file(run)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            child = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(slot.environment),
                # Ctrl-C at the terminal is for this process, which then ends the others in good order.
                start_new_session=True,
            )
        process = _Process(run, slot, child)
        assert child.stdin is not None
        assert child.stdout is not None
        # The pipe stays open: a child ends when it closes, which it does however this process ends.
        with suppress(BrokenPipeError):
            child.stdin.write(json.dumps(task).encode() + b"\n")
            child.stdin.flush()
        threading.Thread(target=self._listen, args=(process, child.stdout), daemon=True).start()
        self.watcher.started(run, slot.number)
        return process

    def _listen(self, process: _Process, stream: IO[bytes]) -> None:
        for line in stream:
            try:
                message = json.loads(line)
            except ValueError:
                message = {"event": "say", "message": line.decode(errors="replace").rstrip()}
            self.events.put(lambda message=message: self._heard(process, message))  # type: ignore[misc]
        process.child.wait()
        self.events.put(lambda: process)

    def _heard(self, process: _Process, message: Mapping[str, Any]) -> None:
        event = message.get("event")
        if event == "progress":
            self.watcher.progress(
                process.run, process.slot.number, message["what"], message["done"], message["total"]
            )
        elif event == "say":
            self.watcher.said(process.run, message["message"])
        elif event == "finished":
            process.problem = None
        elif event == "failed":
            process.problem = message["error"]
            process.disk_full = message["disk_full"]
            process.details = dict(message)

    def _note(self, process: _Process) -> None:
        run, child = process.run, process.child
        if child.stdin is not None:
            with suppress(BrokenPipeError):
                child.stdin.close()
        if process.problem is None and child.returncode == 0 and self.shelf.state(run) is State.DONE:
            self.outcome.ran.append(run.key)
            self.watcher.ended(run, process.slot.number, None)
            return
        problem = process.problem or "its results are not there"
        if not process.details:
            problem += f" (exit status {child.returncode})"
        details = {"error": problem, "exit_status": child.returncode, **process.details}
        self._fail(run, problem, {**details, "log": _tail(self.shelf.log_file(run))})
        self.watcher.ended(run, process.slot.number, problem)

    def _fail(self, run: RunPlan, problem: str, details: Mapping[str, Any]) -> None:
        self.outcome.failed[run.key] = problem
        # On a full disk there may be no room for the note either; the caller hears of it anyway.
        with suppress(DiskFullError):
            write_document(self.shelf.failure_file(run), {**details, "run": run.as_dict(), "when": now()})


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        with suppress(BrokenPipeError):
            child.stdin.close()
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _tail(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return []


def serve(source: IO[bytes], send: Callable[[Mapping[str, Any]], None], leave: Callable[[int], None]) -> int:
    """The other side: read what to do, do it, and say how it goes; leave when the reader is gone.

    Args:
        source: Where what to do is read from; its end means that nobody waits any more.
        send: Takes messages.
        leave: Ends the process at once.

    Returns:
        The exit status.
    """
    import traceback

    from mner.experiments.job import SendingReporter, do_run
    from mner.experiments.shelf import is_disk_full

    task = json.loads(source.readline())

    def watch() -> None:
        while source.read(1):
            pass
        leave(1)

    threading.Thread(target=watch, daemon=True).start()
    started = time.monotonic()
    try:
        do_run(
            RunPlan.from_dict(task["run"]),
            Path(task["output"]),
            start_from=None if task["start_from"] is None else RunPlan.from_dict(task["start_from"]),
            keep_weights=task["keep_weights"],
            weights_needed=task["weights_needed"],
            progress=SendingReporter(send),
            say=lambda message: send({"event": "say", "message": message}),
        )
    # Whatever fails in a run is that run's, and is kept with it; the others go on.
    except Exception as error:
        text = str(error) or type(error).__name__
        send(
            {
                "event": "failed",
                "error": text,
                "kind": type(error).__name__,
                "disk_full": is_disk_full(error),
                "traceback": traceback.format_exc(),
            }
        )
        return 1
    send({"event": "finished", "seconds": round(time.monotonic() - started, 1)})
    return 0
