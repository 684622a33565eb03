"""Many posts: files of any length predicted in order and resumably, on one machine or a cluster."""

from __future__ import annotations

from mner.bulk.formats import OUTPUT_FORMATS, OutputFormat, prediction_record
from mner.bulk.reading import INPUT_FORMATS, MOST_CHARACTERS, Item, Position, Reader, open_input
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
