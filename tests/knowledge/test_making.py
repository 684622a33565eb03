"""The engine: every question once, every answer kept, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mner.errors import UsageError
from mner.knowledge.making import make_knowledge
from mner.knowledge.provider import Answer, ProviderError, Question
from mner.knowledge.providers.endpoint import EndpointAuxiliary, EndpointReasoning
from mner.knowledge.providers.files import AltTextProvider
from mner.knowledge.store import KnowledgeStore
from mner.posts import Knowledge, Post
from tests.knowledge.chat_server import ChatServer, status
from tests.machine import PATIENCE, at_usual_speed, cpu_seconds


class Lengths:
    """A provider that says how long a post's text is; it fails where it is told to."""

    name = "lengths"
    kind = "caption"
    sees_text = True
    sees_picture = False
    leaves_machine = False

    def __init__(self, batch_size: int = 4, concurrency: int = 1) -> None:
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.fail: Callable[[str], Exception | str | None] = lambda _: None
        self.lock = threading.Lock()

    def settings(self) -> Mapping[str, Any]:
        return {}

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        with self.lock:
            self.asked += [question.post.text for question in questions]
            self.batches.append(len(questions))
        answers = []
        for question in questions:
            trouble = self.fail(question.post.text)
            if isinstance(trouble, Exception):
                raise trouble
            if trouble is not None:
                answers.append(Answer(None, problem=trouble))
            else:
                answers.append(Answer(Knowledge(self.kind, text=str(len(question.post.text)))))
        return answers


class Colours(Lengths):
    """A provider that says the colour of a picture."""

    name = "colours"
    sees_text = False
    sees_picture = True

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        with self.lock:
            self.asked += [str(question.picture_key) for question in questions]
        return [
            Answer(Knowledge(self.kind, text=str(question.picture.getpixel((0, 0)))))
            for question in questions
        ]


