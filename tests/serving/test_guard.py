"""Key, time, room and leaving: what a server does when it must not or cannot answer."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import socket
import threading

import httpx
import pytest

from mner.errors import UsageError
from mner.serving.application import create_application
from mner.serving.logs import JsonLines
from mner.serving.settings import Limits, ServingSettings
from tests.machine import PATIENCE
from tests.serving.conftest import LIMITS, serving

KEY = "correct horse ü"


class Slow:
    """A recogniser whose predictions wait until they are let go."""

    def __init__(self, recognizer):
        self.recognizer = recognizer
        self.go = threading.Event()
        self.go.set()
        self.began = threading.Semaphore(0)
        self.batches = []

    def __getattr__(self, name):
        return getattr(self.recognizer, name)

    def predict(self, posts):
        self.batches.append(len(posts))
        self.began.release()
        assert self.go.wait(PATIENCE)
        return self.recognizer.predict(posts)


@pytest.fixture
def slow(recognizer):
    return Slow(recognizer)


def in_background(function, *arguments, **options):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments, **options)))
    thread.start()
    return thread, results


def test_with_a_key_only_health_is_open(recognizer):
    app = create_application(recognizer, ServingSettings(limits=LIMITS, api_key=KEY, page=False))
    basic = base64.b64encode(f"anybody:{KEY}".encode()).decode()
    with serving(app) as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for path in ("/health", "/ready"):
            assert client.get(path).status_code == 200
        for path in ("/version", "/metrics", "/docs", "/openapi.json", "/", "/nothing"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic")
            assert refused.json()["error"]["message"]
        wrong = [
            "Bearer",
            "Bearer wrong",
            "Bearer " + KEY + "x",
            "Basic !",
            "Basic " + basic[:-4],
            KEY,
            "Digest x",
        ]
        for value in wrong:
            assert client.get("/version", headers={"Authorization": value.encode()}).status_code == 401
        for name, value in [
            ("Authorization", f"Bearer {KEY}"),
            ("authorization", f"bearer  {KEY}"),
            ("X-API-Key", KEY),
            ("Authorization", f"Basic {basic}"),
        ]:
            assert client.get("/version", headers={name: value.encode()}).status_code == 200
            answer = client.post("/v1/recognize", json={"text": "Ada"}, headers={name: value.encode()})
            assert answer.status_code == 200
        # A wrong body is not even looked at without the key.
        assert client.post("/v1/recognize", content=b"x" * 400_000).status_code == 401
        document = client.get("/openapi.json", headers={"X-API-Key": KEY.encode()}).json()
        assert document["security"] == [{"key": []}]


def test_the_key_is_not_shown():
    assert KEY not in repr(ServingSettings(api_key=KEY))


@pytest.mark.parametrize(
    "options", [{"batch_posts": 0}, {"batch_characters": 0}, {"batch_wait": -1.0}, {"api_key": "  "}]
)
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        ServingSettings(**options)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Limits)])
def test_limits_are_positive(name):
    with pytest.raises(UsageError, match=name):
        Limits(**{name: 0})


def test_an_answer_that_takes_too_long_is_504(slow, monkeypatch):
    limits = dataclasses.replace(LIMITS, seconds=1.5)
    app = create_application(slow, ServingSettings(limits=limits, page=False))
    with serving(app) as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        slow.go.clear()
        late = client.post("/v1/recognize", json={"text": "Ada"})
        assert late.status_code == 504
        assert "1.5 seconds" in late.json()["error"]["message"]
        slow.go.set()
        # The next one has the time of a busy machine.
        monkeypatch.setattr(app.state.service, "limits", LIMITS)
        assert client.post("/v1/recognize", json={"text": "Ada"}).status_code == 200


def test_a_body_that_does_not_come_is_408(recognizer):
    limits = dataclasses.replace(LIMITS, seconds=0.3)
    app = create_application(recognizer, ServingSettings(limits=limits, page=False))
    with serving(app) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(
                b"POST /v1/recognize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 20\r\n\r\n{"
            )
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        assert b" 408 " in answer.splitlines()[0]


def test_a_full_queue_is_503_with_the_time_to_come_back(slow):
    limits = dataclasses.replace(LIMITS, queue_posts=3)
    app = create_application(slow, ServingSettings(limits=limits, page=False))
    with serving(app) as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        slow.began = threading.Semaphore(0)
        slow.go.clear()
        posts = {"posts": [{"text": "Ada"}] * 3}
        thread, results = in_background(client.post, "/v1/recognize/batch", json=posts)
        assert slow.began.acquire(timeout=PATIENCE)
        refused = client.post("/v1/recognize", json={"text": "Ada"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/ready").status_code == 200, "it is busy, not gone"
        slow.go.set()
        thread.join(PATIENCE)
        assert results[0].status_code == 200
        assert client.post("/v1/recognize", json={"text": "Ada"}).status_code == 200


def test_bodies_are_held_up_to_a_limit(slow):
    limits = dataclasses.replace(LIMITS, bodies_bytes=1500, body_bytes=1000)
    app = create_application(slow, ServingSettings(limits=limits, page=False))
    with serving(app) as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        slow.began = threading.Semaphore(0)
        slow.go.clear()
        post = {"text": "a" * 900}
        thread, results = in_background(client.post, "/v1/recognize", json=post)
        assert slow.began.acquire(timeout=PATIENCE)
        refused = client.post("/v1/recognize", json=post)
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        slow.go.set()
        thread.join(PATIENCE)
        assert results[0].status_code == 200
        assert client.post("/v1/recognize", json=post).status_code == 200


def test_leaving_finishes_what_is_in_flight(slow):
    app = create_application(slow, ServingSettings(limits=LIMITS, page=False))
    with serving(app) as (url, server), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        slow.began = threading.Semaphore(0)
        slow.go.clear()
        requests = [in_background(client.post, "/v1/recognize", json={"text": f"Ada {n}"}) for n in range(4)]
        assert slow.began.acquire(timeout=PATIENCE)
        # All four: a request that has not arrived yet is not in flight.
        while app.state.service.batcher.held < len(requests):
            threading.Event().wait(0.01)
        server.should_exit = True
        while not app.state.service.is_leaving:
            threading.Event().wait(0.01)
        with pytest.raises(httpx.TransportError):
            httpx.get(url + "/health", timeout=2)
        slow.go.set()
        for thread, results in requests:
            thread.join(PATIENCE)
            assert results[0].status_code == 200
            assert results[0].json()["entities"]


def test_something_that_fails_inside_is_500_with_a_message_and_the_next_request_works(
    recognizer, monkeypatch
):
    app = create_application(recognizer, ServingSettings(limits=LIMITS, page=False))
    with serving(app) as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        service = app.state.service
        monkeypatch.setattr(service.metrics, "entities", None)
        failed = client.post("/v1/recognize", json={"text": "Ada reads"})
        assert failed.status_code == 500
        assert failed.json()["error"]["message"]
        assert "NoneType" not in failed.text
        assert failed.headers["connection"] == "close"
        monkeypatch.undo()
        assert client.post("/v1/recognize", json={"text": "Ada reads"}).status_code == 200


def test_logs_are_lines_of_json_without_what_posts_say(recognizer, caplog):
    app = create_application(recognizer, ServingSettings(limits=LIMITS, page=False))
    with caplog.at_level(logging.INFO, "mner.serving"), serving(app) as (url, _):
        logging.getLogger("mner").propagate = True
        logging.getLogger("mner").setLevel(logging.INFO)
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            post = {"text": "confidential"}
            client.post("/v1/recognize?secret=1", json=post, headers={"X-Request-ID": "r1"})
            client.post("/v1/recognize", content=b"confidential")
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "mner.serving"]
    documents = [json.loads(line) for line in lines]
    answered, refused = (d for d in documents if d.get("path") == "/v1/recognize")
    assert (answered["request"], answered["status"], answered["method"]) == ("r1", 200, "POST")
    assert answered["milliseconds"] > 0
    assert (refused["status"], refused["reason"]) == (415, "content_type")
    assert not any("confidential" in line or "secret" in line or "\n" in line for line in lines)


def test_a_traceback_is_in_the_line():
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "failed", (), __import__("sys").exc_info()
        )
    document = json.loads(JsonLines().format(record))
    assert "ValueError: broken\nin two" in document["traceback"]
