"""The interface, the page and what guards them, put together as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from mner import __version__
from mner.recognizer import Recognizer
from mner.serving import schemas
from mner.serving.guard import BodyReceived, KeyRequired, Recorded
from mner.serving.refusals import Refusal
from mner.serving.routes import routers
from mner.serving.service import RecognitionService
from mner.serving.settings import ServingSettings

_DESCRIPTION = """
Posts go in, text and perhaps a picture; named entities come out.

`start` and `end` of an entity count **Unicode code points** of the text, end exclusive, as Python's `len`
does. JavaScript counts UTF-16 units, in which an emoji is two: cut with `Array.from(text).slice(start, end)`.

Pictures come as bytes, in base64 or as a file of a form; neither paths nor URLs are opened.
Every refusal has the form `{"error": {"status", "message", "hint", "details"}}`.
"""

_MESSAGES = {
    404: "There is nothing at this path.",
    405: "This path does not answer that method.",
    400: "The request cannot be read.",
}


def create_application(recognizer: Recognizer, settings: ServingSettings | None = None) -> FastAPI:
    """The server as an ASGI application.

    Args:
        recognizer: What recognises.
        settings: How to work.
    """
    settings = settings or ServingSettings()
    service = RecognitionService(recognizer, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPIOffline(
        title="mner",
        summary="Multimodal named entity recognition",
        description=_DESCRIPTION,
        version=__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        redoc_url=None,
        static_url="/docs-assets",
    )
    app.state.service = service
    for router in routers(service):
        app.include_router(router)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _failed)
    _describe(app, settings)
    if settings.page:
        from mner.serving.page import mount_page

        mount_page(app, service)
    # The last one added is the first to see a request.
    app.add_middleware(BodyReceived, limits=settings.limits)
    if settings.api_key is not None:
        app.add_middleware(KeyRequired, key=settings.api_key)
    app.add_middleware(Recorded, metrics=service.metrics)
    return app


def _describe(app: FastAPI, settings: ServingSettings) -> None:
    original = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = schemas.with_limits(original(), settings.limits)
            if settings.api_key is not None:
                document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"key": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _answer(request: Request, refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    # For the record that the outermost layer writes.
    request.scope.setdefault("state", {})["refusal"] = refusal
    return Response(
        refusal.body,
        refusal.status,
        headers={**refusal.headers, **(headers or {})},
        media_type="application/json",
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _answer(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = []
    for fault in error.errors()[:20]:
        # What was sent is not repeated: it may be large, or have no JSON.
        where = ".".join(str(part) for part in fault["loc"] if part != "body")[:200] or "body"
        details.append({"where": where, "problem": str(fault["msg"])[:300]})
    first = details[0]
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    return _answer(
        request,
        Refusal(422, f"{first['where']}: {first['problem']}{more}.", details=details),
    )


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = _MESSAGES.get(error.status_code, "The request cannot be answered.")
    hint = "The interface is described at /docs." if error.status_code in (404, 405) else None
    refusal = Refusal(error.status_code, message, hint=hint, reason=f"http_{error.status_code}")
    return _answer(request, refusal, dict(error.headers or {}))


async def _failed(request: Request, error: Exception) -> Response:
    del error  # The server's log has it with its traceback; the client learns nothing of the inside.
    refusal = Refusal(
        500, "Something failed that should not have.", hint="The server's log says what.", reason="failed"
    )
    # The connection ends with the failure; who is not told sends the next request into its end.
    return _answer(request, refusal, {"Connection": "close"})
