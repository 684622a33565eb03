"""Talking to an OpenAI-compatible endpoint: vLLM, Ollama, llama.cpp, or a service in the cloud."""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from mner.errors import MissingExtraError, UsageError, shown
from mner.knowledge.provider import ProviderError
from mner.knowledge.retrying import PassingError, Retry, seconds_to_wait

# Trying again helps with these; with the next ones nothing helps but putting the settings right.
_PASSING = frozenset({408, 409, 425, 429})
_HOPELESS = frozenset({401, 402, 403, 404, 405})

_FENCE = re.compile(r"\A\s*```[\w+-]*[ \t]*\r?\n(?P<inside>.*?)\r?\n?[ \t]*```\s*\Z", re.DOTALL)
# What a reasoning model thinks aloud before it answers.
_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)


class RefusedError(Exception):
    """The endpoint refused one request for good; others may go well.

    Args:
        what: What it said, for people.
        raw: What it answered.
    """

    def __init__(self, what: str, raw: str = "") -> None:
        super().__init__(what)
        self.raw = raw


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint said.

    Args:
        text: The words of the answer, without a code fence around them or thoughts before them.
        raw: The body of the response as it came.
        input_tokens: Tokens read, where the endpoint says so.
        output_tokens: Tokens written, where the endpoint says so.
        cost: The price, where the endpoint or the settings know it.
    """

    text: str
    raw: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


class Endpoint:
    """An OpenAI-compatible chat endpoint. Safe to share between threads.

    Redirects are not followed: what is sent goes to the host that was named and to no other. A request to
    this machine does not go through a proxy either.

    Args:
        address: The base URL, such as ``http://127.0.0.1:8000/v1``.
        model: The model's name there.
        key: The secret, where the endpoint wants one; it is sent to the endpoint, and never kept or shown.
        timeout: Seconds to wait for a connection, and for each piece of an answer.
        retry: How often and how long to try again.
        input_price: Price of a million tokens read, where cost is to be counted.
        output_price: Price of a million tokens written.

    Raises:
        UsageError: The address is none.
        MissingExtraError: The openai client is not installed.
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        retry: Retry | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("Asking an endpoint", "knowledge") from error
        self.address = address.rstrip("/")
        self.destination, self.is_here = _destination(self.address)
        self.model = model
        self.retry = retry if retry is not None else Retry()
        self.input_price = input_price
        self.output_price = output_price
        self._key = key
        self._openai = openai
        self._client = openai.OpenAI(
            base_url=self.address,
            # The client insists on one, and would else take the environment's.
            api_key=key or "none",
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(follow_redirects=False, trust_env=not self.is_here),
        )
        # The client takes these from the environment; they are no business of any other endpoint.
        self._client.organization = None
        self._client.project = None

    def complete(self, messages: Sequence[Mapping[str, Any]], generation: Mapping[str, Any]) -> Reply:
        """One answer to a conversation.

        Args:
            messages: The conversation, as the chat interface has it.
            generation: Settings such as ``temperature`` and ``max_tokens``.

        Raises:
            PassingError: All tries failed.
            RefusedError: The endpoint refuses this request.
            ProviderError: The endpoint refuses every request: wrong key, no such model, no such address.
        """
        return self.retry(lambda: self._complete(messages, generation))

    def _complete(self, messages: Sequence[Mapping[str, Any]], generation: Mapping[str, Any]) -> Reply:
        openai = self._openai
        try:
            response = self._client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=list(messages),  # type: ignore[arg-type]
                **dict(generation),
            )
            raw = response.text if isinstance(response.text, str) else response.text()
        except openai.APITimeoutError as error:
            raise PassingError("the endpoint did not answer in time") from error
        except openai.APIConnectionError as error:
            reason = self._scrub(str(error.__cause__ or error))
            raise PassingError(f"the connection to the endpoint failed: {reason}") from error
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        return self._read(raw)

    def _refusal(self, error: Any) -> Exception:
        status = int(error.status_code)
        body = self._scrub(error.response.text)
        said = f"the endpoint answered {status}: {_message(body)}"
        if status in _PASSING or status >= 500:
            wait = seconds_to_wait(error.response.headers.get("retry-after"))
            return PassingError(said, wait=wait, raw=body)
        if status in _HOPELESS or status < 400:
            hint = {
                401: "Is the key right? It is read from an environment variable: see --api-key-variable.",
                403: "Is the key allowed to use this model?",
                404: "Are the address (it usually ends in /v1) and the model's name right?",
            }.get(status)
            if status < 400:
                hint = "It points elsewhere; name the address it points to, if you trust it."
            return ProviderError(f"The endpoint {self.destination} refuses everything: {said}.", hint=hint)
        return RefusedError(said, body)

    def _read(self, raw: str) -> Reply:
        raw = self._scrub(raw)
        try:
            body = json.loads(raw)
            choice = body["choices"][0]
            content = choice["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise PassingError(
                f"the endpoint's answer is not a chat completion: {shown(raw)}", raw=raw
            ) from error
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
        if choice.get("finish_reason") == "content_filter":
            raise RefusedError("the endpoint's filter withheld the answer", raw)
        text = plain_answer(content) if isinstance(content, str) else ""
        if not text:
            raise PassingError("the endpoint's answer is empty", raw=raw)
        usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
        read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        return Reply(text, raw, read, written, self._cost(usage.get("cost"), read, written))

    def _cost(self, said: Any, read: int | None, written: int | None) -> float | None:
        if isinstance(said, int | float) and not isinstance(said, bool):
            return float(said)
        if self.input_price is None and self.output_price is None:
            return None
        if read is None or written is None:
            return None
        return (read * (self.input_price or 0.0) + written * (self.output_price or 0.0)) / 1_000_000

    def _scrub(self, text: str) -> str:
        # Some endpoints repeat a key that they refuse.
        return text.replace(self._key, "***") if self._key else text


