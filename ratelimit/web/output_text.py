"""How many bytes of output an answer holds: what is charged when it tells no usage."""

from __future__ import annotations

from typing import Any, Final

__all__ = ("answer_bytes", "event_bytes", "utf8_size")

_TEXT: Final = frozenset(
    {
        "arguments",
        "code",
        "content",
        "input",
        "partial_json",
        "reasoning",
        "reasoning_content",
        "refusal",
        "text",
        "thinking",
        "transcript",
    }
)
"""Members whose strings the model wrote. Everything else (ids, roles, names, obfuscation, signatures) is envelope."""
_NOT_OUTPUT: Final = frozenset({"annotations", "logprobs", "reasoning_details", "results"})
"""Members that repeat output or quote input. `reasoning_details` is `reasoning` once more, in pieces."""
_DEPTH_MAX: Final = 16
"""Real answers nest text six deep; below this nothing is looked for."""


def event_bytes(event: dict[str, Any]) -> int:
    """UTF-8 bytes of output that one stream event adds: text, reasoning, refusal, transcripts, tool arguments.

    Takes the events of every dialect: `choices` (chat, completions), `response.*.delta`, `content_block_*`. Events
    that repeat what was streamed (`response.*.done`, `response.completed`) add nothing.
    """
    choices = event.get("choices")
    if choices is not None:
        return _choices_bytes(choices)
    kind = event.get("type")
    if not isinstance(kind, str):
        return 0
    if kind == "content_block_delta":
        return _written(event.get("delta"))
    if kind == "content_block_start":
        return _written(event.get("content_block"))
    if kind.startswith("response.") and kind.endswith(".delta") and not kind.endswith("audio.delta"):
        delta = event.get("delta")
        return utf8_size(delta) if isinstance(delta, str) else _written(delta)
    return 0


def answer_bytes(answer: dict[str, Any]) -> int:
    """UTF-8 bytes of output in a whole answer: its `choices`, `content` (Anthropic) or `output` (Responses)."""
    choices = answer.get("choices")
    if choices is not None:
        return _choices_bytes(choices)
    return _written({"content": answer.get("content"), "output": answer.get("output")})


def _choices_bytes(choices: object) -> int:
    if not isinstance(choices, list):
        return 0
    total = 0
    for choice in choices:
        if isinstance(choice, dict):
            total += _written(choice["delta"] if "delta" in choice else choice.get("message"))
            text = choice.get("text")
            if isinstance(text, str):
                total += utf8_size(text)
    return total


def _written(value: object, depth: int = _DEPTH_MAX) -> int:
    """Bytes of all that the model wrote within an object or a list of objects."""
    if isinstance(value, list):
        return sum(_written(item, depth - 1) for item in value) if depth else 0
    if not isinstance(value, dict):
        return 0
    total = 0
    for name, member in value.items():
        if isinstance(member, str):
            if name in _TEXT:
                total += utf8_size(member)
        elif member and depth and name not in _NOT_OUTPUT:
            # A tool's input is an object in Anthropic's answers; the model wrote it as JSON.
            total += _json_size(member) if name == "input" else _written(member, depth - 1)
    return total if len(value) == 1 else _once(value, total)


def _once(value: dict[str, Any], total: int) -> int:
    """`total` without what is no output after all: results of tools, and reasoning that is told under two names."""
    kind = value.get("type")
    if isinstance(kind, str) and kind.endswith(("_result", "_output")):
        return 0
    short, long = value.get("reasoning"), value.get("reasoning_content")
    if isinstance(short, str) and isinstance(long, str):
        return total - min(utf8_size(short), utf8_size(long))
    return total


def _json_size(value: object) -> int:
    """Bytes of a value written as compact JSON, without escapes. No depth is too much for it."""
    total = 0
    open_values = [value]
    while open_values:
        value = open_values.pop()
        if isinstance(value, dict):
            total += 1 + (2 * len(value) or 1)  # braces, a colon each, commas between
            open_values += value.keys()
            open_values += value.values()
        elif isinstance(value, list):
            total += 1 + (len(value) or 1)
            open_values += value
        else:
            total += utf8_size(value) + 2 if isinstance(value, str) else len(str(value))
    return total


def utf8_size(text: str) -> int:
    """Bytes of a text in UTF-8; half a surrogate pair has three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
