"""Files of posts that come up to the page, and the files that it gives back."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mner import Entity, Post
from mner.data.jsonl import parse_jsonl_line
from mner.serving.files import read_posts, write_posts
from mner.serving.refusals import Refusal
from mner.serving.service import Recognised
from tests.contract.tiny import tiny_picture


def test_json_lines_with_what_is_wrong_in_each():
    picture = base64.b64encode(tiny_picture(1)).decode()
    lines = [
        json.dumps({"text": "Ada reads", "id": "a", "alt": "a reader"}),
        "{broken",
        "",
        json.dumps({"text": "Ivo", "image": picture}),
        json.dumps({"text": "Ivo", "image": "/etc/passwd!"}),
        json.dumps({"text": "Ivo", "image": "http://127.0.0.1/x.png"}),
        json.dumps({"text": 7}),
        json.dumps({"words": ["a"]}),
        '{"text": "\\ud83d"}',
        "[" * 5000,
        '{"text": "\u2028 one line"}',
    ]
    found = read_posts("\r\n".join(lines).encode("utf-8-sig"), "posts.jsonl", 100)
    assert [draft.text for draft in found.drafts] == ["Ada reads", "Ivo", "\u2028 one line"]
    assert (found.drafts[0].id, found.drafts[0].alt) == ("a", "a reader")
    assert found.drafts[1].image == tiny_picture(1)
    assert [problem.partition(":")[0] for problem in found.problems] == [
        f"line {number}" for number in (2, 5, 6, 7, 8, 9, 10)
    ]
    assert "URL" in found.problems[2]


def test_csv_with_quotes_line_breaks_and_short_rows():
    content = 'id,text,alt,other\n1,"Ada, who\nreads",a reader,x\n2\n3,Ivo,,\n'
    found = read_posts(content.encode(), "POSTS.CSV", 100)
    assert [(d.id, d.text, d.alt) for d in found.drafts] == [
        ("1", "Ada, who\nreads", "a reader"),
        ("3", "Ivo", None),
    ]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("line 4")
    assert [draft.where for draft in found.drafts] == ["line 2: ", "line 5: "], "where a record begins"


def test_csv_rows_with_more_fields_than_columns_are_not_cut():
    content = b'id,text\n1,Kawhi wins, says Toronto\n\n2,"Ada\nreads"\n3,Ivo\n4,"Brel\nopen'
    found = read_posts(content, "posts.csv", 100)
    assert [(d.id, d.text, d.where) for d in found.drafts] == [
        ("2", "Ada\nreads", "line 4: "),
        ("3", "Ivo", "line 6: "),
    ]
    surplus, unclosed = found.problems
    assert surplus.startswith("line 2: the row has 3 fields, and there are 2 columns")
    assert unclosed.startswith("line 7: ")


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20))
def test_text_is_cut_at_line_feeds_alone(text):
    found = read_posts(f"Ada{text}reads\r\nIvo{text}left\n".encode(), "posts.txt", 100)
    assert [draft.text for draft in found.drafts] == [f"Ada{text}reads", f"Ivo{text}left"]


def test_text_with_a_post_a_line():
    found = read_posts(b"Ada reads\n\nIvo left", "posts.txt", 100)
    assert [draft.text for draft in found.drafts] == ["Ada reads", "Ivo left"]


@pytest.mark.parametrize(
    ("content", "name", "status", "said"),
    [
        (b"x", "posts.pdf", 422, "kind"),
        (b"x", "posts", 422, "kind"),
        (b"\xff\xfea\x00", "posts.csv", 422, "UTF-8"),
        (b"name\nAda\n", "posts.csv", 422, "column named text"),
        (b"", "posts.csv", 422, "column named text"),
        (b"\n\n", "posts.jsonl", 422, "no posts"),
        (b"a\nb\nc\n", "posts.txt", 413, "more than 2 posts"),
    ],
)
def test_files_that_are_refused_say_why(content, name, status, said):
    with pytest.raises(Refusal, match=said) as refused:
        read_posts(content, name, 2)
    assert refused.value.status == status


@settings(max_examples=300)
@given(content=st.binary(max_size=200), ending=st.sampled_from(["jsonl", "csv", "txt"]))
def test_any_bytes_are_posts_problems_or_a_refusal(content, ending):
    try:
        found = read_posts(content, f"x.{ending}", 50)
    except Refusal:
        return
    assert found.drafts or found.problems


FOUND = [
    Recognised(Post.from_text("🎉 Ada, reads"), [Entity("Ada", "PER", 2, 5, 0.98765)]),
    Recognised(Post.from_text("nobody", id="b"), []),
    Recognised(Post.from_text("=Ivo left", id="c"), [Entity("=Ivo", "PER", 0, 4, 0.5)]),
]


def test_written_json_lines_read_back_as_the_project_reads_them():
    lines = write_posts(FOUND, "jsonl").decode().splitlines()
    posts = [parse_jsonl_line(line, base=None, where="x") for line in lines]
    assert [post.text for post in posts] == [found.post.text for found in FOUND]
    assert [list(post.entities or ()) for post in posts] == [list(found.entities) for found in FOUND]


def test_written_csv_has_a_line_an_entity_and_no_formulas():
    rows = list(csv.DictReader(io.StringIO(write_posts(FOUND, "csv").decode("utf-8-sig"))))
    assert [(row["post"], row["text"], row["start"], row["score"]) for row in rows] == [
        ("1", "Ada", "2", "0.9877"),
        ("3", "'=Ivo", "0", "0.5000"),
    ]
