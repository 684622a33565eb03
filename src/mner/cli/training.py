"""`mner train`, `mner evaluate` and `mner models`."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mner.cli import options
from mner.cli.app import app
from mner.cli.console import bars, err, out, print_json, print_whole


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe; recipes/ has one a model.")],
    data: Annotated[Path | None, typer.Option(help="Data folder; replaces the recipe's.")] = None,
    images: options.Images = None,
    knowledge: Annotated[Path | None, typer.Option(help="Knowledge store; replaces the recipe's.")] = None,
    output: Annotated[Path | None, typer.Option(help="Run folder to write; runs/… by default.")] = None,
    start_from: Annotated[Path | None, typer.Option("--from", help="Start from this run's weights.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Text encoder: 'default', a folder, a hub name.")
    ] = None,
    vision_backbone: Annotated[
        str | None, typer.Option(help="Vision tower: a folder, a hub name, 'scratch'.")
    ] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="A value, as training.seed=3.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's record as JSON.")] = False,
) -> None:
    """Train a recogniser as a recipe says, and write a run folder that predicts alone."""
    from mner.cli.results import score_table
    from mner.training.memory import keep_freed_memory
    from mner.training.processes import agree, is_first, join_processes, leave_processes
    from mner.training.recipe import read_recipe
    from mner.training.run import train as run_training

    changes = list(change or ())
    if data is not None:
        changes.append(f"data.folder={_quoted(data)}")
    if images is not None:
        changes.append(f"data.images={_quoted(images)}")
    if knowledge is not None:
        changes.append(f"knowledge.store={_quoted(knowledge)}")
    if backbone is not None:
        changes.append(f"model.backbone={_quoted(backbone)}")
    if vision_backbone is not None:
        changes.append(f"model.vision_backbone={_quoted(vision_backbone)}")
    checked = read_recipe(recipe, changes)
    keep_freed_memory()
    join_processes()
    # Clocks of several processes may strike a second between them.
    folder = agree(output or Path("runs") / f"{checked.model.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    run = run_training(
        checked,
        folder,
        start_from=start_from,
        resume=resume,
        overwrite=overwrite,
        progress=bars,
        say=lambda message: err.print(message, markup=False, soft_wrap=True),
    )
    first = is_first()
    leave_processes()
    if not first:
        return
    if as_json:
        print_json({"folder": str(folder), **run.record, "test": run.test and run.test.as_dict()})
        return
    if run.test is not None:
        print_whole(score_table(run.test, "test"))
    err.print(f"The run folder is {folder}", markup=False)


@app.command()
def evaluate(
    run: options.Run,
    data: options.Data,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Posts computed at once.")] = 32,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    errors: Annotated[
        bool, typer.Option("--errors", help="Also what is wrong, as `mner errors` says it.")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Write what was predicted: a .jsonl file for `mner errors`, `compare`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score a run on annotated posts: overall and per type, under both conventions for stray tags."""
    from mner.cli.errors import Analysis, training_posts
    from mner.cli.inputs import Source, say_known, supplied
    from mner.cli.results import score_table
    from mner.evaluation.predictions import write_predictions
    from mner.evaluation.scores import score_posts
    from mner.knowledge.supplying import coverage
    from mner.recognizer import Recognizer
    from mner.tags import Convention

    recognizer = Recognizer.from_pretrained(run, device=device, dtype=dtype)
    source = Source(data, split, file_format, images, tuple(label_map or ()))
    posts = supplied(recognizer, source.posts(), knowledge)
    covered = coverage(posts)
    predicted = recognizer.predict(posts, batch_size=batch_size, progress=bars)
    if recognizer.picture_summary is not None:
        err.print(recognizer.picture_summary, markup=False, soft_wrap=True)
    scores = [score_posts(posts, predicted, convention) for convention in Convention]
    if predictions is not None:
        write_predictions(predictions, posts, predicted, overwrite=True)
        err.print(f"The predictions are in {predictions}", markup=False)
    analysis = None
    if errors:
        analysis = Analysis(posts, predicted, Convention.CONLL, training_posts(source, "train"))
    unknown = sorted(set(scores[0].per_type) - set(recognizer.labels))
    if as_json:
        document = {str(score.convention): score.as_dict() for score in scores}
        about = {"run": str(run), "data": str(data), "split": split, "knowledge": covered}
        wrong = {} if analysis is None else {"errors": analysis.as_dict()}
        print_json({**about, "unknown_types": unknown, **document, **wrong})
        return
    say_known(recognizer, posts, run)
    for score in scores:
        print_whole(score_table(score, source.title))
    if analysis is not None:
        analysis.print(source.title, 0)
    if unknown:
        err.print(
            f"Training never saw the types {', '.join(unknown)}; all their entities count as missed. "
            "A --label-map renames types.",
            markup=False,
        )


@app.command()
def models(
    name: Annotated[
        str | None, typer.Argument(help="Of this one, print a recipe with every key it may have.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the systems that can be trained; of one, all that a recipe may say, as a recipe to start from."""
    from mner.models import registered

    if name is not None:
        from mner.training.template import template

        text = template(name)
        if as_json:
            print_json(tomllib.loads(text))
        else:
            out.print(text, markup=False, highlight=False, soft_wrap=True, end="")
        return
    entries = registered().values()
    if as_json:
        print_json(
            [
                {
                    "name": entry.name,
                    "summary": entry.summary,
                    "source": entry.source,
                    "reads_pictures": entry.reads_pictures,
                }
                for entry in entries
            ]
        )
        return
    table = Table()
    for column in ("model", "what it is", "source", "picture"):
        table.add_column(column)
    for entry in entries:
        table.add_row(entry.name, entry.summary, entry.source, "yes" if entry.reads_pictures else "")
    out.print(table)


def _quoted(value: object) -> str:
    # As TOML writes a text, backslashes of Windows paths included.
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
