"""`mner expose`: what a recogniser shows of its working, as named arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mner.cli import options
from mner.cli.app import app
from mner.cli.console import bars, err, out, print_json
from mner.cli.inputs import Source, opened, supplied
from mner.errors import UsageError

if TYPE_CHECKING:
    from mner.exposing import Arrays


@app.command()
def expose(
    run: options.Run,
    text: Annotated[str | None, typer.Argument(help="The text of one post.")] = None,
    image: Annotated[Path | None, typer.Option(help="Its picture, a local file.")] = None,
    alt: Annotated[str | None, typer.Option(help="The picture's alternative text.")] = None,
    data: Annotated[Path | None, typer.Option(help="Posts: a data folder, or one file.")] = None,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    limit: options.Limit = None,
    knowledge: options.Store = None,
    output: Annotated[Path, typer.Option(help="The .npz file to write; numpy.load opens it.")] = Path(
        "exposed.npz"
    ),
    batch_size: Annotated[int, typer.Option(min=1, help="Posts computed, and compared, at once.")] = 16,
    device: options.Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print names and shapes as JSON.")] = False,
) -> None:
    """Write what a run shows of posts as named arrays: attention, gates, saliency, relevance.

    Arrays are named <number>/<name>, the number of the post from 0. docs/papers says what each system's are.
    """
    if (text is None) == (data is None):
        raise UsageError(
            "There is no post to look at." if text is None else "A text and --data were both given.",
            expected="either a text or --data FOLDER",
        )
    from mner.exposing import write_arrays
    from mner.posts import Post

    recognizer = opened(run, device)
    if not recognizer.model.exposes:
        raise UsageError(
            f"The model {recognizer.name} has nothing to show.",
            hint="The systems that read pictures do; `mner models` lists them.",
        )
    if text is not None:
        posts = [Post.from_text(text, image=image, alt=alt)]
    else:
        assert data is not None
        posts = Source(data, split, file_format, images).posts()[:limit]
    known = supplied(recognizer, posts, knowledge)
    first: Arrays = {}

    def shown() -> Iterator[tuple[str, Arrays]]:
        with bars("looking", len(known)) as advance:
            for start in range(0, len(known), batch_size):
                chunk = known[start : start + batch_size]
                for post, arrays in zip(chunk, recognizer.exposed(chunk), strict=True):
                    first.update({name: values for name, values in arrays.items() if name not in first})
                    yield post.id or "", arrays
                    advance(1)

    count = write_arrays(output, shown())
    axes = {"words": ("words",), **recognizer.model.exposes}
    named = {name: [*axes.get(name, ("pieces",))] for name in first}
    if as_json:
        shapes = {name: {"axes": named[name], "shape": list(first[name].shape)} for name in first}
        print_json({"file": str(output), "posts": count, "arrays": shapes})
        return
    table = Table()
    for column in ("array", "axes", "shape for the first post that has it"):
        table.add_column(column)
    for name, values in first.items():
        table.add_row(name, ", ".join(named[name]), " x ".join(map(str, values.shape)) or "a number")
    out.print(table)
    if recognizer.picture_summary is not None:
        err.print(recognizer.picture_summary, markup=False, soft_wrap=True)
    err.print(f"The arrays of {count} posts are in {output}", markup=False, soft_wrap=True)
