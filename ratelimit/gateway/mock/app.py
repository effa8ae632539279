"""The mock as an ASGI app: its endpoints, and its errors in the shape of the dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ratelimit.gateway.mock.body import BadRequest, UnknownModel
from ratelimit.gateway.mock.chat import Chat
from ratelimit.gateway.mock.completions import Completions
from ratelimit.gateway.mock.embeddings import Embeddings
from ratelimit.gateway.mock.events import Pace
from ratelimit.gateway.mock.messages import Messages
from ratelimit.gateway.mock.models import ANTHROPIC_HEADER, list_models, one_model
from ratelimit.gateway.mock.responses import Responses
from ratelimit.web.dialects.base import new_request_id

__all__ = ("mock_app",)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What is wrong with a request, in the words of both dialects."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None


def mock_app(pace: Pace | None = None) -> Starlette:
    """The built-in upstream. It asks nobody for a key, and stops no one."""
    pace = pace or Pace()
    messages = Messages(pace)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", Chat(pace).create, methods=["POST"]),
            Route("/v1/completions", Completions(pace).create, methods=["POST"]),
            Route("/v1/responses", Responses(pace).create, methods=["POST"]),
            Route("/v1/embeddings", Embeddings(pace).create, methods=["POST"]),
            Route("/v1/messages", messages.create, methods=["POST"]),
            Route("/v1/messages/count_tokens", messages.count, methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/v1/models/{model:path}", one_model),
        ],
        exception_handlers={BadRequest: _refuse, UnknownModel: _refuse, HTTPException: _refuse},
    )


async def _refuse(request: Request, error: Exception) -> Response:
    anthropic = request.url.path.startswith("/v1/messages") or ANTHROPIC_HEADER in request.headers
    refusal = _refusal(request, error)
    return _anthropic_error(refusal) if anthropic else _openai_error(refusal)


def _refusal(request: Request, error: Exception) -> _Refusal:
    if isinstance(error, BadRequest):
        return _Refusal(400, error.message, error.param)
    if isinstance(error, UnknownModel):
        message = f"The model {error.model!r} does not exist or you do not have access to it."
        return _Refusal(404, message, "model", "model_not_found")
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _Refusal(status, f"Invalid URL ({request.method} {request.url.path[:128]})")


def _openai_error(refusal: _Refusal) -> Response:
    error = {"message": refusal.message, "type": "invalid_request_error", "param": refusal.param, "code": refusal.code}
    return _response(refusal.status, {"error": error}, "x-request-id", new_request_id())


def _anthropic_error(refusal: _Refusal) -> Response:
    request_id = new_request_id()
    kind = "not_found_error" if refusal.status == 404 else "invalid_request_error"
    document = {"type": "error", "error": {"type": kind, "message": refusal.message}, "request_id": request_id}
    return _response(refusal.status, document, "request-id", request_id)


def _response(status: int, document: Mapping[str, object], header: str, request_id: str) -> Response:
    return Response(orjson.dumps(document), status, {header: request_id}, media_type="application/json")
