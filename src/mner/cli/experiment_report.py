"""`mner experiment report`: a table's results beside the published numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from mner.cli.console import bars, counted, err, out, print_json, print_whole, titled_table
from mner.cli.experiment import (
    OUTPUT,
    DataOption,
    DrawsOption,
    KnowledgeOption,
    OnOption,
    OutputOption,
    RowOption,
    SeedOption,
    SettingOption,
    SizeOption,
    TableArgument,
    app,
    plan_of,
    refuse_file,
    table_of,
)
from mner.errors import DataError, UsageError, did_you_mean, shown

if TYPE_CHECKING:
    from mner.experiments.grids import Grid
    from mner.experiments.plans import Plan
    from mner.experiments.reports import Report
    from mner.experiments.shelf import Shelf

_FORMATS = ("html", "md", "tex", "csv")


@app.command()
def report(
    table: TableArgument,
    output: OutputOption = OUTPUT,
    data: DataOption = None,
    knowledge: KnowledgeOption = None,
    size: SizeOption = None,
    row: RowOption = None,
    on: OnOption = None,
    seed: SeedOption = None,
    setting: SettingOption = None,
    draws: DrawsOption = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write the report to; else it is only shown.")
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="html, md, tex or csv; all of them by default.")
    ] = None,
    figures: Annotated[
        str | None, typer.Option(help="Also write each figure to a file of its own: png, svg or pdf.")
    ] = None,
    conll: Annotated[
        bool, typer.Option("--conll", help="Also write each run's predictions as a CoNLL file.")
    ] = False,
    samples: Annotated[int, typer.Option(min=0, help="Bootstrap samples; 0 compares no rows.")] = 2000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Show a table's results beside the published numbers; needs neither models nor data once it was run."""
    from mner.experiments.formats import as_document
    from mner.experiments.reports import describe
    from mner.experiments.results import collect, compare_rows
    from mner.experiments.shelf import Shelf
    from mner.plots.figures import FORMATS

    wanted = formats or list(_FORMATS)
    for one in wanted:
        if one not in _FORMATS:
            raise UsageError(f"There is no format {shown(one)}.", hint=did_you_mean(one, _FORMATS))
    drawn_as = [suffix.removeprefix(".") for suffix in FORMATS]
    if figures is not None and figures not in drawn_as:
        hint = did_you_mean(figures, drawn_as)
        raise UsageError(f"There is no format {shown(figures)} of figures.", hint=hint)
    if to is None and (figures or conll or formats):
        raise UsageError("Where the report should be written is not said.", hint="Give a folder with --to.")
    if to is not None:
        refuse_file(to, "The report", "--to")
    refuse_file(output, "Results", "--output")
    file = table_of(table, size, row, on, seed, setting, draws)
    shelf = Shelf(output)
    # Who says where the data lie means these; else what was run tells.
    kept = None if data or knowledge else shelf.kept_plan(file, table_of(table, size))
    plan = kept or plan_of(file, data, knowledge)
    if kept is None:
        _say_if_changed(shelf, plan)
    results = collect(plan, shelf, bars)
    pairs = compare_rows(results, samples=samples, progress=bars) if samples else []
    found = describe(results, pairs)
    if to is not None:
        _write_report(found, to, wanted, conll)
        if figures is not None:
            _write_figures(found, to, figures)
    if as_json:
        print_json(as_document(found))
    else:
        _show_report(found)


def _say_if_changed(shelf: Shelf, plan: Plan) -> None:
    """Say why cells that were run are missing, where it is that the data are others now."""
    try:
        shelf.check_data(plan, remember=False)
    except DataError as error:
        err.print(
            f"{error.what} What was computed on the posts as they were is left out here.",
            markup=False,
            soft_wrap=True,
        )


def _write_report(report: Report, folder: Path, formats: list[str], conll: bool) -> None:
    from mner.data.files import writing
    from mner.experiments import formats as write
    from mner.plots.report import report_page

    name = write.report_name(report.results)
    writers: dict[str, Callable[[Report], str]] = {
        "html": report_page,
        "md": write.as_markdown,
        "tex": write.as_latex,
        "csv": write.as_csv,
    }
    for one in formats:
        text = writers[one](report)
        path = folder / f"{name}.{one}"
        with writing(path, overwrite=True) as written:
            # A lone surrogate, which JSON may bring, has no place in UTF-8.
            written.write(text.encode("utf-8", errors="replace"))
        err.print(f"Written: {path}", markup=False, soft_wrap=True)
    if conll:
        files = write.write_conll(report.results, folder / f"{name}-predictions")
        where = folder / f"{name}-predictions"
        err.print(f"Written: {counted(len(files), 'file')} in {where}", markup=False, soft_wrap=True)
        lost = sum(one.widened + one.dropped for one in files)
        if lost:
            what = counted(lost, "predicted entity", "predicted entities")
            err.print(
                f"{what} ended inside a word or overlapped another, which columns cannot hold: these files "
                "do not score exactly as the table does.",
                markup=False,
                soft_wrap=True,
            )


def _write_figures(report: Report, folder: Path, suffix: str) -> None:
    from mner.experiments.formats import report_name
    from mner.plots.report import save_report_figures

    folder = folder / f"{report_name(report.results)}-figures"
    written = save_report_figures(report.results, folder, f".{suffix}")
    err.print(f"Written: {counted(len(written), 'figure')} in {folder}", markup=False, soft_wrap=True)


def _show_report(report: Report) -> None:
    for note in report.notes:
        err.print(note, markup=False)
    for grid in report.grids:
        if not grid.key.startswith(("overview", "scores", "comparisons", "missing")):
            continue
        if grid.words == len(grid.header):
            # Sentences, such as errors: these can be wrapped.
            out.print(_drawn(grid, whole=False))
        else:
            print_whole(_drawn(grid))


def _drawn(grid: Grid, *, whole: bool = True) -> Table:
    """A grid for the terminal; each cell in one line, unless it need not stay whole."""
    table = titled_table(grid.title)
    table.caption, table.caption_justify = Text(grid.note, style="table.caption"), "left"
    for number, column in enumerate(grid.header):
        justify: Literal["left", "right"] = "left" if number < grid.words else "right"
        table.add_column(Text(column), justify=justify, no_wrap=whole, overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
