"""Reads the mock's streams."""

from __future__ import annotations

from typing import Any

import orjson

from ratelimit.gateway.mock.app import mock_app
from tests.gateway.asgi import Call, ask

__all__ = ("MODEL", "USER", "events", "post", "tokens_of")

MODEL = "minimax-m2.5"
USER = [{"role": "user", "content": "Hello"}]

_APP = mock_app()


async def post(path: str, body: object, *, tokens: int | None = None) -> Call:
    """One request to a mock without a pace; `tokens` is the length of answer to ask for by header."""
    headers = [] if tokens is None else [(b"x-mock-output-tokens", str(tokens).encode())]
    return await ask(_APP, "POST", path, headers=headers, body=body)


def events(call: Call) -> list[tuple[str | None, Any]]:
    """Name and data of each event; the data as JSON, or as text where it is none."""
    assert call.status == 200
    content_type = call.header(b"content-type")
    assert content_type is not None
    assert content_type.startswith(b"text/event-stream")
    assert call.body.endswith(b"\n\n")
    found = []
    for block in call.body.decode()[:-2].split("\n\n"):
        *named, data = block.split("\n")
        name = named[0].removeprefix("event: ") if named else None
        text = data.removeprefix("data: ")
        found.append((name, text if text == "[DONE]" else orjson.loads(text)))
    return found


def tokens_of(text: str) -> int:
    """The mock's tokenizer, written down once more: four bytes are a token."""
    return -(-len(text.encode()) // 4)
