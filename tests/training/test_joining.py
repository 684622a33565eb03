"""Several sets as one: what comes in, what is kept out, and what is known about it."""

from __future__ import annotations

import json

import pytest

from mner.cli.app import run as command
from mner.data import read_folder
from mner.data.dataset import Dataset
from mner.data.writers import write_folder
from mner.errors import UsageError
from mner.knowledge.attaching import attach
from mner.knowledge.exchange import import_file
from mner.knowledge.store import KnowledgeStore
from mner.posts import Post
from mner.training.joining import Part, join_sets


def post(text, label="PER", identity=""):
    words = text.split()
    tags = tuple(f"B-{label}" if word == "Ada" else "O" for word in words)
    return Post.from_words(words, id=identity, tags=tags)


@pytest.fixture
def sets(tmp_path):
    """Two sets that use the same ids, name a type differently, and share posts between splits."""
    one = {
        "train": [post("Ada sings", identity="1"), post("Hello Ada http://a.b/c", identity="2")],
        "valid": [post("Ada again", identity="3")],
        "test": [post("Ada sleeps here", identity="4")],
    }
    other = {
        "train": [post("ADA Ada sleeps", "person", "1"), post("@ ada Ada sleeps here", "person", "9")],
        "valid": [post("a new Ada", "person", "7"), post("hello ada", "person", "8")],
        "test": [post("hello Ada", "person", "6"), post("@ada Ada sleeps HERE", "person", "5")],
    }
    for name, splits in (("one", one), ("other", other)):
        write_folder(Dataset(name, splits), tmp_path / name, to="jsonl")
    captions = {"1": "a singer", "2": "a stand-in", "4": "a sofa"}
    file = tmp_path / "captions.jsonl"
    file.write_text(
        "".join(json.dumps({"id": key, "caption": said}) + "\n" for key, said in captions.items())
    )
    with KnowledgeStore(tmp_path / "one.sqlite") as store:
        import_file(store, file)
    return tmp_path


def test_no_post_to_train_on_stands_in_posts_to_judge_by(sets):
    report = join_sets(
        [Part(sets / "one", sets / "one.sqlite"), Part(sets / "other")],
        sets / "joint",
        label_map={"person": "PER"},
    )
    joint = read_folder(sets / "joint")
    # 'Hello Ada' of one's training posts is a test post of the other, whatever its address and case;
    # '@ ada Ada sleeps here' is the same post cut into other words.
    assert [p.id for p in joint.split("train")] == ["one-1", "other-1"]
    assert [p.id for p in joint.split("valid")] == ["one-3", "other-7"]
    assert [p.id for p in joint.split("test")] == ["one-4", "other-6", "other-5"]
    assert report.left_out == {"train": {"one": 1, "other": 1}, "valid": {"other": 1}}
    assert report.posts["train"] == {"one": 1, "other": 1}
    assert joint.labels == ("PER",)
    assert json.loads((sets / "joint/joined.json").read_text()) == report.as_dict()


def test_knowledge_goes_to_the_post_it_is_about_and_to_no_namesake(sets):
    report = join_sets([Part(sets / "one", sets / "one.sqlite"), Part(sets / "other")], sets / "joint")
    assert report.knowledge == {"caption": 2}
    joint = read_folder(sets / "joint")
    posts = [p for name in ("train", "valid", "test") for p in joint.split(name)]
    known = {p.id: p.known("caption") for p in attach(posts, sets / "joint/knowledge.sqlite")}
    assert {key: said.text for key, said in known.items() if said} == {"one-1": "a singer", "one-4": "a sofa"}


def test_a_text_that_stands_for_many_pictures_is_left_out(sets):
    many = [post(f"Ada number {number}", identity=f"n{number}") for number in range(40)]
    write_folder(Dataset("many", {"train": many}), sets / "many", to="jsonl")
    file = sets / "many.jsonl"
    lines = [
        json.dumps({"id": f"n{n}", "caption": "a grey square" if n < 20 else f"thing {n}"}) for n in range(40)
    ]
    file.write_text("\n".join(lines) + "\n")
    with KnowledgeStore(sets / "many.sqlite") as store:
        import_file(store, file)
    report = join_sets([Part(sets / "many", sets / "many.sqlite")], sets / "joint")
    assert report.placeholders == {"many": {"a grey square": 20}}
    assert report.knowledge == {"caption": 20}


def test_sets_of_one_name_and_written_folders_are_refused(sets):
    with pytest.raises(UsageError, match="told apart"):
        join_sets([Part(sets / "one"), Part(sets / "one")], sets / "joint")
    join_sets([Part(sets / "one")], sets / "joint")
    with pytest.raises(UsageError):
        join_sets([Part(sets / "one")], sets / "joint")


def test_the_command_says_what_came_from_where(sets, capsys):
    arguments = ["data", "join", f"{sets / 'one'}={sets / 'one.sqlite'}", str(sets / "other"), "--json"]
    assert command([*arguments, "--output", str(sets / "joint"), "--label-map", "person=PER"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["posts"]["test"] == {"one": 1, "other": 2}
    assert document["left_out"]["valid"] == {"other": 1}
