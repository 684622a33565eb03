"""The store: what it keeps, what it refuses, and that several processes share it."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mner.errors import MnerError
from mner.knowledge.claims import is_dead, new_owner
from mner.knowledge.database import StoreError
from mner.knowledge.keys import (
    Source,
    canonical_json,
    knowledge_from_record,
    knowledge_record,
    mended,
    names_of,
    plain_name,
)
from mner.knowledge.provider import Answer
from mner.knowledge.store import KnowledgeStore, StoredAnswer
from mner.posts import Knowledge, Post, Region
from tests.machine import PATIENCE, at_usual_speed, cpu_seconds

SOURCE = Source("tester", "caption", {"model": "m"}, sees_text=True)


def key(number: int) -> str:
    return SOURCE.keys_of(Post.from_text(f"post {number}"))[0]


def said(number: int, text: str = "a cat", **fields: object) -> StoredAnswer:
    answer = Answer(Knowledge("caption", text=text), raw=text, request={"n": number})
    return StoredAnswer(key(number), SOURCE, answer, post=str(number), **fields)


def failed(number: int, problem: str = "broken") -> StoredAnswer:
    return StoredAnswer(key(number), SOURCE, Answer(None, problem=problem), post=str(number))


@pytest.fixture
def store(tmp_path: Path) -> KnowledgeStore:
    with KnowledgeStore(tmp_path / "k.sqlite") as opened:
        yield opened


# Keys

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    first=st.dictionaries(st.text(), JSON, max_size=4), second=st.dictionaries(st.text(), JSON, max_size=4)
)
def test_sources_are_equal_exactly_where_their_settings_are(first: dict, second: dict) -> None:
    same = json.loads(json.dumps(first)) == json.loads(json.dumps(second)) and canonical_json(
        first
    ) == canonical_json(second)
    assert (Source("p", "k", first).key == Source("p", "k", second).key) == same
    turned = dict(reversed(first.items()))
    assert Source("p", "k", turned).key == Source("p", "k", first).key
    assert Source.from_description(json.loads(json.dumps(Source("p", "k", first).description()))).key == (
        Source("p", "k", first).key
    )


def test_a_key_holds_what_the_source_sees_and_no_more() -> None:
    post = Post.from_text("a", id="1", image=Path("x/1.jpg"), alt="alt")
    others = {
        "sees_text": Post.from_text("b", id="1", image=Path("x/1.jpg"), alt="alt"),
        "sees_alt": Post.from_text("a", id="1", image=Path("x/1.jpg"), alt="other"),
        "sees_name": Post.from_text("a", id="1", image=Path("x/2.jpg"), alt="alt"),
        "sees_knowledge": post.with_fields(knowledge=(Knowledge("ocr", text="x"),)),
    }
    for flag in (*others, "sees_picture"):
        value = ("ocr",) if flag == "sees_knowledge" else True
        source = Source("p", "caption", **{flag: value})
        first = source.keys_of(post, "aa")[0]
        for seen, other in others.items():
            assert (source.keys_of(other, "aa")[0] != first) == (seen == flag)
        assert (source.keys_of(post, "bb")[0] != first) == (flag == "sees_picture")


def test_a_post_that_lacks_what_is_needed_has_no_key() -> None:
    bare = Post.from_text("a")
    assert Source("p", "k", sees_picture=True).keys_of(bare) == ()
    assert Source("p", "k", sees_alt=True).keys_of(bare) == ()
    assert Source("p", "k", sees_name=True).keys_of(bare) == ()
    assert len(Source("p", "k", sees_text=True).keys_of(bare)) == 1


def test_names() -> None:
    assert plain_name("images/O_12.JPG") == "O_12"
    assert plain_name("C:\\a\\b.png") == "b"
    assert plain_name("17.05.2016") == "17.05.2016"
    assert names_of(Post.from_text("", id="7", image=Path("a/8.jpg"))) == ("8", "7")
    assert names_of(Post.from_text("", id="8", image=Path("a/8.jpg"))) == ("8",)


@given(
    st.text(alphabet="ab.J \\", max_size=4),
    st.sampled_from(["", ".jpg", ".PNG", ".Tiff", ".pdf", ".jpg.", "jpg"]),
)
def test_a_names_suffix_is_what_pathlib_takes_for_one(stem: str, suffix: str) -> None:
    last = PurePosixPath((stem + suffix).replace("\\", "/")).name
    wanted = PurePosixPath(last)
    pictured = wanted.suffix.lower() in {".jpg", ".png", ".tiff"}
    # pathlib drops what is behind the last slash where nothing is, and a name that is a dot.
    if last == (stem + suffix).replace("\\", "/").rpartition("/")[2]:
        assert plain_name(stem + suffix) == (last[: -len(wanted.suffix)] if pictured else last)


def test_settings_that_are_no_json_are_refused() -> None:
    for value in (float("nan"), {1, 2}, object()):
        with pytest.raises(MnerError, match="JSON"):
            _ = Source("p", "k", {"a": value}).key


# Keeping

texts = st.text(st.characters(codec="utf-8"))
floats = st.floats(0, 1)
knowledge = st.builds(
    Knowledge,
    kind=st.just("caption"),
    text=st.none() | texts,
    steps=st.lists(texts, max_size=3).map(tuple),
    regions=st.lists(
        st.builds(Region, floats, floats, floats, floats, texts, st.none() | floats), max_size=3
    ).map(tuple),
    score=st.none() | floats,
    origin=texts,
)
answers = st.builds(
    Answer,
    knowledge=knowledge,
    raw=texts,
    request=st.dictionaries(st.text(st.characters(categories=["Ll"]), max_size=4), JSON, max_size=3),
    input_tokens=st.none() | st.integers(0, 10**9),
    output_tokens=st.none() | st.integers(0, 10**9),
    cost=st.none() | st.floats(0, 1e6),
    duration=st.floats(0, 1e6),
)


@given(found=knowledge)
def test_knowledge_comes_back_from_its_record(found: Knowledge) -> None:
    assert knowledge_from_record(json.loads(json.dumps(knowledge_record(found)))) == found


@settings(max_examples=40)
@given(kept=st.lists(answers, max_size=6), problems=st.lists(texts.filter(bool), max_size=3))
def test_what_is_saved_is_read_back(kept: list[Answer], problems: list[str]) -> None:
    rows = [StoredAnswer(key(n), SOURCE, answer, post=str(n)) for n, answer in enumerate(kept)]
    rows += [
        StoredAnswer(key(100 + n), SOURCE, Answer(None, problem=problem))
        for n, problem in enumerate(problems)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "k.sqlite"
        with KnowledgeStore(path) as store:
            assert store.save(rows) == len(rows)
        with KnowledgeStore(path, read_only=True) as store:
            read = {row.key: row for row in store.answers()}
            found = store.lookup(row.key for row in rows)
            states = store.states(row.key for row in rows)
    assert set(read) == set(found) == {row.key for row in rows}
    for row in rows:
        assert read[row.key].answer == row.answer
        assert states[row.key] is (row.answer.problem is None)
        if row.answer.problem is None:
            assert found[row.key] == row.answer.knowledge
        else:
            assert found[row.key].problem == row.answer.problem


def test_lone_surrogates_become_the_replacement_character(store: KnowledgeStore) -> None:
    row = said(1, "a\ud83dz\0end")
    store.save([row, StoredAnswer(key(2), SOURCE, Answer(None, raw="\udfff", problem="p\ud800"))])
    kept = store.lookup([key(1)])[key(1)]
    assert kept.text == "a\ufffdz\0end"
    assert next(store.answers(keys=[key(1)])).answer.raw == "a\ufffdz\0end"
    assert next(store.answers(keys=[key(2)])).answer.problem == "p\ufffd"


def test_every_string_of_an_answer_is_mended_on_the_way_in_and_of_older_stores_on_the_way_out(
    store: KnowledgeStore,
) -> None:
    half = "cut \ud83d"
    known = Knowledge(
        "regions", text=half, steps=(half, "\ud83d\ude00"), regions=(Region(0, 0, 1, 1, half),), origin=half
    )
    store.save([StoredAnswer(key(1), SOURCE, Answer(known, raw=half, request={half: [half]}))])
    result, request = store._select("SELECT result, request FROM answers")[0]
    assert '\\ud83d"' not in result + request
    # As earlier versions wrote it.
    older = json.dumps(knowledge_record(known)), json.dumps({half: [half]})
    with store._transaction() as connection:
        connection.execute("UPDATE answers SET result = ?, request = ?", older)
    whole = "cut \ufffd"
    mended = Knowledge(
        "regions", text=whole, steps=(whole, "😀"), regions=(Region(0, 0, 1, 1, whole),), origin=whole
    )
    assert store.lookup([key(1)])[key(1)] == mended
    (row,) = store.answers()
    assert (row.answer.knowledge, row.answer.request) == (mended, {whole: [whole]})


@given(st.text(st.characters(exclude_categories=[]) | st.sampled_from("\ud83d\ude00"), max_size=8))
def test_mending_touches_halves_alone(text: str) -> None:
    halves = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")
    pairs = re.compile("[\ud800-\udbff][\udc00-\udfff]")
    expected = pairs.sub(lambda pair: json.loads(json.dumps(pair.group())), halves.sub("\ufffd", text))
    assert mended(text) == expected


def test_an_answer_replaces_a_failure_and_a_failure_never_an_answer(store: KnowledgeStore) -> None:
    store.save([failed(1, "first")])
    store.save([failed(1, "second")])
    (row,) = store.answers()
    assert (row.answer.problem, row.attempts) == ("second", 2)
    store.save([said(1, "good")])
    assert store.lookup([key(1)])[key(1)].text == "good"
    store.save([failed(1, "third")])
    store.save([said(1, "other")])
    assert store.lookup([key(1)])[key(1)].text == "good"
    store.save([said(1, "other")], replace=True)
    assert store.lookup([key(1)])[key(1)].text == "other"


def test_credentials_are_not_kept(store: KnowledgeStore, tmp_path: Path) -> None:
    request = {
        "Authorization": "Bearer s3cr3t",
        "nested": [{"api_key": "s3cr3t", "X-Api-Key": "s3cr3t", "model": "m"}],
    }
    store.save([StoredAnswer(key(1), SOURCE, Answer(Knowledge("caption", text="x"), request=request))])
    assert next(store.answers()).answer.request == {"nested": [{"model": "m"}]}
    store.close()
    assert b"s3cr3t" not in (tmp_path / "k.sqlite").read_bytes()


def test_counts_and_rows_by_picture_post_and_beginning(store: KnowledgeStore) -> None:
    picture = "ab" * 32
    store.save([said(n, picture=picture if n % 2 else None) for n in range(10)] + [failed(11)])
    (record,) = store.counts()
    assert (record["answers"], record["failed"], record["settings"]) == (11, 1, {"model": "m"})
    assert len(list(store.answers(picture=picture))) == 5
    assert [row.post for row in store.answers(post="3")] == ["3"]
    assert [row.key for row in store.answers(key_start=key(3)[:12])] == [key(3)]
    assert len(store) == 11


# Claims


def test_two_owners_never_hold_one_claim(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    keys = [key(n) for n in range(400)]
    granted: list[set[str]] = [set() for _ in range(4)]
    together = threading.Barrier(4)

    def work(number: int) -> None:
        with KnowledgeStore(path) as store:
            together.wait()
            for start in range(0, len(keys), 20):
                granted[number] |= store.claim(keys[start : start + 20])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(mine) for mine in granted) == len(keys)
    assert set().union(*granted) == set(keys)


def test_claims_expire_are_renewed_and_given_up(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    with KnowledgeStore(path) as first, KnowledgeStore(path) as second:
        assert first.claim([key(1), key(2), key(3)], lease=-1.0) == {key(1), key(2), key(3)}
        first.renew([key(1)], lease=60.0)
        assert second.claim([key(1), key(2)]) == {key(2)}
        first.release([key(1), key(2)])
        assert second.claim([key(1)]) == {key(1)}
        assert first.claim([key(2)]) == set()
        second.save([said(1), failed(2)])
        assert first.claim([key(1), key(2)]) == set()
        assert first.claim([key(1), key(2)], retry_failed=True) == {key(2)}


def test_the_claims_of_a_dead_process_are_void(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    code = (
        "import os, sys; from mner.knowledge.store import KnowledgeStore;"
        "print(KnowledgeStore(sys.argv[1]).claim([sys.argv[2]])); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), key(1)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert key(1) in done.stdout
    with KnowledgeStore(path) as store:
        assert store.claim([key(1)]) == {key(1)}


def test_owners() -> None:
    mine = new_owner()
    assert not is_dead(mine)
    machine, boot, process, started, number = mine.split("|")
    assert is_dead("|".join((machine, boot, process, "1", number)))
    assert is_dead("|".join((machine, "another start", process, started, number)))
    assert not is_dead("|".join(("elsewhere", boot, process, "1", number)))
    assert not is_dead("nonsense")


# Several processes, and what goes wrong

WRITER = """
import sys
from mner.knowledge.store import KnowledgeStore, StoredAnswer
from mner.knowledge.keys import Source
from mner.knowledge.provider import Answer
from mner.posts import Knowledge, Post
source = Source("tester", "caption", {"model": "m"}, sees_text=True)
with KnowledgeStore(sys.argv[1]) as store:
    for n in range(int(sys.argv[2]), int(sys.argv[3])):
        key = source.keys_of(Post.from_text(f"post {n}"))[0]
        store.save([StoredAnswer(key, source, Answer(Knowledge("caption", text=str(n))))])
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    ranges = [(0, 150), (100, 250), (200, 350)]
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first), str(last)])
        for first, last in ranges
    ]
    assert [process.wait(PATIENCE) for process in running] == [0, 0, 0]
    with KnowledgeStore(path) as store:
        found = store.lookup(key(n) for n in range(350))
        assert {found[key(n)].text for n in range(350)} == {str(n) for n in range(350)}
        assert len(store) == 350


