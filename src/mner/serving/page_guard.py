"""What stands between the net and Gradio: only what the page needs, and no file but those that came up.

Gradio serves more than a page of ours uses, and some of it opens what a request names: it downloads the URL
of a picture that is sent as a URL, and streams what `/gradio_api/file=URL` names. Here a request passes only
if its path is one that the page calls, a file it asks for lies in the page's own folder, and what it calls
is written anew from the parts that are known, whatever else it held.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from mner.serving.guard import App, Receive, Scope, Send, answer, replayed
from mner.serving.refusals import Refusal

_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(?:assets|static)/[^?]*"
    r"|/gradio_api/(?:startup-events|queue/data|upload_progress|theme\.css|heartbeat/[A-Za-z0-9]{1,64})"
)
_FILE = "/gradio_api/file="
_JOIN = "/gradio_api/queue/join"
_UPLOAD = "/gradio_api/upload"
_SESSION = re.compile(r"[A-Za-z0-9]{1,64}")


class PageGuard:
    """Hands on what the page calls, and answers 404 to everything else.

    Args:
        app: Gradio's application.
        folder: The page's own folder; what is uploaded lies there, and what is downloaded.
        inputs: For each function of the page how many values it takes.
        room: Most bytes in that folder.
        methods: What the interface beside the page answers: methods by path.
    """

    def __init__(
        self, app: App, folder: Path, inputs: Mapping[int, int], room: int, methods: Mapping[str, set[str]]
    ) -> None:
        self.app = app
        self.folder = folder.resolve()
        self.inputs = inputs
        self.room = room
        self.methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            # Gradio has no use for web sockets.
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            receive = await self._checked(scope, receive)
        except Refusal as refusal:
            scope.setdefault("state", {})["refusal"] = refusal
            allowed = self.methods.get(scope["path"])
            headers = {"Allow": ", ".join(sorted(allowed))} if refusal.status == 405 and allowed else None
            await answer(refusal, send, headers)
            return
        await self.app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        path, method = scope["path"], scope["method"]
        if path in self.methods:
            raise Refusal(
                405,
                "This path does not answer that method.",
                hint="The interface is described at /docs.",
                reason="http_405",
            )
        if method in ("GET", "HEAD"):
            if path.startswith(_FILE):
                if not self.is_own(path.removeprefix(_FILE)):
                    raise _nothing_here()
                return receive
            if _READ.fullmatch(path):
                return receive
        elif method == "POST":
            if path == _JOIN:
                return await self._rewritten(scope, receive)
            if path == _UPLOAD:
                self._check_room()
                return receive
        raise _nothing_here()

    def is_own(self, path: object) -> bool:
        """Whether a path names a file in the page's own folder."""
        if not isinstance(path, str) or not path or "\0" in path or "://" in path:
            return False
        try:
            found = Path(path).resolve()
            return found.is_absolute() and found.is_relative_to(self.folder) and found.is_file()
        except (OSError, ValueError, RuntimeError):
            return False

    def _check_room(self) -> None:
        used = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        if used > self.room:
            raise Refusal(503, "Too many files have come up of late.", reason="busy", retry_after=60)

    async def _rewritten(self, scope: Scope, receive: Receive) -> Receive:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                break
            body += message.get("body", b"")
            more = message.get("more_body", False)
        content = json.dumps(self.call_of(bytes(body))).encode()
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name not in (b"content-length", b"content-type", b"transfer-encoding")
        ]
        scope["headers"] = [
            *headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
        ]
        return replayed(content, receive)

    def call_of(self, body: bytes) -> dict[str, Any]:
        """A call of one of the page's functions, with nothing in it but what is known.

        Raises:
            Refusal: It is none, or names a file that did not come up here.
        """
        try:
            call = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise Refusal(422, f"The body is not readable JSON: {error}.") from None
        if not isinstance(call, dict):
            raise Refusal(422, "The body is no JSON object.")
        number, session, values = call.get("fn_index"), call.get("session_hash"), call.get("data")
        if isinstance(number, bool) or not isinstance(number, int) or number not in self.inputs:
            raise Refusal(422, "The page has no such function.")
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            raise Refusal(422, "The session has no name.")
        if not isinstance(values, list) or len(values) != self.inputs[number]:
            raise Refusal(422, f"The function takes {self.inputs[number]} values.")
        trigger = call.get("trigger_id")
        return {
            "data": [self._value_of(value) for value in values],
            "event_data": None,
            "fn_index": number,
            "trigger_id": trigger if type(trigger) is int and abs(trigger) < 2**31 else None,
            "session_hash": session,
        }

    def _value_of(self, value: Any) -> Any:
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, dict) and self.is_own(value.get("path")):
            name = value.get("orig_name")
            return {
                "path": value["path"],
                "orig_name": name[:200] if isinstance(name, str) else None,
                "meta": {"_type": "gradio.FileData"},
            }
        if isinstance(value, dict | list):
            raise Refusal(
                422,
                "A file is named that was not uploaded here.",
                hint="Neither paths nor URLs are opened; upload the file.",
            )
        raise Refusal(422, "A value is of a kind that the page does not send.")


def _nothing_here() -> Refusal:
    return Refusal(404, "There is nothing at this path.", reason="http_404")
