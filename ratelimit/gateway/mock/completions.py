"""POST /v1/completions of the mock."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ratelimit.gateway.mock.body import BadRequest, Body, read_body, wanted_tokens
from ratelimit.gateway.mock.events import DONE, Pace, data, interleave, json_response, stream_response
from ratelimit.gateway.mock.job import CHOICES_MAX, Job, finish_reason, wants_usage
from ratelimit.gateway.mock.words import TOKENS_MAX, count, reply, seed_of

__all__ = ("Completions", "text_inputs")

_MOST_BY_DEFAULT: Final = 16
"""`max_tokens` where none is given, as at the provider."""


class Completions:
    """The endpoint."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    async def create(self, request: Request) -> Response:
        """Answer one request."""
        body = await read_body(request)
        job = _job(body, wanted_tokens(request))
        head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": job.model,
        }
        if body.flag("stream"):
            return stream_response(self._stream(job, head))
        await self._pace.whole(max(answer.tokens for answer in job.replies))
        choices = [_choice(index, answer.text, finish_reason(answer)) for index, answer in enumerate(job.replies)]
        return json_response({**head, "choices": choices, "usage": job.usage})

    async def _stream(self, job: Job, head: dict[str, Any]) -> AsyncIterator[bytes]:
        tail: dict[str, Any] = {"usage": None} if job.usage_in_stream else {}
        async for index, piece in self._pace.drip(interleave(answer.pieces() for answer in job.replies)):
            yield data({**head, "choices": [_choice(index, piece, None)], **tail})
        for index, answer in enumerate(job.replies):
            yield data({**head, "choices": [_choice(index, "", finish_reason(answer))], **tail})
        if job.usage_in_stream:
            yield data({**head, "choices": [], "usage": job.usage})
        yield DONE


def text_inputs(value: Any, name: str, most: int) -> list[tuple[bytes, int]]:
    """A prompt or an input in any of its four forms: of each part what it holds, and its tokens.

    Text, a list of texts, a list of token numbers, or a list of those. Raises BadRequest for anything else, or for
    more than `most` parts.
    """
    parts = value if isinstance(value, list) and not _are_tokens(value) else [value]
    if not parts or len(parts) > most:
        raise BadRequest(f"{name}: must have 1 to {most} parts", name)
    found = []
    for part in parts:
        if isinstance(part, str) and part:
            found.append((part.encode("utf-8", "surrogatepass"), count(part)))
        elif isinstance(part, list) and _are_tokens(part):
            found.append((orjson.dumps(part), len(part)))
        else:
            raise BadRequest(f"{name}: must be text or token numbers, or a list of either, and not empty", name)
    return found


def _are_tokens(value: list[Any]) -> bool:
    return bool(value) and all(type(item) is int and item >= 0 for item in value)


def _job(body: Body, wanted: int | None) -> Job:
    model = body.model()
    prompts = text_inputs(body.need("prompt"), "prompt", CHOICES_MAX)
    most = body.whole("max_tokens", TOKENS_MAX) or (None if wanted is not None else _MOST_BY_DEFAULT)
    each = body.whole("n", CHOICES_MAX) or 1
    seeds = [seed_of(model.encode(), prompt) for prompt, _ in prompts]
    return Job(
        model=model,
        prompt_tokens=sum(tokens for _, tokens in prompts),
        replies=[reply(seed + index, most, wanted) for seed in seeds for index in range(each)],
        usage_in_stream=wants_usage(body),
    )


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
