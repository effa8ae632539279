"""What a request really used, in one form for all dialects."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Reading", "Usage")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by class. No token is in two classes, so their sum is the total; `reasoning` is part of `output`."""

    input: int = 0
    """Input that no cache served (OpenAI: prompt_tokens less cached ones; Anthropic: input_tokens)."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter read from a response.

    `usage` is what the response said, None if it said nothing; `complete` is False while its output is only a lower
    bound (an Anthropic stream that was cut has told its input, and an output of 1). `text_bytes` are the UTF-8 bytes
    of output seen, text, reasoning and tool arguments alike; counted when there is no complete usage, else 0 or more.
    """

    usage: Usage | None
    complete: bool
    text_bytes: int
    readable: bool = True
    """False for a body in a coding that cannot be decoded: its bytes say little about its text."""
