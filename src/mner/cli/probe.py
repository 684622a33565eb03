"""`mner probe` on any data, and `mner probe-set`: the generated posts on which pictures must matter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mner.cli import options
from mner.cli.app import app as root
from mner.cli.console import bars, err, out, print_json, print_whole, titled_table
from mner.cli.inputs import Source, convention_named, opened, supplied

if TYPE_CHECKING:
    from mner.evaluation.probe_scoring import FormResult, ProbeResult
    from mner.evaluation.probe_swapping import SwapResult

app = typer.Typer(
    no_args_is_help=True, help="Generated posts on which a recogniser must use the picture, and only there."
)
root.add_typer(app, name="probe-set")

_NAMES = {"own": "own", "swapped": "another post's", "none": "none"}


@root.command()
def probe(
    run: options.Run,
    data: options.Data,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples.")] = 2000,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Decides whose picture a post gets, and the samples.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Draw the result: a .png, .pdf or .svg file.")] = None,
    device: options.Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Does a run use the picture? Score posts with their own, with another post's, and with none."""
    from mner.evaluation.probe_swapping import probe_posts
    from mner.knowledge.supplying import coverage
    from mner.models import model_named

    stray = convention_named(convention)
    recognizer = opened(run, device)
    source = Source(data, split, file_format, images, label_map or ())
    posts = supplied(recognizer, source.posts(), knowledge)
    result = probe_posts(
        recognizer, posts, convention=stray, samples=samples, level=level, seed=seed, progress=bars
    )
    if plot is not None:
        from mner.plots.probe import plot_swaps

        plot_swaps(result, plot, f"{recognizer.name} on {data.name}")
    if as_json:
        about = {"run": str(run), "data": str(data), "split": split, "knowledge": coverage(posts)}
        print_json({**about, **result.as_dict()})
        return
    if not model_named(recognizer.name).reads_pictures:
        err.print(f"The model {recognizer.name} reads the text alone: nothing can differ.", markup=False)
    err.print(f"{result.with_picture} of {result.posts} posts have a picture or something said about one.")
    print_whole(_swap_table(result, f"{data.name} {split if data.is_dir() else ''}".strip()))
    if plot is not None:
        err.print(f"The plot is in {plot}", markup=False)


@app.command()
def make(
    folder: Annotated[Path, typer.Argument(help="The data folder to write.")],
    seed: Annotated[int, typer.Option(help="Decides everything that is random.")] = 1,
    train: Annotated[int | None, typer.Option(help="Posts to train on, a multiple of 60.")] = None,
    valid: Annotated[int | None, typer.Option(help="Posts to choose on, a multiple of 60.")] = None,
    test: Annotated[int | None, typer.Option(help="Posts to test on, a multiple of 60.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the generated posts, their pictures and what is said about these, as a data folder."""
    from mner.evaluation.probe import SIZES, STORE_FILE, write_probe

    given = {"train": train, "valid": valid, "test": test}
    sizes = {split: SIZES[split] if count is None else count for split, count in given.items()}
    write_probe(folder, seed, sizes, overwrite=overwrite, progress=bars)
    err.print(f"The posts are in {folder}, the knowledge store is {folder / STORE_FILE}", markup=False)


@app.command()
def backbones(
    folder: Annotated[Path, typer.Argument(help="Where the folders of the backbones go.")],
    seed: Annotated[int, typer.Option(help="Decides the weights.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write small backbones with random weights: a BERT, a CLIP tower and a SigLIP tower."""
    from mner.evaluation.probe_backbones import write_backbones

    for path in write_backbones(folder, seed, overwrite=overwrite).values():
        err.print(str(path), markup=False)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="A run folder, trained on the generated posts.")],
    data: Annotated[Path, typer.Option(help="The folder of the generated posts.")],
    split: Annotated[str, typer.Option(help="Which split.")] = "test",
    text: Annotated[
        Path | None, typer.Option(help="The run of a model trained alike that reads the text alone.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides whose picture a post gets.")] = 1,
    device: options.Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Put a run to the generated posts; leaves with 1 where a reader of pictures falls short."""
    from mner.evaluation.probe_scoring import evaluate_probe
    from mner.models import model_named
    from mner.recognizer import Recognizer

    recognizer = Recognizer.from_pretrained(run, device=device)
    result = evaluate_probe(recognizer, data, split, seed=seed, progress=bars)
    text_f1 = None
    if text is not None:
        beside = evaluate_probe(
            Recognizer.from_pretrained(text, device=device), data, split, seed=seed, progress=bars
        )
        text_f1 = beside.unrelated.overall.f1
    reads_pictures = model_named(recognizer.name).reads_pictures
    shortcomings = result.shortcomings(text_f1) if reads_pictures else []
    if as_json:
        print_json(
            {"run": str(run), "model": recognizer.name, **result.as_dict(), "shortcomings": shortcomings}
        )
    else:
        print_whole(_probe_table(result, recognizer.name))
        out.print(f"F1 on posts with unrelated pictures: {100 * result.unrelated.overall.f1:.2f}")
        for one in shortcomings:
            err.print(one, markup=False, soft_wrap=True)
    if shortcomings:
        raise typer.Exit(1)


def _swap_table(result: SwapResult, title: str) -> Table:
    convention, level = result.scores["own"].convention, result.intervals["own"].level
    table = titled_table(f"{title} (convention {convention})")
    table.add_column("picture or knowledge")
    interval = f"{100 * level:g} % interval"
    for column in ("precision", "recall", "F1", interval, "own less this", interval, "p"):
        table.add_column(column, justify="right")
    for mode, scores in result.scores.items():
        counts, found = scores.overall, result.intervals[mode]
        cells = [_percent(counts.precision), _percent(counts.recall), _percent(counts.f1)]
        cells.append(f"{_percent(found.low)} to {_percent(found.high)}")
        if mode in result.differences:
            compared = result.differences[mode]
            less = compared.difference
            cells += [f"{100 * less.value:+.2f}", f"{100 * less.low:+.2f} to {100 * less.high:+.2f}"]
            cells.append(f"{compared.p_value:.4f}")
        table.add_row(_NAMES[mode], *cells)
    return table


def _probe_table(result: ProbeResult, title: str) -> Table:
    table = titled_table(f"{title}: posts that are right, in %")
    table.add_column("posts")
    for column in (
        "number",
        "own picture",
        "another's",
        "follow it",
        "none",
        "text-told names",
        "with another's",
    ):
        table.add_column(column, justify="right")
    rows: list[tuple[str, FormResult]] = [
        *result.forms.items(),
        ("ambiguous (alone, aside)", result.ambiguous),
    ]
    for name, found in rows:
        shares = (found.own, found.swapped, found.followed, found.none, found.told, found.told_swapped)
        table.add_row(name, str(found.posts), *map(_percent, shares))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
