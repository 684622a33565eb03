"""`mner errors`: what is wrong with predictions; `mner compare`: two runs on the same posts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from mner.cli import options
from mner.cli.app import app
from mner.cli.console import err, out, print_json, print_whole, titled_table, width_of
from mner.html import write_page
from mner.posts import Entity, Post

if TYPE_CHECKING:
    from mner.cli.inputs import Source
    from mner.evaluation.errors import Confusion, Difference, ErrorReport
    from mner.evaluation.overlap import SeenScores, TrainTestOverlap
    from mner.evaluation.significance import Comparison
    from mner.tags import Convention

_RUN = "A run folder, or a file of predictions: JSON lines, or columns."


@app.command()
def errors(
    run: Annotated[Path, typer.Argument(help=_RUN)],
    data: options.Data,
    split: options.Split = "test",
    train: Annotated[str, typer.Option(help="The split that says which mentions were seen.")] = "train",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    examples: Annotated[int, typer.Option(min=0, help="Errors of each class to list.")] = 3,
    html: Annotated[Path | None, typer.Option(help="Write a page of the posts with errors.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Most posts of each class on the page.")] = None,
    device: options.Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print all errors as JSON.")] = False,
) -> None:
    """What is wrong with a run's predictions: classes of errors, confused types, seen and unseen mentions."""
    from mner.cli.inputs import Source, convention_named, name_of, predictions

    source = Source(data, split, file_format, images, tuple(label_map or ()))
    named = convention_named(convention)
    posts = source.posts()
    predicted = predictions(
        run, posts, knowledge=knowledge, device=device, convention=named, label_map=source.label_map
    )
    found = Analysis(posts, predicted, named, training_posts(source, train))
    if html is not None:
        write_page(html, found.page(f"Errors of {name_of(run)} on {source.title}", most))
    if as_json:
        print_json({"run": str(run), "data": str(data), "split": split, **found.as_dict()})
        return
    found.print(source.title, examples)
    if html is not None:
        err.print(f"The page is {html}", markup=False)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help=_RUN)],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    data: options.Data,
    split: options.Split = "test",
    file_format: options.Format = None,
    images: options.Images = None,
    knowledge: options.Store = None,
    label_map: options.LabelMap = None,
    convention: options.Stray = "conll",
    samples: Annotated[int, typer.Option(min=100, help="Bootstrap samples, and random exchanges.")] = 2000,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Level of the interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Decides the samples.")] = 1,
    html: Annotated[Path | None, typer.Option(help="Write a page of the posts where they differ.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Most posts of each part on the page.")] = None,
    device: options.Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Is one run better than another? Significance on the same posts, and the posts where they differ."""
    from mner.cli.inputs import Source, convention_named, name_of, predictions
    from mner.evaluation.errors import differences, find_errors
    from mner.evaluation.significance import compare as compared
    from mner.evaluation.significance import post_counts

    source = Source(data, split, file_format, images, tuple(label_map or ()))
    named = convention_named(convention)
    posts = source.posts()
    gold = [post.gold(named) for post in posts]
    said = [
        predictions(
            run, posts, knowledge=knowledge, device=device, convention=named, label_map=source.label_map
        )
        for run in (first, second)
    ]
    names = (name_of(first), name_of(second))
    if names[0] == names[1]:
        names = (str(first), str(second))
    counts = [post_counts(gold, one) for one in said]
    verdict = compared(counts[0], counts[1], samples=samples, level=level, seed=seed)
    found = differences(gold, *said)
    reports = dict(zip(names, (find_errors(gold, one) for one in said), strict=True))
    title = f"{names[0]} and {names[1]} on {source.title}"
    if html is not None:
        write_page(
            html, _comparison_page(title, posts, gold, said, names, verdict, found, reports, named, most)
        )
    if as_json:
        print_json(
            {
                "first": str(first),
                "second": str(second),
                "data": str(data),
                "split": split,
                "convention": named.value,
                "first_less_second": verdict.as_dict(),
                "differences": [{"id": posts[one.post].id, **one.as_dict()} for one in found],
            }
        )
        return
    table = titled_table(f"{source.title} (convention {named})")
    columns, rows = _score_rows(names, posts, said, named)
    _fill(table, columns, rows)
    print_whole(table)
    out.print(_verdict(verdict, names), markup=False, soft_wrap=True)
    better = [one.better for one in found]
    out.print(
        f"They differ on {len(found)} of {len(posts)} posts: {names[0]} has fewer errors on "
        f"{better.count('first')}, {names[1]} on {better.count('second')}, neither on "
        f"{better.count('neither')}.",
        markup=False,
        soft_wrap=True,
    )
    if html is not None:
        err.print(f"The page is {html}", markup=False)


class Analysis:
    """What is wrong with predictions, to be printed, written as JSON or as a page.

    Args:
        posts: Annotated posts.
        predicted: For each the predicted entities.
        convention: What stray tags mean in gold.
        train: The posts that were trained on, or None where they are not known.
    """

    def __init__(
        self,
        posts: Sequence[Post],
        predicted: Sequence[Sequence[Entity]],
        convention: Convention,
        train: Sequence[Post] | None,
    ) -> None:
        from mner.evaluation.errors import confusion, find_errors
        from mner.evaluation.overlap import Mentions, seen_scores, train_test_overlap

        self.posts, self.predicted, self.convention = posts, predicted, convention
        self.gold = [post.gold(convention) for post in posts]
        self.report: ErrorReport = find_errors(self.gold, predicted)
        self.confusion: Confusion = confusion(self.gold, predicted)
        self.seen: SeenScores | None = None
        self.overlap: TrainTestOverlap | None = None
        if train is not None:
            mentions = Mentions(post.gold(convention) for post in train)
            self.seen = seen_scores(mentions, self.gold, predicted, convention)
            self.overlap = train_test_overlap(train, posts, convention)

    def as_dict(self) -> dict[str, Any]:
        """As JSON writes it; each error has its post's id and text."""
        report = self.report.as_dict()
        for error in report["errors"]:
            post = self.posts[error["post"]]
            error.update(id=post.id, text=post.text)
        return {
            "convention": self.convention.value,
            **report,
            "confusion": self.confusion.as_dict(),
            "overlap": self.overlap and self.overlap.as_dict(),
            "seen": self.seen and self.seen.as_dict(),
        }

    def print(self, title: str, examples: int) -> None:
        """Print tables, and some errors of each class."""
        from mner.evaluation.errors import ERROR_COLUMNS, ErrorClass
        from mner.evaluation.overlap import SEEN_COLUMNS
        from mner.plots.pages import error_in_words

        table = titled_table(f"{title}: entities (convention {self.convention})")
        _fill(table, ERROR_COLUMNS, self.report.rows(), last_is_total=True)
        print_whole(table)
        print_whole(self._confusion_table())
        if self.seen is not None and self.overlap is not None:
            table = titled_table("mentions in the training posts (precision by the predicted mention)")
            _fill(table, SEEN_COLUMNS, self.seen.rows())
            print_whole(table)
            out.print(
                f"{self.overlap.posts.by_text} of {self.overlap.posts.posts} posts have the text of a "
                "training post.",
                markup=False,
            )
        for kind in ErrorClass if examples else ():
            chosen = [error for error in self.report.errors if error.kind is kind][:examples]
            for error in chosen:
                post = self.posts[error.post]
                out.print(f"{error_in_words(error)}  —  {post.text}", markup=False, soft_wrap=True)

    def page(self, title: str, most: int | None) -> str:
        """A page of figures, tables and the posts with errors."""
        from mner.evaluation.errors import ERROR_COLUMNS
        from mner.evaluation.overlap import SEEN_COLUMNS
        from mner.html import type_classes
        from mner.plots import pages
        from mner.plots.errors import confusion_figure, error_figure, errors_by_type

        labels = pages.labels_of_all(self.gold, self.predicted)
        classes, _ = type_classes(labels)
        figures = {
            "Errors by class and type": error_figure(errors_by_type(self.report), stacked=True),
            "Which types were taken for which": confusion_figure(self.confusion),
        }
        parts = [
            f"<p>Convention {self.convention}; {len(self.posts)} posts.</p>",
            pages.rows_as_html(ERROR_COLUMNS, self.report.rows()),
            pages.figures_as_html(figures),
        ]
        if self.seen is not None:
            parts.append(
                "<p>Mentions seen in the training posts, precision by the predicted mention (%):</p>"
            )
            parts.append(pages.rows_as_html(SEEN_COLUMNS, self.seen.rows()))
        parts.append(
            pages.errors_as_html(self.posts, self.gold, self.predicted, self.report.errors, classes, most)
        )
        return pages.whole_page(title, labels, "\n".join(parts))

    def _confusion_table(self) -> Table:
        table = titled_table("gold type (rows), predicted type (columns), exact spans")
        names, rows = self.confusion.names, self._confusion_rows()
        _fill(table, ("", *names), rows)
        if width_of(table) <= out.width:
            return table
        # Many types, or long names: their numbers stand above the columns.
        numbered = titled_table("gold type (rows), predicted type (columns, by number), exact spans")
        numbers = [str(number) for number in range(1, len(names) + 1)]
        _fill(
            numbered,
            ("", *numbers),
            [(f"{number} {row[0]}", *row[1:]) for number, row in zip(numbers, rows, strict=True)],
        )
        return numbered

    def _confusion_rows(self) -> list[tuple[str | int, ...]]:
        names, matrix = self.confusion.names, self.confusion.matrix.tolist()
        return [(name, *row) for name, row in zip(names, matrix, strict=True)]


