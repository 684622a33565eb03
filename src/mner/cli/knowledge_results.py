"""What `mner knowledge` prints: reports, rows and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table
from rich.text import Text

from mner.cli.console import err, out, print_json

if TYPE_CHECKING:
    from mner.knowledge.exchange import ImportReport
    from mner.knowledge.making import MakingReport
    from mner.knowledge.store import KnowledgeStore, StoredAnswer

_NUMBERS = frozenset({"answers", "failed", "tokens", "cost"})


def print_providers(as_json: bool) -> None:
    """A table of the providers that can be asked by name."""
    from mner.knowledge.registry import provider_entries

    entries = provider_entries()
    if as_json:
        print_json([{"name": e.name, "kind": e.kind, "summary": e.summary} for e in entries])
        return
    table = Table("provider", "kind", "what it says")
    for entry in entries:
        table.add_row(entry.name, entry.kind, entry.summary)
    out.print(table)


def print_report(report: MakingReport) -> None:
    """What a run did, as a table; what went wrong, on stderr."""
    out.print(Text(f"{report.source.kind} by {report.source.label()}", style="bold"))
    table = Table(show_header=False, box=None)
    lines: list[tuple[str, Any]] = [
        ("posts", report.posts),
        ("known already", report.known),
        ("the same question", report.repeated),
        ("answered now", report.answered),
        ("failed now", report.failed),
        ("failed before", report.failed_before),
        ("cannot be asked", sum(report.without.values())),
    ]
    if report.input_tokens or report.output_tokens:
        lines.append(("tokens read, written", f"{report.input_tokens}, {report.output_tokens}"))
    if report.cost:
        lines.append(("cost", f"{report.cost:.4f}"))
    lines.append(("seconds", f"{report.seconds:.1f}"))
    for name, value in lines:
        if value or name == "posts":
            table.add_row(name, str(value))
    out.print(table)
    for reason, count in report.without.most_common(10):
        examples = ", ".join(report.examples.get(reason, []))
        err.print(f"  {count} x {reason} (such as {examples})", markup=False, soft_wrap=True)
    for reason, count in report.problems.most_common(10):
        err.print(f"  {count} x {reason}", markup=False, soft_wrap=True)
    if report.failed or report.failed_before:
        err.print("Ask again what failed with --retry-failed.")


def print_counts(store: KnowledgeStore, as_json: bool) -> None:
    """What a store holds, a line a source."""
    counts = store.counts()
    if as_json:
        print_json({"store": str(store.path), "answers": len(store), "sources": counts})
        return
    rows = [
        {
            "source": record["source"][:8],
            "kind": record["kind"],
            "provider": record["provider"],
            "model": str(record["settings"].get("model", "")),
            "answers": str(record["answers"]),
            "failed": str(record["failed"] or ""),
            "tokens": str((record["input_tokens"] or 0) + (record["output_tokens"] or 0) or ""),
            "cost": "" if record["cost"] is None else f"{record['cost']:.4f}",
        }
        for record in counts
    ]
    if not rows:
        err.print(f"The store {store.path} is empty.", markup=False)
        return
    # Columns in which nothing stands only take room.
    columns = [column for column in rows[0] if any(row[column] for row in rows)]
    table = Table()
    for column in columns:
        # Models are called by whole paths; the rest is short and stays in one piece.
        justify: Literal["left", "right"] = "right" if column in _NUMBERS else "left"
        table.add_column(column, overflow="fold", no_wrap=column != "model", justify=justify)
    for row in rows:
        table.add_row(*(row[column] for column in columns))
    out.print(table)


def print_row(row: StoredAnswer) -> None:
    """One answer, or why there is none."""
    title = Text(f"{row.source.kind} by {row.source.label()}", style="bold")
    out.print(title + Text(f"  {row.key[:12]}  {row.made_at[:19]}", style="dim"), soft_wrap=True)
    knowledge = row.answer.knowledge
    if knowledge is None:
        out.print(Text(f"  failed: {row.answer.problem} (tried {row.attempts} times)", style="red"))
        return
    if not knowledge.text and knowledge.score is None and not knowledge.regions:
        what = "regions" if row.source.kind == "regions" else "text"
        out.print(Text(f"  (no {what})", style="dim"))
    for line in (knowledge.text or "").splitlines():
        out.print("  " + line, markup=False, soft_wrap=True)
    if knowledge.score is not None:
        out.print(f"  score {knowledge.score:.4f}")
    for region in knowledge.regions:
        box = " ".join(f"{value:.3f}" for value in region[:4])
        score = "" if region.score is None else f"  {region.score:.2f}"
        out.print(f"  [{box}]{score}  {region.label}", markup=False, soft_wrap=True)


def row_record(row: StoredAnswer) -> dict[str, Any]:
    """One answer as JSON writes it."""
    from mner.knowledge.exchange import record_of

    return record_of(row)


def print_import(report: ImportReport) -> None:
    """What became of a file that was imported."""
    what = f"{report.source.kind} as {report.source.provider}" if report.source else "rows of a store"
    out.print(Text(f"{report.path.name}: {report.entries} entries, {what}", style="bold"), soft_wrap=True)
    out.print(f"  written: {report.stored}")
    for text, count in report.placeholders.items():
        verdict = "kept as failures" if report.dropped else "kept; drop with --drop-placeholders"
        share = 100 * count / report.entries
        out.print(
            f"  placeholder? {count} entries ({share:.1f} %) say {text!r}: {verdict}",
            markup=False,
            soft_wrap=True,
        )
    _print_names("empty, kept as failures", report.empty)
    _print_names("named twice, the first counts", report.repeated)
    if report.posts is not None:
        _print_names("entries without a post", report.unmatched)
        _print_names(f"of {report.posts} posts nothing is said about", report.missing)


def _print_names(what: str, names: tuple[str, ...]) -> None:
    if names:
        some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        out.print(f"  {what}: {len(names)} ({some})", markup=False, soft_wrap=True)
