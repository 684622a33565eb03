"""Why a request is refused: a status, a message, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """A request that gets an answer other than what it asked for.

    Args:
        status: The HTTP status.
        message: What is wrong, in words for people.
        hint: What to do.
        reason: One word for logs and metrics.
        retry_after: Seconds after which trying again makes sense.
        details: What is wrong where, for requests with several faults.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        hint: str | None = None,
        reason: str = "invalid",
        retry_after: int | None = None,
        details: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.reason = reason
        self.retry_after = retry_after
        self.details = details

    @property
    def body(self) -> bytes:
        """The answer as JSON, in ASCII, so that it can quote anything."""
        error: dict[str, Any] = {"status": self.status, "message": self.message}
        if self.hint is not None:
            error["hint"] = self.hint
        if self.details:
            error["details"] = list(self.details)
        return json.dumps({"error": error}).encode("ascii")

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def too_large(message: str, hint: str | None = None) -> Refusal:
    """Something is beyond a limit."""
    return Refusal(413, message, hint=hint, reason="too_large")


def unreadable(where: str, problem: str, hint: str | None = None) -> Refusal:
    """A part of the request cannot be read as what it should be."""
    return Refusal(
        422,
        f"{where}: {problem}.",
        hint=hint,
        reason="invalid",
        details=[{"where": where, "problem": problem}],
    )


def busy(retry_after: int) -> Refusal:
    """Too much is waiting already."""
    return Refusal(
        503,
        "The server has as many posts waiting as it accepts.",
        hint="Try again after the seconds that Retry-After names, or send fewer posts.",
        reason="busy",
        retry_after=retry_after,
    )


def leaving() -> Refusal:
    """The server is shutting down."""
    return Refusal(503, "The server is shutting down.", reason="leaving", retry_after=10)


def too_late(seconds: float) -> Refusal:
    """The answer was not there in time."""
    return Refusal(
        504,
        f"The answer took longer than {seconds:g} seconds.",
        hint="Send fewer or shorter posts, or try again when the server has less to do.",
        reason="too_late",
    )