def training_posts(source: Source, split: str) -> list[Post] | None:
    """The posts that say which mentions were seen, or None, which is said, where there are none."""
    from mner.errors import DataError

    if not source.data.is_dir():
        err.print("One file has no training posts: seen and unseen mentions are not told apart.")
        return None
    try:
        posts = source.posts(split)
    except DataError as error:
        err.print(f"Seen and unseen mentions are not told apart: {error}", markup=False, soft_wrap=True)
        return None
    return posts


def _comparison_page(
    title: str,
    posts: Sequence[Post],
    gold: Sequence[Sequence[Entity]],
    said: Sequence[Sequence[Sequence[Entity]]],
    names: tuple[str, str],
    verdict: Comparison,
    found: Sequence[Difference],
    reports: dict[str, ErrorReport],
    convention: Convention,
    most: int | None,
) -> str:
    from mner.html import type_classes
    from mner.plots import pages
    from mner.plots.errors import error_figure, errors_of_runs

    labels = pages.labels_of_all(gold, *said)
    classes, _ = type_classes(labels)
    columns, rows = _score_rows(names, posts, said, convention)
    parts = [
        f"<p>Convention {convention}.</p>",
        pages.rows_as_html(columns, rows),
        f"<p>{pages.escape(_verdict(verdict, names))}</p>",
        pages.figures_as_html({"Errors by class": error_figure(errors_of_runs(reports))}),
        pages.differences_as_html(posts, found, names, classes, most),
    ]
    return pages.whole_page(title, labels, "\n".join(parts))


def _score_rows(
    names: Sequence[str],
    posts: Sequence[Post],
    said: Sequence[Sequence[Sequence[Entity]]],
    convention: Convention,
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    from mner.evaluation.scores import score_posts

    scores = [score_posts(posts, one, convention).overall for one in said]
    columns = ("run", "precision", "recall", "F1", "gold", "predicted", "correct")
    return columns, [(name, *one.as_dict().values()) for name, one in zip(names, scores, strict=True)]


def _verdict(verdict: Comparison, names: tuple[str, str]) -> str:
    found = verdict.difference
    return (
        f"F1 of {names[0]} less that of {names[1]}: {100 * found.value:+.2f}, "
        f"{100 * found.level:g} % interval {100 * found.low:+.2f} to {100 * found.high:+.2f} "
        f"(paired bootstrap), p = {verdict.p_value:.4f} (approximate randomisation). "
        "It says nothing of other training seeds."
    )


def _fill(
    table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]], last_is_total: bool = False
) -> None:
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if number else "left")
    for number, row in enumerate(rows, start=1):
        if last_is_total and number == len(rows):
            table.add_section()
        table.add_row(*(Text(_cell(value)) for value in row))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if isinstance(value, float) else str(value)
