"""The interface over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from mner import __version__
from mner.serving.metrics import CONTENT_TYPE_LATEST
from mner.serving.pictures import decoded
from mner.serving.refusals import Refusal, unreadable
from mner.serving.schemas import (
    LONGEST_ALT,
    HealthOut,
    PostIn,
    PostOut,
    PostsIn,
    PostsOut,
    ProblemOut,
    VersionOut,
)
from mner.serving.service import Draft, RecognitionService, as_record

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemOut, "description": description}
    for status, description in {
        401: "The API key is missing or wrong.",
        408: "The body did not arrive in time.",
        413: "The body, a picture, the texts or the number of posts is beyond a limit.",
        415: "The content type is not the one that is read here.",
        422: "A part of the request cannot be read; the message names it.",
        503: "Too much is waiting, or the server is shutting down; Retry-After says when to try again.",
        504: "The answer took too long.",
    }.items()
}
_KEY_ONLY: dict[int | str, dict[str, Any]] = {401: _PROBLEMS[401]}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _JsonRequest(Request):
    # Python's own reader lets NaN and halves of surrogate pairs pass, and runs out of stack on deep nesting.
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = from_json(await self.body(), allow_inf_nan=False)
            except ValueError as error:
                raise Refusal(
                    422,
                    f"The body is not readable JSON: {error}.",
                    hint='Send one JSON object in UTF-8, such as {"text": "…"}.',
                ) from None
        return self._json


class _JsonRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            _demand(request, "application/json")
            request = _JsonRequest(request.scope, request.receive)
            # Before the framework does, which would hide what is wrong with it.
            await request.json()
            return await original(request)

        return handler


class _FormRoute(APIRoute):
    def get_route_handler(self) -> Handler:
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            _demand(request, "multipart/form-data")
            try:
                return await original(request)
            except HTTPException as error:
                raise Refusal(
                    422,
                    f"The form cannot be read: {error.detail}.",
                    hint="Send multipart/form-data, as `curl -F text=… -F image=@FILE` does.",
                ) from None

        return handler


def _demand(request: Request, wanted: str) -> None:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != wanted:
        raise Refusal(
            415,
            f"The content type is {given[:80]!r}, and {wanted} is read here."
            if given
            else f"The request has no content type, and {wanted} is read here.",
            hint=f"Send the header 'Content-Type: {wanted}'.",
            reason="content_type",
        )


def routers(service: RecognitionService) -> list[APIRouter]:
    """All routes of the interface.

    Args:
        service: What recognises.
    """
    return [_recognition(service), _upload(service), _state(service)]


def _recognition(service: RecognitionService) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["recognition"], route_class=_JsonRoute, responses=_PROBLEMS)

    @router.post(
        "/recognize",
        summary="Recognise one post",
        response_model=PostOut,
        response_model_exclude_none=True,
    )
    async def recognize(post: PostIn) -> Response:
        """The entities of one post: its text, and its picture and alternative text where it has them."""
        (found,) = await service.recognise([_draft(post, "")])
        return _json(as_record(found))

    @router.post(
        "/recognize/batch",
        summary="Recognise several posts",
        response_model=PostsOut,
        response_model_exclude_none=True,
    )
    async def recognize_batch(posts: PostsIn) -> Response:
        """The entities of several posts, in the order in which they came."""
        drafts = [_draft(post, f"posts.{number}.") for number, post in enumerate(posts.posts)]
        return _json({"posts": [as_record(found) for found in await service.recognise(drafts)]})

    return router


def _upload(service: RecognitionService) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["recognition"], route_class=_FormRoute, responses=_PROBLEMS)

    @router.post(
        "/recognize/upload",
        summary="Recognise one post with an uploaded picture",
        response_model=PostOut,
        response_model_exclude_none=True,
    )
    async def recognize_upload(
        text: Annotated[str, Form(description="The text of the post.")],
        image: Annotated[UploadFile | None, File(description="The picture's file.")] = None,
        alt: Annotated[
            str | None, Form(max_length=LONGEST_ALT, description="The picture's alternative text.")
        ] = None,
    ) -> Response:
        """As `/v1/recognize`, with the picture as a file of a form."""
        content = None
        if image is not None:
            content = await image.read()
            if not content and not image.filename:
                content = None  # a form whose file was left empty
            elif not content:
                raise unreadable("image", "the file is empty")
        (found,) = await service.recognise([Draft(text, content, alt)])
        return _json(as_record(found))

    return router


def _state(service: RecognitionService) -> APIRouter:
    router = APIRouter(tags=["state"])

    @router.get("/health", summary="Does the process answer?", response_model=HealthOut)
    async def health() -> Response:
        """Always 200; asks for no key."""
        return _json({"status": "ok"})

    @router.get(
        "/ready",
        summary="Are posts accepted?",
        response_model=HealthOut,
        responses={503: {"model": HealthOut, "description": "The server is shutting down."}},
    )
    async def ready() -> Response:
        """200 when posts are accepted, 503 when the server is shutting down; asks for no key."""
        return _json({"status": "ready"}) if service.is_ready else _json({"status": "leaving"}, 503)

    @router.get("/version", summary="What is running?", response_model=VersionOut, responses=_KEY_ONLY)
    async def version() -> Response:
        """The version, the system, its types, and the limits."""
        model = service.recognizer.model
        return _json(
            {
                "mner": __version__,
                "model": service.recognizer.name,
                "labels": list(service.recognizer.labels),
                "reads_pictures": service.reads_pictures,
                "device": str(model.device),
                "dtype": str(model.dtype).removeprefix("torch."),
                "limits": vars(service.limits),
            }
        )

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_KEY_ONLY},
    )
    async def metrics() -> Response:
        """Requests, refusals, batches, posts and the process, in the form that Prometheus reads."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def _draft(post: PostIn, where: str) -> Draft:
    content = decoded(post.image, f"{where}image") if post.image is not None else None
    return Draft(post.text, content, post.alt, post.id, where)


def _json(document: Any, status: int = 200) -> Response:
    return Response(
        json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        status,
        media_type="application/json",
    )
