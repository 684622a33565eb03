"""A table's report as one page: its tables, figures, and the posts where rows differ. It opens offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mner.evaluation.calibration import entity_calibration
from mner.evaluation.errors import confusion, differences
from mner.experiments.analysis import errors_of, gold_of
from mner.experiments.formats import unused_name
from mner.experiments.grids import Grid, place_of
from mner.experiments.reports import Report
from mner.experiments.results import Group, Results, types_of
from mner.html import document, type_classes
from mner.plots.calibration import reliability_figure
from mner.plots.curves import Curve, curves_figure
from mner.plots.errors import confusion_figure, error_figure, errors_of_runs
from mner.plots.figures import figure_as_svg, save_figure
from mner.plots.pages import RIGHT, STYLE, WRONG, differences_as_html, labels_of_all
from mner.plots.sensitivity import few_shot_figure, sensitivity_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SERIES = 6
"""As many rows are drawn in one figure: more cannot be told apart. As many have figures of their own."""

MOST_POSTS = 12
"""As many posts are shown of each part of a comparison."""

Value = TypeVar("Value")

_ASIDE = ("runs", "missing", "errors", "seen", "overlap")

_STYLE = (
    STYLE
    + """
body { max-width: min(72rem, 100%); }
.wide { overflow-x: auto; }
table { font-size: .92rem; line-height: 1.4; }
caption, .note { font-size: .85rem; opacity: .8; text-align: left; }
th, td { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.word, th.word { text-align: left; white-space: normal; min-width: 7rem; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; }
dl.facts dt { opacity: .75; } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
details > summary { font-size: 1rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.figures figure { flex: 1 1 26rem; min-width: 0; margin: .5rem 0; }
"""
)


def report_page(report: Report, *, figures: bool = True) -> str:
    """The page of a report.

    Args:
        report: The report.
        figures: Whether figures are drawn, for which matplotlib is needed.
    """
    results = report.results
    # A type of the training posts may be predicted where no test post has it.
    said = (entities for result in results.results for entities in result.predicted)
    labels = sorted({*results.labels, *labels_of_all(said)})
    parts = [f"<p>{escape(note)}</p>" for note in report.notes]
    parts += [_grid(grid) for grid in report.grids if not grid.key.startswith(_ASIDE)]
    if figures:
        parts += _figures(results)
    parts += [_folded(grid) for grid in report.grids if grid.key.startswith(_ASIDE)]
    parts += _differing(results, labels)
    facts = "".join(f"<dt>{escape(what)}</dt><dd>{escape(which)}</dd>" for what, which in report.facts)
    parts.append(f'<h2>How these came about</h2><dl class="facts">{facts}</dl>')
    return document(report.title, "\n".join(parts), labels, _STYLE)


def _grid(grid: Grid) -> str:
    return f"<h2>{escape(grid.title)}</h2>\n{_table(grid)}"


def _folded(grid: Grid) -> str:
    is_open = " open" if grid.key == "missing" else ""
    return f"<details{is_open}><summary>{escape(grid.title)}</summary>\n{_table(grid)}</details>"


def _table(grid: Grid) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        marked = (
            f"<{tag}{' class=word' if n < grid.words else ''}>{escape(cell)}</{tag}>"
            for n, cell in enumerate(cells)
        )
        return f"<tr>{''.join(marked)}</tr>"

    body = "\n".join(row(cells, "td") for cells in grid.rows)
    note = f'<p class="note">{escape(grid.note)}</p>' if grid.note else ""
    return (
        f'<div class="wide"><table><thead>{row(grid.header, "th")}</thead>\n'
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def report_figures(results: Results) -> dict[str, dict[str, Figure]]:
    """The figures of a report: under each title its figures by what they show.

    Args:
        results: What there is of the table.
    """
    sections: dict[str, dict[str, Figure]] = {}
    axis = results.file.table.axis or "setting"
    for data, scored in results.places():
        groups = [group for group in results.groups if group.place[:2] == (data, scored) and group.results]
        if not groups:
            continue
        where = place_of(results, data, scored)
        of_types: dict[str, Figure] = {}
        for label in types_of(groups):
            of_types.update(_by_setting(results, groups, label))
        best = _best(groups)
        chosen = f" ({len(best)} best of {len(groups)})" if len(best) < len(groups) else ""
        found = {
            f"F1 by {axis} on {where}": _by_setting(results, groups),
            f"F1 of each type by {axis} on {where}": of_types,
            f"Learning curves on {where}": _curves(results, groups) if data == scored else {},
            f"Classes of errors on {where}": _errors(results, groups),
            f"Types confused on {where}{chosen}": _confusions(results, best),
            f"Confidence and being right on {where}{chosen}": _reliability(results, best),
        }
        sections.update((title, dict(figures)) for title, figures in found.items() if figures)
    return sections


def save_report_figures(results: Results, folder: Path, suffix: str) -> list[Path]:
    """Write each figure of a report to a file of its own.

    Args:
        results: What there is of the table.
        folder: Where to.
        suffix: ``.png``, ``.svg`` or ``.pdf``.

    Returns:
        The files.

    Raises:
        UsageError: A file cannot be written.
    """
    written = []
    taken: set[str] = set()
    for title, figures in report_figures(results).items():
        for number, figure in enumerate(figures.values(), start=1):
            name = re.sub(r"\W+", "-", title).strip("-").lower()
            numbered = f"{name}-{number}" if len(figures) > 1 else name
            path = folder / f"{unused_name(numbered, taken)}{suffix}"
            save_figure(figure, path)
            written.append(path)
    return written


def _figures(results: Results) -> list[str]:
    parts = []
    for title, figures in report_figures(results).items():
        drawn = "".join(
            f"<figure>{figure_as_svg(figure, label)}</figure>" for label, figure in figures.items()
        )
        opened = " open" if title.startswith("F1 by") else ""
        parts.append(
            f'<details{opened}><summary>{escape(title)}</summary><div class="figures">{drawn}</div></details>'
        )
    return parts


def _by_setting(results: Results, groups: Sequence[Group], label: str | None = None) -> Mapping[str, Figure]:
    """Curves over the settings' values, of all entities or of one type; none where only one value was run."""
    table = results.file.table
    values = {setting.name: setting.value for setting in table.settings}
    series: dict[str, dict[float | int | bool | str, Sequence[float]]] = {}
    for group in groups:
        value, summary = values.get(group.setting), group.summary(label=label)
        if value is not None and summary is not None:
            series.setdefault(group.row.name, {})[value] = summary.values
    # One point is no curve.
    if len({value for curve in series.values() for value in curve}) < 2:
        return {}
    samples = [setting.sample for setting in table.settings if setting.sample is not None]
    figures = {}
    for number, chosen in enumerate(_portions(series)):
        name = f"F1 of {label or 'all types'} by {table.axis or 'setting'}"
        name += f", part {number + 1}" if number else ""
        if samples and all(sample.posts for sample in samples):
            figures[name] = few_shot_figure(chosen, label or "", repeats=_repeats(groups))
        else:
            axis = table.axis or "setting"
            figures[name] = sensitivity_figure(chosen, axis, label or "", repeats=_repeats(groups))
    return figures


def _curves(results: Results, groups: Sequence[Group]) -> Mapping[str, Figure]:
    curves: dict[str, list[Curve]] = {}
    losses: dict[str, list[Curve]] = {}
    for group in groups:
        name = ", ".join(part for part in (group.row.name, group.setting) if part)
        for result in group.results:
            record = results.shelf.training_of(result.run)
            points = record.get("curve", [])
            if not points:
                continue
            curves.setdefault(name, []).append([(point["epoch"], point["f1"]) for point in points])
            # Losses are noted by step; the curve says which epoch that is.
            steps = points[-1]["step"] / points[-1]["epoch"]
            found = [(one["step"] / steps, one["loss"]) for one in record.get("losses", [])]
            losses.setdefault(name, []).append(found)
    return {
        f"learning curves, part {number + 1}": curves_figure(
            chosen, losses={name: losses[name] for name in chosen}, repeats=_repeats(groups)
        )
        for number, chosen in enumerate(_portions(curves))
    }


def _errors(results: Results, groups: Sequence[Group]) -> Mapping[str, Figure]:
    reports = {_named(group): errors_of(results, group.results[0]) for group in groups}
    return {
        f"errors, part {number + 1}": error_figure(errors_of_runs(chosen), "of the first run of each row")
        for number, chosen in enumerate(_portions(reports))
    }


def _best(groups: Sequence[Group]) -> list[Group]:
    """As many groups as are drawn one by one: the best, in the table's order."""
    means = [group.summary().mean for group in groups]  # type: ignore[union-attr]
    ranked = sorted(range(len(groups)), key=means.__getitem__, reverse=True)
    return [groups[place] for place in sorted(ranked[:MOST_SERIES])]


def _confusions(results: Results, groups: Sequence[Group]) -> Mapping[str, Figure]:
    figures = {}
    for group in groups:
        result = group.results[0]
        found = confusion(gold_of(results, result), result.predicted)
        figures[f"confused types, {_named(group)}"] = confusion_figure(found, _of_run(group))
    return figures


def _reliability(results: Results, groups: Sequence[Group]) -> Mapping[str, Figure]:
    figures = {}
    for group in groups:
        result = group.results[0]
        # What other tools predicted may come without saying how sure they were.
        if any(entity.score is None for entities in result.predicted for entity in entities):
            continue
        found = entity_calibration(gold_of(results, result), result.predicted)
        if found.count:
            figures[f"reliability, {_named(group)}"] = reliability_figure(found, _of_run(group))
    return figures


def _of_run(group: Group) -> str:
    """The group, and which of its runs is looked at where there are several."""
    if len(group.results) == 1:
        return _named(group)
    return f"{_named(group)}, {group.results[0].cell.repeat}"


def _repeats(groups: Sequence[Group]) -> str:
    """In what the runs of a group differ; where both draws and seeds, each is a run."""
    draws = any(len({result.cell.sampling for result in group.results}) > 1 for group in groups)
    seeds = any(len({result.cell.seed for result in group.results}) > 1 for group in groups)
    if draws:
        return "runs" if seeds else "draws"
    return "seeds"


def _differing(results: Results, labels: list[str]) -> list[str]:
    """For each data set the posts where the first and the best of the other rows differ."""
    classes, _ = type_classes(labels)
    parts = []
    for data, scored in results.places():
        groups = [group for group in results.groups if group.place[:2] == (data, scored) and group.results]
        if len(groups) < 2:
            continue
        first = groups[0]
        best = max(groups[1:], key=lambda group: group.summary().mean)  # type: ignore[union-attr]
        one, two = first.results[0], best.results[0]
        if one.gold != two.gold:
            continue
        gold = gold_of(results, one)
        kept = results.posts(one)
        posts = [post.as_post(post.gold[one.convention]) for post in kept]
        found = differences(gold, one.predicted, two.predicted)
        names = (_named(first), _named(best))
        title = f"Posts where {names[0]} and {names[1]} differ, on {place_of(results, data, scored)}"
        legend = "".join(
            f'<li><mark class="{name}">{escape(label)}</mark></li>' for label, name in classes.items()
        )
        key = f'<ul class="legend">{legend}<li>{RIGHT} right</li><li>{WRONG} wrong</li></ul>'
        body = differences_as_html(posts, found, names, classes, MOST_POSTS)
        about = " ".join(
            f"{name}: {which}."
            for name, which in zip(names, (one.cell.repeat, two.cell.repeat), strict=True)
            if which
        )
        parts.append(
            f"<details><summary>{escape(title)}</summary><p>{escape(about)}</p>{key}\n{body}</details>"
        )
    return parts


def _named(group: Group) -> str:
    return ", ".join(part for part in (group.row.name, group.setting) if part)


def _portions(series: Mapping[str, Value]) -> list[dict[str, Value]]:
    """Series in portions that one figure can show."""
    items = iter(series.items())
    portions = []
    while portion := dict(islice(items, MOST_SERIES)):
        portions.append(portion)
    return portions
