"""One server for all tests of the service: a tiny recogniser behind real sockets, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from mner.serving.application import create_application
from mner.serving.server import Server, bound, make_server, url_of
from mner.serving.settings import Limits, ServingSettings
from tests.contract.tiny import tiny
from tests.machine import PATIENCE

LIMITS = Limits(
    body_bytes=300_000,
    pixels=260_000,
    request_pixels=600_000,
    posts=8,
    post_characters=4_000,
    characters=5_000,
    seconds=PATIENCE,
)


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[tuple[str, Server]]:
    """An application behind a real socket; its address and the server."""
    server = make_server(app, log_level="critical", **options)
    listening = bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    url = url_of(listening)
    # Connections wait in the socket until the server takes them.
    for _ in range(round(PATIENCE / 0.1)):
        if server.started or not thread.is_alive():
            break
        thread.join(0.1)
    assert server.started, "the server did not start"
    try:
        yield url, server
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not leave"


@pytest.fixture(scope="session")
def recognizer() -> Any:
    """A tiny recogniser that looks at the cells of a picture."""
    return tiny("cat-mner")


@pytest.fixture(scope="session")
def application(recognizer: Any) -> Any:
    return create_application(recognizer, ServingSettings(limits=LIMITS, page=False))


@pytest.fixture(scope="session")
def address(application: Any) -> Iterator[str]:
    with serving(application) as (url, _):
        yield url


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=PATIENCE) as found:
        yield found


@pytest.fixture(scope="session")
def page_address(recognizer: Any) -> Iterator[str]:
    """A server with the page beside the interface."""
    pytest.importorskip("gradio", reason="the extra 'serve' is not installed")
    with serving(create_application(recognizer, ServingSettings(limits=LIMITS))) as (url, _):
        yield url


@pytest.fixture(scope="session")
def page_client(page_address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page_address, timeout=PATIENCE) as found:
        yield found
