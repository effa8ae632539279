"""JSON as upstreams really send it: read where any client could, never an error."""

from __future__ import annotations

import json
from typing import Any

import orjson

__all__ = ("parse",)


def parse(raw: bytes) -> Any:
    """The value of a JSON text, None if it is not one. For what an upstream answers, never for what a client asks.

    Besides valid JSON it takes what servers send all the same and clients read: half a surrogate pair (an emoji cut
    between two tokens), broken UTF-8, NaN. Output must not go uncounted for such a detail.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _parse_slowly(raw)


def _parse_slowly(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):  # not JSON, or nested too deeply for any client
        return None
