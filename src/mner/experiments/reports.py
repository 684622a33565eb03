"""A table's results put into tables of text, which every format writes alike.

`mner.experiments.formats` writes them as Markdown, LaTeX, CSV and JSON, `mner.plots.report` as a page with
figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mner.experiments.analysis import error_grids, overlap_grid, seen_grids
from mner.experiments.grids import (
    NOTHING,
    PLUS_MINUS,
    QUOTED,
    Grid,
    name_of,
    percent,
    place_of,
    row_name,
    setting_of,
    with_deviation,
)
from mner.experiments.plans import GivenPlan, RunPlan
from mner.experiments.published import PublishedTable
from mner.experiments.results import MEASURES, Group, Pair, Results, distinct, types_of
from mner.experiments.shelf import now
from mner.experiments.tables import Row
from mner.tags import Convention

_LABELS = {"precision": "P", "recall": "R", "f1": "F1"}


@dataclass
class Report:
    """All that a report says, besides figures.

    Args:
        title: What stands above it.
        notes: Sentences that stand first.
        facts: How the results came about, as pairs of what and which.
        grids: Its tables.
        results: What it was made of.
        pairs: Rows compared.
    """

    title: str
    notes: list[str]
    facts: list[tuple[str, str]]
    grids: list[Grid]
    results: Results
    pairs: list[Pair] = field(default_factory=list)


def describe(results: Results, pairs: Sequence[Pair] = ()) -> Report:
    """Put results into tables.

    Args:
        results: The results.
        pairs: Rows compared, as `compare_rows` gave them.
    """
    table, part = results.file.table, results.file.part
    notes = []
    if part:
        notes = [
            f"A part of the table alone: {part}. Means, comparisons and their correction are of this part."
        ]
    notes += [table.note] if table.note else []
    if results.file.size is not None and table.sizes[results.file.size].note:
        notes.append(table.sizes[results.file.size].note)
    notes += [f"{row.name}: {row.note}" for row in table.rows if row.note]
    if any(row.quoted for row in table.rows):
        notes.append("Rows marked as quoted were not run here: their numbers are the paper's.")
    notes += _made_elsewhere(results)
    notes += _drawn_again(results)
    if results.published is not None:
        notes.append(f"Published: {results.published.key}, {results.published.title}")
        if results.published.settings:
            notes.append(f"Published settings: {results.published.settings}")
        notes += _on_published(results.published, table.rows)
        notes += _without_counterpart(results, results.published)
    grids = [*_overviews(results), *_mains(results), *_types(results)]
    if pairs:
        grids.append(_comparisons(pairs, results))
    grids += [*error_grids(results), *seen_grids(results), overlap_grid(results), _every(results)]
    if results.open_cells:
        grids.append(_open(results))
    title = f"{table.title} ({part})" if part else table.title
    return Report(title, notes, _facts(results), [grid for grid in grids if grid.rows], results, list(pairs))


def _made_elsewhere(results: Results) -> list[str]:
    """Which rows were not run here, and whose predictions they have."""
    files: dict[str, list[str]] = {}
    for cell in results.plan.given_cells:
        given = results.plan.given[cell.run]
        for scored, key in cell.targets:
            parts = (place_of(results, cell.data, scored), cell.setting, cell.repeat)
            said = f"{given.files[key]} ({', '.join(part for part in parts if part)})"
            files.setdefault(cell.row, []).append(said)
    return [f"{row} was not run here; its predictions are {', '.join(of)}." for row, of in files.items()]


def _drawn_again(results: Results) -> list[str]:
    """Where a draw is of the same posts as one before: the deviation has less chance in it than it seems."""
    runs: dict[tuple[str, str, str, int | None], list[str]] = {}
    for cell in results.plan.cells:
        if cell.sampling and cell.run in results.plan.runs:
            runs.setdefault((cell.data, cell.setting, cell.row, cell.seed), []).append(cell.run)
    again = {
        ", ".join(filter(None, [place_of(results, data, data), setting])): (
            len(drawn),
            len(drawn) - len({*drawn}),
        )
        for (data, setting, _, _), drawn in runs.items()
        if len({*drawn}) < len(drawn)
    }
    return [
        f"{where}: {draws} draws, {same} of them of the same posts as one before; that run counts once "
        "more in means and deviations."
        for where, (draws, same) in again.items()
    ]


def _on_published(published: PublishedTable, rows: Sequence[Row]) -> list[str]:
    """What is to be known about the published numbers that stand here, and about the whole of them."""
    here = {row.published_name for row in rows}
    # A note that names no row is about the table.
    named = ((note, {note.row, *note.of} - {None}) for note in published.notes)
    notes = [note for note, rows in named if not rows or here & rows]
    return [f"On the published numbers: {said}" for said in dict.fromkeys(note.said for note in notes)]


def _without_counterpart(results: Results, published: PublishedTable) -> list[str]:
    """What nothing published stands beside, though nothing says that it should be so."""
    table = results.file.table
    beside = [group for group in results.groups if group.published]
    known = {row.name for row in published.rows} | {group.row.name for group in beside}
    rows = [
        row.name
        for row in table.rows
        if row.published is None and row.published_in is None and row.name not in known
    ]
    # Columns may be of a part of a set, or of another one's test posts.
    known = {*published.datas, *(group.data for group in beside)}
    sets = [
        name
        for name in dict.fromkeys(group.data for group in results.groups)
        if table.data[name].published is None and not any(one.startswith(name) for one in known)
    ]
    said = [
        f"the {what}{'' if len(names) == 1 else 's'} {', '.join(names)}"
        for what, names in (("row", rows), ("data set", sets))
        if names
    ]
    if not said:
        return []
    return [
        f"{published.key} has nothing of that name for {' and '.join(said)}, so nothing stands beside it. "
        '`published` gives the name there, "" where there is none.'
    ]


def _overviews(results: Results) -> list[Grid]:
    """Rows by data sets or settings, F1 alone, with what was published in brackets."""
    table = results.file.table
    columns = distinct(group.place for group in results.groups)
    if len(columns) < 2:
        return []
    found = {(group.row.name, group.place): group for group in results.groups}
    several = len(results.places()) > 1
    header = ["F1"]
    for data, scored, setting in columns:
        parts = [place_of(results, data, scored)] if several or not setting else []
        header.append(", ".join([*parts, *([setting] if setting else [])]))
    rows = []
    for row in table.rows:
        cells = [row.name + (QUOTED if row.quoted else "")]
        for place in columns:
            group = found.get((row.name, place))
            cells.append(NOTHING if group is None else _beside(group))
        rows.append(tuple(cells))
    printed = "; published in brackets" if any(group.published for group in results.groups) else ""
    note = f"Mean {PLUS_MINUS} standard deviation over seeds and draws, in per cent{printed}."
    return [Grid("overview", "F1 at a glance", tuple(header), tuple(rows), note=note)]


def _beside(group: Group, label: str | None = None) -> str:
    ours, published = with_deviation(group.summary("f1", label)), group.published.get(("f1", label))
    if published is None:
        return ours
    return f"[{published:.2f}]" if ours == NOTHING else f"{ours} [{published:.2f}]"


def _mains(results: Results) -> list[Grid]:
    """A grid for each data set: precision, recall, F1, both conventions, and the published F1."""
    grids = []
    for data, scored in results.places():
        groups = [group for group in results.groups if group.place[:2] == (data, scored)]
        several = len({group.setting for group in groups}) > 1
        own = results.file.table.data[scored].convention
        other = next(one.value for one in Convention if one.value != own)
        printed = [measure for measure in MEASURES if any((measure, None) in one.published for one in groups)]
        header = ["row", *(["setting"] if several else []), "runs", "P", "R", f"F1 ({own})", f"F1 ({other})"]
        header += [f"published {_LABELS[measure]}" for measure in printed]
        header += ["difference in F1"] if "f1" in printed else []
        rows = []
        for group in groups:
            ours = group.summary("f1")
            cells = [row_name(group), *setting_of(group, several)]
            cells.append(NOTHING if group.row.quoted else f"{len(group.results)} of {group.cells}")
            cells += [with_deviation(group.summary(measure)) for measure in MEASURES]
            cells.append(with_deviation(group.summary("f1", convention=other)))
            for measure in printed:
                value = group.published.get((measure, None))
                cells.append(NOTHING if value is None else f"{value:.2f}")
            if "f1" in printed:
                beside = group.published.get(("f1", None))
                both = ours is not None and beside is not None
                cells.append(f"{100 * ours.mean - beside:+.2f}" if both else NOTHING)  # type: ignore[union-attr, operator]
            rows.append(tuple(cells))
        counts = distinct(
            f"{result.scores[own].posts} posts with {result.scores[own].overall.gold} entities ({own}) and "
            f"{result.scores[other].overall.gold} ({other})"
            for group in groups
            for result in group.results
        )
        note = "; ".join(
            [
                f"Mean {PLUS_MINUS} standard deviation over seeds and draws, in per cent",
                f"P and R under {own}",
                *counts,
            ]
        )
        note += f". {_trained_on(groups)}"
        key = f"scores-{data}" if data == scored else f"scores-{data}-{scored}"
        title = f"Scores on {place_of(results, data, scored)}"
        grids.append(Grid(key, title, tuple(header), tuple(rows), 2 if several else 1, note.strip()))
    return grids


def _trained_on(groups: Sequence[Group]) -> str:
    """How many posts were trained on, where that is a part of them; nothing where it is all."""
    found = [result.run for group in groups for result in group.results]
    runs = [run for run in found if isinstance(run, RunPlan)]
    counts = sorted({run.posts for run in runs if run.sample is not None})
    if not counts:
        return ""
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    others = "" if all(run.sample is not None for run in runs) else "; the other runs on all"
    others += "; of predictions made elsewhere nothing is known" if len(runs) < len(found) else ""
    return f"Trained on a part of the training posts, {number} of them{others}."


def _types(results: Results) -> list[Grid]:
    """A grid for each data set: F1 of each type, with what was published in brackets."""
    grids = []
    for data, scored in results.places():
        groups = [group for group in results.groups if group.place[:2] == (data, scored)]
        several = len({group.setting for group in groups}) > 1
        own = results.file.table.data[scored].convention
        labels = types_of(groups)
        header = ["row", *(["setting"] if several else []), *labels]
        rows = tuple(
            (row_name(group), *setting_of(group, several), *(_beside(group, label) for label in labels))
            for group in groups
        )
        key = f"types-{data}" if data == scored else f"types-{data}-{scored}"
        title = f"F1 of each type on {place_of(results, data, scored)}"
        printed = any(label for group in groups for _, label in group.published)
        note = f"Convention {own}{'; published in brackets' if printed else ''}."
        if labels:
            grids.append(Grid(key, title, tuple(header), rows, 2 if several else 1, note))
    return grids


def _comparisons(pairs: Sequence[Pair], results: Results) -> Grid:
    rows = []
    for pair in pairs:
        one, two = pair.first, pair.second
        same_row = one.row is two.row
        where = place_of(results, one.data, one.scored)
        if one.setting and not same_row:
            where += f", {one.setting}"
        found = pair.comparison.difference
        rows.append(
            (
                one.setting if same_row else one.row.name,
                two.setting if same_row else two.row.name,
                where,
                str(pair.runs) if pair.shared else f"{pair.runs} and {pair.other_runs}",
                f"{100 * found.value:+.2f}",
                f"{100 * found.low:+.2f} to {100 * found.high:+.2f}",
                f"{pair.comparison.p_value:.4f}",
                f"{pair.corrected:.4f}",
            )
        )
    level = f"{100 * pairs[0].comparison.difference.level:g} % interval"
    header = ("first", "second", "posts", "runs of each", "F1 of first less second", level, "p", "p, Holm")
    number = "the pair" if len(pairs) == 1 else f"the {len(pairs)} pairs"
    note = (
        "Interval: paired bootstrap over posts. p: approximate randomisation over posts, two-sided; Holm's "
        f"correction is for {number} above. {_which_runs(pairs)} All their outputs for a post are drawn, and "
        "exchanged, together. Whether other posts would give the same is what is tested; how much seeds "
        "differ, the deviations above say."
    )
    return Grid("comparisons", "Any two rows on the same posts", header, tuple(rows), 3, note)


def _which_runs(pairs: Sequence[Pair]) -> str:
    """Of which runs the mean F1 is compared."""
    shared = "the runs with the draws and seeds that both have"
    none_shared = "all runs of each, for the two share no draw and seed"
    if all(pair.shared for pair in pairs):
        return f"Compared is the mean F1 of {shared}."
    if not any(pair.shared for pair in pairs):
        return f"Compared is the mean F1 of {none_shared}."
    return f"Compared is the mean F1 of {shared}; where two numbers of runs stand, of {none_shared}."


def _every(results: Results) -> Grid:
    several = any(group.setting for group in results.groups)
    drawn = any(result.cell.sampling for result in results.results)
    header = ["row", "posts"]
    header += [*(["setting"] if several else []), *(["draw"] if drawn else []), "seed", "P", "R"]
    header += [*(f"F1 ({one.value})" for one in Convention), "F1 on validation", "epoch"]
    header += ["training posts", "minutes", "code"]
    rows = []
    for result in results.results:
        training, record = results.shelf.training_of(result.run), results.shelf.record_of(result.run)
        chosen, run = training.get("chosen", {}), result.run
        overall = result.scores[result.convention].overall
        cell = result.cell
        rows.append(
            (
                cell.row,
                place_of(results, cell.data, result.scored),
                *([cell.setting] if several else []),
                *([str(cell.sampling)] if drawn else []),
                NOTHING if cell.seed is None else str(cell.seed),
                percent(overall.precision),
                percent(overall.recall),
                *(percent(result.scores[one.value].overall.f1) for one in Convention),
                percent(chosen["f1"]) if chosen else NOTHING,
                NOTHING
                if isinstance(run, GivenPlan) or not chosen
                else f"{chosen['epoch']:g} of {run.recipe.training.epochs}",
                NOTHING if isinstance(run, GivenPlan) else str(run.posts),
                NOTHING if isinstance(run, GivenPlan) else f"{training.get('seconds', 0) / 60:.1f}",
                record.get("code", NOTHING),
            )
        )
    words = 2 + several
    return Grid("runs", "All runs", tuple(header), tuple(rows), words, "Minutes are those of training alone.")


def _open(results: Results) -> Grid:
    rows = tuple((cell.title, str(state), problem) for cell, state, problem in results.open_cells)
    return Grid("missing", "Cells without results", ("cell", "state", "error"), rows, 3)


def _facts(results: Results) -> list[tuple[str, str]]:
    """How the results came about."""
    table, shelf = results.file.table, results.shelf
    runs = distinct(result.run.key for result in results.results)
    plans = [results.plan.runs[key] for key in runs if key in results.plan.runs]
    trainings = [shelf.training_of(run) for run in plans]
    records = [shelf.record_of(run) for run in plans]
    machines = distinct(_machine(one) for one in trainings)
    versions = distinct(_versions(one) for one in trainings)
    dates = sorted(distinct(one.get(key) for one in trainings for key in ("started", "finished")))
    seeds = sorted({cell.seed for cell in (one.cell for one in results.results) if cell.seed is not None})
    facts = [
        ("table", f"{results.file.path}" + (f", size {results.file.size}" if results.file.size else "")),
        ("part", results.file.part),
        ("paper", table.paper or ""),
        ("cells", f"{len(results.plan.cells) - len(results.open_cells)} of {len(results.plan.cells)} done"),
        ("seeds", ", ".join(map(str, seeds))),
        ("draws", f"{table.samplings}, from seed {table.sampling_seed}" if _is_sampled(results) else ""),
        (
            "training",
            f"{sum(one.get('seconds', 0) for one in trainings) / 60:.1f} minutes in {len(plans)} runs"
            if plans
            else "",
        ),
        ("interruptions", str(sum(one.get("resumed", 0) for one in records) or "")),
        ("dates", " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else ""),
        ("code", "; ".join(distinct(one.get("code") for one in records))),
        ("versions", "; ".join(versions)),
        ("machine", "; ".join(machines)),
    ]
    for data, scored in results.places():
        golds = distinct(
            result.gold for group in results.groups if group.scored == scored for result in group.results
        )
        trained = distinct(
            record.get("trained_on")
            for run, record in zip(plans, records, strict=True)
            if run.place.name == data and run.sample is None
        )
        if golds:
            text = f"test posts {', '.join(golds)}" + (
                f"; training posts {', '.join(trained)}" if trained else ""
            )
            facts.append((f"fingerprint of {place_of(results, data, scored)}", text))
    for data in distinct(data for data, _ in results.places()):
        on_data = [(run, one) for run, one in zip(plans, trainings, strict=True) if run.place.name == data]
        facts.append((f"knowledge of {name_of(results, data)}", _known_in_training(on_data)))
    facts.append(("report written", now()))
    return [(what, which) for what, which in facts if which]


def _known_in_training(trainings: Sequence[tuple[RunPlan, dict[str, Any]]]) -> str:
    """What the systems that read knowledge were told about their training posts; nothing where none does."""
    shares: dict[str, list[float]] = {}
    bare = 0
    for run, training in trainings:
        if run.kinds and "knowledge" in training:
            told = training["knowledge"].get("coverage", {}).get("train", {})
            bare += not told
            for kind, posts in told.items():
                shares.setdefault(kind, []).append(100 * posts / run.posts)
    said = [f"{kind} for {_range(found)} % of the training posts" for kind, found in sorted(shares.items())]
    if bare:
        said.append(f"none for {bare} of the runs, though their systems read knowledge")
    return "; ".join(said)


def _range(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys((f"{min(values):.0f}", f"{max(values):.0f}")))


def _is_sampled(results: Results) -> bool:
    return any(cell.sampling for cell in results.plan.cells)


def _machine(training: dict[str, Any]) -> str:
    found = training.get("machine")
    if not found:
        return ""
    parts = [found.get("accelerator"), found.get("processor"), found.get("platform")]
    return ", ".join(str(part) for part in parts if part) + f", threads a run: {found.get('threads')}"


def _versions(training: dict[str, Any]) -> str:
    found = training.get("versions", {})
    return ", ".join(f"{name} {number}" for name, number in found.items() if name not in ("commit", "mner"))
