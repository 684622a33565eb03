"""Predicting a whole file on a cluster, with Ray Data: reading, knowledge and prediction as stages.

Each stage has workers, batches and resources of its own. The file is read by the workers, so it must lie
where all machines see it; the recogniser travels to them. What they answer comes back in order to the
process that asked, which writes it as `predict_file` does: in order, each line once, resumably. A machine
that is lost costs the time to do its part again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mner.bulk.cutting import Part, cut
from mner.bulk.formats import output_format
from mner.bulk.journal import Journal, refuse_overlap
from mner.bulk.reading import MOST_CHARACTERS, Item, Position
from mner.bulk.running import BulkReport, Seen, write_piece
from mner.bulk.stages import (
    NOTHING,
    KnowledgeWork,
    KnowledgeWorker,
    ModelParcel,
    PredictionWorker,
    read_part,
)
from mner.errors import DataError, MissingExtraError, UsageError
from mner.progress import Reporter, silent

PART_LINES = 512


@dataclass(frozen=True)
class Stage:
    """What a stage of the work gets.

    Args:
        batch_size: Posts that a worker gets at once.
        workers: Workers at the same time: so many, or from the first to the second number.
        cpus: Processors of a worker; may be a fraction.
        gpus: Accelerators of a worker; may be a fraction.
    """

    batch_size: int
    workers: int | tuple[int, int] = 1
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        least, most = self.range
        if self.batch_size < 1 or least < 1 or most < least or self.cpus < 0 or self.gpus < 0:
            raise UsageError(
                "A stage cannot have that.",
                expected="at least one post a batch and one worker, and no negative resources",
                got=repr(self),
            )

    @property
    def range(self) -> tuple[int, int]:
        """Least and most workers."""
        return self.workers if isinstance(self.workers, tuple) else (self.workers, self.workers)


def predict_on_cluster(
    model: Path | str,
    source: Path,
    target: Path,
    *,
    knowledge: KnowledgeWork | None = None,
    input_format: str | None = None,
    written_as: str | None = None,
    rejects: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    address: str | None = None,
    reading_cpus: float = 1.0,
    knowledge_stage: Stage = Stage(batch_size=32),
    prediction_stage: Stage = Stage(batch_size=256),
    device: str = "auto",
    dtype: str = "float32",
    part_lines: int = PART_LINES,
    most_characters: int = MOST_CHARACTERS,
    seen: Seen | None = None,
    progress: Reporter = silent,
) -> BulkReport:
    """Recognise the entities of all posts of a file on a cluster.

    Args:
        model: A run folder, which is sent to the workers, or a name that they know.
        source: A file of JSON lines, texts a line, or Parquet, that all machines see.
        target: The file of predictions, written by this process.
        knowledge: Where knowledge comes from; posts are predicted with what they bring where None.
        input_format: By default what the file looks like.
        written_as: By default what the target's name says.
        rejects: The file that lists what was refused; ``TARGET.rejects.jsonl`` by default.
        resume: Go on where an earlier run was stopped.
        overwrite: Start again although an earlier run is unfinished.
        address: The cluster's; the one that the environment names, or one on this machine, where None.
        reading_cpus: Processors of a worker that reads.
        knowledge_stage: What making and attaching knowledge gets.
        prediction_stage: What prediction gets.
        device: Where workers compute; ``auto`` takes the accelerator that a worker was given.
        dtype: ``float32`` or ``bfloat16``.
        part_lines: Lines that are read, written and committed together.
        most_characters: Longer posts are refused.
        seen: Told of every post of this run and its entities, in order.
        progress: Told of every part that is done.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: A format or setting is wrong, an earlier run does not fit, or what is read would be
            written over.
        DataError: The input or output cannot be read or written.
        MnerError: What a worker says that cannot go on.
    """
    started = time.perf_counter()
    ray = _ray()
    rejects = rejects or target.with_name(target.name + ".rejects.jsonl")
    refuse_overlap(source, target, rejects)
    chosen = output_format(target, written_as)
    parts = cut(source, input_format, part_lines, most_characters)
    parcel = ModelParcel.of(model, device, dtype)
    report = BulkReport(rejects=rejects)
    settings = {
        "input": str(source),
        "input format": parts[0].format if parts else None,
        "output format": chosen.name,
        "model": parcel.digest,
        "knowledge": repr(knowledge),
        "window": part_lines,
        "longest text": most_characters,
        "machines": "a cluster",
    }
    with Journal(target, rejects, chosen, settings, resume=resume, overwrite=overwrite) as journal:
        report.__dict__.update(journal.counts)
        report.was_done = journal.is_done
        if not report.was_done:
            done = journal.position
            if done is not None:
                report.resumed_after = done.line
                if parts and done not in [parts[0].start, *(part.end for part in parts)]:
                    raise DataError(
                        f"The first {done.line} lines of {source} are not those that were read before.",
                        hint="Start again with --overwrite.",
                    )
                parts = [part for part in parts if part.start.line >= done.line]
            with progress("recognising", None) as advance:
                if parts:
                    if not ray.is_initialized():
                        _connect(ray, address)
                    rows = _rows(parts, parcel, knowledge, reading_cpus, knowledge_stage, prediction_stage)
                    with contextlib.closing(rows):
                        for part, items, answers in _in_parts(rows, parts):
                            output, rejected = write_piece(
                                items,
                                answers,
                                chosen,
                                report,
                                names_pictures=parcel.reads_pictures,
                                seen=seen,
                            )
                            journal.write(output, rejected)
                            journal.commit(part.end, report.counts())
                            advance(len(items), part=f"{part.number + 1}/{parts[-1].number + 1}")
            end = parts[-1].end if parts else journal.position
            journal.finish(end or Position(), report.counts())
    if not rejects.is_file():
        report.rejects = None
    report.seconds = time.perf_counter() - started
    return report


def _ray() -> Any:
    # Ray reports its use over the network unless it is told otherwise before it is loaded.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("Prediction on a cluster", "cluster") from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="warning", include_dashboard=False)
    except ValueError:
        # A cluster that runs already takes no settings of its own.
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    except ConnectionError as error:
        raise UsageError(
            f"No cluster answers at {address!r}.", got=str(error), hint="`ray status` shows where one runs."
        ) from error


def _rows(
    parts: Sequence[Part],
    parcel: ModelParcel,
    knowledge: KnowledgeWork | None,
    reading_cpus: float,
    knowledge_stage: Stage,
    prediction_stage: Stage,
) -> Generator[dict[str, Any]]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    items = [{"part": pickle.dumps(part)} for part in parts]
    rows: Any = ray.data.from_items(items, override_num_blocks=min(len(items), 4096))
    rows = rows.flat_map(read_part, num_cpus=reading_cpus)
    if knowledge is not None and (
        knowledge.store is not None or knowledge.providers or (knowledge.read_pictures and parcel.reads_text)
    ):
        arguments = (knowledge, parcel.knowledge, parcel.inputs)
        rows = _through(rows, KnowledgeWorker, arguments, knowledge_stage)
    rows = _through(rows, PredictionWorker, (parcel,), prediction_stage)
    yield from rows.iter_rows()


def _through(rows: Any, worker: Callable[..., Any], arguments: tuple[Any, ...], stage: Stage) -> Any:
    import ray.data

    least, most = stage.range
    resources = {"num_cpus": stage.cpus, **({"num_gpus": stage.gpus} if stage.gpus else {})}
    return rows.map_batches(
        worker,
        fn_constructor_args=arguments,
        batch_size=stage.batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        **resources,
    )


def _in_parts(
    rows: Iterator[dict[str, Any]], parts: Sequence[Part]
) -> Iterator[tuple[Part, list[Item], list[Any]]]:
    """The answers of each part, in order; that none is missing or comes twice is checked."""
    for part in parts:
        items: list[Item] = []
        answers: list[Any] = []
        missing = 1
        while missing:
            row = next(rows, None)
            line = items[-1].line if items else part.start.line
            if row is None or row["part"] != part.number:
                raise DataError(
                    f"The cluster lost lines of {part.path} after line {line}.",
                    hint="What was committed before is kept; go on with --resume.",
                )
            item, answer = pickle.loads(row["item"])
            missing = row["items"] - 1 if not items else missing - 1
            if item.problem == NOTHING:
                break
            if item.line <= line:
                raise DataError(f"The cluster answered line {item.line} of {part.path} twice.")
            items.append(item)
            answers.append(answer)
        yield part, items, answers
