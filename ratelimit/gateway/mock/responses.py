"""POST /v1/responses of the mock."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count as counter
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ratelimit.gateway.mock.body import BadRequest, Body, read_body, wanted_tokens
from ratelimit.gateway.mock.events import Pace, event, json_response, stream_response
from ratelimit.gateway.mock.prompt import MESSAGE_TOKENS, content_tokens, tool_tokens
from ratelimit.gateway.mock.words import TOKENS_MAX, Reply, reply, seed_of

__all__ = ("Responses",)


@dataclass(frozen=True, slots=True)
class _Job:
    """What a request asks for, read and worked out."""

    base: dict[str, Any]
    """The response object, without what changes while it is made."""
    input_tokens: int
    reply: Reply

    @property
    def outcome(self) -> str:
        return "incomplete" if self.reply.cut else "completed"

    @property
    def usage(self) -> dict[str, Any]:
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self.reply.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input_tokens + self.reply.tokens,
        }

    def begun(self) -> dict[str, Any]:
        """The response object while it is being made."""
        return {**self.base, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}

    def ended(self, item: dict[str, Any]) -> dict[str, Any]:
        """The response object at its end."""
        details = {"reason": "max_output_tokens"} if self.reply.cut else None
        outcome = {"status": self.outcome, "incomplete_details": details, "output": [item], "usage": self.usage}
        return {**self.base, **outcome}

    def item(self, identifier: str, status: str, text: str | None) -> dict[str, Any]:
        """The message in the output; `text` is None while there is none."""
        content = [] if text is None else [_part(text)]
        return {"id": identifier, "type": "message", "role": "assistant", "status": status, "content": content}


class Responses:
    """The endpoint. Nothing is stored, so a response cannot be asked for again."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    async def create(self, request: Request) -> Response:
        """Answer one request."""
        body = await read_body(request)
        job = _job(body, wanted_tokens(request))
        if body.flag("stream"):
            return stream_response(self._stream(job))
        await self._pace.whole(job.reply.tokens)
        return json_response(job.ended(job.item(_new_item_id(), job.outcome, job.reply.text)))

    async def _stream(self, job: _Job) -> AsyncIterator[bytes]:
        numbers, identifier = counter(), _new_item_id()
        place = {"item_id": identifier, "output_index": 0, "content_index": 0}

        def sent(kind: str, **fields: Any) -> bytes:
            return event({"type": f"response.{kind}", "sequence_number": next(numbers), **fields})

        yield sent("created", response=job.begun())
        yield sent("in_progress", response=job.begun())
        yield sent("output_item.added", output_index=0, item=job.item(identifier, "in_progress", None))
        yield sent("content_part.added", **place, part=_part(""))
        said = []
        async for piece in self._pace.drip(job.reply.pieces()):
            said.append(piece)
            yield sent("output_text.delta", **place, delta=piece, logprobs=[])
        text = "".join(said)
        item = job.item(identifier, job.outcome, text)
        yield sent("output_text.done", **place, text=text, logprobs=[])
        yield sent("content_part.done", **place, part=_part(text))
        yield sent("output_item.done", output_index=0, item=item)
        yield sent(job.outcome, response=job.ended(item))


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _new_item_id() -> str:
    return f"msg_{secrets.token_hex(12)}"


def _job(body: Body, wanted: int | None) -> _Job:
    model, given, instructions = body.model(), body.need("input"), body.get("instructions")
    most = body.whole("max_output_tokens", TOKENS_MAX)
    tools = body.get("tools")
    base = {
        "id": f"resp_{secrets.token_hex(12)}",
        "object": "response",
        "created_at": int(time.time()),
        "error": None,
        "instructions": instructions,
        "max_output_tokens": most,
        "metadata": {},
        "model": model,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": tools if isinstance(tools, list) else [],
        "top_p": 1.0,
        "truncation": "disabled",
    }
    tokens = _input_tokens(given) + content_tokens(instructions) + tool_tokens(tools)
    return _Job(base, tokens, reply(seed_of(model.encode(), orjson.dumps(given)), most, wanted))


def _input_tokens(given: Any) -> int:
    if isinstance(given, str) and given:
        return MESSAGE_TOKENS + content_tokens(given)
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        raise BadRequest("input: must be text, or a list of items, and not empty", "input")
    # An item without content is a call of a tool, or its result: all of it counts.
    return sum(
        MESSAGE_TOKENS + (content_tokens(item["content"]) if "content" in item else content_tokens([item]))
        for item in given
    )
