"""`mner predict`: entities of one post, or of any number of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mner.cli import options
from mner.cli.app import app
from mner.cli.console import bars, counted, err, out, print_json
from mner.errors import DataError, UsageError, shown
from mner.posts import Entity, Post

if TYPE_CHECKING:
    from mner.bulk import BulkReport

MOST_ON_A_PAGE = 1000

_OF_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".conll")

# Colours that can be told apart on light and dark terminals; types take them in turn.
_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")


@app.command()
def predict(
    text: Annotated[str | None, typer.Argument(help="The text of one post.")] = None,
    image: Annotated[Path | None, typer.Option(help="Its picture, a local file.")] = None,
    alt: Annotated[str | None, typer.Option(help="The picture's alternative text.")] = None,
    model: Annotated[
        Path,
        typer.Option(help="A run folder, or an ONNX file; 'default' is the recogniser that comes with mner."),
    ] = Path("default"),
    source: Annotated[
        str | None,
        typer.Option("--input", help="Posts: .jsonl, .csv, .tsv, .parquet, a text a line, or '-' (stdin)."),
    ] = None,
    knowledge: options.Store = None,
    read_pictures: options.ReadPictures = True,
    output: Annotated[
        str, typer.Option(help="Where entities go: .jsonl, .csv, .parquet, .conll, or '-' (stdout).")
    ] = "-",
    input_format: Annotated[
        str | None, typer.Option(help="jsonl, text, csv, tsv or parquet, where the name does not say it.")
    ] = None,
    output_format: Annotated[
        str | None, typer.Option(help="jsonl, csv, parquet or conll, where the name does not say it.")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Where lines that cannot be read go [OUTPUT.rejects.jsonl].")
    ] = None,
    resume: options.Resume = False,
    overwrite: options.StartAgain = False,
    max_characters: options.MostCharacters = 100_000,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with the entities highlighted (1000 posts).")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Posts computed at once.")] = 32,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recognise entities: of one post given here, or of many with --input and --output."""
    if (text is None) == (source is None):
        raise UsageError(
            "There is nothing to recognise." if text is None else "A text and --input were both given.",
            expected="either a text or --input FILE",
        )
    for_files = {
        "--output": output != "-",
        "--output-format": output_format is not None,
        "--input-format": input_format is not None,
        "--rejects": rejects is not None,
        "--resume": resume,
        "--overwrite": overwrite,
    }
    for_one = {"--image": image is not None, "--alt": alt is not None}
    if text is not None:
        _check_is_text(text)
        _refuse(
            for_files,
            "a text",
            "them with --input FILE",
            "A text's entities are printed; --json prints JSON.",
        )
    else:
        hint = "Posts of a file bring their own, as `image` and `alt`."
        _refuse(for_one, "--input", "them with a text given here", hint)
        if output != "-" or output_format not in (None, "jsonl"):
            written = f"--output {output}" if output != "-" else f"--output-format {output_format}"
            hint = "A name that ends in .jsonl, or --output-format jsonl, gives a file of JSON lines."
            _refuse({"--json": as_json}, written, "it where JSON lines are printed", hint)
    if resume and output == "-":
        raise UsageError(
            "What was written to a pipe cannot be gone on with.",
            expected="--output FILE with --resume",
        )
    # Before what takes seconds to import; a pipe that has a name is a file too.
    if source is not None and source != "-" and not Path(source).exists():
        raise DataError(f"There is no file {shown(source)}.", hint="`--input -` reads the standard input.")
    if image is not None:
        _check_picture(image)
    from mner.bulk import predict_file, prediction_record
    from mner.recognizer import Recognizer

    kind: type[Recognizer] = Recognizer
    if model.suffix.lower() == ".onnx":
        from mner.onnx import OnnxRecognizer

        kind = OnnxRecognizer
    recognizer = kind.from_pretrained(model, device=device, dtype=dtype)
    if text is not None:
        given = [Post.from_text(text, image=image, alt=alt)]
        (post,) = given if knowledge is None else recognizer.knowledge.supply(given, knowledge)
        if read_pictures and post.image is not None:
            post = recognizer.text_reader.add(post)
            if recognizer.text_reader.problem is not None and not post.alt:
                _say_unread(recognizer.text_reader.problem)
        entities = recognizer(post)
        if html is not None:
            _write_page(html, [(post, entities)])
        if image is not None and recognizer.picture_summary is not None:
            err.print(recognizer.picture_summary, markup=False, soft_wrap=True)
        if as_json:
            print_json(prediction_record(post, entities))
        else:
            print_post(text, entities)
        return
    assert source is not None
    page: list[tuple[Post, Sequence[Entity]]] = []

    def keep(post: Post, entities: Sequence[Entity]) -> None:
        if html is not None and len(page) < MOST_ON_A_PAGE:
            page.append((post, entities))

    report = predict_file(
        recognizer,
        sys.stdin.buffer if source == "-" else Path(source),
        sys.stdout.buffer if output == "-" else Path(output),
        knowledge=knowledge,
        read_pictures=read_pictures,
        input_format=input_format,
        written_as=output_format,
        rejects=rejects,
        resume=resume,
        overwrite=overwrite,
        batch_size=batch_size,
        most_characters=max_characters,
        seen=keep,
        progress=bars,
    )
    if read_pictures and recognizer.text_reader.problem is not None:
        _say_unread(recognizer.text_reader.problem)
    if read_pictures and recognizer.text_reader.summary is not None:
        err.print(recognizer.text_reader.summary, markup=False, soft_wrap=True)
    if html is not None:
        _write_first_posts(html, page, report)
    if recognizer.picture_summary is not None:
        err.print(recognizer.picture_summary, markup=False, soft_wrap=True)
    say_report(report, source)


