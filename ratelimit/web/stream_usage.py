"""What the events of a stream have said about usage so far, in whichever dialect."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from ratelimit.web.lenient_json import parse
from ratelimit.web.routes import Kind
from ratelimit.web.usage import Usage
from ratelimit.web.wire_usage import anthropic_counts, anthropic_usage, read_usage

__all__ = ("StreamUsage", "abridged", "tells_usage")

_NAMED: Final = re.compile(rb'(?:^event: ?|"type": ?")(response\.[a-z]+)')
_TRIES: Final = 8
_ENDINGS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done"}
)


class StreamUsage:
    """Usage is cumulative in every dialect: the last word counts, nothing is ever summed.

    OpenAI's streams tell it whole, at the end or (vLLM's `continuous_usage_stats`) in every chunk. Anthropic's tell
    the input in `message_start` and the rest in one or more `message_delta`, member by member.
    """

    __slots__ = ("_counts", "_ended", "_kind", "_output_told", "_whole")

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._whole: Usage | None = None
        self._counts: dict[str, int] = {}
        self._output_told = False
        self._ended = False

    @property
    def usage(self) -> Usage | None:
        """What was said last, None if nothing was."""
        return self._whole or anthropic_usage(self._counts)

    @property
    def complete(self) -> bool:
        """True when the usage is that of the whole answer: the stream ended after it."""
        return self._ended and self.usage is not None

    def copy(self) -> StreamUsage:
        """The same state, to try events on."""
        other = StreamUsage(self._kind)
        other._whole, other._counts = self._whole, self._counts
        other._output_told, other._ended = self._output_told, self._ended
        return other

    def note(self, event: dict[str, Any]) -> bool:
        """Take an event in. True if it makes everything before it irrelevant."""
        match event.get("type"):
            case "message_start":
                return self._start(event.get("message"))
            case "message_delta":
                self._change(event)
                return False
            case "message_stop":
                self.end()
                return False
        return self._replace(event)

    def end(self) -> None:
        """The stream said that it is done (`[DONE]`, `message_stop`).

        That makes Anthropic's counts final. OpenAI's are when their own event says so: others may have been told long
        before, with text after them.
        """
        if self._whole is None:
            self._ended = self._output_told

    def _start(self, message: object) -> bool:
        counts = anthropic_counts(message.get("usage")) if isinstance(message, dict) else {}
        if not counts:
            return False
        self._whole, self._counts = None, counts
        self._output_told = self._ended = False  # its output_tokens of 1 or so is no count yet
        return True

    def _change(self, event: dict[str, Any]) -> None:
        counts = anthropic_counts(event.get("usage"))
        if not counts:
            return
        self._whole, self._counts = None, self._counts | counts
        self._output_told = self._output_told or "output_tokens" in counts
        delta = event.get("delta")
        if self._output_told and isinstance(delta, dict) and delta.get("stop_reason"):
            self._ended = True

    def _replace(self, event: dict[str, Any]) -> bool:
        for holder in (event, event.get("x_groq"), event.get("response")):
            usage = read_usage(holder.get("usage"), self._kind) if isinstance(holder, dict) else None
            if usage is not None:
                self._whole, self._counts = usage, {}
                self._output_told = True
                self._ended = _is_final(event)
                return True
        return False


def tells_usage(event: dict[str, Any]) -> bool:
    """False for an event that `StreamUsage.note` makes nothing of, whatever came before it."""
    if event.get("type") in ("message_start", "message_delta", "message_stop"):
        return True
    return any(isinstance(event.get(name), dict) for name in ("usage", "x_groq", "response"))


def abridged(beginning: bytes, ending: bytes) -> bytes:
    """What stands for an event too large to read: the usage at its end, if it is the last of a response.

    That one repeats the whole response, and in it instructions and tools of any length. Of all that could be called
    usage there, only a member of `response` itself closes what the rest of the event closes.
    """
    named = _NAMED.search(beginning)
    kind = named[1].decode() if named else ""
    place = len(ending)
    for _ in range(_TRIES if kind in _ENDINGS else 0):
        place = ending.rfind(b'"usage"', 0, place)
        if place < 0:
            break
        value = parse(b'{"response":{' + ending[place:])
        usage = value["response"].get("usage") if isinstance(value, dict) else None
        if isinstance(usage, dict):
            return b"data: " + orjson.dumps({"type": kind, "response": {"usage": usage}})
    return b""


def _is_final(event: dict[str, Any]) -> bool:
    """Whether the usage in an OpenAI event is that of the whole answer."""
    if isinstance(event.get("response"), dict):
        kind = event.get("type")
        return isinstance(kind, str) and kind in _ENDINGS
    choices = event.get("choices")
    if not isinstance(choices, list):
        return True
    return all(isinstance(choice, dict) and bool(choice.get("finish_reason")) for choice in choices)