def posts(count: int) -> list[Post]:
    return [Post.from_text("x" * (number + 1), id=str(number)) for number in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with KnowledgeStore(tmp_path / "k.sqlite") as opened:
        yield opened


@pytest.mark.parametrize(("batch_size", "concurrency"), [(1, 1), (4, 1), (3, 4), (100, 2)])
def test_each_question_once_and_only_what_is_missing(
    store: KnowledgeStore, batch_size: int, concurrency: int
) -> None:
    provider = Lengths(batch_size, concurrency)
    asked = [*posts(10), *posts(5)]
    report = make_knowledge(asked, provider, store)
    assert sorted(provider.asked) == sorted(post.text for post in posts(10))
    assert max(provider.batches) <= batch_size
    assert (report.posts, report.answered, report.repeated, report.known) == (15, 10, 5, 0)
    again = make_knowledge(iter(posts(12)), provider, store)
    assert (again.posts, again.answered, again.known) == (12, 2, 10)
    assert len(provider.asked) == 12
    assert {row.answer.knowledge.text for row in store.answers()} == {str(n + 1) for n in range(12)}


def test_one_bad_post_costs_neither_its_batch_nor_the_run(store: KnowledgeStore) -> None:
    provider = Lengths(batch_size=5)
    provider.fail = lambda text: {3: ValueError("odd"), 7: "no answer"}.get(len(text))
    report = make_knowledge(posts(10), provider, store)
    assert (report.answered, report.failed) == (8, 2)
    assert report.problems == Counter({"ValueError: odd": 1, "no answer": 1})
    provider.asked.clear()
    assert make_knowledge(posts(10), provider, store).failed_before == 2
    assert provider.asked == []
    provider.fail = lambda _: None
    report = make_knowledge(posts(10), provider, store, retry_failed=True)
    assert (report.answered, report.known, sorted(provider.asked)) == (2, 8, ["xxx", "xxxxxxx"])


def test_a_provider_that_is_down_ends_the_run(store: KnowledgeStore) -> None:
    provider = Lengths(batch_size=2)
    provider.fail = lambda text: "down" if len(text) > 10 else None
    with pytest.raises(ProviderError, match="26 answers") as caught:
        make_knowledge(posts(1000), provider, store, give_up_after=25)
    assert "down" in str(caught.value)
    assert sum(store.states(row.key for row in store.answers()).values()) == 10
    assert len(provider.asked) <= 40


def test_an_error_for_the_user_ends_the_run_and_keeps_the_rest(store: KnowledgeStore) -> None:
    provider = Lengths(batch_size=1)
    provider.fail = lambda text: ProviderError("no such model") if len(text) == 6 else None
    with pytest.raises(ProviderError, match="no such model"):
        make_knowledge(posts(10), provider, store)
    assert len(store) == 5
    provider.fail = lambda _: None
    assert make_knowledge(posts(10), provider, store).answered == 5


def test_wrong_answers_are_failures(store: KnowledgeStore) -> None:
    class Wrong(Lengths):
        def answer(self, questions: Sequence[Question]) -> list[Answer]:
            wrong = {
                1: Answer(None),
                2: Answer(Knowledge("ocr", text="x")),
                3: Answer(Knowledge("caption", problem="bad")),
            }
            return [wrong[len(question.post.text)] for question in questions]

    report = make_knowledge(posts(3), Wrong(), store)
    assert report.failed == 3
    assert set(report.problems) == {
        "the provider gave no result",
        "the provider gave 'ocr', not 'caption'",
        "bad",
    }

    class Short(Lengths):
        def answer(self, questions: Sequence[Question]) -> list[Answer]:
            return [Answer(None, problem="x")] * (len(questions) - 1)

    with pytest.raises(ProviderError, match="each question"):
        make_knowledge(posts(20), Short(), store)


def test_pictures_identical_broken_and_absent(store: KnowledgeStore, tmp_path: Path) -> None:
    for name, colour in (("a.png", "red"), ("b.png", "red"), ("图 c.png", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / name)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xffnonsense")
    (tmp_path / "empty.jpg").write_bytes(b"")
    given = [
        *(
            Post.from_text(name, id=name, image=tmp_path / name)
            for name in ("a.png", "b.png", "图 c.png", "bad.jpg")
        ),
        Post.from_text("bytes", image=(tmp_path / "a.png").read_bytes()),
        *(Post.from_text(name, id=name, image=tmp_path / name) for name in ("empty.jpg", "missing.jpg")),
        Post.from_text("none", id="none", image_problem="no file none.jpg"),
        Post.from_text("bare", id="bare"),
    ]
    provider = Colours(batch_size=3)
    report = make_knowledge(given, provider, store)
    assert len(provider.asked) == len(set(provider.asked)) == 2
    assert (report.answered, report.repeated, report.failed) == (2, 2, 1)
    assert next(iter(report.problems)).startswith("picture: ")
    assert report.without == Counter(
        {
            "picture: the file is empty": 1,
            "picture: the file does not exist": 1,
            "picture: no file none.jpg": 1,
            "picture: there is no picture": 1,
        }
    )
    assert report.examples["picture: the file does not exist"] == ["missing.jpg"]
    assert make_knowledge(given, provider, store).failed_before == 1


def test_broken_pictures_alone_do_not_end_a_run(store: KnowledgeStore) -> None:
    given = [Post.from_text(str(n), image=b"no picture %d" % n) for n in range(60)]
    assert make_knowledge(given, Colours(), store, give_up_after=5).failed == 60


def test_alternative_texts(store: KnowledgeStore) -> None:
    given = [
        Post.from_text("a", id="1", alt="A man\n with a ball."),
        Post.from_text("b", id="2", alt="   "),
        Post.from_text("c", id="3"),
    ]
    report = make_knowledge(given, AltTextProvider(), store)
    assert (report.answered, report.failed) == (1, 1)
    assert report.without == Counter({"the post has not an alternative text": 1})
    assert [row.answer.knowledge.text for row in store.answers() if not row.failed] == ["A man with a ball."]


def test_other_knowledge_is_shown_and_belongs_to_the_key(store: KnowledgeStore) -> None:
    class Reader(Lengths):
        name = "reader"
        kind = "reasoning"
        sees_knowledge = ("caption",)

        def answer(self, questions: Sequence[Question]) -> list[Answer]:
            captions = [question.post.known("caption") for question in questions]
            self.asked += [caption.text if caption else "-" for caption in captions]
            return [Answer(Knowledge("reasoning", text="r")) for _ in questions]

    reader = Reader()
    make_knowledge(posts(3), reader, store)
    make_knowledge(posts(2), Lengths(), store)
    report = make_knowledge(posts(3), reader, store)
    assert (report.answered, report.known) == (2, 1)
    assert reader.asked == ["-", "-", "-", "1", "2"]


def test_progress_counts_every_post(store: KnowledgeStore) -> None:
    counted: list[int] = []
    opened: list[tuple[str, int | None]] = []

    @contextmanager
    def reporter(description: str, total: int | None = None, /) -> Iterator[Any]:
        opened.append((description, total))
        yield lambda count=1, **_: counted.append(count)

    given = [*posts(7), *posts(3), Post.from_text("xx")]
    make_knowledge(given, Lengths(), store, progress=reporter)
    assert sum(counted) == len(given)
    assert opened == [("caption by lengths", 11)]


def test_posts_stay_here_unless_somebody_allowed_it(store: KnowledgeStore) -> None:
    class Away(Lengths):
        leaves_machine = True
        destination = "https://api.example.com"

    provider = Away()
    with pytest.raises(UsageError, match=r"https://api\.example\.com"):
        make_knowledge(posts(2), provider, store)
    assert provider.asked == []
    make_knowledge(posts(1), provider, store, may_send=True)
    with pytest.raises(UsageError):
        make_knowledge(posts(2), provider, store)
    store.confirm("https://api.example.com")
    make_knowledge(posts(2), provider, store)
    assert len(provider.asked) == 2


def test_two_runs_at_once_ask_each_question_once(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    providers = [Lengths(2, 2), Lengths(3, 1)]
    reports = []

    def work(provider: Lengths) -> None:
        with KnowledgeStore(path) as store:
            reports.append(make_knowledge(posts(300), provider, store))

    threads = [threading.Thread(target=work, args=(provider,)) for provider in providers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = Counter(text for provider in providers for text in provider.asked)
    assert set(asked) == {post.text for post in posts(300)}
    assert set(asked.values()) == {1}
    assert [report.answered + report.known for report in reports] == [300, 300]


def test_an_interrupted_run_keeps_what_is_under_way(store: KnowledgeStore) -> None:
    provider = Lengths(batch_size=1, concurrency=3)

    @contextmanager
    def interrupting(description: str, total: int | None = None, /) -> Iterator[Any]:
        def advance(count: int = 1, /, **notes: object) -> None:
            del count, notes
            if len(provider.asked) >= 20:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        make_knowledge(posts(200), provider, store, progress=interrupting)
    assert 20 <= len(provider.asked) <= 30
    assert len(store) == len(provider.asked)
    assert make_knowledge(posts(10), provider, store).known == 10


def test_what_a_failing_endpoint_costs(store: KnowledgeStore) -> None:
    with ChatServer() as server:
        provider = EndpointReasoning(
            server.address, "little", steps=1, concurrency=4, attempts=2, first_pause=0.001
        )
        server.plan = [status(500)] * 3 + [status(429, headers={"Retry-After": "0"})] * 2
        report = make_knowledge(posts(40), provider, store)
        failed = report.failed
        assert report.answered + failed == 40
        report = make_knowledge(posts(40), provider, store, retry_failed=True)
        assert (report.answered, report.failed, report.known) == (failed, 0, 40 - failed)
        server.plan = [status(401, "wrong key")]
        with pytest.raises(ProviderError, match="wrong key"):
            make_knowledge([Post.from_text("new")], provider, store)


def test_cost_and_tokens_are_summed(store: KnowledgeStore) -> None:
    with ChatServer() as server:
        image = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
        image.save(store.path.with_name("a.png"))
        provider = EndpointAuxiliary(server.address, "little", input_price=1e6, output_price=2e6)
        report = make_knowledge([Post.from_text("a", image=store.path.with_name("a.png"))], provider, store)
    assert (report.input_tokens, report.output_tokens, report.cost) == (10, 4, 18.0)
    assert json.loads(json.dumps(report.as_dict()))["cost"] == 18.0


def test_posts_that_have_it_all_cost_under_a_millisecond(store: KnowledgeStore, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    given = []
    for number in range(2000):
        file = folder / f"{number}.png"
        file.write_bytes(b"not opened when it is known %d" % number)
        os.utime(file, (1e9, 1e9))
        given.append(Post.from_text(f"post {number}", id=str(number), image=file))

    class Any(Colours):
        sees_text = True

        def answer(self, questions: Sequence[Question]) -> list[Answer]:
            return [Answer(Knowledge("caption", text="x")) for _ in questions]

    provider = Any(batch_size=100)
    # All fail as pictures; the store knows that, and does not open them again.
    make_knowledge(given, provider, store)
    assert make_knowledge(given, provider, store).failed_before == 2000
    seconds = at_usual_speed(lambda: cpu_seconds(lambda: make_knowledge(given, provider, store)))
    assert seconds / len(given) < 0.001


# Killed, again and again


def _killed_runs(tmp_path: Path, count: int, kills: int, concurrency: int, seed: int) -> None:
    data = tmp_path / "posts.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({"id": str(number), "text": f"Post {number} from Toronto"}) + "\n")

    def command(store: Path, address: str) -> list[str]:
        words = ["knowledge", "make", str(data), "--store", str(store), "--provider", "endpoint-reasoning"]
        words += ["--endpoint", address, "--model", "little", "--option", "steps=1", "--json"]
        return [sys.executable, "-m", "mner", *words, "--option", f"concurrency={concurrency}"]

    chance = random.Random(seed)
    broken, whole = tmp_path / "broken.sqlite", tmp_path / "whole.sqlite"
    with ChatServer() as server:
        killed = 0
        process: subprocess.Popen[str] | None = None
        limit = [0]

        def on_answer(answered: int) -> None:
            if answered >= limit[0] and process is not None and process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)

        server.on_answer = on_answer
        for _ in range(kills):
            before = len(server.requests)
            limit[0] = before + chance.randint(1, 2 * (count - 20) // (kills + 4))
            process = subprocess.Popen(
                command(broken, server.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            process.communicate(timeout=PATIENCE)
            assert process.returncode == -signal.SIGKILL
            killed += 1
            assert sqlite_check(broken) == "ok"
        process = None
        done = subprocess.run(
            command(broken, server.address), capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        assert killed == kills
        asked = len(server.requests)
        report = json.loads(done.stdout)["runs"][0]
        assert report["known"] + report["answered"] == count
        assert report["failed"] == 0
        assert count <= asked <= count + kills * concurrency
        subprocess.run(command(whole, server.address), capture_output=True, timeout=PATIENCE, check=True)
        assert len(server.requests) - asked == count
    assert rows_but_for_times(broken) == rows_but_for_times(whole)


def sqlite_check(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()


def rows_but_for_times(path: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(answers)")]
        kept = [column for column in columns if column not in ("made_at", "duration")]
        rows = connection.execute(f"SELECT {', '.join(kept)} FROM answers ORDER BY key").fetchall()
        assert connection.execute("SELECT count(*) FROM claims").fetchone()[0] == 0
    finally:
        connection.close()
    return rows


def test_a_run_killed_four_times_loses_nothing(tmp_path: Path) -> None:
    _killed_runs(tmp_path, count=300, kills=4, concurrency=8, seed=1)


@pytest.mark.slow
def test_a_run_killed_twenty_times_loses_nothing(tmp_path: Path) -> None:
    started = time.monotonic()
    _killed_runs(tmp_path, count=3000, kills=20, concurrency=8, seed=2)
    assert time.monotonic() - started < 180


def test_no_torch_on_the_way_to_an_endpoint(tmp_path: Path) -> None:
    data = tmp_path / "posts.jsonl"
    data.write_text('{"id": "1", "text": "a"}\n')
    with ChatServer() as server:
        code = (
            "import sys; from mner.cli.app import run;"
            f"status = run(['knowledge', 'make', {str(data)!r}, '--store', {str(tmp_path / 'k.sqlite')!r},"
            " '--provider', 'endpoint-reasoning', '--model', 'm', '--json',"
            f" '--endpoint', {server.address!r}]);"
            "sys.exit(99 if 'torch' in sys.modules or 'transformers' in sys.modules else status)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["answered"] == 1
