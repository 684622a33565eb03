"""`mner data check` and `mner data convert`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from mner.cli import options
from mner.cli.app import app as root
from mner.cli.console import bars, counted, err, out, print_json, print_whole
from mner.errors import MissingExtraError, UsageError, did_you_mean

if TYPE_CHECKING:
    from mner.data.report import Audit, Finding
    from mner.data.writers import Written

app = typer.Typer(no_args_is_help=True, help="Look data sets over, and turn their formats into one another.")
root.add_typer(app, name="data")

_TARGETS = ("bio", "iob1", "bioes", "jsonl", "label-studio", "doccano")
_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def parse_label_map(renamings: Iterable[str] | None) -> dict[str, str]:
    """New names of types by old ones, from options of the form ``OTHER=MISC``.

    Raises:
        UsageError: One is not of that form.
    """
    label_map = {}
    for renaming in renamings or ():
        old, equals, new = renaming.partition("=")
        if not (old and equals and new):
            raise UsageError(
                f"{renaming!r} renames no type.", expected="OLD=NEW, such as OTHER=MISC", got=repr(renaming)
            )
        label_map[old] = new
    return label_map


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A data folder, or one file.")],
    file_format: Annotated[str | None, typer.Option("--format", help="Format of the files.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Scheme of the tags: bio, iob1 or bioes.")] = None,
    images: options.Images = None,
    label_map: options.LabelMap = None,
    backbone: Annotated[
        str, typer.Option(help="Encoder whose tokenizer is used: 'default', a folder, a hub name, or 'none'.")
    ] = "default",
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Sub-words that the encoder takes; its own limit by default.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Another data folder, whose test posts must not be in this train split."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> int:
    """Say what is in a data set and what is wrong with it; the exit status is 1 where something must be."""
    from mner.data import audit

    tokenizer = None
    if backbone != "none":
        from mner.nn.backbones import capacity_of, load_config, load_tokenizer

        try:
            tokenizer = load_tokenizer(backbone)
            max_length = max_length or capacity_of(load_config(backbone), tokenizer)
        except MissingExtraError as error:
            # The check is worth having without the embedded encoder; the report says what it lacks.
            err.print(Text(str(error)), soft_wrap=True)
    result = audit(
        folder,
        tokenizer=tokenizer,
        max_length=max_length,
        images=images,
        format=file_format,
        scheme=scheme,
        label_map=parse_label_map(label_map),
        against=against,
        progress=bars,
    )
    if as_json:
        print_json(result.as_dict())
    else:
        _print_audit(result)
    return 0 if result.ok else 1


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A data folder, or one file.")],
    target: Annotated[Path, typer.Argument(help="The folder or file to write.")],
    to: Annotated[
        str | None,
        typer.Option(help="bio, iob1, bioes, jsonl, label-studio or doccano [by the target's name]."),
    ] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="Format of the source.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Scheme of the source's tags.")] = None,
    images: options.Images = None,
    label_map: options.LabelMap = None,
    convention: Annotated[
        str, typer.Option(help="What stray tags mean where they are rewritten: conll or strict.")
    ] = "conll",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a data set in another format: a folder as a folder, a file as a file."""
    from mner.data.writers import convert_path

    chosen = _target(to, target)
    if convention not in ("conll", "strict"):
        raise UsageError(
            f"There is no convention {convention!r}.", hint=did_you_mean(convention, ("conll", "strict"))
        )
    written = convert_path(
        source,
        target,
        to=chosen,
        format=file_format,
        scheme=scheme,
        images=images,
        label_map=parse_label_map(label_map),
        convention=convention,
        overwrite=overwrite,
        progress=bars,
    )
    if as_json:
        print_json({"to": chosen, "files": {str(path): _written(found) for path, found in written.items()}})
        return
    for path, found in written.items():
        out.print(f"{path}: {found.posts} posts", markup=False, soft_wrap=True)
        for loss in _losses(found):
            err.print(Text(f"  {loss}"), soft_wrap=True)


