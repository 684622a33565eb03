"""Inputs: what is read, what is refused with which reason, and going on in another process."""

from __future__ import annotations

import csv
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.bulk.reading import MOST_LINE_BYTES, Lines, open_input
from mner.errors import DataError, UsageError
from tests.contract.tiny import tiny_picture


def read(content, tmp_path, name="posts.jsonl", **options):
    path = tmp_path / name
    path.write_bytes(content)
    return list(open_input(path, **options))


def test_broken_lines_are_items_with_a_reason_and_the_rest_is_read(tmp_path):
    lines = [
        b'\xef\xbb\xbf{"text": "first"}',
        b'{"text": "latin \xe9"}',
        b"",
        b'{"text": "half \\ud83d"}',
        b"[1, 2]",
        b'{"text": 5}',
        b'{"text": "nul \\u0000 inside"}',
        b"not json",
        b"{" * 5000,
        '{"text": "líneas \u2028 not cut", "image": "gone.jpg"}'.encode(),
        b'{"text": "last"}',
    ]
    items = read(b"\r\n".join(lines), tmp_path)
    assert [item.line for item in items] == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    problems = {item.line: item.problem for item in items if item.post is None}
    assert set(problems) == {2, 4, 5, 6, 8, 9}
    assert "UTF-8" in problems[2]
    assert "surrogate" in problems[4]
    assert all(f"line {line}" in problem for line, problem in problems.items())
    texts = {item.line: item.post.text for item in items if item.post is not None}
    assert texts[1] == "first"
    assert texts[10] == "líneas \u2028 not cut"
    assert "gone.jpg" in next(item.post.image_problem for item in items if item.line == 10)


def test_long_posts_and_endless_lines_are_refused_in_bounded_memory(tmp_path):
    long = json.dumps({"text": "word " * 30_000}).encode()
    endless = b'{"text": "' + b"x" * (3 * MOST_LINE_BYTES) + b'"}'
    items = read(b"\n".join([long, endless, b'{"text": "after"}']), tmp_path)
    assert [item.line for item in items] == [1, 2, 3]
    assert "150000 characters" in items[0].problem
    assert f"{MOST_LINE_BYTES} bytes" in items[1].problem
    assert len(items[0].content) <= 200
    assert items[2].post.text == "after"
    assert read(long, tmp_path, most_characters=200_000)[0].post is not None


def test_a_file_in_utf16_is_refused_as_a_whole(tmp_path):
    with pytest.raises(DataError, match="UTF-16"):
        read('{"text": "x"}'.encode("utf-16"), tmp_path)


@pytest.mark.parametrize(
    ("content", "format"), [(b'\n {"text": "x"}\n', "jsonl"), (b"\nKawhi wins\n{x}\n", "text")]
)
def test_a_stream_is_what_its_first_line_looks_like(content, format):
    reader = open_input(io.BytesIO(content))
    assert reader.format == format
    assert next(iter(reader)).line == 2


def test_wrong_formats_are_refused(tmp_path):
    with pytest.raises(UsageError, match="jsonl"):
        open_input(io.BytesIO(b""), "jsnl")
    with pytest.raises(UsageError, match="pipe"):
        open_input(io.BytesIO(b""), "parquet")
    with pytest.raises(DataError, match="column of texts"):
        read(b"id,body\n1,x\n", tmp_path, "posts.csv")
    with pytest.raises(DataError, match="Parquet"):
        read(b"PAR1 not really", tmp_path, "posts.parquet")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=8))
def test_every_table_that_python_writes_is_read(rows):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("id", "text"), *rows])
    stream = io.BytesIO(written.getvalue().encode())
    # A lone carriage return inside a field comes back as it is; the identity of a row is its own text.
    items = list(open_input(stream, "csv"))
    assert [item.problem for item in items] == [None] * len(rows)
    assert [(item.post.id, item.post.text) for item in items] == rows


def test_a_quotation_mark_that_never_closes_costs_its_own_line_alone(tmp_path):
    rows = ["text,alt", 'one,"a\nb"', 'two,"never closed', "three,x", "four,y,z", '"five, six",', "s\xe9ven,"]
    content = "\n".join(rows).encode("latin-1")
    items = read(content, tmp_path, "posts.csv")
    assert [(item.line, item.post.text if item.post else None) for item in items] == [
        (2, "one"),
        (4, None),
        (5, "three"),
        (6, None),
        (7, "five, six"),
        (8, None),
    ]
    assert "3 fields" in items[3].problem
    assert "UTF-8" in items[5].problem


def test_parquet_brings_pictures_as_bytes_and_names_bad_rows(tmp_path):
    picture = tiny_picture(1)
    texts = pyarrow.Array.from_buffers(
        pyarrow.string(),
        4,
        [
            None,
            pyarrow.py_buffer(b"\0\0\0\0\3\0\0\0\4\0\0\0\7\0\0\0\12\0\0\0"),
            pyarrow.py_buffer(b"one\xfftwosix"),
        ],
    )
    images = [{"bytes": picture, "path": None}, None, {"bytes": None, "path": "gone.png"}, None]
    path = tmp_path / "posts.parquet"
    table = pyarrow.table({"id": [1, 2, 3, 4], "text": texts, "image": images, "score": [0.1] * 4})
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    items = list(open_input(path))
    assert [item.line for item in items] == [1, 2, 3, 4]
    assert items[0].post.image == picture
    assert items[0].post.id == "1"
    assert "UTF-8" in items[1].problem
    assert "gone.png" in items[2].post.image_problem
    assert items[3].post.text == "six"


