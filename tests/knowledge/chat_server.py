"""A chat-completions endpoint over real HTTP on loopback, which answers well or misbehaves as told."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.machine import PATIENCE


def completion(text: str | None, **choice: Any) -> bytes:
    """A response body as such endpoints write it; equal for equal text."""
    body = {
        "id": "chatcmpl-" + hashlib.sha256(str(text).encode()).hexdigest()[:8],
        "object": "chat.completion",
        "created": 1,
        "model": "little",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
                **choice,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
    }
    return json.dumps(body).encode()


def words_of(request: dict[str, Any]) -> str:
    """The user's words of a request, without the picture."""
    content = request["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def echo(request: dict[str, Any]) -> bytes:
    """An answer that depends on the question and on nothing else."""
    return completion("said " + hashlib.sha256(words_of(request).encode()).hexdigest()[:12])


class ChatServer(ThreadingHTTPServer):
    """The endpoint. `plan` holds what to do with the next requests; an empty plan means to answer well.

    An item of the plan is a function that gets the handler and the request and answers by itself.
    """

    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, answer: Callable[[dict[str, Any]], bytes] = echo) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.plan: list[Callable[[_Handler, dict[str, Any]], None]] = []
        self.requests: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.on_answer: Callable[[int], None] = lambda _: None
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        # A client that was killed leaves its connection open; that is what some tests are about.
        return

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ChatServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(request)
            self.server.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
            count = len(self.server.requests)
            act = self.server.plan.pop(0) if self.server.plan else None
        if self.path != "/v1/chat/completions":
            self.reply(404, b'{"error": {"message": "no such path"}}')
        elif act is not None:
            act(self, request)
        else:
            self.reply(200, self.server.answer(request))
        self.server.on_answer(count)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        # In one piece: a body in a packet of its own waits for the client's delayed acknowledgement.
        self.wfile.write(head.encode() + b"\r\n" + body)

    def log_message(self, *_: object) -> None:
        return


def status(code: int, message: str = "no", headers: dict[str, str] | None = None) -> Callable[..., None]:
    """Answer with an error."""
    body = json.dumps({"error": {"message": message}}).encode()
    return lambda handler, _: handler.reply(code, body, headers)


def body(content: bytes) -> Callable[..., None]:
    """Answer 200 with this body."""
    return lambda handler, _: handler.reply(200, content)


def cut(handler: _Handler, request: dict[str, Any]) -> None:
    """Break the connection off without an answer."""
    del request
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def cut_within(handler: _Handler, request: dict[str, Any]) -> None:
    """Break the connection off in the middle of the answer."""
    content = handler.server.answer(request)
    handler.wfile.write(f"HTTP/1.1 200 X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content[:20])
    handler.wfile.flush()
    cut(handler, request)


def hang(handler: _Handler, request: dict[str, Any]) -> None:
    """Say nothing until the server closes."""
    del request
    handler.server.closing.wait(PATIENCE)
    handler.close_connection = True
