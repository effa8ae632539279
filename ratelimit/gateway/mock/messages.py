"""POST /v1/messages and /v1/messages/count_tokens of the mock."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ratelimit.gateway.mock.body import Body, read_body, wanted_tokens
from ratelimit.gateway.mock.events import Pace, event, json_response, stream_response
from ratelimit.gateway.mock.prompt import content_tokens, prompt_tokens, tool_tokens
from ratelimit.gateway.mock.words import TOKENS_MAX, Reply, reply, seed_of

__all__ = ("Messages",)


@dataclass(frozen=True, slots=True)
class _Job:
    """What a request asks for, read and worked out."""

    model: str
    input_tokens: int
    reply: Reply

    @property
    def stop_reason(self) -> str:
        return "max_tokens" if self.reply.cut else "end_turn"

    def message(self, content: list[dict[str, Any]], stop_reason: str | None, output_tokens: int) -> dict[str, Any]:
        """The message, at its end or at its start."""
        return {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {**self.usage(output_tokens), "service_tier": "standard"},
        }

    def usage(self, output_tokens: int) -> dict[str, Any]:
        """Usage so far: all numbers are totals."""
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
        }


class Messages:
    """The endpoints. Tools are read, counted, and never called."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    async def create(self, request: Request) -> Response:
        """Answer one request."""
        body = await read_body(request)
        model, tokens = body.model(), _input_tokens(body)
        body.need("max_tokens")
        most = body.whole("max_tokens", TOKENS_MAX)
        seed = seed_of(model.encode(), orjson.dumps([body.get("system"), body.messages()]))
        job = _Job(model, tokens, reply(seed, most, wanted_tokens(request)))
        if body.flag("stream"):
            return stream_response(self._stream(job))
        await self._pace.whole(job.reply.tokens)
        content = [{"type": "text", "text": job.reply.text}]
        return json_response(job.message(content, job.stop_reason, job.reply.tokens))

    async def count(self, request: Request) -> Response:
        """Say what a request would cost."""
        body = await read_body(request)
        body.model()
        return json_response({"input_tokens": _input_tokens(body)})

    async def _stream(self, job: _Job) -> AsyncIterator[bytes]:
        yield event({"type": "message_start", "message": job.message([], None, min(1, job.reply.tokens))})
        yield event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        yield event({"type": "ping"})
        async for piece in self._pace.drip(job.reply.pieces()):
            yield event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}})
        yield event({"type": "content_block_stop", "index": 0})
        ending = {"stop_reason": job.stop_reason, "stop_sequence": None}
        yield event({"type": "message_delta", "delta": ending, "usage": job.usage(job.reply.tokens)})
        yield event({"type": "message_stop"})


def _input_tokens(body: Body) -> int:
    return prompt_tokens(body.messages()) + content_tokens(body.get("system")) + tool_tokens(body.get("tools"))
