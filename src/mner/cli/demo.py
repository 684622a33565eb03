"""`mner demo`: the main job from end to end, shown as a person wants to see it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule

from mner.cli.app import app
from mner.cli.console import bars, err, out, print_whole
from mner.cli.predicting import highlighted
from mner.errors import DataError

EXAMPLES = Path("examples")


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="A data folder instead of the project's own set.")] = None,
    output: Annotated[Path, typer.Option(help="Where the run and the page go.")] = Path("runs/demo"),
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training posts.")] = None,
    posts: Annotated[int, typer.Option(min=1, help="How many unseen posts to show.")] = 12,
) -> None:
    """Show the recogniser that comes with mner, then train a small one, score it, and show that too."""
    if data is None:
        _show_bundled()
    from mner.cli.results import score_table
    from mner.data import read_folder
    from mner.html import page, write_page
    from mner.posts import Post
    from mner.training.memory import keep_freed_memory
    from mner.training.recipe import check_recipe
    from mner.training.run import train

    own = data is None
    folder = EXAMPLES / "posts" if data is None else data
    if own and not folder.is_dir():
        raise DataError(
            f"The project's own posts are not in {folder.resolve()}.",
            hint="Run `make demo` in a checkout of the project, or name a data folder with --data.",
        )
    # A small set wants more passes over it.
    recipe = check_recipe(
        {
            "title": "demonstration",
            "model": {"name": "bert-crf", "backbone": "default"},
            "data": {"folder": str(folder)},
            "training": {
                "epochs": epochs or (15 if own else 3),
                "learning_rate": 1e-3,
                "learning_rates": {"text": 2e-4},
            },
        },
        "the demonstration's recipe",
    )
    out.print(Rule(f"Training on {folder}"))
    dataset = read_folder(folder)
    keep_freed_memory()
    run = train(
        recipe,
        output / "run",
        dataset=dataset,
        overwrite=True,
        progress=bars,
        say=lambda message: err.print(message, markup=False, soft_wrap=True),
    )
    if run.test is not None:
        out.print(Rule("Scored once on the test posts"))
        print_whole(score_table(run.test, "test"))
    out.print(Rule("Posts it has not seen"))
    if own:
        lines = (EXAMPLES / "unseen.txt").read_text(encoding="utf-8").splitlines()
        unseen = [Post.from_text(line) for line in lines if line.strip()][:posts]
    else:
        unseen = dataset.split("test")[:posts]
    found = run.recognizer.predict(unseen)
    for post, entities in zip(unseen, found, strict=True):
        out.print(highlighted(post.text, entities))
    written = output / "demo.html"
    write_page(written, page(list(zip(unseen, found, strict=True)), "Entities in posts not trained on"))
    out.print(Rule("Done"))
    out.print(f"The same as a page: {written}", soft_wrap=True)
    out.print(f'Try your own: mner predict "…" --model {output / "run"}', markup=False, soft_wrap=True)
    out.print('With the recogniser that comes with mner: mner predict "…" --image …', markup=False)


def _show_bundled() -> None:
    """Posts with pictures by the bundled recogniser; the last two are one sentence beside two pictures."""
    from mner.data import read_posts
    from mner.recognizer import Recognizer

    out.print(Rule("The recogniser that comes with mner, on posts with pictures"))
    file = EXAMPLES / "pictures" / "posts.jsonl"
    if not file.is_file():
        raise DataError(
            f"The posts with pictures are not in {file.parent.resolve()}.",
            hint="Run `make demo` in a checkout of the project.",
        )
    recognizer = Recognizer.from_pretrained("default")
    reader = recognizer.text_reader
    if reader.problem is not None:
        err.print(f"What stands in the pictures is not read. {reader.problem}", markup=False, soft_wrap=True)
    posts = [reader.add(post) for post in read_posts(file)]
    for number, (post, entities) in enumerate(zip(posts, recognizer.predict(posts), strict=True)):
        if number == len(posts) - 2:
            out.print(Rule("One sentence, two pictures", style="dim"))
        out.print(highlighted(post.text, entities))
        if isinstance(post.image, Path):
            known = post.known("ocr")
            read = " / ".join(known.text.split("\n")) if known is not None and known.text else "nothing"
            out.print(f"    beside {post.image}, in which stands: {read}", markup=False, style="dim")
