"""`mner plot`: figures of runs and of what they say and show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mner.cli import options
from mner.cli.app import app as root
from mner.cli.console import bars, err
from mner.errors import DataError, UsageError, shown
from mner.posts import Post

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mner.recognizer import Recognizer

app = typer.Typer(
    no_args_is_help=True,
    help="Figures as PNG, SVG or PDF. An SVG follows the reader's light or dark system.",
)
root.add_typer(app, name="plot")

Runs = Annotated[
    list[Path], typer.Argument(help="Run folders; those that differ in the seed alone belong together.")
]
Said = Annotated[Path, typer.Argument(help="A run folder, or a JSONL file of predictions.")]
Output = Annotated[Path, typer.Option(help="The file to write: .png, .svg or .pdf.")]
Dark = Annotated[bool, typer.Option("--dark", help="A dark ground, for PNG and PDF.")]
Title = Annotated[str, typer.Option(help="What stands above.")]
Names = Annotated[list[str] | None, typer.Option("--name", help="Names of the series, in their order.")]


@app.command()
def curves(
    runs: Runs,
    output: Output,
    losses: Annotated[bool, typer.Option("--losses", help="The training loss beside it.")] = False,
    name: Names = None,
    title: Title = "",
    dark: Dark = False,
) -> None:
    """Learning curves of run folders: the mean over seeds, with a band of one standard deviation."""
    from mner.plots.curves import curves_figure
    from mner.plots.runs import read_run, series_of

    series = series_of([read_run(run) for run in runs], names=name or ())
    figure = curves_figure(
        {key: [run.curve for run in group] for key, group in series.items()},
        title,
        losses={key: [run.losses for run in group] for key, group in series.items()} if losses else None,
    )
    _save(figure, output, dark)


@app.command()
def sensitivity(
    runs: Runs,
    setting: Annotated[str, typer.Option(help="The recipe's value that differs, as model.threshold.")],
    output: Output,
    logarithmic: Annotated[bool, typer.Option("--log", help="A logarithmic axis.")] = False,
    label: Annotated[str | None, typer.Option(help="What the setting is called, with its unit.")] = None,
    name: Names = None,
    title: Title = "",
    dark: Dark = False,
) -> None:
    """Test scores by the value of a setting, or by the number of training posts; error bars over seeds."""
    from mner.plots.runs import read_run, scores_by_setting
    from mner.plots.sensitivity import sensitivity_figure

    series = scores_by_setting([read_run(run) for run in runs], setting, name or ())
    _save(sensitivity_figure(series, label or setting, title, logarithmic=logarithmic), output, dark)


@app.command()
def reliability(
    run: Said,
    data: options.Data,
    output: Output,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    bins: Annotated[int, typer.Option(min=1, help="How many bins.")] = 10,
    binning: Annotated[str, typer.Option(help="equal-width or equal-count.")] = "equal-width",
    title: Title = "",
    dark: Dark = False,
    device: options.Device = "auto",
) -> None:
    """A reliability diagram: are confidences probabilities?"""
    from mner.evaluation.calibration import Binning, entity_calibration
    from mner.plots.calibration import reliability_figure

    if binning not in list(Binning):
        raise UsageError(
            f"There is no binning {shown(binning)}.", expected=" or ".join(one.value for one in Binning)
        )
    gold, predicted = _judged(run, data, split, file_format, images, knowledge, label_map, convention, device)
    found = entity_calibration(gold, predicted, bins=bins, binning=binning)
    _save(reliability_figure(found, title or f"{_name(run)} on {data.name}"), output, dark)


@app.command()
def confusion(
    run: Said,
    data: options.Data,
    output: Output,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    title: Title = "",
    dark: Dark = False,
    device: options.Device = "auto",
) -> None:
    """Which types were taken for which, over exact spans."""
    from mner.evaluation.errors import confusion as confused
    from mner.plots.errors import confusion_figure

    gold, predicted = _judged(run, data, split, file_format, images, knowledge, label_map, convention, device)
    _save(confusion_figure(confused(gold, predicted), title or f"{_name(run)} on {data.name}"), output, dark)


@app.command()
def errors(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or JSONL files of predictions.")],
    data: options.Data,
    output: Output,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    title: Title = "",
    dark: Dark = False,
    device: options.Device = "auto",
) -> None:
    """Error classes: of one run by type, of several side by side."""
    from mner.evaluation.errors import find_errors
    from mner.plots.errors import error_figure, errors_by_type, errors_of_runs

    reports = {}
    for run in runs:
        judged = _judged(run, data, split, file_format, images, knowledge, label_map, convention, device)
        name = _name(run)
        reports[name if name not in reports else str(run)] = find_errors(*judged)
    counts = errors_by_type(*reports.values()) if len(runs) == 1 else errors_of_runs(reports)
    _save(error_figure(counts, title, stacked=len(runs) == 1), output, dark)


@app.command()
def attention(
    run: options.Run,
    data: options.Data,
    post: Annotated[str, typer.Option(help="The id of the post, or its number in the split, from 1.")],
    output: Output,
    by: Annotated[
        str, typer.Option(help="Maps by word, by type (saliency of its label words), or by all label words.")
    ] = "word",
    layer: Annotated[int | None, typer.Option(help="A layer, from 1; the mean of all by default.")] = None,
    words: Annotated[
        str, typer.Option(help="Whose maps: of 'entities' (gold or found), or of 'all' words.")
    ] = "entities",
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    title: Annotated[str | None, typer.Option(help="What stands above; the text by default.")] = None,
    dark: Dark = False,
    device: options.Device = "auto",
) -> None:
    """What a run looks at in one post: maps over the picture, weighed regions or crops, or knowledge.

    CAT-MNER: for each word, or type, a map of its cells. DGHC: the regions with the weights of their gates.
    MGIPS-CL: the crops. CDNER and MMAVK (with attention): what each word reads of the knowledge.
    """
    if words not in ("entities", "all"):
        raise UsageError(f"There are no words {shown(words)}.", expected="entities or all")
    recognizer, posts = _opened(run, data, split, file_format, images, None, None)
    chosen = _chosen(posts, post)
    if knowledge is not None:
        (chosen,) = recognizer.knowledge.supply([chosen], knowledge)
    figure = _attention(
        recognizer.to(device), chosen, by, layer, words == "all", chosen.text if title is None else title
    )
    _save(figure, output, dark)


@app.command()
def gates(
    run: options.Run,
    data: options.Data,
    output: Output,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    convention: options.Stray = "conll",
    limit: options.Limit = 200,
    title: Title = "",
    dark: Dark = False,
    device: options.Device = "auto",
) -> None:
    """Gates: by layer (DGHC, CAT-MNER), or of words by their type (MGIPS-CL, CDNER)."""
    from mner.cli.inputs import convention_named
    from mner.plots.gates import gates_by_type_figure, gates_figure
    from mner.plots.showing import gates_by_layer, gates_by_type

    named = convention_named(convention)
    recognizer, posts = _opened(run, data, split, file_format, images, knowledge, limit)
    recognizer.to(device)
    above = title or f"{recognizer.name}, {len(posts)} posts of {data.name}"
    axes = [kinds for name, kinds in recognizer.model.exposes.items() if "gate" in name]
    if any(kinds[0] == "words" for kinds in axes):
        _save(
            gates_by_type_figure(
                gates_by_type(recognizer, posts, convention=named, progress=bars),
                above,
                quantity="gate (mean over features)",
            ),
            output,
            dark,
        )
        return
    found = gates_by_layer(recognizer, posts, progress=bars)
    blocks = any("blocks" in kinds for kinds in axes)
    quantity = (
        "weight of the part (all parts: 1)" if blocks else "gate (0: attention alone, 1: saliency alone)"
    )
    _save(gates_figure(found, above, quantity=quantity), output, dark)


@app.command()
def vectors(
    run: options.Run,
    data: options.Data,
    output: Annotated[Path, typer.Option(help="The page to write, .html.")],
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    predicted: Annotated[
        bool, typer.Option("--predicted", help="Predicted entities, not those of the gold.")
    ] = False,
    limit: options.Limit = None,
    perplexity: Annotated[
        float, typer.Option(min=1, help="About how many neighbours stand together.")
    ] = 30.0,
    seed: Annotated[int, typer.Option(help="Decides what is random in laying them out.")] = 1,
    title: Title = "",
    device: options.Device = "auto",
) -> None:
    """The vectors of entities in 3D (t-SNE), to turn and zoom; the page opens without a network."""
    from mner.cli.inputs import convention_named
    from mner.plots.showing import entity_vectors
    from mner.plots.vectors import laid_out, vectors_page

    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"The page cannot be written as {output.name}.", expected="a name that ends in .html"
        )
    named = convention_named(convention)
    recognizer, posts = _opened(run, data, split, file_format, images, knowledge, limit, label_map)
    recognizer.to(device)
    entities = recognizer.predict(posts, progress=bars) if predicted else [post.gold(named) for post in posts]
    found = entity_vectors(recognizer, posts, entities, progress=bars)
    points = laid_out(found.vectors, perplexity=perplexity, seed=seed)
    above = title or f"{recognizer.name}: {len(points)} entities of {data.name}"
    page = vectors_page(points, found.labels, found.mentions, found.posts, above)
    from mner.html import write_page

    write_page(output, page)
    err.print(f"The page is {output}", markup=False)


def _attention(
    recognizer: Recognizer, post: Post, by: str, layer: int | None, every_word: bool, title: str
) -> Figure:
    from mner.images import open_picture
    from mner.plots.attention import maps_figure, regions_figure, words_figure
    from mner.plots.showing import part_weights, picture_maps, picture_parts, read_texts, words_of

    read = read_texts(recognizer, post)
    if read is not None:
        values, pieces = read
        return words_figure(
            values,
            post.words,
            pieces,
            "attention",
            title,
            row_name="words of the post",
            column_name="sub-words of the knowledge",
        )
    picture = open_picture(post.image)
    if picture.image is None:
        raise DataError(
            f"The post {shown(post.id or post.text)} has no picture to look at.",
            got=post.image_problem or picture.problem,
            hint="Name the folder of the pictures with --images.",
        )
    inputs = recognizer.encoder.inputs.picture
    if inputs is None:
        raise UsageError(
            f"The model {recognizer.name} shows nothing of what it looks at.",
            expected="a cat-mner, dghc, mgips-cl or cdner run, or an mmavk run with attention and knowledge",
        )
    if inputs.parts != "cells":
        weights = part_weights(recognizer, post, layer=layer)
        return regions_figure(
            picture.image,
            picture_parts(recognizer, post),
            weights,
            title,
            quantity="gate (mean over layers)" if layer is None else f"gate of layer {layer}",
        )
    maps = picture_maps(recognizer, post, by=by, layer=layer)
    if by == "word" and not every_word:
        entities = [*recognizer(post), *(post.gold() if post.is_annotated else ())]
        wanted = words_of(post, entities)
        if wanted:
            maps = {name: values for index, (name, values) in enumerate(maps.items()) if index in wanted}
    of_layer = "mean over layers" if layer is None else f"layer {layer}"
    return maps_figure(
        picture.image, maps, f"{'attention' if by == 'word' else 'saliency'} ({of_layer})", title
    )


def _chosen(posts: Sequence[Post], wanted: str) -> Post:
    for post in posts:
        if post.id == wanted:
            return post
    if wanted.isdecimal() and 1 <= int(wanted) <= len(posts):
        return posts[int(wanted) - 1]
    raise UsageError(
        f"There is no post {shown(wanted)}.",
        expected=f"an id, such as {shown(posts[0].id)}, or a number from 1 to {len(posts)}"
        if posts
        else None,
    )


def _opened(
    run: Path,
    data: Path,
    split: str,
    file_format: str | None,
    images: Path | None,
    knowledge: Path | None,
    limit: int | None,
    label_map: Sequence[str] | None = None,
) -> tuple[Recognizer, list[Post]]:
    from mner.cli.inputs import Source, opened, supplied

    recognizer = opened(run, "cpu")
    posts = Source(data, split, file_format, images, tuple(label_map or ())).posts()[:limit]
    return recognizer, list(supplied(recognizer, posts, knowledge))


def _judged(
    run: Path,
    data: Path,
    split: str,
    file_format: str | None,
    images: Path | None,
    knowledge: Path | None,
    label_map: Sequence[str] | None,
    convention: str,
    device: str,
) -> tuple[list[Any], list[Any]]:
    from mner.cli.inputs import Source, convention_named, predictions

    named = convention_named(convention)
    renamed = tuple(label_map or ())
    posts = Source(data, split, file_format, images, renamed).posts()
    gold = [post.gold(named) for post in posts]
    return gold, predictions(
        run, posts, knowledge=knowledge, device=device, convention=named, label_map=renamed
    )


def _name(run: Path) -> str:
    from mner.cli.inputs import name_of

    return name_of(run)


def _save(figure: Figure, output: Path, dark: bool) -> None:
    from mner.plots.figures import save_figure

    save_figure(figure, output, dark=dark)
    err.print(f"The figure is {output}", markup=False)