def plain_answer(content: str) -> str:
    """The answer without thoughts before it and without a code fence around all of it."""
    text = _THOUGHT.sub("", content, count=1)
    fenced = _FENCE.match(text)
    return (fenced["inside"] if fenced else text).strip()


def picture_part(image: Image.Image, *, max_side: int, quality: int) -> dict[str, Any]:
    """A picture as a part of a message: a JPEG of limited size within the request."""
    shrunk = image.copy()
    shrunk.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shrunk.save(buffer, "JPEG", quality=quality)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def without_pictures(messages: Sequence[Mapping[str, Any]], picture_key: str | None) -> list[dict[str, Any]]:
    """A conversation with the pictures' bytes replaced by their hash, to be kept with the answer."""
    kept = []
    for message in messages:
        content = message["content"]
        if isinstance(content, list):
            content = [
                {"type": "picture", "sha256": picture_key} if part["type"] == "image_url" else part
                for part in content
            ]
        kept.append({**message, "content": content})
    return kept


def _destination(address: str) -> tuple[str, bool]:
    """Where an address leads, without its path, and whether that is this very machine."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(
            f"{shown(address)} is not the address of an endpoint.",
            expected="a base URL such as http://127.0.0.1:8000/v1",
        )
    if parts.username or parts.password or parts.query:
        raise UsageError(
            "An endpoint's address must not hold a password or a key: it would be kept with the answers.",
            hint="Put the key into an environment variable: see --api-key-variable.",
        )
    named = f"[{host}]" if ":" in host else host
    destination = f"{parts.scheme}://{named}" + (f":{port}" if port else "")
    try:
        return destination, ipaddress.ip_address(host).is_loopback
    except ValueError:
        return destination, host == "localhost"


def _message(body: str) -> str:
    try:
        error = json.loads(body)["error"]
        said = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        said = " ".join(body.split())
    return said[:300] or "nothing"


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
