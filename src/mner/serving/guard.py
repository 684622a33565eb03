"""What every request passes before anything reads it: its record, its key, its body.

Plain ASGI: three layers, each of which hands the request on or answers it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mner.serving.logs import log
from mner.serving.metrics import Metrics
from mner.serving.refusals import Refusal, too_large
from mner.serving.settings import Limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/ready"})
"""What is answered without a key: whoever runs the server has to be able to ask whether it lives."""

_IDENTITY = re.compile(rb"[A-Za-z0-9._-]{1,64}")

# Nothing is loaded from elsewhere, whatever a page or one of its libraries may want.
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        b"frame-ancestors 'self'",
    ),
]


async def answer(refusal: Refusal, send: Send, headers: dict[str, str] | None = None) -> None:
    """Send a refusal."""
    body = refusal.body
    fields = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **refusal.headers,
        **(headers or {}),
    }
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def replayed(body: bytes, receive: Receive) -> Receive:
    """What hands out a body that was received already, and then what else comes."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


class Recorded:
    """Gives each request a name, and writes down how it was answered and how long that took.

    Args:
        app: What answers.
        metrics: Where it is counted.
    """

    def __init__(self, app: App, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        name = given if _IDENTITY.fullmatch(given) else secrets.token_hex(8).encode()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name), *_HEADERS]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            refused: Refusal | None = scope.get("state", {}).get("refusal")
            if refused is not None:
                self.metrics.refused.labels(refused.reason).inc()
            route = _route_of(scope)
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            log(
                "request",
                request=name.decode(),
                method=scope["method"],
                path=scope["path"][:200],
                status=status,
                milliseconds=round(seconds * 1e3, 1),
                client=(scope.get("client") or ("",))[0],
                **({} if refused is None else {"reason": refused.reason}),
            )


def _route_of(scope: Scope) -> str:
    # Paths that people make up must not become a metric each.
    route = scope.get("route")
    path = getattr(route, "path", None)
    return path if (isinstance(path, str) and path.startswith("/v1")) or path in _NAMED else "other"


_NAMED = frozenset({"/health", "/ready", "/version", "/metrics", "/docs", "/openapi.json"})


class KeyRequired:
    """Lets those through who show the key.

    It may come as ``Authorization: Bearer KEY``, as ``X-API-Key: KEY``, or, so that a browser can ask for
    it, as the password of ``Authorization: Basic``. Digests are compared, in constant time.

    Args:
        app: What answers.
        key: The key.
    """

    def __init__(self, app: App, key: str) -> None:
        self.app = app
        self._digest = _digest(key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._shown(scope["headers"]):
            await self.app(scope, receive, send)
            return
        refusal = Refusal(
            401,
            "This server asks for its API key.",
            hint="Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; a browser as the password.",
            reason="key",
        )
        scope.setdefault("state", {})["refusal"] = refusal
        await answer(refusal, send, {"WWW-Authenticate": 'Basic realm="mner", charset="UTF-8"'})

    def _shown(self, headers: list[tuple[bytes, bytes]]) -> bool:
        found = False
        for name, value in headers:
            candidate = None
            if name == b"x-api-key":
                candidate = value.strip()
            elif name == b"authorization":
                scheme, _, rest = value.partition(b" ")
                if scheme.lower() == b"bearer":
                    candidate = rest.strip()
                elif scheme.lower() == b"basic":
                    candidate = _password(rest)
            if candidate is not None:
                found |= hmac.compare_digest(_digest(candidate), self._digest)
        return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _password(encoded: bytes) -> bytes | None:
    try:
        return base64.b64decode(encoded.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return None


# How many times the largest body is read and thrown away before a refusal, and how long one waits for more.
_POURED_AWAY = 4
_SILENCE = 0.5


class BodyReceived:
    """Receives the whole body, within a size and a time, before anybody reads it.

    Args:
        app: What answers.
        limits: The most that is accepted.
    """

    def __init__(self, app: App, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on with its body, or refuse it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        body = bytearray()
        try:
            try:
                complete = await self._received(scope, receive, body)
            except Refusal as refusal:
                scope.setdefault("state", {})["refusal"] = refusal
                if refusal.status == 413:
                    await self._poured_away(scope, receive)
                await answer(refusal, send, {"Connection": "close"})
                return
            if not complete:
                return  # the client has gone
            await self.app(scope, replayed(bytes(body), receive), send)
        finally:
            self._held -= len(body)

    async def _received(self, scope: Scope, receive: Receive, body: bytearray) -> bool:
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self._receive(scope, receive, body)
        except TimeoutError:
            raise Refusal(408, "The request's body did not arrive in time.", reason="slow_body") from None

    async def _receive(self, scope: Scope, receive: Receive, body: bytearray) -> bool:
        most = self.limits.body_bytes
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced[:20]) > most:
            raise self._refusal()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > most:
                raise self._refusal()
            if self._held + len(chunk) > self.limits.bodies_bytes:
                raise Refusal(503, "The server is receiving as much as it can.", reason="busy", retry_after=2)
            body += chunk
            self._held += len(chunk)
            if not message.get("more_body", False):
                return True

    async def _poured_away(self, scope: Scope, receive: Receive) -> None:
        # Most clients read no answer before they have sent everything, and a connection that is closed on
        # them would take the answer along. There is an end to that too.
        if any(name == b"expect" for name, _ in scope["headers"]):
            return
        left = _POURED_AWAY * self.limits.body_bytes
        try:
            async with asyncio.timeout(self.limits.seconds):
                while left > 0:
                    async with asyncio.timeout(_SILENCE):
                        message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return

    def _refusal(self) -> Refusal:
        return too_large(
            f"The request's body is larger than {self.limits.body_bytes} bytes.",
            "Send smaller pictures, or fewer posts in a request.",
        )
