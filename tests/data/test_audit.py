"""The audit: what is wrong with a folder, how bad it is, and in which words."""

from __future__ import annotations

import json

import pytest

from mner import Post
from mner.data import Dataset, audit, read_folder
from mner.errors import DataError, UsageError


def write(folder, **splits):
    folder.mkdir(exist_ok=True)
    for split, text in splits.items():
        (folder / f"{split}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


GOOD = "IMGID:1\nNew\tB-LOC\nYork\tI-LOC\n\n"
OTHER = "IMGID:2\nUlm\tB-LOC\nwon\tO\n\n"
THIRD = "IMGID:3\nBonn\tB-LOC\nlost\tO\n\n"


def found(result, severity=None):
    return [(f.check, f.split) for f in result.findings if severity in (None, f.severity.value)]


def test_a_sound_set_has_nothing_worse_than_notes(tmp_path):
    result = audit(write(tmp_path / "set", train=GOOD, valid=OTHER, test=THIRD))
    assert result.ok
    assert result.name == "set"
    assert result.labels == ("LOC",)
    assert result.fingerprint == read_folder(tmp_path / "set").fingerprint
    assert found(result, "error") == found(result, "warning") == []
    report = result.splits["train"]
    assert (report.posts, report.words, report.entities) == (1, 2, {"conll": 1, "strict": 1})


def test_a_file_that_cannot_be_read_is_a_finding_and_the_others_are_looked_at(tmp_path):
    folder = write(
        tmp_path / "set", train=GOOD, valid="IMGID:2\nUlm\tB-LOC\nwon O\n", test=b"IMGID:3\n\xe9\tO\n"
    )
    result = audit(folder)
    assert not result.ok
    assert found(result, "error") == [("unreadable", "valid"), ("unreadable", "test")]
    assert "valid.txt, line 3" in result.findings[0].message
    assert "test.txt, line 2: byte 8" in result.findings[1].message
    assert list(result.splits) == ["train"]


def test_splits_in_different_formats(tmp_path):
    result = audit(write(tmp_path / "set", train=GOOD, valid="Ulm X Y I-LOC\n", test=OTHER))
    assert ("formats", None) in found(result, "warning")


def test_the_scheme_is_that_of_all_splits_together(tmp_path):
    rows = "Ulm X Y I-LOC\nBonn X Y B-LOC\nlies X Y O\n"
    result = audit(write(tmp_path / "set", train=rows, valid="won X Y O\n"))
    assert [report.scheme for report in result.splits.values()] == ["IOB1", "IOB1"]
    result = audit(tmp_path / "set", scheme="bio")
    assert [report.stray_tags for report in result.splits.values()] == [1, 0]


def test_bad_jsonl_too(tmp_path):
    folder = write(tmp_path / "set", train=GOOD)
    (folder / "test.jsonl").write_text('{"text": "a"}\n{"text"}\n')
    assert found(audit(folder), "error") == [("unreadable", "test")]


def test_no_train_split_and_types_that_it_never_saw_are_errors(tmp_path):
    result = audit(write(tmp_path / "one", valid=GOOD, test=OTHER))
    assert found(result, "error") == [("missing split", "train")]
    result = audit(write(tmp_path / "two", train=GOOD, test=OTHER.replace("LOC", "ORG")))
    assert found(result, "error") == [("unseen types", "test")]
    assert ("missing split", "valid") in found(result, "warning")
    assert ("absent types", "test") in found(result, "note")
    mapped = audit(tmp_path / "two", label_map={"ORG": "LOC"})
    assert mapped.ok
    assert mapped.labels == ("LOC",)


def test_a_train_split_without_gold_is_an_error(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "a", "mine": 1}\n')
    result = audit(folder)
    assert found(result, "error") == [("gold", "train")]
    assert ("ignored keys", "train") in found(result, "note")


def test_warnings_and_their_numbers(tmp_path):
    train = "IMGID:1\nthe\tO\nUlm\tI-LOC\n\nIMGID:1\nThe\tO\nULM\tB-PER\n\n"
    result = audit(write(tmp_path / "set", train=train, valid=GOOD, test="IMGID:9\nTHE\tO\nulm\tO\n"))
    counts = {(f.check, f.split): f.count for f in result.findings}
    assert counts["stray tags", "train"] == 1
    assert counts["duplicates", "train"] == 1
    assert counts["repeated ids", "train"] == 1
    assert counts["recurring texts", None] == 1
    assert counts["conflicting types", None] == 1
    assert result.recurrence.posts == 3
    assert result.recurrence.between == {"train+test": 1}


def test_entities_that_do_not_sit_on_words(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    entities = [{"start": 0, "end": 4, "label": "PER"}, {"start": 0, "end": 7, "label": "PER"}]
    (folder / "train.jsonl").write_text(json.dumps({"text": "Leonard won", "entities": entities}))
    warnings = found(audit(folder), "warning")
    assert ("alignment", "train") in warnings
    assert ("overlap", "train") in warnings


def test_pictures_are_opened_where_there_are_any(tmp_path):
    image = pytest.importorskip("PIL.Image")
    folder = write(tmp_path / "set", train=GOOD + OTHER + THIRD)
    without = audit(folder)
    assert without.splits["train"].pictures is None
    assert ("pictures", "train") in found(without, "note")
    images = tmp_path / "pictures"
    images.mkdir()
    image.new("RGB", (4, 4)).save(images / "1.jpg")
    (images / "2.jpg").write_bytes(b"broken")
    result = audit(folder, images=images)
    pictures = result.splits["train"].pictures
    assert (pictures.expected, pictures.good, pictures.missing, pictures.broken) == (3, 1, 1, 1)
    assert {("missing pictures", "train"), ("broken pictures", "train")} <= set(found(result, "warning"))
    assert "no file pictures/3.jpg" in str(result.findings)


def test_another_sets_test_posts_in_this_train_split(tmp_path):
    folder = write(tmp_path / "set", train=GOOD + OTHER)
    other = write(tmp_path / "other", train=GOOD, test=OTHER + THIRD)
    result = audit(folder, against=other)
    assert list(result.against) == ["other/test"]
    assert (result.against["other/test"].either, result.against["other/test"].posts) == (1, 2)
    assert ("training on another's test", None) in found(result, "warning")


def test_a_single_file_lacks_no_split(tmp_path):
    folder = write(tmp_path / "set", some=GOOD)
    result = audit(folder / "some.txt")
    assert list(result.splits) == ["posts"]
    assert "missing split" not in dict(found(result))


def test_a_data_set_in_memory(tmp_path):
    post = Post.from_words(["a"], tags=("B-X",))
    result = audit(Dataset("mine", {"train": [post], "test": []}))
    assert result.splits["train"].file is None
    with pytest.raises(UsageError, match="read already"):
        audit(Dataset("mine", {"train": [post]}), images=tmp_path)


def test_json(tmp_path):
    result = audit(write(tmp_path / "set", train=GOOD, test=OTHER))
    document = json.loads(json.dumps(result.as_dict()))
    assert document["ok"] is True
    assert document["splits"]["train"]["entities_by_type"]["conll"] == {"LOC": 1}
    assert document["findings"][0]["severity"] == "warning"


def test_no_folder(tmp_path):
    with pytest.raises(DataError):
        audit(tmp_path / "nowhere")
