"""Requests and responses as a gateway sees them: chat bodies of a given size, an answer, and streams of it."""

from __future__ import annotations

import json
from itertools import cycle
from typing import Any, Final

__all__ = ("CHUNKS", "anthropic_stream", "chat_request", "chat_response", "messages_request", "openai_stream", "prose")

CHUNKS: Final = 1_000
"""Text chunks of a stream, of about 200 bytes each."""

_SENTENCES: Final = (
    "The meeting with the customer in Zürich has been moved to Thursday, half past nine.",
    'She said: "Please don\'t send the invoice before we have signed the contract."',
    "def area(radius):\n    return 3.14159 * radius ** 2  # square metres",
    "Ошибка возникает только тогда, когда соединение закрыто раньше ответа.",
    "第三季度的收入比去年同期增长了百分之十二。",
    "Café, naïve, coöperate, «quotation» and a phrase with an emoji 🙂 at its end.",
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "| region | orders | share |\n|---|---|---|\n| north | 1,204 | 31.5 % |",
)
"""Prose, code, a table, other scripts: five of six characters are ASCII."""

_TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "search_orders",
            "description": "Find the orders of a customer.",
            "parameters": {
                "type": "object",
                "properties": {"customer": {"type": "string"}, "since": {"type": "string", "format": "date"}},
                "required": ["customer"],
            },
        },
    }
]
_TURN: Final = 1_500
"""Bytes of one message of a long conversation."""


def prose(size: int) -> str:
    """About `size` bytes of text, less if a character would be cut; the same for the same size."""
    return _PROSE[: max(0, size)].decode(errors="ignore") if size <= len(_PROSE) else _long_prose(size)


_PROSE: Final = (" ".join(_SENTENCES) + " ").encode() * 1_000


def _long_prose(size: int) -> str:
    return (_PROSE * (size // len(_PROSE) + 1))[:size].decode(errors="ignore")


def chat_request(size: int, **fields: object) -> bytes:
    """A body for /v1/chat/completions of about `size` bytes: a system prompt, a conversation, a tool."""
    body = {"model": "glm-5", "messages": [], "tools": _TOOLS, "max_tokens": 512, "temperature": 0.7, **fields}
    return _filled(body, {"role": "system", "content": "You are the assistant of a small company."}, size)


def messages_request(size: int, **fields: object) -> bytes:
    """A body for /v1/messages of about `size` bytes."""
    body = {"model": "minimax-m2.5", "max_tokens": 512, "system": "You are brief.", "messages": [], **fields}
    return _filled(body, None, size)


def _filled(body: dict[str, Any], first: dict[str, str] | None, size: int) -> bytes:
    messages = body["messages"]
    if first is not None:
        messages.append(first)
    sentences, roles = cycle(_SENTENCES), cycle(("user", "assistant"))
    left = size - len(_json(body))
    while left > 0:
        text, most = "", min(_TURN, left - 40)
        while not text or len(_json(text)) < most:
            text += next(sentences) + " "
        message = {"role": next(roles), "content": text}
        messages.append(message)
        left -= len(_json(message)) + 1
    return _json(body)


def chat_response() -> bytes:
    """A whole answer, with its usage."""
    message = {"role": "assistant", "content": " ".join(_SENTENCES[:4])}
    return _json(
        {
            "id": "chatcmpl-8f2b6c1d0e",
            "object": "chat.completion",
            "created": 1_760_000_000,
            "model": "glm-5",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _USAGE,
        }
    )


_USAGE: Final = {
    "prompt_tokens": 280,
    "completion_tokens": 120,
    "total_tokens": 400,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def openai_stream(*, usage: bool) -> list[bytes]:
    """The events of a chat completion, one a chunk, as an upstream sends them."""
    head = {
        "id": "chatcmpl-8f2b6c1d0e",
        "object": "chat.completion.chunk",
        "created": 1_760_000_000,
        "model": "glm-5",
    }
    chunks = [
        _data({**head, "choices": [{"index": 0, "delta": {"content": word}, "logprobs": None, "finish_reason": None}]})
        for word in _words()
    ]
    chunks.append(_data({**head, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]}))
    if usage:
        chunks.append(_data({**head, "choices": [], "usage": _USAGE}))
    return [*chunks, b"data: [DONE]\n\n"]


def anthropic_stream() -> list[bytes]:
    """The events of a message, one a chunk."""
    message = {"id": "msg_01", "type": "message", "role": "assistant", "model": "minimax-m2.5", "content": []}
    start = {**message, "usage": {"input_tokens": 280, "cache_read_input_tokens": 64, "output_tokens": 1}}
    block = {"type": "text", "text": ""}
    chunks = [
        _event({"type": "message_start", "message": start}),
        _event({"type": "content_block_start", "index": 0, "content_block": block}),
    ]
    deltas = ({"type": "text_delta", "text": words} for words in _words(12))
    chunks += [_event({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 120}}
    chunks += [_event({"type": "content_block_stop", "index": 0}), _event(end), _event({"type": "message_stop"})]
    return chunks


def _words(at_once: int = 1) -> list[str]:
    """What comes in one chunk: a word, or several from servers that send less often."""
    words = cycle(" ".join(_SENTENCES).split(" "))
    return [" " + " ".join(next(words) for _ in range(at_once)) for _ in range(CHUNKS)]


def _data(value: object) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\n".encode() + _data(value)


def _json(value: object) -> bytes:
    # Compact, and characters as they are: what both SDKs send.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