def test_a_locked_store_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    with KnowledgeStore(path, busy_seconds=0.05) as store:
        store.save([said(1)])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another process"):
            store.save([said(2)])
        other.execute("ROLLBACK")
        other.close()
        store.save([said(3)])
        assert set(store.states([key(1), key(2), key(3)])) == {key(1), key(3)}


def test_a_full_disk_is_a_clear_error_and_keeps_what_is_there(store: KnowledgeStore) -> None:
    store.save([said(n) for n in range(20)])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="disk is full"):
        store.save([said(n, "x" * 100_000) for n in range(20, 40)])
    assert len(store) == 20
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.save([said(n, "x" * 100_000) for n in range(20, 40)])
    assert len(store) == 40


def test_a_limit_of_the_system_is_a_clear_error(tmp_path: Path) -> None:
    """The limit on a file's size stands in for a disk that fills up, in a process of its own."""
    path = tmp_path / "k.sqlite"
    code = WRITER.replace("text=str(n)", "text=str(n) * 3000").replace(
        "import sys", "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))", 1
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), "0", "2000"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "StoreError" in done.stderr
    assert "What it holds is kept" in done.stderr
    with KnowledgeStore(path) as store:
        written = len(store)
        assert written > 20
        assert len(list(store.answers())) == written


def test_files_that_are_no_store_are_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, " * 100)
    with pytest.raises(StoreError, match="not a knowledge store"):
        KnowledgeStore(text)
    assert text.read_text() == "no database at all, " * 100
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (a)")
    connection.commit()
    connection.close()
    before = other.read_bytes()
    with pytest.raises(StoreError, match="not a knowledge store"):
        KnowledgeStore(other)
    assert other.read_bytes() == before
    with pytest.raises(StoreError, match="cannot be opened"):
        KnowledgeStore(tmp_path)
    with pytest.raises(StoreError, match="no knowledge store"):
        KnowledgeStore(tmp_path / "none.sqlite", read_only=True)
    assert not (tmp_path / "none.sqlite").exists()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    KnowledgeStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        KnowledgeStore(path)


