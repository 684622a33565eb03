"""Fetching pictures: over real HTTP on loopback, where the rule about addresses is handed in."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from mner.fetching import fetch_picture, is_public
from tests.machine import PATIENCE


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), "red").save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Serves a picture, and misbehaves at the paths that say so."""

    protocol_version = "HTTP/1.1"
    stop = threading.Event()
    asked: list[str]

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        data = png()
        if self.path.startswith(("/to?", "/round")):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to?"))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while not self.stop.is_set():
                    self.wfile.write(bytes(65536))
            except OSError:
                return
        elif self.path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(100):
                if self.stop.wait(0.05):
                    return
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return
        elif self.path == "/huge":
            self.send_response(200)
            self.send_header("Content-Length", str(10**12))
            self.end_headers()
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) + 10))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = True
        elif self.path == "/picture.png":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    running.asked = []  # type: ignore[attr-defined]
    Handler.stop.clear()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    Handler.stop.set()
    running.shutdown()
    running.server_close()


def at(server: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def loopback(address: str) -> bool:
    return address == "127.0.0.1"


def test_loopback_is_refused_before_anything_is_sent(server: ThreadingHTTPServer) -> None:
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"):
        found = fetch_picture(f"http://{host}:{server.server_port}/picture.png")
        assert found.image is None
        assert found.problem
        assert found.key is None
    assert server.asked == []


def test_a_picture_where_it_is_allowed(server: ThreadingHTTPServer) -> None:
    found = fetch_picture(at(server, "/picture.png"), is_allowed=loopback)
    assert found.problem is None
    assert found.image.size == (5, 4)
    assert found.key == hashlib.sha256(png()).hexdigest()


def test_redirects_are_followed_and_checked_anew(server: ThreadingHTTPServer) -> None:
    good = at(server, "/to?/picture.png")
    assert fetch_picture(good, is_allowed=loopback).problem is None
    inside = at(server, f"/to?http://127.0.0.2:{server.server_port}/picture.png")
    found = fetch_picture(inside, is_allowed=loopback)
    assert "127.0.0.2, which is not a public address" in found.problem
    assert "not an http" in fetch_picture(at(server, "/to?file:///etc/passwd"), is_allowed=loopback).problem
    server.asked.clear()
    round_and_round = at(server, "/round")
    assert "5 redirects" in fetch_picture(round_and_round, is_allowed=loopback).problem
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("path", "seconds", "said"),
    [
        ("/endless", PATIENCE, "too large"),
        ("/huge", PATIENCE, "too large"),
        ("/slow", 1.0, "longer than"),
        ("/short", PATIENCE, "broke off"),
        ("/none", PATIENCE, "answered 404"),
    ],
)
def test_limits(server: ThreadingHTTPServer, path: str, seconds: float, said: str) -> None:
    found = fetch_picture(at(server, path), max_bytes=1_000_000, max_seconds=seconds, is_allowed=loopback)
    assert found.image is None
    assert said in found.problem


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/y",
        "http://",
        "x.jpg",
        "http://user:secret@127.0.0.1/",
        "http://[::1",
        "http://a b/",
        "http://x:99999/",
    ],
)
def test_what_is_no_address(url: str) -> None:
    found = fetch_picture(url, is_allowed=loopback)
    assert found.image is None
    assert found.problem


def test_public_addresses() -> None:
    for address in ("8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(address), address
    for address in (
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "nonsense", ""),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1"),
    ):
        assert not is_public(address), address
