"""Data sets: read from files, folders and the hub library, written back, and audited."""

from mner.data.audit import audit
from mner.data.dataset import Dataset
from mner.data.folders import read_folder, read_posts
from mner.data.jsonl import iterate_jsonl, parse_jsonl_line, write_jsonl
from mner.data.report import Audit
from mner.data.writers import write_columns, write_folder

__all__ = [
    "Audit",
    "Dataset",
    "audit",
    "iterate_jsonl",
    "parse_jsonl_line",
    "read_folder",
    "read_posts",
    "write_columns",
    "write_folder",
    "write_jsonl",
]
