"""POST /v1/embeddings of the mock: vectors of length 1 that depend on the input only."""

from __future__ import annotations

import base64
import sys
from array import array
from hashlib import shake_128
from math import sqrt
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ratelimit.gateway.mock.body import BadRequest, read_body
from ratelimit.gateway.mock.completions import text_inputs
from ratelimit.gateway.mock.events import Pace, json_response

__all__ = ("Embeddings",)

_DIMENSIONS: Final = 256
_DIMENSIONS_MAX: Final = 4_096
_INPUTS_MAX: Final = 2_048


class Embeddings:
    """The endpoint."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    async def create(self, request: Request) -> Response:
        """Answer one request."""
        body = await read_body(request)
        model = body.model()
        inputs = text_inputs(body.need("input"), "input", _INPUTS_MAX)
        coding = body.get("encoding_format") or "float"
        if coding not in ("float", "base64"):
            raise BadRequest("encoding_format: must be float or base64", "encoding_format")
        dimensions = body.whole("dimensions", _DIMENSIONS_MAX) or _DIMENSIONS
        await self._pace.whole(1)
        tokens = sum(tokens for _, tokens in inputs)
        found = [
            {"object": "embedding", "index": index, "embedding": _coded(_vector(text, dimensions), coding)}
            for index, (text, _) in enumerate(inputs)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json_response({"object": "list", "data": found, "model": model, "usage": usage})


def _vector(text: bytes, dimensions: int) -> array[float]:
    raw = array("h")
    raw.frombytes(shake_128(text).digest(dimensions * raw.itemsize))
    length = sqrt(sum(number * number for number in raw)) or 1.0
    return array("f", [number / length for number in raw])


def _coded(vector: array[float], coding: str) -> Any:
    if coding == "float":
        return vector.tolist()
    if sys.byteorder == "big":
        vector.byteswap()  # the API's order is little-endian
    return base64.b64encode(vector.tobytes()).decode()
