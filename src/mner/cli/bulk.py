"""`mner bulk`: entities of a whole file, on a cluster."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from mner.cli import options
from mner.cli.app import app
from mner.cli.console import bars
from mner.cli.predicting import say_report
from mner.errors import UsageError


@app.command()
def bulk(
    source: Annotated[Path, typer.Argument(help="Posts: JSON lines, a text a line, or Parquet.")],
    target: Annotated[Path, typer.Argument(help="Where entities go: .jsonl, .csv, .parquet or .conll.")],
    model: Annotated[
        str, typer.Option(help="A run folder, which is sent to the workers; 'default' comes with mner.")
    ] = "default",
    address: Annotated[
        str | None, typer.Option(help="The cluster, as `ray start` printed it; else one on this machine.")
    ] = None,
    knowledge: Annotated[Path | None, typer.Option(help="A knowledge store that all machines see.")] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="A provider of knowledge that is asked on the workers.")
    ] = None,
    read_pictures: options.ReadPictures = True,
    knowledge_batch: Annotated[int, typer.Option(min=1, help="Posts a batch of that stage.")] = 32,
    knowledge_workers: Annotated[str, typer.Option(help="How many workers of it, as 2 or 1-8.")] = "1",
    knowledge_cpus: Annotated[float, typer.Option(min=0, help="Processors of such a worker.")] = 1.0,
    knowledge_gpus: Annotated[float, typer.Option(min=0, help="Accelerators of such a worker.")] = 0.0,
    batch: Annotated[int, typer.Option(min=1, help="Posts a batch of the prediction.")] = 256,
    workers: Annotated[str, typer.Option(help="How many workers predict, as 2 or 1-8.")] = "1",
    cpus: Annotated[float, typer.Option(min=0, help="Processors of such a worker.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0, help="Accelerators of such a worker.")] = 0.0,
    reading_cpus: Annotated[float, typer.Option(min=0, help="Processors of a worker that reads.")] = 1.0,
    input_format: Annotated[str | None, typer.Option(help="jsonl, text or parquet.")] = None,
    output_format: Annotated[str | None, typer.Option(help="jsonl, csv, parquet or conll.")] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Where lines that cannot be read go [TARGET.rejects.jsonl].")
    ] = None,
    resume: options.Resume = False,
    overwrite: options.StartAgain = False,
    max_characters: options.MostCharacters = 100_000,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
) -> None:
    """Recognise entities in a whole file on a Ray cluster; a machine that is lost costs time, no line."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from mner.bulk.cluster import Stage, predict_on_cluster
    from mner.bulk.stages import KnowledgeWork

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    named: tuple[tuple[str, dict[str, str]], ...] = tuple((name, {}) for name in provider or ())
    store = None if knowledge is None else knowledge.absolute()
    report = predict_on_cluster(
        model,
        source,
        target,
        knowledge=KnowledgeWork(store, named, read_pictures),
        input_format=input_format,
        written_as=output_format,
        rejects=rejects,
        resume=resume,
        overwrite=overwrite,
        address=address,
        reading_cpus=reading_cpus,
        knowledge_stage=Stage(knowledge_batch, _workers(knowledge_workers), knowledge_cpus, knowledge_gpus),
        prediction_stage=Stage(batch, _workers(workers), cpus, gpus),
        device=device,
        dtype=dtype,
        most_characters=max_characters,
        progress=bars,
    )
    say_report(report, str(source))


def _workers(given: str) -> int | tuple[int, int]:
    least, dash, most = given.partition("-")
    try:
        return (int(least), int(most)) if dash else int(least)
    except ValueError:
        raise UsageError(
            f"{given!r} is no number of workers.", expected="a number, or two as 1-8", got=given
        ) from None
