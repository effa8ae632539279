"""What a prompt costs, by the mock's tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from ratelimit.gateway.mock.words import count

__all__ = ("ATTACHMENT_TOKENS", "MESSAGE_TOKENS", "content_tokens", "prompt_tokens", "tool_tokens")

MESSAGE_TOKENS: Final = 4
"""What a message costs besides its content."""
ATTACHMENT_TOKENS: Final = 256
"""What an image, a sound or a document costs, whatever its size."""

_ATTACHMENTS: Final = frozenset(
    {"audio", "document", "file", "image", "image_url", "input_audio", "input_file", "input_image", "video_url"}
)


def prompt_tokens(messages: Iterable[Mapping[str, Any]]) -> int:
    """The messages of a conversation."""
    return sum(MESSAGE_TOKENS + content_tokens(message.get("content")) for message in messages)


def content_tokens(content: Any) -> int:
    """The content of a message: text, or a list of parts."""
    if content is None:
        return 0
    if isinstance(content, str):
        return count(content)
    if isinstance(content, list):
        return sum(_part_tokens(part) for part in content)
    return count(orjson.dumps(content).decode())


def _part_tokens(part: Any) -> int:
    if not isinstance(part, dict):
        return content_tokens(part)
    text = part.get("text")
    if isinstance(text, str):
        return count(text)
    if part.get("type") in _ATTACHMENTS:
        return ATTACHMENT_TOKENS
    return content_tokens(part["content"]) if "content" in part else count(orjson.dumps(part).decode())


def tool_tokens(tools: Any) -> int:
    """The definitions of tools, which the mock reads and never calls."""
    return count(orjson.dumps(tools).decode()) if tools else 0