@app.command()
def join(
    sets: Annotated[list[str], typer.Argument(help="Data folders; FOLDER=STORE for one with knowledge.")],
    output: Annotated[Path, typer.Option(help="The data folder to write.")],
    label_map: options.LabelMap = None,
    convention: Annotated[str, typer.Option(help="What stray tags mean: conll or strict.")] = "conll",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write several data sets as one, without posts to train on that stand in a test split of any."""
    from mner.training.joining import Part, join_sets

    if convention not in ("conll", "strict"):
        raise UsageError(
            f"There is no convention {convention!r}.", hint=did_you_mean(convention, ("conll", "strict"))
        )
    parts = []
    for name in sets:
        folder, _, store = name.partition("=")
        parts.append(Part(Path(folder), Path(store) if store else None))
    report = join_sets(
        parts,
        output,
        label_map=parse_label_map(label_map),
        convention=convention,
        overwrite=overwrite,
        progress=bars,
    )
    if as_json:
        print_json(report.as_dict())
        return
    for split, counts in report.posts.items():
        came = ", ".join(f"{name} {count}" for name, count in counts.items())
        out.print(f"{split}: {sum(counts.values())} posts ({came})", markup=False, soft_wrap=True)
    for split, counts in report.left_out.items():
        for name, count in counts.items():
            err.print(
                f"  {split}: {count} posts of {name} were left out: their text stands in posts to judge by",
                markup=False,
                soft_wrap=True,
            )
    known = ", ".join(f"{kind} {count}" for kind, count in report.knowledge.items())
    err.print(f"Known about the posts: {known or 'nothing'}.", markup=False, soft_wrap=True)


def _target(to: str | None, target: Path) -> str:
    if to is None:
        to = "jsonl" if target.suffix.lower() in (".jsonl", ".ndjson") else None
    if to is None:
        raise UsageError(
            f"What {target} shall hold is not said.", hint=f"Add --to with one of {', '.join(_TARGETS)}."
        )
    if to.lower() not in _TARGETS:
        raise UsageError(f"Nothing can be written as {to!r}.", hint=did_you_mean(to, _TARGETS))
    return to.lower()


def _written(found: Written) -> dict[str, int]:
    from dataclasses import asdict

    return asdict(found)


def _losses(found: Written) -> list[str]:
    says = {
        "respaced": "posts have another spacing now: columns hold words, not the text between them",
        "widened": "entities took whole words: their borders fell inside words",
        "dropped": "entities were left out: they overlap others",
        "unnamed": "ids were left out: not every post has one that a line can hold",
    }
    return [f"{count} {says[name]}" for name, count in _written(found).items() if name in says and count]


def _print_audit(result: Audit) -> None:
    title = Text.assemble((result.name, "bold"), f"  types: {', '.join(result.labels) or 'none'}")
    out.print(title, soft_wrap=True)
    if result.splits:
        print_whole(_split_table(result))
        print_whole(_type_table(result))
    for finding in result.findings:
        out.print(_finding_line(finding), soft_wrap=True)
    counts = {kind: sum(f.severity.value == kind for f in result.findings) for kind in _COLOURS}
    out.print(", ".join(counted(count, kind) for kind, count in counts.items()) + ".")


def _split_table(result: Audit) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for split in result.splits:
        table.add_column(split, justify="right")
    reports = list(result.splits.values())
    rows: dict[str, list[str]] = {
        "format": [f"{r.format or '-'} {r.scheme or ''}".strip() for r in reports],
        "posts": [str(r.posts) for r in reports],
        "document starts": [str(r.documents) for r in reports],
        "posts and document starts": [str(r.blocks) for r in reports],
        "words": [str(r.words) for r in reports],
        "entities (conll)": [str(r.entities["conll"]) for r in reports],
        "entities (strict)": [str(r.entities["strict"]) for r in reports],
        "stray tags": [str(r.stray_tags) for r in reports],
        "texts repeated within": [str(r.duplicates) for r in reports],
    }
    if any(r.tokens for r in reports):
        tokens = [r.tokens for r in reports]
        rows["words that vanish"] = [str(t.vanishing) if t else "-" for t in tokens]
        rows["words unknown"] = [
            f"{t.unknown / max(1, r.words):.1%}" if t else "-" for r, t in zip(reports, tokens, strict=True)
        ]
        rows["longest post, sub-words"] = [str(t.longest) if t else "-" for t in tokens]
    if any(r.pictures for r in reports):
        pictures = [r.pictures for r in reports]
        rows["pictures"] = [f"{p.good} of {p.expected}" if p else "-" for p in pictures]
        rows["pictures missing"] = [str(p.missing) if p else "-" for p in pictures]
        rows["pictures broken"] = [str(p.broken) if p else "-" for p in pictures]
    for name, cells in rows.items():
        if "document starts" not in name or any(report.documents for report in reports):
            table.add_row(name, *cells)
    return table


def _type_table(result: Audit) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("entities (conll / strict)")
    for split in result.splits:
        table.add_column(split, justify="right")
    for label in result.labels:
        cells = []
        for report in result.splits.values():
            lenient, strict = (report.entities_by_type[name].get(label, 0) for name in ("conll", "strict"))
            cells.append(str(lenient) if lenient == strict else f"{lenient} / {strict}")
        table.add_row(Text(label), *cells)
    return table


def _finding_line(finding: Finding) -> Text:
    where = f" {finding.split}" if finding.split else ""
    return Text.assemble(
        (finding.severity.value, _COLOURS[finding.severity.value]), f"{where}: {finding.message}"
    )
