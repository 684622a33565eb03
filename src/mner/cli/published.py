"""`mner experiment published`: the numbers that the papers print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mner.cli.console import out, print_json, print_whole, titled_table
from mner.cli.experiment import app

if TYPE_CHECKING:
    from mner.experiments.published import Column, Paper, PublishedTable


@app.command()
def published(
    paper: Annotated[str | None, typer.Argument(help="A paper, as the list of them names it.")] = None,
    table: Annotated[
        str | None, typer.Argument(help="One of its tables: 2, table-2 or figure-6.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the numbers that the papers print, baselines included; without a table, what there is."""
    from mner.experiments import published as source

    if paper is None:
        papers = source.papers()
        if as_json:
            print_json([_listed(one) for one in papers])
        else:
            for one in papers:
                _list(one)
        return
    found = source.paper(paper)
    if table is None:
        print_json(_listed(found)) if as_json else _list(found)
        return
    shown = source.published_table(f"{found.key}/{table}")
    print_json(_as_dict(shown)) if as_json else _show(shown)


def _list(paper: Paper) -> None:
    by = f"{paper.authors}, {paper.year}" if paper.authors else str(paper.year)
    listing = titled_table(f"{paper.key}: {paper.title} ({by}; {paper.where})")
    for heading in ("table", "what it shows", "rows", "columns"):
        listing.add_column(heading, justify="right" if heading in ("rows", "columns") else "left")
    for one in paper.tables:
        key = one.key.partition("/")[2]
        listing.add_row(key, one.title, str(len(one.rows)), str(len(one.columns)))
    for key, what in paper.undrawn.items():
        listing.add_row(key, f"{what} (no number to transcribe)", "", "")
    out.print(listing)


def _show(table: PublishedTable) -> None:
    grid = titled_table(f"{table.key}: {table.title}")
    grid.caption_justify = "left"
    grid.add_column("", no_wrap=True)
    for column in table.columns:
        grid.add_column("\n".join(part for part in column if part is not None), justify="right")
    previous = None
    for row in table.rows:
        if previous is not None and row.kind != previous:
            grid.add_section()
        previous = row.kind
        cells = [_number(column, value) for column, value in row.values.items()]
        grid.add_row(row.name, *cells, style="bold" if row.ours else None)
    print_whole(grid)
    out.print(table.settings, markup=False)
    for note in table.notes:
        out.print(f"* {note.said}", markup=False)


def _number(column: Column, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if column.measure in ("precision", "recall", "f1", "drop") else f"{value:.0f}"


def _listed(paper: Paper) -> dict[str, Any]:
    return {
        "paper": paper.key,
        "title": paper.title,
        "authors": paper.authors,
        "year": paper.year,
        "where": paper.where,
        "tables": [{"table": one.key, "title": one.title} for one in paper.tables],
        "not_transcribable": dict(paper.undrawn),
    }


def _as_dict(table: PublishedTable) -> dict[str, Any]:
    return {
        "table": table.key,
        "title": table.title,
        "settings": table.settings,
        "columns": [str(column) for column in table.columns],
        "rows": [
            {
                "name": row.name,
                "system": row.system,
                "kind": row.kind,
                "ours": row.ours,
                "source": row.source,
                "values": list(row.values.values()),
            }
            for row in table.rows
        ],
        "notes": [
            {
                "kind": note.kind,
                "row": note.row,
                "columns": [str(column) for column in note.columns],
                "computed": note.computed,
                "text": note.text,
            }
            for note in table.notes
        ],
    }