def test_reading_only(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    with KnowledgeStore(path) as store:
        store.save([said(1)])
    with KnowledgeStore(path, read_only=True) as store:
        assert store.lookup([key(1)])[key(1)].text == "a cat"
        with pytest.raises(StoreError, match="reading only"):
            store.save([said(2)])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    folder.mkdir()
    with KnowledgeStore(folder / "k.sqlite") as store:
        store.save([said(1)])
    (folder / "k.sqlite").chmod(0o444)
    folder.chmod(0o555)
    try:
        with KnowledgeStore(folder / "k.sqlite", read_only=True) as store:
            assert store.lookup([key(1)])[key(1)].text == "a cat"
        with (
            pytest.raises(StoreError, match=r"read-only|cannot be opened"),
            KnowledgeStore(folder / "k.sqlite") as store,
        ):
            store.save([said(2)])
    finally:
        folder.chmod(0o755)


# Merging


@settings(max_examples=25)
@given(
    first=st.dictionaries(st.integers(0, 8), st.none() | st.sampled_from(["a", "b"]), max_size=8),
    second=st.dictionaries(st.integers(0, 8), st.none() | st.sampled_from(["c", "d"]), max_size=8),
)
def test_merging_keeps_every_answer(first: dict[int, str | None], second: dict[int, str | None]) -> None:
    """None is a failure. The expected outcome is worked out with plain dictionaries."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "1.sqlite", Path(folder) / "2.sqlite"
        for path, content in zip(paths, (first, second), strict=True):
            with KnowledgeStore(path) as store:
                store.save([said(n, t) if t is not None else failed(n, "no") for n, t in content.items()])
        with KnowledgeStore(paths[0]) as store:
            taken = store.merge(paths[1])
            again = store.merge(paths[1])
            found = store.lookup(key(n) for n in range(9))
    expected = dict(second)
    expected.update({n: t for n, t in first.items() if t is not None or second.get(n) is None})
    assert {n: found[key(n)].text for n in range(9) if key(n) in found} == expected
    assert taken == sum(
        1 for n, t in second.items() if n not in first or (first[n] is None and t is not None)
    )
    assert again == 0


def test_a_store_is_not_merged_with_what_is_none(store: KnowledgeStore, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x" * 4000)
    with pytest.raises(StoreError):
        store.merge(tmp_path / "x.txt")
    with pytest.raises(MnerError, match="itself"):
        store.merge(store.path)


def test_a_store_is_made_with_its_folder_unless_a_file_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "stores" / "crossner" / "politics.sqlite"
    with pytest.raises(StoreError, match="There is no knowledge store"):
        KnowledgeStore(path, read_only=True)
    assert not path.parent.parent.exists()
    KnowledgeStore(path).close()
    assert path.is_file()
    with pytest.raises(StoreError, match="cannot be made: Not a directory"):
        KnowledgeStore(path / "x.sqlite" / "y.sqlite")


# Pictures


def test_hashes_of_pictures_are_read_once_and_follow_changes(store: KnowledgeStore, tmp_path: Path) -> None:
    file = tmp_path / "图 1.jpg"
    file.write_bytes(b"one")
    os.utime(file, ns=(10**18, 10**18))
    (first, problem), again, missing, direct, address = store.picture_keys(
        [file, str(file), tmp_path / "none.jpg", b"one", "https://x/y.jpg"]
    )
    assert problem is None
    assert again == (first, None) == direct
    assert missing[0] is None
    assert "does not exist" in missing[1]
    assert "URL" in address[1]
    # Same size and same time: by its own rule the store does not look again.
    file.write_bytes(b"two")
    os.utime(file, ns=(10**18, 10**18))
    assert store.picture_keys([file])[0][0] == first
    os.utime(file, ns=(10**18 + 1, 10**18 + 1))
    assert store.picture_keys([file])[0][0] != first
    # A file that changed just now is not remembered: it may change within the same tick.
    file.write_bytes(b"six")
    assert store.picture_keys([file])[0] == store.picture_keys([b"six"])[0]
    stamp = file.stat().st_mtime_ns
    file.write_bytes(b"ten")
    os.utime(file, ns=(stamp, stamp))
    assert store.picture_keys([file])[0] == store.picture_keys([b"ten"])[0]


# Speed


def test_a_hundred_thousand_keys_in_two_seconds(store: KnowledgeStore) -> None:
    keys = [key(n) for n in range(100_000)]
    store.save([said(0, "a man with a ball in his hand")])
    columns = ["a." + row[1] for row in store._connection.execute("PRAGMA table_info(answers)")][1:]
    store._connection.execute(
        f"INSERT INTO answers SELECT j.value, {', '.join(columns)} FROM json_each(?) j, answers a WHERE j.value <> a.key",
        (json.dumps(keys),),
    )

    def bare() -> None:
        rows = store._connection.execute(
            "SELECT key, result FROM answers WHERE key IN (SELECT value FROM json_each(?))",
            [json.dumps(keys)],
        )
        assert len({key: json.loads(result) for key, result in rows}) == 100_000

    assert len(store.lookup(keys)) == 100_000
    # Two seconds where the bare rows take no more than 1.25, and 1.6 times what they take on a slower machine.
    assert at_usual_speed(lambda: cpu_seconds(lambda: store.lookup(keys)), like=bare, usual=1.25) < 2.0


def test_a_new_store_waits_while_another_process_begins_it_too(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "k.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        KnowledgeStore(path, busy_seconds=0)
    # The other one is done while this one waits.
    waited = []
    monkeypatch.setattr(
        "mner.knowledge.database.time.sleep", lambda _: waited.append(other.execute("COMMIT"))
    )
    with KnowledgeStore(path, busy_seconds=60) as store:
        assert len(store) == 0
    assert len(waited) == 1
