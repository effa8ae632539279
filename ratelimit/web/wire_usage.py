"""The usage objects of every dialect, read into one `Usage` (formats: wire-formats.md, 2.4 and 3.4)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ratelimit.web.routes import Kind
from ratelimit.web.usage import Usage

__all__ = ("TOKENS_MAX", "anthropic_counts", "anthropic_usage", "read_usage")

TOKENS_MAX: Final = 10**8
"""The largest count believed. One from a broken upstream would stand as debt, and its subject be refused for years."""

_ANTHROPIC_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


class _Names(NamedTuple):
    """What one OpenAI API calls its counts."""

    input: str
    output: str
    input_details: str
    output_details: str


_CHAT: Final = _Names("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details")
_RESPONSES: Final = _Names("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")


def read_usage(raw: object, kind: Kind) -> Usage | None:
    """What a usage object says; None if it says nothing that can be charged.

    The object's own names decide the dialect; `kind` decides only where they do not. A count is a plain int from 0 to
    10**8: with any other total (a string, NaN, true, -1) the object is no usage; any other detail counts as 0.
    """
    if not isinstance(raw, dict):
        return None
    if "prompt_tokens" in raw:
        return _openai_usage(raw, _CHAT, kind)
    if _speaks_anthropic(raw, kind):
        return anthropic_usage(anthropic_counts(raw))
    return _openai_usage(raw, _RESPONSES, kind)


def anthropic_counts(raw: object) -> dict[str, int]:
    """The counts in an Anthropic usage object, flat, so that those of several events can be laid over one another."""
    if not isinstance(raw, dict):
        return {}
    counts = {name: value for name in _ANTHROPIC_COUNTS if (value := _count(raw.get(name))) is not None}
    thinking = _detail(raw, "output_tokens_details", "thinking_tokens")
    return counts | {"thinking_tokens": thinking} if thinking else counts


def anthropic_usage(counts: dict[str, int]) -> Usage | None:
    """Usage from Anthropic's counts, of which `input_tokens` excludes both kinds of cached input."""
    if "input_tokens" not in counts or "output_tokens" not in counts:
        return None
    output = counts["output_tokens"]
    return Usage(
        input=counts["input_tokens"],
        cache_read=counts.get("cache_read_input_tokens", 0),
        cache_write=counts.get("cache_creation_input_tokens", 0),
        output=output,
        reasoning=min(counts.get("thinking_tokens", 0), output),
    )


def _openai_usage(raw: dict[str, Any], names: _Names, kind: Kind) -> Usage | None:
    """Usage from OpenAI's counts: cached input is inside the input, reasoning inside the output."""
    prompt = _count(raw.get(names.input))
    if prompt is None:
        return None
    output = _output(raw, names.output, prompt, kind)
    if output is None:
        return None
    cache_read = cache_write = reasoning = 0
    if names.input_details in raw:
        cache_read = min(_detail(raw, names.input_details, "cached_tokens"), prompt)
        cache_write = min(_detail(raw, names.input_details, "cache_write_tokens"), prompt - cache_read)
    if names.output_details in raw:
        reasoning = min(_detail(raw, names.output_details, "reasoning_tokens"), output)
    return Usage(prompt - cache_read - cache_write, cache_read, cache_write, output, reasoning)


def _output(raw: dict[str, Any], name: str, prompt: int, kind: Kind) -> int | None:
    """Output tokens; from the total where they are not given. Embeddings have none."""
    given = raw.get(name)
    if given is not None:
        return _count(given)
    if kind is Kind.EMBEDDINGS:
        return 0
    total = _count(raw.get("total_tokens"))
    return None if total is None else max(0, total - prompt)


def _speaks_anthropic(raw: dict[str, Any], kind: Kind) -> bool:
    if "cache_read_input_tokens" in raw or "cache_creation_input_tokens" in raw:
        return True
    return kind is Kind.MESSAGES and "input_tokens_details" not in raw


def _detail(raw: dict[str, Any], details: str, name: str) -> int:
    inner = raw.get(details)
    return (_count(inner.get(name)) or 0) if isinstance(inner, dict) else 0


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else None
