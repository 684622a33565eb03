"""Predictions that were made elsewhere, by other code or a language model, taken into a table as a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mner.errors import DataError, shown
from mner.evaluation.predictions import read_predictions
from mner.evaluation.scores import identity
from mner.experiments.plans import Cell, Plan
from mner.experiments.shelf import RECORD_FILE, Shelf, now, write_document
from mner.posts import Entity, Post
from mner.progress import Reporter, silent
from mner.tags import Convention


def read_given(plan: Plan, shelf: Shelf, progress: Reporter = silent, *, remember: bool = True) -> list[str]:
    """Check the predictions of a table's files against the test posts, and keep what is not kept yet.

    Args:
        plan: The table's plan; its data sets are read.
        shelf: Where they are kept, with the posts they are of.
        progress: Told of each cell.
        remember: Keep them; without it they are checked alone.

    Returns:
        The files that were read, which were not kept before.

    Raises:
        DataError: A file cannot be read, is not of these posts, has types that the data sets have not, an
            entity twice, or a score that is no probability.
    """
    files = []
    cells = plan.given_cells
    with progress("reading predictions", len(cells)) as advance:
        for cell in cells:
            given = plan.given[cell.run]
            lacking = shelf.lacking(given)
            for name, key in cell.targets:
                if key not in lacking:
                    continue
                files.append(given.files[key])
                target = given.targets[key]
                posts = plan.materials[name].dataset.split(target.place.test)
                said = {
                    one: read_predictions(given.files[key], posts, one, target.place.label_map)
                    for one in Convention
                }
                own = Convention(plan.file.table.data[name].convention)
                _check(Path(given.files[key]), posts, said[own], name, _types(plan, cell, name))
                if remember:
                    shelf.write_posts(target.gold, posts)
                    # The convention of the data comes last: what it has, all have.
                    for one in sorted(Convention, key=lambda one: one is own):
                        shelf.write_predictions(given, key, posts, said[one], None if one is own else one)
            if remember and lacking:
                record = {"row": cell.row, "seed": cell.seed, "files": given.files, "read": now()}
                write_document(shelf.run_folder(given) / RECORD_FILE, record)
            advance(1)
    return files


def _types(plan: Plan, cell: Cell, scored: str) -> list[str]:
    """The types that predictions may have: those of what is trained on, and of what is scored."""
    return sorted({label for name in (cell.data, scored) for label in plan.materials[name].dataset.labels})


def _check(
    path: Path, posts: Sequence[Post], predicted: Iterable[Sequence[Entity]], name: str, types: Sequence[str]
) -> None:
    for number, (post, entities) in enumerate(zip(posts, predicted, strict=True), start=1):
        where = f"Post {number} of {path}"
        seen = set()
        for entity in entities:
            if entity.label not in types:
                raise DataError(
                    f"{where} has a type that the data set {name} has not.",
                    expected=", ".join(types),
                    got=shown(entity.label),
                    hint=f"`label_map` of [data.{name}] renames types of the data and of predictions.",
                )
            if identity(entity) in seen:
                raise DataError(
                    f"{where} has the entity {shown(post.text[entity.start : entity.end])} twice.",
                    expected="each entity once: a second one would count as wrong",
                )
            seen.add(identity(entity))
            if entity.score is not None and not 0 <= entity.score <= 1:
                raise DataError(
                    f"{where} has a score that is no probability.",
                    expected='0 to 1, or entities without "score"',
                    got=f"{entity.score:g}",
                )
