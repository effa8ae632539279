"""POST /v1/chat/completions of the mock."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ratelimit.gateway.mock.body import Body, read_body, wanted_tokens
from ratelimit.gateway.mock.events import DONE, Pace, data, interleave, json_response, stream_response
from ratelimit.gateway.mock.job import CHOICES_MAX, Job, finish_reason, wants_usage
from ratelimit.gateway.mock.prompt import prompt_tokens, tool_tokens
from ratelimit.gateway.mock.words import TOKENS_MAX, reply, seed_of

__all__ = ("Chat",)


class Chat:
    """The endpoint. Tools are read, counted, and never called."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    async def create(self, request: Request) -> Response:
        """Answer one request."""
        body = await read_body(request)
        job = _job(body, wanted_tokens(request))
        if body.flag("stream"):
            return stream_response(self._stream(job))
        await self._pace.whole(max(answer.tokens for answer in job.replies))
        return json_response(_whole(job))

    async def _stream(self, job: Job) -> AsyncIterator[bytes]:
        head = _head(job, "chat.completion.chunk")
        # With usage asked for, every chunk has the field, and only the last one a value in it.
        tail: dict[str, Any] = {"usage": None} if job.usage_in_stream else {}

        def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            return data({**head, "choices": [choice], **tail})

        for index in range(len(job.replies)):
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        async for index, piece in self._pace.drip(interleave(answer.pieces() for answer in job.replies)):
            yield chunk(index, {"content": piece})
        for index, answer in enumerate(job.replies):
            yield chunk(index, {}, finish_reason(answer))
        if job.usage_in_stream:
            yield data({**head, "choices": [], "usage": job.usage})
        yield DONE


def _job(body: Body, wanted: int | None) -> Job:
    model, messages = body.model(), body.messages()
    # The newer name counts where both are given, as at the provider.
    older, newer = body.whole("max_tokens", TOKENS_MAX), body.whole("max_completion_tokens", TOKENS_MAX)
    most = older if newer is None else newer
    seed = seed_of(model.encode(), orjson.dumps(messages))
    return Job(
        model=model,
        prompt_tokens=prompt_tokens(messages) + tool_tokens(body.get("tools")),
        replies=[reply(seed + index, most, wanted) for index in range(body.whole("n", CHOICES_MAX) or 1)],
        usage_in_stream=wants_usage(body),
    )


def _head(job: Job, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": job.model,
        "system_fingerprint": "fp_mock",
    }


def _whole(job: Job) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": None,
            "finish_reason": finish_reason(answer),
        }
        for index, answer in enumerate(job.replies)
    ]
    return {**_head(job, "chat.completion"), "choices": choices, "usage": job.usage}
