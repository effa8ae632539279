"""What chat and completions of the mock have in common: what is asked for, and how much of it there was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ratelimit.gateway.mock.body import BadRequest, Body
from ratelimit.gateway.mock.words import Reply

__all__ = ("CHOICES_MAX", "Job", "chat_usage", "finish_reason", "wants_usage")

CHOICES_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class Job:
    """What a request asks for, read and worked out."""

    model: str
    prompt_tokens: int
    replies: Sequence[Reply]
    usage_in_stream: bool

    @property
    def usage(self) -> dict[str, Any]:
        """What it has used."""
        return chat_usage(self.prompt_tokens, sum(answer.tokens for answer in self.replies))


def chat_usage(prompt: int, completion: int) -> dict[str, Any]:
    """Usage in the form of chat and completions."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def wants_usage(body: Body) -> bool:
    """True when a stream is to end with its usage."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not body.flag("stream"):
        raise BadRequest("stream_options: only allowed when stream is true", "stream_options")
    if not isinstance(options, dict) or not isinstance(options.get("include_usage", False), bool):
        raise BadRequest("stream_options: must be an object; include_usage must be true or false", "stream_options")
    return bool(options.get("include_usage", False))


def finish_reason(answer: Reply) -> str:
    """Why a whole answer ends."""
    return "length" if answer.cut else "stop"
