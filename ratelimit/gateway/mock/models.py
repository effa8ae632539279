"""GET /v1/models and /v1/models/{id} of the mock, in the shape of whoever asks."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ratelimit.gateway.mock.body import MODELS, UnknownModel
from ratelimit.gateway.mock.events import json_response

__all__ = ("ANTHROPIC_HEADER", "list_models", "one_model")

ANTHROPIC_HEADER: Final = "anthropic-version"
"""Sent by Anthropic's clients, and by no others; the path of the list is the same for both."""

_CREATED: Final = 1_767_225_600
_CREATED_AT: Final = "2026-01-01T00:00:00Z"


async def list_models(request: Request) -> Response:
    """All models."""
    if ANTHROPIC_HEADER not in request.headers:
        return json_response({"object": "list", "data": [_openai(model) for model in MODELS]})
    listed = [_anthropic(model) for model in MODELS]
    return json_response({"data": listed, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})


async def one_model(request: Request) -> Response:
    """One of them. Raises UnknownModel for any other."""
    model: str = request.path_params["model"]
    if model not in MODELS:
        raise UnknownModel(model)
    return json_response(_anthropic(model) if ANTHROPIC_HEADER in request.headers else _openai(model))


def _openai(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": _CREATED, "owned_by": "mock"}


def _anthropic(model: str) -> dict[str, Any]:
    return {"type": "model", "id": model, "display_name": model, "created_at": _CREATED_AT, "lifecycle": "active"}
