"""What lies behind the scores of a table: classes of errors, mentions that training had and had not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from mner.evaluation.errors import ErrorClass, ErrorReport, find_errors
from mner.evaluation.overlap import Familiarity, Mentions, TrainTestOverlap, seen_scores, train_test_overlap
from mner.experiments.grids import NOTHING, Grid, place_of, row_name, setting_of
from mner.experiments.plans import RunPlan
from mner.experiments.results import Group, Result, Results
from mner.posts import Entity, Post


def gold_of(results: Results, result: Result) -> list[tuple[Entity, ...]]:
    """For each post of a result its gold, under the convention of the data."""
    return [post.gold[result.convention] for post in results.posts(result)]


def errors_of(results: Results, result: Result) -> ErrorReport:
    """The errors of one run."""
    return find_errors(gold_of(results, result), result.predicted)


def training_posts(results: Results, result: Result) -> list[Post]:
    """The posts that a run was trained on, with their gold; none where they were not kept."""
    key = results.shelf.record_of(result.run).get("trained_on")
    if key is None or not results.shelf.posts_file(key).is_file():
        return []
    return [post.as_post(post.gold[result.convention]) for post in results.shelf.posts(key)]


def error_grids(results: Results) -> list[Grid]:
    """For each data set how many errors of each class a row's runs have, on average."""
    grids = []
    for data, scored, groups, several in _by_place(results):
        rows = []
        for group in groups:
            reports = [errors_of(results, result) for result in group.results]
            counts = [
                _number([sum(report.counts()[kind].values()) for report in reports]) for kind in ErrorClass
            ]
            right = _number([sum(report.right.values()) for report in reports])
            rows.append((row_name(group), *setting_of(group, several), right, *counts))
        header = ("row", *(("setting",) if several else ()), "right", *(kind.value for kind in ErrorClass))
        title = f"Errors on {place_of(results, data, scored)}"
        note = "Entities, the mean over runs."
        grids.append(Grid(f"errors-{data}-{scored}", title, header, tuple(rows), 1 + several, note))
    return grids


def seen_grids(results: Results) -> list[Grid]:
    """For each data set the scores on mentions that training had, and on those that it had not."""
    grids = []
    known: dict[str, Mentions] = {}
    for data, scored, groups, several in _by_place(results):
        rows = []
        for group in groups:
            parts: dict[Familiarity, list[tuple[float | None, float | None]]] = {}
            for result in group.results:
                key = f"{results.shelf.record_of(result.run).get('trained_on')}-{result.convention}"
                if key not in known:
                    posts = training_posts(results, result)
                    known[key] = Mentions(post.gold() for post in posts)
                if not known[key].types:
                    continue
                found = seen_scores(known[key], gold_of(results, result), result.predicted)
                for part, counts in found.parts.items():
                    recall = counts.recall if counts.gold else None
                    f1 = counts.f1 if counts.gold + counts.predicted else None
                    parts.setdefault(part, []).append((recall, f1))
            cells = [
                _percent([one[n] for one in parts.get(part, ())]) for part in Familiarity for n in (0, 1)
            ]
            rows.append((row_name(group), *setting_of(group, several), *cells))
        columns = [f"{measure}, {part.value}" for part in Familiarity for measure in ("R", "F1")]
        title = f"Mentions that training had, on {place_of(results, data, scored)}"
        note = (
            "By the mention's text without case: as the same type, as another type alone, or not at all in "
            "the posts that a run was trained on. Means over runs, in per cent."
        )
        if not any(cell != NOTHING for row in rows for cell in row[1 + several :]):
            continue
        header = ("row", *(("setting",) if several else ()), *columns)
        grids.append(Grid(f"seen-{data}-{scored}", title, header, tuple(rows), 1 + several, note))
    return grids


def overlap_of(results: Results, data: str, scored: str) -> TrainTestOverlap | None:
    """What of the test posts is in all of the training posts; None where no run had all of them."""
    for group in results.groups:
        for result in group.results:
            whole = isinstance(result.run, RunPlan) and result.run.sample is None
            if group.place[:2] == (data, scored) and whole:
                train = training_posts(results, result)
                test = [post.as_post(post.gold[result.convention]) for post in results.posts(result)]
                return train_test_overlap(train, test) if train else None
    return None


def overlap_grid(results: Results) -> Grid:
    """What of each set's test posts is in its training posts."""
    rows = []
    for data, scored in results.places():
        found = overlap_of(results, data, scored)
        if found is not None:
            mentions = [str(found.mentions[part]) for part in Familiarity]
            different = [str(found.different[part]) for part in Familiarity]
            posts = [str(found.posts.posts), str(found.posts.by_id), str(found.posts.by_text)]
            rows.append((place_of(results, data, scored), *posts, *mentions, *different))
    header = (
        "posts",
        "test posts",
        "same id in training",
        "same text in training",
        *(f"mentions {part.value}" for part in Familiarity),
        *(f"different mentions {part.value}" for part in Familiarity),
    )
    return Grid("overlap", "What of the test posts is in the training posts", header, tuple(rows))


def _by_place(results: Results) -> list[tuple[str, str, list[Group], bool]]:
    """For each data set its groups with results, and whether they have several settings."""
    found = []
    for data, scored in results.places():
        groups = [group for group in results.groups if group.place[:2] == (data, scored) and group.results]
        if groups:
            found.append((data, scored, groups, len({group.setting for group in groups}) > 1))
    return found


def _number(values: Sequence[int]) -> str:
    return f"{statistics.fmean(values):.1f}" if len(values) > 1 else str(values[0])


def _percent(values: Sequence[Any]) -> str:
    some = [value for value in values if value is not None]
    return f"{100 * statistics.fmean(some):.2f}" if some else NOTHING
