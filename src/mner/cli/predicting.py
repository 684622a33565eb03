"""`mner predict`: entities of one post, or of any number of them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.text import Text

from mner.cli.app import app
from mner.cli.console import bars, err, out, print_json
from mner.errors import DataError, UsageError, shown
from mner.posts import Entity, Post

# Colours that can be told apart on light and dark terminals; types take them in turn.
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")


@app.command()
def predict(
    text: Annotated[str | None, typer.Argument(help="The text of one post.")] = None,
    image: Annotated[Path | None, typer.Option(help="Its picture, a local file.")] = None,
    alt: Annotated[str | None, typer.Option(help="The picture's alternative text.")] = None,
    model: Annotated[Path | None, typer.Option(help="A run folder.")] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="Posts: a .jsonl file, a text file with one a line, or '-'.")
    ] = None,
    knowledge: Annotated[Path | None, typer.Option(help="Knowledge store, for models that read it.")] = None,
    output: Annotated[str, typer.Option(help="Where entities go, as JSON lines; '-' is stdout.")] = "-",
    batch_size: Annotated[int, typer.Option(min=1, help="Posts computed at once.")] = 32,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recognise entities: of one post given here, or of many with --input and --output."""
    if (text is None) == (source is None):
        raise UsageError(
            "There is nothing to recognise." if text is None else "A text and --input were both given.",
            expected="either a text or --input FILE",
        )
    if model is None:
        raise UsageError(
            "No recogniser was named.",
            expected="--model with a run folder",
            hint="`make demo` trains one in a few minutes, `mner train RECIPE.toml` any other.",
        )
    from mner.recognizer import Recognizer

    recognizer = Recognizer.from_pretrained(model, device=device, dtype=dtype)
    if text is not None:
        given = [Post.from_text(text, image=image, alt=alt)]
        (post,) = given if knowledge is None else recognizer.knowledge.supply(given, knowledge)
        entities = recognizer(post)
        if image is not None and recognizer.picture_summary is not None:
            err.print(recognizer.picture_summary, markup=False, soft_wrap=True)
        if as_json:
            print_json(as_record(post, entities))
        else:
            print_post(text, entities)
        return
    assert source is not None
    problems: list[str] = []
    with _opened(source) as lines, _written(output) as written, bars("recognising") as advance:
        posts, kept = _noted(_posts(lines, source, problems))
        known = posts if knowledge is None else recognizer.knowledge.supply(posts, knowledge)
        for entities in recognizer.stream(known, batch_size=batch_size):
            written.write(json.dumps(as_record(kept.pop(0), entities), ensure_ascii=False) + "\n")
            advance(1)
    if recognizer.picture_summary is not None:
        err.print(recognizer.picture_summary, markup=False, soft_wrap=True)
    for problem in problems[:20]:
        err.print(problem, markup=False, soft_wrap=True)
    if problems:
        raise DataError(
            f"{len(problems)} lines of {source} could not be read; all others were predicted.",
            hint="Each is named above with its line." if len(problems) <= 20 else "The first 20 are above.",
        )


def as_record(post: Post, entities: Iterable[Entity]) -> dict[str, Any]:
    """A post and its entities as every command writes them as JSON."""
    record: dict[str, Any] = {"id": post.id} if post.id else {}
    return {**record, "text": post.text, "entities": [entity.as_dict() for entity in entities]}


def highlighted(text: str, entities: Iterable[Entity]) -> Text:
    """A text with its entities in colour, each with its type and score behind it."""
    shown_text = Text()
    position = 0
    for entity in entities:
        colour = _COLOURS[sum(map(ord, entity.label)) % len(_COLOURS)]
        shown_text.append(text[position : entity.start])
        shown_text.append(entity.text, style=f"bold {colour}")
        score = "" if entity.score is None else f" {entity.score:.2f}"
        shown_text.append(f" [{entity.label}{score}]", style=colour)
        position = entity.end
    shown_text.append(text[position:])
    return shown_text


def print_post(text: str, entities: Iterable[Entity]) -> None:
    """Print a text with its entities in colour; without a terminal, a line an entity besides."""
    found = list(entities)
    out.print(highlighted(text, found))
    if not found:
        err.print("No entities were found.")


@contextlib.contextmanager
def _opened(source: str) -> Iterator[Iterable[bytes]]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 (closed below, opened here for the message)
    except OSError as error:
        raise DataError(f"The posts in {shown(source)} cannot be read.", got=str(error)) from error
    with file:
        yield file


@contextlib.contextmanager
def _written(output: str) -> Iterator[TextIO]:
    if output == "-":
        yield sys.stdout
        return
    draft = Path(output + ".part")
    try:
        file = draft.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{shown(output)} cannot be written.", got=str(error)) from error
    with file:
        yield file
    draft.replace(output)


def _posts(lines: Iterable[bytes], source: str, problems: list[str]) -> Iterator[Post]:
    from mner.data import parse_jsonl_line

    base = None if source == "-" else Path(source).parent
    for number, raw in enumerate(lines, 1):
        where = f"{'stdin' if source == '-' else source}, line {number}"
        try:
            line = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            problems.append(f"{where}: not UTF-8 ({error.reason} at byte {error.start})")
            continue
        if not line.strip():
            continue
        if not line.lstrip().startswith("{"):
            yield Post.from_text(line)
            continue
        try:
            yield parse_jsonl_line(line, base=base, where=where)
        except DataError as error:
            problems.append(str(error))


def _noted(posts: Iterable[Post]) -> tuple[Iterator[Post], list[Post]]:
    # The stream reads ahead; what it has read and not yet answered waits here.
    waiting: list[Post] = []

    def reading() -> Iterator[Post]:
        for post in posts:
            waiting.append(post)
            yield post

    return reading(), waiting
