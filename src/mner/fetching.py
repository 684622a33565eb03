"""Fetching a picture by its address, only where a user has allowed that.

An address in somebody's data may point anywhere: at a machine's own services, at a cloud's metadata, at an
endless answer. So the host is resolved first, every address it has must be a public one, the connection
goes to exactly the address that was checked (a second look-up might say something else), each redirect is
checked anew, and size and time are limited. No proxy is used and no credentials are sent.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from mner.images import MAX_BYTES, MAX_PIXELS, Picture, open_picture

MAX_SECONDS = 20.0
"""How long one picture may take, redirects included."""

_REDIRECTS = 5
_PIECE = 64 * 1024
_MOVED = frozenset({301, 302, 303, 307, 308})


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also where it holds another one inside."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
        # The translation prefix of RFC 6052 leads to the IPv4 address in its last 32 bits.
        if found in ipaddress.ip_network("64:ff9b::/96"):
            inner.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        if not all(is_public(str(one)) for one in inner if one is not None):
            return False
        if found.ipv4_mapped is not None:
            return True
    return found.is_global and not found.is_multicast


def fetch_picture(
    url: str,
    *,
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
    max_pixels: int = MAX_PIXELS,
    is_allowed: Callable[[str], bool] = is_public,
) -> Picture:
    """Fetch and open a picture: right, or with the reason why not; never an exception.

    Args:
        url: The address, http or https.
        max_bytes: The most bytes to read.
        max_seconds: The longest time, redirects included.
        max_pixels: The most pixels to decode.
        is_allowed: Says of an IP address whether it may be connected to.
    """
    content, problem = fetch_bytes(url, max_bytes=max_bytes, max_seconds=max_seconds, is_allowed=is_allowed)
    if content is None:
        return Picture(None, problem)
    return open_picture(content, max_bytes=max_bytes, max_pixels=max_pixels)


def fetch_bytes(
    url: str,
    *,
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
    is_allowed: Callable[[str], bool] = is_public,
) -> tuple[bytes | None, str | None]:
    """The bytes at an address, or None and the reason; see `fetch_picture`."""
    deadline = time.monotonic() + max_seconds
    try:
        for _ in range(_REDIRECTS + 1):
            content, following = _get(url, max_bytes, deadline, is_allowed)
            if following is None:
                return content, None
            url = urljoin(url, following)
        return None, f"more than {_REDIRECTS} redirects"
    except _RefusedError as error:
        return None, str(error)
    except TimeoutError:
        return None, f"it took longer than {max_seconds:g} seconds"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return None, f"cannot be fetched: {error}" if str(
            error
        ) else f"cannot be fetched: {type(error).__name__}"


class _RefusedError(Exception):
    """An address is refused for a reason of ours."""


def _get(
    url: str, max_bytes: int, deadline: float, is_allowed: Callable[[str], bool]
) -> tuple[bytes | None, str | None]:
    """One request: the bytes, or where they have moved to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _RefusedError("it is not an http or https address")
    if parts.username is not None or parts.password is not None:
        raise _RefusedError("the address holds a user name or password")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port)
    connection.sock = _connected(parts.hostname, port, parts.scheme == "https", deadline, is_allowed)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "mner", "Accept": "image/*"})
        response = connection.getresponse()
        if response.status in _MOVED:
            location = response.getheader("Location")
            if not location:
                raise _RefusedError("it has moved, and nothing says where to")
            return None, location
        if response.status != 200:
            raise _RefusedError(f"the server answered {response.status}")
        return _body(response, connection.sock, max_bytes, deadline), None
    finally:
        connection.close()


def _connected(
    host: str, port: int, secure: bool, deadline: float, is_allowed: Callable[[str], bool]
) -> socket.socket:
    """A connection to an address of the host that was checked; all its addresses must pass."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise _RefusedError(f"there is no host {host}") from error
    for *_, address in found:
        if not is_allowed(str(address[0])):
            raise _RefusedError(f"{host} leads to {address[0]}, which is not a public address")
    family, kind, protocol, _, address = found[0]
    plain = socket.socket(family, kind, protocol)
    try:
        plain.settimeout(_left(deadline))
        plain.connect(address)
        if not secure:
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _body(
    response: http.client.HTTPResponse, connection: socket.socket | None, max_bytes: int, deadline: float
) -> bytes:
    announced = response.length
    if announced is not None and announced > max_bytes:
        raise _RefusedError(f"it is too large: {announced} bytes, at most {max_bytes} are read")
    pieces = []
    size = 0
    while True:
        left = _left(deadline)
        if connection is not None and connection.fileno() >= 0:
            connection.settimeout(left)
        piece = response.read1(_PIECE)
        if not piece:
            break
        size += len(piece)
        if size > max_bytes:
            raise _RefusedError(f"it is too large: more than {max_bytes} bytes")
        pieces.append(piece)
    if response.length:
        raise _RefusedError("the connection broke off")
    return b"".join(pieces)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
