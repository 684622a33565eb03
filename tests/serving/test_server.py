"""The socket that is served at."""

from __future__ import annotations

import socket

import pytest

from mner.errors import UsageError
from mner.serving.server import bound, url_of


def test_a_taken_port_is_refused_before_anything_is_loaded():
    with bound("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        assert url_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(UsageError, match=str(port)) as refused:
            bound("127.0.0.1", port)
        assert "--port" in str(refused.value)


def test_an_address_that_is_not_ours_is_refused():
    with pytest.raises(UsageError):
        bound("192.0.2.1", 0)


def test_an_address_of_ipv6_is_written_in_brackets():
    try:
        found = bound("::1", 0)
    except UsageError:
        pytest.skip("this machine has no IPv6")
    with found:
        assert url_of(found).startswith("http://[::1]:")


def test_answers_are_not_held_back():
    # asyncio switches Nagle's algorithm off (with delayed acknowledgements it costs 40 ms an answer) for
    # connections whose protocol is named, and they have it from the socket that listens.
    with bound("127.0.0.1", 0) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as connection:
            assert connection.proto == socket.IPPROTO_TCP