@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_parquet_brings_pictures_as_paths_relative_to_the_file(kind, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "café.png").write_bytes(tiny_picture(1))
    names = ["pictures/café.png", None, "pictures/gone.png", "pictures/café.png"]
    path = tmp_path / "posts.parquet"
    table = pyarrow.table({"text": ["a", "b", "c", "d"], "image": pyarrow.array(names).cast(kind)})
    pyarrow.parquet.write_table(table, path)
    assert pyarrow.parquet.read_schema(path).field("image").type == kind
    posts = [item.post for item in open_input(path)]
    there = tmp_path / "pictures" / "café.png"
    assert [post.image for post in posts] == [there, None, None, there]
    assert "gone.png" in posts[2].image_problem


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.dictionary(pyarrow.int32(), pyarrow.binary())])
def test_parquet_brings_bytes_as_they_are_even_where_they_look_like_a_path(kind, tmp_path):
    (tmp_path / "a.png").write_bytes(tiny_picture(1))
    contents = [tiny_picture(2), b"a.png"]
    table = pyarrow.table({"text": ["a", "b"], "image": pyarrow.array(contents, pyarrow.binary()).cast(kind)})
    pyarrow.parquet.write_table(table, tmp_path / "posts.parquet")
    assert [item.post.image for item in open_input(tmp_path / "posts.parquet")] == contents


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array(["", None]),
        pyarrow.array(["", None]).cast(pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
        pyarrow.array([b"", None]),
        pyarrow.array([{"bytes": None, "path": ""}, {"bytes": b"", "path": None}]),
    ],
    ids=["strings", "a dictionary", "bytes", "structs"],
)
def test_an_empty_picture_in_parquet_is_none_as_in_csv(column, tmp_path):
    table = pyarrow.table({"text": ["a", "b"], "image": column})
    pyarrow.parquet.write_table(table, tmp_path / "posts.parquet")
    (tmp_path / "posts.csv").write_text("text,image\na,\nb,\n")
    items = list(open_input(tmp_path / "posts.parquet"))
    assert [item.problem for item in items] == [None, None]
    of_csv = [item.post for item in open_input(tmp_path / "posts.csv")]
    assert [item.post for item in items] == of_csv
    assert [(post.image, post.image_problem) for post in of_csv] == [(None, None)] * 2


def test_a_path_in_parquet_that_is_not_utf8_costs_its_row(tmp_path):
    offsets = pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0")
    names = pyarrow.Array.from_buffers(pyarrow.string(), 2, [None, offsets, pyarrow.py_buffer(b"\xffx")])
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "image": names}), tmp_path / "p.parquet")
    bad, good = open_input(tmp_path / "p.parquet")
    assert "row 1" in bad.problem
    assert "UTF-8" in bad.problem
    assert good.post.text == "b"


@pytest.mark.parametrize("name", ["posts.jsonl", "posts.txt", "posts.csv", "posts.parquet"])
def test_another_reader_goes_on_from_every_item(name, tmp_path):
    texts = [f"post {n} {'é' * (n % 5)}" for n in range(9)]
    path = tmp_path / name
    if name.endswith("jsonl"):
        path.write_bytes(b"\r\n\n".join(json.dumps({"text": t}).encode() for t in texts))
    elif name.endswith("txt"):
        path.write_bytes("\n".join(texts).encode())
    elif name.endswith("csv"):
        path.write_bytes(("text,alt\n" + "".join(f'{t},"two\nlines"\n' for t in texts)).encode())
    else:
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=4)
    whole = list(open_input(path))
    assert [item.post.text for item in whole] == texts
    reader = open_input(path)
    for count, _ in enumerate(reader, 1):
        other = open_input(path)
        other.skip(reader.position)
        assert list(other) == whole[count:]


def test_an_input_that_changed_is_not_gone_on_with(tmp_path):
    path = tmp_path / "posts.txt"
    path.write_text("one\ntwo\nthree\n")
    reader = open_input(path)
    next(iter(reader))
    path.write_text("one\ntwo\nthree\nfour\n")
    grown = open_input(path)
    grown.skip(reader.position)
    assert [item.post.text for item in grown] == ["two", "three", "four"]
    path.write_text("owe\ntwo\n")
    with pytest.raises(DataError, match="first 1 lines"):
        open_input(path).skip(reader.position)
    path.write_text("on")
    with pytest.raises(DataError, match="first 1 lines"):
        open_input(path).skip(reader.position)


@given(st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=12), st.integers(1, 6))
def test_lines_are_counted_as_python_splits_them(contents, most):
    whole = b"\n".join(contents)
    lines = Lines(io.BytesIO(whole), most)
    seen = []
    while (raw := lines.next()) is not None:
        seen.append(None if lines.is_too_long(raw) else raw)
        lines.accept(raw)
    expected = io.BytesIO(whole).readlines()
    assert seen == [None if len(line) > most else line for line in expected]
    assert (lines.line, lines.size) == (len(expected), len(whole))
