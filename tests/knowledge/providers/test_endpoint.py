"""The endpoint's providers over real HTTP, with a server that misbehaves as real ones do."""

from __future__ import annotations

import base64
import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from mner.errors import UsageError
from mner.knowledge.chat import plain_answer
from mner.knowledge.keys import Source
from mner.knowledge.provider import Provider, ProviderError, Question
from mner.knowledge.providers.endpoint import EndpointAuxiliary, EndpointCaption, EndpointReasoning
from mner.posts import Knowledge, Post
from tests.knowledge.chat_server import ChatServer, body, completion, cut, cut_within, hang, status, words_of

POST = Post.from_text("Kawhi Leonard wins in {Toronto}", id="7")
FAST: dict[str, Any] = {"first_pause": 0.001, "timeout": 5.0}
SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


def question(post: Post = POST) -> Question:
    return Question(post, Image.new("RGB", (3000, 1500), (200, 30, 30)), "ab" * 32)


def test_they_are_providers(server: ChatServer) -> None:
    for kind in (EndpointCaption, EndpointAuxiliary, EndpointReasoning):
        provider = kind(server.address, "little")
        assert isinstance(provider, Provider)
        assert not provider.leaves_machine


def test_caption_sees_text_cue_words_and_picture(server: ChatServer) -> None:
    provider = EndpointCaption(server.address, "little", domain="politics", seed=3, **FAST)
    (answer,) = provider.answer([question()])
    (request,) = server.requests
    assert request["model"] == "little"
    assert (request["temperature"], request["max_tokens"], request["seed"]) == (0.0, 120, 3)
    words = words_of(request)
    assert POST.text in words
    assert "politicians" in words
    picture = request["messages"][-1]["content"][0]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    assert (sent.format, sent.size) == ("JPEG", (1024, 512))
    assert answer.problem is None
    assert answer.knowledge.kind == "caption"
    assert answer.knowledge.text == json.loads(answer.raw)["choices"][0]["message"]["content"]
    assert (answer.input_tokens, answer.output_tokens, answer.cost) == (10, 4, None)
    kept = json.dumps(answer.request)
    assert "base64" not in kept
    assert "ab" * 32 in kept
    assert POST.text in json.loads(kept)["steps"][0][-1]["content"][1]["text"]


def test_auxiliary_never_shows_the_text(server: ChatServer) -> None:
    provider = EndpointAuxiliary(server.address, "little", **FAST)
    provider.answer([question()])
    assert "Leonard" not in json.dumps(server.requests)
    assert "image_url" in json.dumps(server.requests)
    assert not provider.sees_text


def test_each_step_of_a_chain_sees_the_ones_before() -> None:
    replies = iter(["Kawhi Leonard\nToronto", "a player; a city", "Kawhi Leonard -> PER"])
    with ChatServer(lambda _: completion(next(replies))) as server:
        provider = EndpointReasoning(server.address, "little", input_price=1.0, output_price=2.0, **FAST)
        post = POST.with_fields(knowledge=(Knowledge("caption", text="a man with a ball"),))
        (answer,) = provider.answer([Question(post)])
        asked = [words_of(request) for request in server.requests]
    assert answer.knowledge.steps == ("Kawhi Leonard\nToronto", "a player; a city", "Kawhi Leonard -> PER")
    assert answer.knowledge.text == "\n".join(answer.knowledge.steps)
    assert all("a man with a ball" in words and POST.text in words for words in asked)
    assert ["Kawhi Leonard\nToronto" in words for words in asked] == [False, True, True]
    assert ["a player; a city" in words for words in asked] == [False, False, True]
    assert "- PER:" in asked[2]
    assert (answer.input_tokens, answer.output_tokens) == (30, 12)
    assert answer.cost == pytest.approx((30 * 1.0 + 12 * 2.0) / 1e6)
    assert len(json.loads(answer.raw)) == 3


def test_a_chain_of_fewer_steps_and_one_too_many(server: ChatServer) -> None:
    provider = EndpointReasoning(server.address, "little", steps=2, **FAST)
    (answer,) = provider.answer([Question(POST)])
    assert len(answer.knowledge.steps) == len(server.requests) == 2
    with pytest.raises(UsageError, match="3 steps"):
        EndpointReasoning(server.address, "little", steps=4)


@pytest.mark.parametrize(
    "trouble",
    [
        status(429, headers={"Retry-After": "0"}),
        status(429),
        status(500),
        status(503),
        status(408),
        cut,
        cut_within,
        body(b"<html>bad gateway</html>"),
        body(b'{"choices": [{"mess'),
        body(b'{"choices": []}'),
        body(b"[]"),
        body(completion("")),
        body(completion(None)),
        body(completion("   \n")),
    ],
)
def test_passing_trouble_is_tried_again(server: ChatServer, trouble: Any) -> None:
    server.plan = [trouble, trouble]
    (answer,) = EndpointAuxiliary(server.address, "little", attempts=3, **FAST).answer([question()])
    assert answer.problem is None
    assert answer.knowledge.text.startswith("said ")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (status(500, "overloaded"), "answered 500: overloaded"),
        (status(429, "slow down"), "answered 429: slow down"),
        (cut, "connection to the endpoint failed"),
        (body(b"not json"), "not a chat completion"),
        (body(completion("")), "empty"),
    ],
)
def test_lasting_trouble_becomes_a_failure(server: ChatServer, trouble: Any, said: str) -> None:
    server.plan = [trouble] * 3
    (answer,) = EndpointAuxiliary(server.address, "little", attempts=3, **FAST).answer([question()])
    assert answer.knowledge is None
    assert said in answer.problem
    assert len(server.requests) == 3


