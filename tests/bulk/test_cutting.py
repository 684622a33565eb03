"""Parts of a file: together they are the file."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.bulk.cutting import cut
from mner.bulk.reading import open_input

LINES = st.sampled_from([b"", b'{"text": "Ada"}', b'{"text": "\xc3\xa9"}\r', b"{", b"\xff", b"  "])


@given(lines=st.lists(LINES, max_size=20), count=st.integers(1, 6))
def test_the_parts_of_a_file_are_the_file(lines, count, tmp_path_factory):
    path = tmp_path_factory.mktemp("cut") / "posts.jsonl"
    path.write_bytes(b"\n".join(lines))
    whole = open_input(path)
    items = list(whole)
    parts = cut(path, None, count, 100)
    assert [item for part in parts for item in part.items()] == items
    assert all(part.end.line - part.start.line <= count for part in parts)
    if parts:
        assert parts[-1].end == whole.position


@pytest.mark.parametrize("count", [1, 4, 7, 100])
def test_the_parts_of_a_table_are_the_table(count, tmp_path):
    path = tmp_path / "posts.parquet"
    table = pyarrow.table({"text": [f"post {n}" for n in range(20)]})
    pyarrow.parquet.write_table(table, path, row_group_size=6)
    parts = cut(path, None, count, 100)
    assert [item for part in parts for item in part.items()] == list(open_input(path))
    json.dumps([part.end.as_dict() for part in parts])
