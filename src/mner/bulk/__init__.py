"""Many posts: files of any length predicted in order and resumably, on one machine or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mner.bulk.formats import OUTPUT_FORMATS, OutputFormat, prediction_record
from mner.bulk.reading import INPUT_FORMATS, MOST_CHARACTERS, Item, Position, Reader, open_input

if TYPE_CHECKING:
    from mner.bulk.running import BulkReport, predict_file

__all__ = [
    "INPUT_FORMATS",
    "MOST_CHARACTERS",
    "OUTPUT_FORMATS",
    "BulkReport",
    "Item",
    "OutputFormat",
    "Position",
    "Reader",
    "open_input",
    "predict_file",
    "prediction_record",
]


def __getattr__(name: str) -> Any:
    # These bring torch; workers that only read do without.
    if name in ("BulkReport", "predict_file"):
        from mner.bulk import running

        return getattr(running, name)
    raise AttributeError(f"module 'mner.bulk' has no attribute {name!r}")