def test_retry_after_is_waited_for(server: ChatServer) -> None:
    server.plan = [status(429, headers={"Retry-After": "0.4"})]
    started = time.monotonic()
    (answer,) = EndpointAuxiliary(server.address, "little", **FAST).answer([question()])
    assert answer.problem is None
    assert time.monotonic() - started >= 0.4


def test_a_slow_answer_is_given_up(server: ChatServer) -> None:
    server.plan = [hang, hang]
    provider = EndpointAuxiliary(server.address, "little", timeout=0.2, attempts=2, first_pause=0.001)
    (answer,) = provider.answer([question()])
    assert "did not answer in time" in answer.problem
    assert len(server.requests) == 2


def test_what_is_refused_for_good_is_not_tried_again(server: ChatServer) -> None:
    server.plan = [status(400, "too long"), body(completion("x", finish_reason="content_filter"))]
    provider = EndpointAuxiliary(server.address, "little", **FAST)
    refused, filtered, good = provider.answer([question()] * 3)
    assert "answered 400: too long" in refused.problem
    assert "filter" in filtered.problem
    assert good.problem is None
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [401, 402, 403, 404, 302])
def test_what_refuses_everything_ends_the_run(server: ChatServer, code: int) -> None:
    server.plan = [status(code, "no", {"Location": server.address} if code == 302 else None)]
    with pytest.raises(ProviderError, match=str(code)):
        EndpointAuxiliary(server.address, "little", **FAST).answer([question()])
    assert len(server.requests) == 1


def test_a_failure_within_a_chain_names_the_step(server: ChatServer) -> None:
    server.plan = [body(completion("one")), status(400, "no")]
    (answer,) = EndpointReasoning(server.address, "little", **FAST).answer([Question(POST)])
    assert answer.problem.startswith("step 2: ")
    assert "one" in answer.raw
    assert answer.input_tokens == 10


def test_the_key_is_sent_and_kept_nowhere(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.plan = [status(400, f"Incorrect key: {SECRET}"), body(completion(f"you said {SECRET}"))]
    provider = EndpointAuxiliary(server.address, "little", key=SECRET, **FAST)
    answers = provider.answer([question()] * 2)
    assert {seen["authorization"] for seen in server.headers_seen} == {f"Bearer {SECRET}"}
    assert SECRET not in repr(answers)
    assert SECRET not in repr(provider.settings())
    assert SECRET not in repr(Source.of(provider))
    assert SECRET not in caplog.text
    server.plan = [status(401, f"Incorrect key: {SECRET}")]
    with pytest.raises(ProviderError) as caught:
        provider.answer([question()])
    assert SECRET not in str(caught.value)


def test_the_environment_gives_no_key_and_no_proxy(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    (answer,) = EndpointAuxiliary(server.address, "little", attempts=1, **FAST).answer([question()])
    assert answer.problem is None
    assert SECRET not in repr(server.headers_seen)
    assert "org-of-somebody" not in repr(server.headers_seen)


def test_everything_that_shapes_an_answer_is_in_the_key(server: ChatServer) -> None:
    def key(kind: Any = EndpointCaption, model: str = "little", **options: Any) -> str:
        return Source.of(kind(server.address, model, **options)).key

    keys = [
        key(),
        key(model="large"),
        key(revision="2"),
        key(domain="politics"),
        key(prompt="caption-completion"),
        key(temperature=0.7),
        key(max_tokens=50),
        key(seed=1),
        key(EndpointAuxiliary),
        key(EndpointReasoning),
        key(EndpointReasoning, steps=2),
    ]
    assert len(set(keys)) == len(keys)
    same = EndpointCaption("http://127.0.0.1:1/v1", "little", concurrency=3, timeout=9.0, key=SECRET)
    assert Source.of(same).key == keys[0]
    # A prompt that does not speak of the domain asks the same in all of them.
    assert key(EndpointAuxiliary, domain="politics") == key(EndpointAuxiliary)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://127.9.9.9/v1", True),
        ("https://api.example.com/v1", False),
        ("http://192.168.1.5:8000/v1", False),
        ("http://localhost.example.com/v1", False),
        ("http://127.0.0.1.example.com/v1", False),
    ],
)
def test_what_leaves_the_machine(address: str, here: bool) -> None:
    assert EndpointCaption(address, "little").leaves_machine is not here


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://x/", "http://", "http://me:pw@host/v1", "http://h/v1?key=1", "http://[::1"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        EndpointCaption(address, "little")
    assert "pw" not in str(caught.value).replace("password", "")


def test_fences_and_thoughts_are_taken_off() -> None:
    assert plain_answer("```\nKawhi -> PER\n```") == "Kawhi -> PER"
    assert plain_answer('```json\n{"a": 1}\n```\n') == '{"a": 1}'
    assert plain_answer("<think>who?\nhe?</think>\n\n```text\nPER\nLOC\n```") == "PER\nLOC"
    assert plain_answer("  plain  ") == "plain"
    assert plain_answer("see ```this``` here") == "see ```this``` here"
    assert plain_answer("```a\n1\n```\nand\n```b\n2\n```") != "1"


def test_an_answer_in_a_code_fence_over_the_wire(server: ChatServer) -> None:
    server.plan = [body(completion("```text\na man\n```"))]
    (answer,) = EndpointCaption(server.address, "little", **FAST).answer([question()])
    assert answer.knowledge.text == "a man"
    assert "```" in answer.raw
