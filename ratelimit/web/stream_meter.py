"""Meters an event stream: puts chunks aside as they pass, and reads as few of them as it can."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ratelimit.web.event_template import count_alike
from ratelimit.web.lenient_json import parse
from ratelimit.web.output_text import event_bytes
from ratelimit.web.routes import Kind
from ratelimit.web.sse import EventCutter, payload
from ratelimit.web.stream_usage import StreamUsage, abridged
from ratelimit.web.usage import Reading, Usage

__all__ = ("CHUNK_OVERHEAD", "StreamMeter")

CHUNK_OVERHEAD: Final = 50
"""What a chunk costs in memory besides its bytes; counted, or a stream of one-byte chunks would pass any bound."""

_HELD_MAX: Final = 256 * 1024
"""Passing this, chunks are parsed and forgotten. Streams that end with their usage before never need the parsing."""
_PIECE: Final = 256 * 1024
"""A larger chunk is cut in pieces of this size, so that reading it takes little memory beside it."""
_TRIES: Final = 8
"""How many events that may tell usage are read from the end before everything is read from the start."""

_DONE: Final[dict[str, Any]] = {"type": "message_stop"}
"""OpenAI's `[DONE]`, in Anthropic's words."""


class StreamMeter:
    """The meter of `text/event-stream`.

    Usage stands at the end of a stream, so a stream that tells it costs little more than keeping its chunks: about
    a tenth of what parsing its events would. The text is counted only where no complete usage was told.
    """

    __slots__ = ("_chunks", "_cutter", "_held", "_reading", "_text_bytes", "_usage")

    def __init__(self, kind: Kind) -> None:
        self._chunks: list[bytes] = []
        self._held = 0
        self._cutter = EventCutter(abridged)
        self._usage = StreamUsage(kind)
        self._text_bytes = 0
        self._reading: Reading | None = None

    @property
    def held(self) -> int:
        """Bytes of memory held for the stream, roughly."""
        return self._held + self._cutter.held

    def feed(self, chunk: bytes) -> None:
        """Look at the next chunk."""
        self._chunks.append(chunk)
        self._held += len(chunk) + CHUNK_OVERHEAD
        if self._held > _HELD_MAX:
            self._digest()

    def finish(self) -> Reading:
        """What the stream told, or what was in it. Later calls give the same."""
        if self._reading is None:
            self._reading = self._conclude(self._taken())
        return self._reading

    def _taken(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        return data

    def _digest(self) -> None:
        data = self._taken()
        for start in range(0, len(data), _PIECE):
            self._read(self._cutter.cut(data[start : start + _PIECE]))

    def _conclude(self, data: bytes) -> Reading:
        # Cutting out every event takes most of the time, and of those that tell usage there are few.
        text = self._cutter.whole(data)
        events = [] if text is not None else self._cutter.last(data)
        usage = self._told_at_end(reversed(events) if text is None else _backwards(text))
        if usage is not None:
            return Reading(usage, complete=True, text_bytes=0)
        self._read(events or self._cutter.last(data))
        complete = self._usage.complete
        return Reading(self._usage.usage, complete, 0 if complete else self._text_bytes)

    def _read(self, events: list[bytes]) -> None:
        """Read events in full: their text and their usage."""
        counted, events = count_alike(events)
        self._text_bytes += counted
        for event in filter(None, events):
            data = payload(event)
            value = _value(data)
            if value is not None:
                self._text_bytes += event_bytes(value)
                if _tells(data, value):
                    self._usage.note(value)

    def _told_at_end(self, backwards: Iterable[bytes]) -> Usage | None:
        """The complete usage that is known after these events, which are read from their end.

        None if there is none, or if finding it would mean reading many events. Where it gives a usage, `_read` would
        have led to the same: both look for it in the same events, and what stands before a whole usage is irrelevant.
        """
        told: list[dict[str, Any]] = []
        for value in _telling(backwards):
            if len(told) == _TRIES:
                return None
            told.append(value)
            if self._usage.copy().note(value):
                break
        usage = self._usage.copy()
        for value in reversed(told):
            usage.note(value)
        return usage.usage if usage.complete else None


def _backwards(text: bytes) -> Iterator[bytes]:
    """From the end, the last few events, and of those before them the ones that name usage."""
    before, *last = text.rsplit(b"\n\n", _TRIES)
    yield from reversed(last)
    if len(last) < _TRIES:
        yield before
        return
    end = len(before)
    while (hit := before.rfind(b'"usage"', 0, end)) >= 0:
        start = max(0, before.rfind(b"\n\n", 0, hit))
        stop = before.find(b"\n\n", hit, end)
        yield before[start : end if stop < 0 else stop].removeprefix(b"\n\n")
        end = start


def _telling(backwards: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """From the end, the events that may tell usage, and of the last few those that end the stream."""
    for place, event in enumerate(backwards):
        if b'"usage"' in event or (place < _TRIES and (b"message_stop" in event or b"[DONE]" in event)):
            data = payload(event)
            value = _value(data)
            if value is not None and _tells(data, value):
                yield value


def _tells(data: bytes, value: dict[str, Any]) -> bool:
    """Whether an event may tell usage or ends the stream."""
    return b'"usage"' in data or value.get("type") == "message_stop"


def _value(data: bytes) -> dict[str, Any] | None:
    if not data:
        return None
    if data == b"[DONE]":
        return _DONE
    value = parse(data)
    return value if isinstance(value, dict) else None
