"""Whole files: the same bytes whether a run is killed or not, and nothing lost beside what is bad."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import random
import signal
import threading
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mner.bulk import predict_file
from mner.bulk.formats import OUTPUT_FORMATS
from mner.bulk.journal import Journal
from mner.bulk.running import fingerprint
from mner.data import read_posts
from mner.errors import DataError, UsageError
from mner.posts import Post
from mner.recognizer import Recognizer
from tests.contract.tiny import POSTS, tiny
from tests.machine import PATIENCE

WORDS = [word for post in POSTS for word in post.words]


@pytest.fixture(scope="module")
def recognizer():
    return tiny("bert-crf")


@pytest.fixture(scope="module")
def posts_file(tmp_path_factory):
    """Four hundred posts of all lengths; some lines are bad."""
    draw = random.Random(5)
    lines = []
    for number in range(400):
        text = " ".join(draw.choices(WORDS, k=draw.randint(0, 30)))
        lines.append(json.dumps({"id": str(number), "text": text}).encode())
        if number % 37 == 5:
            lines.append(draw.choice([b"{broken", b'{"text": "\xff"}', b""]))
    path = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def predict(folder, source, target, name, window=7):
    """What a killed process does: load the recogniser and go on."""
    import torch

    torch.set_num_threads(1)
    recognizer = Recognizer.from_pretrained(folder, device="cpu")
    predict_file(recognizer, Path(source), Path(target) / name, resume=True, window=window)


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_run_killed_again_and_again_gives_the_same_bytes(recognizer, posts_file, tmp_path, name):
    run = tmp_path / "run"
    recognizer.save_pretrained(run)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    loaded = Recognizer.from_pretrained(run, device="cpu")
    report = predict_file(loaded, posts_file, whole / name, window=7)
    assert report.rejected > 5
    # Processes that have the libraries loaded already, so that a kill falls into the work.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mner.bulk", "tests.contract.tiny"])
    draw = random.Random(name)
    kills, places = 0, set()
    while True:
        process = context.Process(target=predict, args=(run, posts_file, killed, name))
        process.start()
        state = killed / f"{name}.state.json"
        before = state.read_bytes() if state.exists() else b""
        # Let it get somewhere, then a random moment further.
        while process.is_alive() and (state.read_bytes() if state.exists() else b"") == before:
            process.join(0.01)
        process.join(draw.random() * 0.12)
        if process.is_alive() and kills < 7:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            if state.exists():
                places.add(json.loads(state.read_bytes())["position"]["line"])
            continue
        process.join()
        assert process.exitcode == 0
        if (killed / name).exists():
            break
    assert kills >= 3
    assert len(places) >= 3
    if name.endswith("parquet"):
        tables = [pyarrow.parquet.read_table(folder / name) for folder in (whole, killed)]
        assert tables[0].equals(tables[1])
    else:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    rejects = f"{name}.rejects.jsonl"
    assert (killed / rejects).read_bytes() == (whole / rejects).read_bytes()
    assert sorted(p.name for p in killed.iterdir()) == sorted([name, rejects])


class StoppedError(Exception):
    pass


def stopped_after(recognizer, source, target, posts, **options):
    seen = []

    def stop(post, entities):
        seen.append(post)
        if len(seen) == posts:
            raise StoppedError

    with pytest.raises(StoppedError):
        predict_file(recognizer, source, target, window=7, seen=stop, **options)


def test_what_stands_behind_the_last_commit_is_cut_off(recognizer, posts_file, tmp_path):
    predict_file(recognizer, posts_file, tmp_path / "whole.jsonl", window=7)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    target = tmp_path / "out.jsonl"
    stopped_after(recognizer, posts_file, target, 100)
    part = tmp_path / "out.jsonl.part"
    committed = part.stat().st_size
    assert whole.startswith(part.read_bytes())
    for extra in (b"", b"\n", whole[committed : committed + 33], os.urandom(5000)):
        part.write_bytes(part.read_bytes()[:committed] + extra)
        stopped_after(recognizer, posts_file, target, 1, resume=True)
        assert part.read_bytes() == whole[:committed]
    report = predict_file(recognizer, posts_file, target, window=7, resume=True)
    assert target.read_bytes() == whole
    assert report.posts == 400
    assert report.resumed_after > 90
    again = predict_file(recognizer, posts_file, target, window=7, resume=True)
    assert again.was_done


def test_an_unfinished_run_is_not_thrown_away_or_mixed_up(recognizer, posts_file, tmp_path):
    target = tmp_path / "out.jsonl"
    stopped_after(recognizer, posts_file, target, 50)
    with pytest.raises(UsageError, match="--resume"):
        predict_file(recognizer, posts_file, target, window=7)
    with pytest.raises(UsageError, match="window"):
        predict_file(recognizer, posts_file, target, window=8, resume=True)
    other = tiny("bert-crf", dropout=0.0)
    other.model.decoder.linear.bias.data += 1
    with pytest.raises(UsageError, match="model"):
        predict_file(other, posts_file, target, window=7, resume=True)
    grown = tmp_path / "posts.jsonl"
    grown.write_bytes(b'{"text": "x"}\n' + posts_file.read_bytes())
    with pytest.raises(UsageError, match="input"):
        predict_file(recognizer, grown, target, window=7, resume=True)
    (tmp_path / "out.jsonl.state.json").write_text("{")
    with pytest.raises(DataError, match="Delete it"):
        predict_file(recognizer, posts_file, target, window=7, resume=True)
    (tmp_path / "out.jsonl.state.json").unlink()
    assert predict_file(recognizer, posts_file, target, window=7).posts == 400


def test_a_run_goes_on_only_with_its_own_list_of_refused_lines(recognizer, posts_file, tmp_path, monkeypatch):
    target, own, other = (tmp_path / name for name in ("out.jsonl", "mine.jsonl", "out.jsonl.rejects.jsonl"))
    stopped_after(recognizer, posts_file, target, 100, rejects=own)
    # Of another run, and longer than what was committed to the run's own.
    other.write_bytes(2 * own.read_bytes())
    before = other.read_bytes()
    for rejects in (None, other, tmp_path / "new.jsonl"):
        with pytest.raises(UsageError, match=r"refused lines differs.*mine\.jsonl"):
            predict_file(recognizer, posts_file, target, window=7, rejects=rejects, resume=True)
    assert other.read_bytes() == before
    assert not (tmp_path / "new.jsonl").exists()
    # The same file under another name of its folder.
    monkeypatch.chdir(tmp_path)
    predict_file(recognizer, posts_file, target, window=7, rejects=Path("mine.jsonl"), resume=True)
    predict_file(recognizer, posts_file, tmp_path / "whole.jsonl", window=7)
    assert own.read_bytes() == (tmp_path / "whole.jsonl.rejects.jsonl").read_bytes()
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert other.read_bytes() == before


def test_a_run_that_an_older_version_began_is_gone_on_with(recognizer, posts_file, tmp_path):
    target, state_file = tmp_path / "out.jsonl", tmp_path / "out.jsonl.state.json"
    stopped_after(recognizer, posts_file, target, 100)
    state = json.loads(state_file.read_text())
    del state["settings"]["list of refused lines"]
    state_file.write_text(json.dumps(state))
    assert predict_file(recognizer, posts_file, target, window=7, resume=True).resumed_after > 90


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_old_output_does_not_pass_for_that_of_a_run_stopped_before_its_first_commit(
    recognizer, tmp_path, name
):
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("Ada reads\n")
    new.write_text("Grace writes\nGrace reads\n")
    target = tmp_path / name
    predict_file(recognizer, old, target)
    stopped_after(recognizer, new, target, 1, overwrite=True)
    assert not Path(f"{target}.state.json").exists()
    report = predict_file(recognizer, new, target, window=7, resume=True)
    assert (report.was_done, report.posts) == (False, 2)
    predict_file(recognizer, new, tmp_path / f"whole-{name}", window=7)
    assert target.read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert predict_file(recognizer, new, target, window=7, resume=True).was_done


@pytest.mark.parametrize("way", ["the name", "another spelling", "a symbolic link", "a hard link"])
@pytest.mark.parametrize("end", ["", ".part", ".state.json"])
def test_what_is_read_is_never_written(recognizer, tmp_path, way, end):
    content = b'{"text": "Ada reads"}\n'
    (tmp_path / "folder").mkdir()
    read = tmp_path / f"posts.jsonl{end}"
    read.write_bytes(content)
    target = tmp_path / "posts.jsonl"
    if way == "another spelling":
        target = tmp_path / "folder" / ".." / "posts.jsonl"
    elif way != "the name":
        target = tmp_path / "folder" / "posts.jsonl"
        linked = tmp_path / "folder" / read.name
        linked.symlink_to(read) if way == "a symbolic link" else linked.hardlink_to(read)
    options = {"input_format": "jsonl", "overwrite": True}
    with pytest.raises(UsageError, match="is the input"):
        predict_file(recognizer, read, target, **options)
    with read.open("rb") as stream, pytest.raises(UsageError, match="is the input"):
        predict_file(recognizer, stream, target, **options)
    refused = target.with_name(read.name)
    for other in (tmp_path / "out.jsonl", io.BytesIO()):
        with pytest.raises(UsageError, match=r"is the input.*--rejects"):
            predict_file(recognizer, read, other, rejects=refused, **options)
    assert read.read_bytes() == content
    assert not (tmp_path / "out.jsonl.part").exists()


def test_a_stream_to_the_input_or_to_the_refused_lines_is_refused(recognizer, tmp_path):
    read, written = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    content = b'{"text": "Ada reads"}\n{"text": "Ada reads"}\n'
    read.write_bytes(content)
    links = [tmp_path / "link", tmp_path / "out link"]
    links[0].symlink_to(read)
    links[1].symlink_to(written)

    def endless(post, entities):
        # Else the test would read what it writes for ever.
        raise StoppedError

    options = {"seen": endless, "input_format": "jsonl", "written_as": "jsonl"}
    with read.open("ab") as output, read.open("rb") as stream:
        for source in (read, links[0], stream):
            with pytest.raises(UsageError, match="without end"):
                predict_file(recognizer, source, output, **options)
    with written.open("ab") as output:
        for rejects in (written, links[1]):
            with pytest.raises(UsageError, match="Refused lines"):
                predict_file(recognizer, read, output, rejects=rejects, **options)
    assert (read.read_bytes(), written.read_bytes()) == (content, b"")


@pytest.mark.parametrize("end", ["", ".part", ".state.json"])
def test_refused_lines_do_not_go_where_the_output_does(recognizer, tmp_path, end):
    source, target = tmp_path / "posts.txt", tmp_path / "out.jsonl"
    source.write_text("Ada reads\n")
    link = tmp_path / "link"
    link.symlink_to(f"out.jsonl{end}")
    for rejects in (Path(f"{target}{end}"), link):
        with pytest.raises(UsageError, match="Refused lines"):
            predict_file(recognizer, source, target, rejects=rejects)
    assert {p.name for p in tmp_path.iterdir()} == {"posts.txt", "link"}


def test_two_processes_do_not_write_one_file(recognizer, posts_file, tmp_path):
    target = tmp_path / "out.jsonl"

    def second(post, entities):
        predict_file(recognizer, posts_file, target, window=7, resume=True)

    with pytest.raises(UsageError, match="Another process"):
        predict_file(recognizer, posts_file, target, window=7, seen=second)


def test_every_format_holds_what_predict_says(recognizer, posts_file, tmp_path):
    answers = {}
    predict_file(
        recognizer, posts_file, tmp_path / "a.jsonl", seen=lambda p, e: answers.update({p.id: (p, e)})
    )
    assert len(answers) == 400
    spans = {key: [(e.start, e.end, e.label) for e in found] for key, (_, found) in answers.items()}
    assert sum(map(len, spans.values())) > 400

    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == list(answers)
    for record in records:
        assert record["entities"] == [e.as_dict() for e in answers[record["id"]][1]]
    # The output is a data set of this project again.
    assert {
        p.id: [(e.start, e.end, e.label) for e in p.gold()] for p in read_posts(tmp_path / "a.jsonl")
    } == spans

    predict_file(recognizer, posts_file, tmp_path / "a.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert rows == records

    predict_file(recognizer, posts_file, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [(r["id"], r["text"], json.loads(r["entities"])) for r in table] == [
        (r["id"], r["text"], r["entities"]) for r in records
    ]

    predict_file(recognizer, posts_file, tmp_path / "test.conll")
    tagged = read_posts(tmp_path / "test.conll")
    assert {p.id: list(p.words) for p in tagged} == {k: list(p.words) for k, (p, _) in answers.items()}
    assert {p.id: [(s.start, s.end, s.label) for s in p.gold_spans()] for p in tagged} == {
        key: [
            (
                next(i for i, o in enumerate(p.offsets) if o[0] == e.start),
                next(i for i, o in enumerate(p.offsets) if o[1] == e.end) + 1,
                e.label,
            )
            for e in found
        ]
        for key, (p, found) in answers.items()
    }


@given(
    st.lists(st.text(st.sampled_from('a,"\r\n\t; é'), max_size=8).map("x".__add__), min_size=1, max_size=5)
)
def test_every_text_comes_back_from_csv(texts):
    rendered = OUTPUT_FORMATS["csv"]
    rows = [rendered.render(Post.from_text(text, id="7"), [], 1) for text in texts]
    written = (rendered.header + b"".join(rows)).decode()
    table = list(csv.reader(io.StringIO(written, newline=""), strict=True))
    assert table == [["id", "text", "entities"], *(["7", text, "[]"] for text in texts)]
    # Rows end in a line feed alone.
    assert all(row.endswith(b"[]\n") for row in rows)


def test_streams_are_read_and_written(recognizer, posts_file, tmp_path):
    predict_file(recognizer, posts_file, tmp_path / "a.jsonl")
    output = io.BytesIO()
    with posts_file.open("rb") as file:
        report = predict_file(recognizer, file, output)
    assert output.getvalue() == (tmp_path / "a.jsonl").read_bytes()
    assert report.rejected == len(report.examples) > 5
    assert report.rejects is None


def test_a_stream_has_a_list_of_refused_lines_where_one_is_named(recognizer, posts_file, tmp_path):
    predict_file(recognizer, posts_file, tmp_path / "a.jsonl")
    output, listed = io.BytesIO(), tmp_path / "bad.jsonl"
    report = predict_file(recognizer, posts_file, output, rejects=listed)
    assert report.rejects == listed
    assert output.getvalue() == (tmp_path / "a.jsonl").read_bytes()
    assert listed.read_bytes() == (tmp_path / "a.jsonl.rejects.jsonl").read_bytes()
    # It is there only if there is something on it.
    (tmp_path / "good.txt").write_text("Ada reads\n")
    assert predict_file(recognizer, tmp_path / "good.txt", output, rejects=listed).rejects is None
    assert not listed.exists()
    with pytest.raises(DataError, match="bad.jsonl cannot be written"):
        predict_file(recognizer, posts_file, output, rejects=tmp_path / "nowhere" / "bad.jsonl")
    with pytest.raises(UsageError, match="pipe"):
        predict_file(recognizer, posts_file, output, resume=True)


def test_an_output_that_is_no_file_is_said_by_its_name(recognizer, posts_file, tmp_path):
    folder, listed = tmp_path / "folder", tmp_path / "bad.jsonl"
    folder.mkdir()
    listed.write_text("of another run\n")
    with pytest.raises(DataError, match="folder cannot be written"):
        predict_file(recognizer, posts_file, folder, rejects=listed)
    # What is written goes to a part first, which would replace it.
    with pytest.raises(DataError, match="folder is no file"):
        Journal(folder, listed, OUTPUT_FORMATS["jsonl"], {})
    with pytest.raises(DataError, match="folder cannot be written"):
        predict_file(recognizer, posts_file, tmp_path / "out.jsonl", rejects=folder)
    with pytest.raises(DataError, match=r"nowhere.bad\.jsonl cannot be written"):
        predict_file(recognizer, posts_file, tmp_path / "out.jsonl", rejects=tmp_path / "nowhere/bad.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "folder"]
    assert listed.read_text() == "of another run\n"


def test_refused_lines_may_go_to_nothing(recognizer, posts_file, tmp_path):
    # A link of its own: should it be taken for an empty list and removed, the device stays.
    nothing, target = tmp_path / "nothing", tmp_path / "out.jsonl"
    nothing.symlink_to(os.devnull)
    stopped_after(recognizer, posts_file, target, 100, rejects=nothing)
    report = predict_file(recognizer, posts_file, target, window=7, rejects=nothing, resume=True)
    assert (report.posts, report.rejects) == (400, None)
    predict_file(recognizer, posts_file, tmp_path / "whole.jsonl", window=7)
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert nothing.is_char_device()
    assert not (tmp_path / "out.jsonl.part").exists()


def test_refused_lines_may_go_to_a_pipe(recognizer, posts_file, tmp_path):
    pipe, target, received = tmp_path / "pipe", tmp_path / "out.jsonl", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    predict_file(recognizer, posts_file, target, rejects=pipe)
    reader.join(PATIENCE)
    predict_file(recognizer, posts_file, tmp_path / "whole.jsonl")
    assert received == [(tmp_path / "whole.jsonl.rejects.jsonl").read_bytes()]


def test_posts_without_their_pictures_are_predicted_and_listed(tmp_path):
    recognizer = tiny("cat-mner")
    source, target = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "Ada reads", "image": "gone.jpg"}\n{"text": "Ada reads"}\n')
    report = predict_file(recognizer, source, target)
    assert (report.posts, report.rejected, report.pictureless) == (2, 0, 1)
    (listed,) = map(json.loads, Path(f"{target}.rejects.jsonl").read_text().splitlines())
    assert listed["line"] == 1
    assert listed["predicted"] is True
    assert "gone.jpg" in listed["problem"]
    found = [json.loads(line)["entities"] for line in target.read_text().splitlines()]
    assert [e["start"] for e in found[0]] == [e["start"] for e in found[1]]


def test_a_recogniser_is_told_from_another_by_every_weight():
    one, same, other = tiny("bert-crf"), tiny("bert-crf"), tiny("bert-crf")
    assert fingerprint(one) == fingerprint(same)
    other.model.decoder.crf.last.data[2] += 1e-6
    assert fingerprint(one) != fingerprint(other)
