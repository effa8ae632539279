"""The framing of an event stream: where an event ends, and what its data is (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ("EVENT_MAX_BYTES", "EventCutter", "payload", "with_line_feeds")

EVENT_MAX_BYTES: Final = 256 * 1024
"""A larger event is not kept: no chunk of text needs as much."""

_BOM: Final = b"\xef\xbb\xbf"
_BEGINNING: Final = 256
_ENDING: Final = 64 * 1024
"""Bytes of an event that is too large, from its beginning and its end, that something may be made of."""
_REST_MAX_BYTES: Final = EVENT_MAX_BYTES + 8
"""Beyond this an unfinished event is too large even without its BOM and line ends."""


class EventCutter:
    """Cuts a stream into its events, wherever its chunks end. It holds one unfinished event and no more.

    Events come out with line feeds for line ends, whatever the stream has. Some may be empty: blank lines do no harm.

    Args:
        stand_in: what to make of an event that is too large, from its beginning and its end.
    """

    __slots__ = ("_beginning", "_rest", "_skipping", "_stand_in", "_started")

    def __init__(self, stand_in: Callable[[bytes, bytes], bytes] = lambda *_: b"") -> None:
        self._beginning = b""
        self._rest = b""
        self._skipping = False
        self._stand_in = stand_in
        self._started = False

    @property
    def held(self) -> int:
        """Bytes kept for the next call."""
        return len(self._rest)

    def cut(self, data: bytes) -> list[bytes]:
        """The events that end in `data`."""
        text, self._rest = self._rest + data, b""
        if text.endswith(b"\r"):
            text, self._rest = text[:-1], b"\r"  # its line feed may be the next byte
        *events, unfinished = with_line_feeds(text).split(b"\n\n")
        self._rest = unfinished + self._rest
        events = self._accepted(events)
        self._bound_rest()
        return events

    def whole(self, data: bytes) -> bytes | None:
        """What `last` would cut, if cutting it at empty lines is all that it would do; else None."""
        text = self._rest + data
        changed = b"\r" in text or (not self._started and text.startswith(_BOM))
        return None if changed or self._skipping or len(text) > EVENT_MAX_BYTES else text

    def last(self, data: bytes) -> list[bytes]:
        """The events that end in `data`, and the one that the end of the stream ends."""
        return self._accepted(with_line_feeds(self._rest + data).split(b"\n\n"))

    def _accepted(self, events: list[bytes]) -> list[bytes]:
        if not events:
            return events
        if self._skipping:
            self._skipping = False
            events[0] = self._stand_in(self._beginning, events[0])
        if not self._started:
            self._started = True
            events[0] = events[0].removeprefix(_BOM)
        if sum(map(len, events)) <= EVENT_MAX_BYTES:
            return events
        return [event if _is_small(event) else self._stand_in(*_ends(event)) for event in events]

    def _bound_rest(self) -> None:
        """Keep of an event that is too large already its beginning, and its end so far."""
        if not self._skipping and len(self._rest) > _REST_MAX_BYTES:
            self._skipping = True
            self._beginning = self._rest.removeprefix(_BOM)[:_BEGINNING]
        if self._skipping:
            self._rest = self._rest[-_ENDING:]


def _is_small(event: bytes) -> bool:
    return len(event.strip(b"\n")) <= EVENT_MAX_BYTES


def _ends(event: bytes) -> tuple[bytes, bytes]:
    return event[:_BEGINNING], event[-_ENDING:]


def payload(event: bytes) -> bytes:
    """The data of one event: its `data` lines, joined. Empty for a comment, a ping without data, a blank line."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    data = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return data[0] if len(data) == 1 else b"\n".join(data)


def with_line_feeds(text: bytes) -> bytes:
    """CRLF and CR as LF."""
    if b"\r" not in text:
        return text
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
