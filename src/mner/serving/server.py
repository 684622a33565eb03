"""Running the application: uvicorn, with an end that finishes what is in flight."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from mner.serving.logs import configuration, log


class Server(uvicorn.Server):
    """A server that says it is leaving before it leaves.

    At SIGTERM or Ctrl-C `/ready` turns to 503, new connections are refused, what is in flight is
    answered, then the process ends; what takes longer than `grace` is cut off.
    """

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


def make_server(
    app: FastAPI,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    grace: float = 30.0,
    log_level: str = "info",
    forwarded_allow_ips: str | None = None,
) -> Server:
    """A server that is ready to `run()`.

    Args:
        app: The application.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        grace: Seconds for what is in flight when the server is told to leave.
        log_level: The least level that is logged.
        forwarded_allow_ips: Proxies whose ``X-Forwarded-*`` headers are believed.
    """
    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=configuration(log_level),
            log_level=log_level,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(grace)),
            limit_concurrency=1000,
            forwarded_allow_ips=forwarded_allow_ips,
        )
    )
