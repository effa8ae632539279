"""Answers of a model in both dialects, cut into chunks, and what they hold by a count that is not the meter's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ratelimit.web.call import ModelCall
from ratelimit.web.routes import DialectName
from ratelimit.web.usage import Usage

__all__ = ("DIALECT_PATHS", "INPUT", "ByteTokens", "Story", "ask", "produced")

INPUT = 40
"""Input tokens of every call of `ask`, by whoever counts."""

DIALECT_PATHS: dict[DialectName, str] = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


def ask(*, stream: bool = True, model: str = "glm-5", **fields: Any) -> bytes:
    """A request that both dialects understand."""
    messages = [{"role": "user", "content": "Tell me a story."}]
    return json.dumps(
        {"model": model, "messages": messages, "max_tokens": 5_000, "stream": stream, **fields}, ensure_ascii=False
    ).encode()


class ByteTokens:
    """A TokenEstimator to which every byte of output is a token."""

    def __init__(self) -> None:
        self.learned: list[Usage] = []

    def input_tokens(self, call: ModelCall) -> int:  # noqa: ARG002
        """The same for all."""
        return INPUT

    def output_tokens(self, model: str, text_bytes: int) -> int:  # noqa: ARG002
        """As many as there are bytes."""
        return text_bytes

    def learn(self, call: ModelCall, usage: Usage) -> None:  # noqa: ARG002
        """Keep what it was told."""
        self.learned.append(usage)


@dataclass(frozen=True)
class Story:
    """One answer. A token is a byte of its text, so that what was produced until any cut is an exact number."""

    dialect: DialectName
    texts: Sequence[str] = ("Once ", "upon ", "a \u2744 ", "time.")
    usage: bool = True

    @property
    def path(self) -> str:
        """Where it is asked for."""
        return DIALECT_PATHS[self.dialect]

    @property
    def tokens(self) -> int:
        """Output tokens of the whole."""
        return len("".join(self.texts).encode())

    @cached_property
    def chunks(self) -> tuple[bytes, ...]:
        """As an event stream, an event per chunk."""
        return tuple(self._openai() if self.dialect == "openai" else self._anthropic())

    @cached_property
    def whole(self) -> bytes:
        """As one JSON document."""
        text = "".join(self.texts)
        if self.dialect == "openai":
            message = {"role": "assistant", "content": text}
            document = {"id": "c-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            return json.dumps({**document, **self._openai_usage()}).encode()
        usage = {"usage": {"input_tokens": INPUT, "output_tokens": self.tokens}} if self.usage else {}
        return json.dumps({"type": "message", "content": [{"type": "text", "text": text}], **usage}).encode()

    def _openai_usage(self) -> dict[str, Any]:
        total = {"prompt_tokens": INPUT, "completion_tokens": self.tokens, "total_tokens": INPUT + self.tokens}
        return {"usage": total} if self.usage else {}

    def _openai(self) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": t} for t in self.texts)]
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None} for delta in deltas
        ]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.usage:
            events.append({"choices": [], **self._openai_usage()})
        return [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]

    def _anthropic(self) -> list[bytes]:
        usage = {"usage": {"input_tokens": INPUT, "output_tokens": 1}} if self.usage else {}
        final = {"usage": {"output_tokens": self.tokens}} if self.usage else {}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {"role": "assistant", "content": [], **usage}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}} for text in self.texts),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, **final},
            {"type": "message_stop"},
        ]
        return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def produced(stream: bytes) -> int:
    """Output tokens in the beginning of a story's stream: its text, or what it says itself if that is more."""
    tokens = stated = 0
    for event in stream.split(b"\n\n"):
        data = event.partition(b"data: ")[2]
        if not data or data == b"[DONE]":
            continue
        value = json.loads(data)
        for choice in value.get("choices", ()):
            tokens += len(choice["delta"].get("content", "").encode())
        tokens += len(value.get("delta", {}).get("text", "").encode())
        usage = value.get("usage") or value.get("message", {}).get("usage") or {}
        stated = max(stated, usage.get("completion_tokens", usage.get("output_tokens", 0)))
    return max(tokens, stated)