def _refuse(options: dict[str, bool], given: str, expected: str, hint: str) -> None:
    """Refuse options that would do nothing.

    Raises:
        UsageError: One of them was given.
    """
    named = [name for name, is_given in options.items() if is_given]
    if named:
        raise UsageError(
            f"{' and '.join(named)} would do nothing beside {given}.", expected=expected, hint=hint
        )


def _check_is_text(text: str) -> None:
    """Refuse the name of a file where a text should be: nobody means the entities of the name.

    Raises:
        UsageError: It is one.
    """
    try:
        there = Path(text).is_file()
    except (OSError, ValueError):
        # No name at all: too long, say.
        there = False
    if not there and (re.search(r"\s", text) or Path(text).suffix.lower() not in _OF_FILES):
        return
    hint = f"Its posts: mner predict --input {text}" if there else "A file of posts is given with --input."
    raise UsageError(f"{shown(text)} is the name of a file.", expected="the text of a post", hint=hint)


def _check_picture(path: Path) -> None:
    """Refuse a picture that nothing will be seen of, before a model is loaded.

    Raises:
        DataError: It is not there, or is no picture that can be read.
    """
    from mner.images import open_picture

    opened = open_picture(path)
    if opened.image is None:
        raise DataError(
            f"The picture {path} cannot be used.",
            expected="a PNG, JPEG, WebP, GIF, BMP or TIFF file",
            got=opened.problem,
            hint="Without --image the text is read alone.",
        )


def _say_unread(problem: str) -> None:
    err.print(f"What stands in pictures was not read. {problem}", markup=False, soft_wrap=True)


def say_report(report: BulkReport, source: str) -> None:
    """Say what became of an input.

    Raises:
        DataError: Lines of it could not be predicted.
    """
    if report.was_done:
        err.print("The output is complete already; there is nothing to go on with.")
        return
    again = f", the first {report.resumed_after} lines by an earlier run" if report.resumed_after else ""
    posts, entities = counted(report.posts, "post"), counted(report.entities, "entity", "entities")
    err.print(f"{posts}, {entities}{again}.", markup=False, soft_wrap=True)
    if report.pictureless:
        were = "post was" if report.pictureless == 1 else "posts were"
        err.print(f"{report.pictureless} {were} predicted without the picture that they name.")
    for problem in report.examples:
        err.print(problem, markup=False, soft_wrap=True)
    if report.rejected:
        listed = f"Each is listed in {report.rejects}." if report.rejects is not None else ""
        named = "stdin" if source == "-" else source
        raise DataError(
            f"{counted(report.rejected, 'line')} of {named} could not be read; all others were predicted.",
            hint=listed or ("Each is named above." if report.rejected <= len(report.examples) else None),
        )


def _write_page(path: Path, posts: Sequence[tuple[Post, Sequence[Entity]]]) -> None:
    from mner.html import page, write_page

    write_page(path, page(posts, "Entities"))
    err.print(f"A page with {len(posts)} posts: {path}", markup=False, soft_wrap=True)


def _write_first_posts(
    path: Path, posts: Sequence[tuple[Post, Sequence[Entity]]], report: BulkReport
) -> None:
    """Write the page of a file's first posts, unless an earlier run had them and may have written it."""
    after = f"after line {report.resumed_after}, where the earlier run was stopped"
    if report.was_done:
        said = f"{path} is left as it is: no post was predicted."
    elif report.resumed_after and path.exists():
        said = f"{path} is left as it is: a page of this run would begin {after}."
    elif report.resumed_after and not posts:
        said = f"{path} is not written: no post was left to predict {after}."
    else:
        _write_page(path, posts)
        said = f"The page begins {after}; --overwrite starts again." if report.resumed_after else ""
    if said:
        err.print(said, markup=False, soft_wrap=True)


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
