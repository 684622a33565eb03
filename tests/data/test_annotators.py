"""Annotation tools: offsets right with emoji, there and back, and in what people really export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.cli.app import run
from mner.data import read_posts, write_jsonl
from mner.data.annotators import ANNOTATORS, from_utf16, read_doccano, read_label_studio, utf16_bounds
from mner.errors import DataError
from mner.posts import Entity, Post

TEXT = "👨🏻\u200d🚒 firemen 🔥 leave Zürich 🎉"


def entity(text, label, of=TEXT, score=None):
    start = of.index(text)
    return Entity(text, label, start, start + len(text), score)


POSTS = [
    Post.from_text(TEXT, id="a", entities=(entity("firemen", "MISC"), entity("Zürich", "LOC"))),
    Post.from_text("no names", id="b", entities=()),
    Post.from_text(
        "𝕁ane 👩‍👩‍👧 Doe",
        id="c",
        alt="a woman",
        entities=(entity("𝕁ane 👩‍👩‍👧 Doe", "PER", "𝕁ane 👩‍👩‍👧 Doe"),),
    ),
]


def javascript_slice(text, start, end):
    """What a browser cuts out."""
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le", errors="surrogatepass")


@given(st.text(max_size=30), st.data())
def test_units_are_converted_as_a_browser_counts(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    bounds = utf16_bounds(text)
    assert javascript_slice(text, bounds[start], bounds[end]) == text[start:end]
    assert from_utf16(text, bounds[start], bounds[end]) == (start, end)


def test_half_an_emoji_is_no_place():
    assert from_utf16("👍x", 1, 2) is None
    assert from_utf16("👍x", 2, 9) is None


@pytest.mark.parametrize("name", ANNOTATORS)
def test_annotations_go_there_and_back(name, tmp_path):
    tool = ANNOTATORS[name]
    path = tmp_path / f"posts{tool.suffix}"
    assert tool.write(POSTS, path) == 3
    back = tool.read(path)
    assert [(p.id, p.text, p.alt, p.entities) for p in back] == [
        (p.id, p.text, p.alt, p.entities) for p in POSTS
    ]


def test_label_studio_counts_code_points_and_doccano_utf16(tmp_path):
    ANNOTATORS["label-studio"].write(POSTS[:1], tmp_path / "tasks.json")
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    for result in task["annotations"][0]["result"]:
        value = result["value"]
        assert task["data"]["text"][value["start"] : value["end"]] == value["text"]
        assert (result["from_name"], result["to_name"], result["type"]) == ("label", "text", "labels")
    ANNOTATORS["doccano"].write(POSTS[:1], tmp_path / "posts.jsonl")
    record = json.loads((tmp_path / "posts.jsonl").read_text())
    cut = [(javascript_slice(record["text"], start, end), label) for start, end, label in record["label"]]
    assert cut == [("firemen", "MISC"), ("Zürich", "LOC")]


def test_predictions_are_told_from_annotations(tmp_path):
    predicted = Post.from_text(TEXT, entities=(entity("Zürich", "LOC", score=0.75),))
    ANNOTATORS["label-studio"].write([predicted], tmp_path / "tasks.json")
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    assert "annotations" not in task
    assert task["predictions"][0]["score"] == 0.75
    # Nobody has annotated it yet, so it has no gold.
    assert read_label_studio(tmp_path / "tasks.json")[0].entities is None


def test_a_predicted_post_without_entities_is_no_annotation(tmp_path):
    predicted = [Post.from_text("no names", entities=()), Post.from_text("not asked")]
    predicted += [Post.from_text(TEXT, entities=(entity("Zürich", "LOC", score=0.75),))]
    # As bulk prediction hands posts on: once.
    ANNOTATORS["label-studio"].write(iter(predicted), tmp_path / "tasks.json")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert not any("annotations" in task for task in tasks)
    assert [[p["result"] for p in task.get("predictions", [])] for task in tasks[:2]] == [[[]], []]
    assert [post.entities for post in read_label_studio(tmp_path / "tasks.json")] == [None] * 3


def test_gold_beside_predictions_stays_gold(tmp_path):
    predicted = entity("firemen", "MISC", score=0.75)
    gold = Post.from_text(TEXT, entities=(entity("Zürich", "LOC"),))
    tagged = Post.from_words(["Ada"], tags=("B-PER",))
    others = [
        Post.from_text(TEXT, entities=(predicted,)),
        # Scores of some entities alone: a prediction that somebody has added to, say.
        Post.from_text(TEXT, entities=(predicted, entity("Zürich", "LOC"))),
        Post.from_text("no names", entities=()),
    ]
    ANNOTATORS["label-studio"].write([gold, *others, tagged], tmp_path / "tasks.json")
    back = read_label_studio(tmp_path / "tasks.json")
    assert [post.entities for post in back] == [gold.entities, None, None, None, tagged.gold()]


@pytest.mark.parametrize("name", ANNOTATORS)
def test_pictures_are_found_again_from_another_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = Path("set/images/1.jpg")
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a picture")
    tool = ANNOTATORS[name]
    target = Path("out/deep") / f"train{tool.suffix}"
    for image in (picture, picture.absolute()):
        tool.write([Post.from_text("Ada", image=image, entities=())], target, overwrite=True)
        (back,) = tool.read(target)
        assert back.image_problem is None
        assert back.image.resolve() == picture.resolve()


def region(start, end, text, label, **more):
    return {"type": "labels", "value": {"start": start, "end": end, "text": text, "labels": [label]}, **more}


def test_exports_of_label_studio(tmp_path):
    text = "💩This is an annotation."
    tasks = [
        # The one that was cancelled does not count, of the others the last; relations are passed over.
        {
            "id": 1,
            "data": {"text": text, "image": "gone.jpg"},
            "annotations": [
                {"result": [region(1, 5, "This", "WRONG")]},
                {
                    "result": [
                        region(12, 22, "annotation", "X"),
                        {"type": "relation", "from_id": "a", "to_id": "b"},
                    ]
                },
                {"was_cancelled": True, "result": []},
            ],
            "predictions": [{"result": [region(1, 5, "This", "WRONG")]}],
        },
        # An old editor, which counted as JavaScript does.
        {"data": {"text": text}, "completions": [{"result": [region(13, 23, "annotation", "X")]}]},
        # JSON-MIN.
        {"text": text, "id": 3, "label": [{"start": 12, "end": 22, "text": "annotation", "labels": ["X"]}]},
        {"data": {"text": text}, "annotations": []},
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    posts = read_label_studio(path)
    assert [p.entities for p in posts] == [*[(entity("annotation", "X", text),)] * 3, None]
    assert "gone.jpg" in posts[0].image_problem
    tasks[0]["annotations"][1]["result"][0]["value"]["start"] = 11
    path.write_text(json.dumps(tasks))
    with pytest.raises(DataError, match="task 1"):
        read_label_studio(path)


def test_exports_of_doccano(tmp_path):
    # The example of the report in which the tool's way of counting was found out.
    text = "👨🏻\u200d🚒 firemen drive firetrucks"
    start = len(text[: text.index("firetrucks")].encode("utf-16-le")) // 2
    lines = [
        {"id": 7, "text": text, "label": [[start, start + 10, "X"]]},
        {
            "id": 8,
            "text": text,
            "entities": [{"id": 1, "start_offset": start, "end_offset": start + 10, "label": "X"}],
            "relations": [],
        },
        {"id": 9, "data": text, "label": []},
    ]
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    posts = read_doccano(path)
    assert [p.entities for p in posts] == [(entity("firetrucks", "X", text),)] * 2 + [()]
    assert [p.id for p in posts] == ["7", "8", "9"]
    path.write_text(json.dumps({"text": text, "label": [[1, 5, "X"]]}))
    with pytest.raises(DataError, match="line 1"):
        read_doccano(path)


@pytest.mark.parametrize("name", ANNOTATORS)
def test_the_command_converts_there_and_back(name, tmp_path, capsys):
    source, middle, back = (tmp_path / file for file in ("posts.jsonl", "tool.json", "back.jsonl"))
    write_jsonl(POSTS, source)
    assert run(["data", "convert", str(source), str(middle), "--to", name]) == 0
    assert run(["data", "convert", str(middle), str(back), "--format", name, "--label-map", "LOC=PLACE"]) == 0
    assert "3 posts" in capsys.readouterr().out
    found = [[(e.text, e.label) for e in p.gold()] for p in read_posts(back)]
    assert found == [[(e.text, {"LOC": "PLACE"}.get(e.label, e.label)) for e in p.gold()] for p in POSTS]
