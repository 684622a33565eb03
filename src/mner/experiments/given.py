"""Predictions that were made elsewhere, by other code or a language model, taken into a table as a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mner.data.dataset import rename_labels
from mner.errors import DataError, shown
from mner.evaluation.predictions import read_predictions
from mner.experiments.plans import Plan
from mner.experiments.shelf import RECORD_FILE, Shelf, now, write_document
from mner.posts import Entity, Post
from mner.progress import Reporter, silent


def read_given(plan: Plan, shelf: Shelf, progress: Reporter = silent) -> int:
    """Check the predictions of a table's files against the test posts, and keep what is not kept yet.

    Args:
        plan: The table's plan; its data sets are read.
        shelf: Where they are kept, with the posts they are of.
        progress: Told of each file.

    Returns:
        How many cells have predictions that were made elsewhere.

    Raises:
        DataError: A file cannot be read, is not of these posts, or has types that the data set has not.
    """
    cells = [cell for cell in plan.cells if cell.run in plan.given]
    with progress("reading predictions", len(cells)) as advance:
        for cell in cells:
            given = plan.given[cell.run]
            for name, key in cell.targets:
                if shelf.has_predictions(given, key):
                    continue
                target = given.targets[key]
                material = plan.materials[name]
                posts = material.dataset.split(target.place.test)
                convention = plan.file.table.data[name].convention
                path = Path(given.files[key])
                predicted = _renamed(read_predictions(path, posts, convention), posts, target.place.label_map)
                _check_types(path, predicted, name, material.dataset.labels)
                shelf.write_posts(target.gold, posts)
                shelf.write_predictions(given, key, posts, predicted)
            record = {"row": cell.row, "seed": cell.seed, "files": given.files, "read": now()}
            write_document(shelf.run_folder(given) / RECORD_FILE, record)
            advance(1)
    return len(cells)


def _renamed(
    predicted: Sequence[Sequence[Entity]], posts: Sequence[Post], label_map: Mapping[str, str]
) -> list[list[Entity]]:
    """The entities with the names of types that the table gives the data set's own."""
    said = [
        post.with_fields(entities=tuple(entities), tags=None)
        for post, entities in zip(posts, predicted, strict=True)
    ]
    return [list(post.entities or ()) for post in rename_labels(said, label_map)]


def _check_types(path: Path, predicted: Sequence[Sequence[Entity]], name: str, known: Sequence[str]) -> None:
    unknown = sorted({entity.label for entities in predicted for entity in entities} - set(known))
    if unknown:
        raise DataError(
            f"The predictions in {path} have types that the data set {name} has not.",
            expected=", ".join(known),
            got=", ".join(map(shown, unknown)),
            hint=f"`label_map` of [data.{name}] renames types of the data and of predictions.",
        )
