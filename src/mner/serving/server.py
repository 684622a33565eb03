"""Running the application: uvicorn, with an end that finishes what is in flight."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from mner.errors import UsageError
from mner.serving.logs import configuration, log


class Server(uvicorn.Server):
    """A server that says it is leaving before it leaves.

    At SIGTERM or Ctrl-C `/ready` turns to 503, new connections are refused, what is in flight is
    answered, then the process ends; what takes longer than `grace` is cut off.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where."""
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                log("serving", url=url_of(listening))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leave."""
        app = self.config.app
        assert isinstance(app, FastAPI)
        service = app.state.service
        service.is_leaving = True
        log("leaving", held=service.batcher.held)
        # The page keeps a connection open as long as it is shown.
        stop = getattr(app.state, "stop_page", None)
        if stop is not None:
            stop()
        await super().shutdown(sockets)


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, which nobody else can take from then on.

    Args:
        host: The address; one with a colon is IPv6.
        port: The port; 0 takes a free one.

    Raises:
        UsageError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol has to be named: only then are answers sent at once instead of being held back for 40 ms.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise UsageError(
            f"Nothing can be served at {host}, port {port}.",
            got=error.strerror or str(error),
            hint="If another program listens there, take another --port; 0 takes a free one.",
        ) from error
    return found


def url_of(listening: socket.socket) -> str:
    """The address of a socket as one writes it into a browser."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(
    app: FastAPI,
    *,
    grace: float = 30.0,
    log_level: str = "info",
    forwarded_allow_ips: str | None = None,
) -> Server:
    """A server that is ready to `run(sockets=[bound(host, port)])`.

    Args:
        app: The application.
        grace: Seconds for what is in flight when the server is told to leave.
        log_level: The least level that is logged.
        forwarded_allow_ips: Proxies whose ``X-Forwarded-*`` headers are believed.
    """
    return Server(
        uvicorn.Config(
            app,
            log_config=configuration(log_level),
            log_level=log_level,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(grace)),
            limit_concurrency=1000,
            forwarded_allow_ips=forwarded_allow_ips,
        )
    )
