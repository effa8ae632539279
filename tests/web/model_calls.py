"""Calls of models as `ratelimit.web.call` reads them."""

from __future__ import annotations

from typing import Any

from ratelimit.web.call import MediaCosts, ModelCall, read_call
from ratelimit.web.routes import Kind

__all__ = ("MEDIA", "call_of", "chat", "texts", "user")

MEDIA = MediaCosts(image=1_000, image_low=10, audio=200, video=3_000, document=5_000)


def call_of(kind: Kind, **body: Any) -> ModelCall:
    """The call of a body that has what every body needs."""
    required = {"messages": [], "max_tokens": 1} if kind is Kind.MESSAGES else {}
    return read_call(kind, {"model": "glm-5", **required, **body}, MEDIA)


def chat(*messages: object, **body: Any) -> ModelCall:
    """The call of a chat with these messages."""
    return call_of(Kind.CHAT, messages=list(messages), **body)


def user(content: object) -> dict[str, object]:
    """A message by the user."""
    return {"role": "user", "content": content}


def texts(call: ModelCall) -> list[str]:
    """What a tokenizer would get, in the order of the alphabet."""
    return sorted(call.texts())
