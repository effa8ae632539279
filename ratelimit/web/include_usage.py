"""Asks an OpenAI upstream for a stream's usage, and takes out the chunk that the client had not asked for."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final

import orjson

from ratelimit.web.lenient_json import parse
from ratelimit.web.sse import payload, with_line_feeds

__all__ = ("UsageStripper", "ask_for_usage")

_HELD_MAX: Final = 64 * 1024
"""A longer event is no usage chunk and is let through as it comes."""
_TRIES: Final = 4
"""Places in a body that look like its options."""
_ASK: Final = b'"include_usage":true'
_OPTIONS: Final = re.compile(rb'"stream_options"\s*:\s*(null|\{\s*\}|\{)')
_REFUSED: Final = re.compile(rb'"include_usage"\s*:\s*(false|null)')
# A line may end within the list: then the next one begins with `data:`.
_EMPTY_LIST: Final = re.compile(rb"\[(?:\s|data:)*+\]")
# Atomic groups: CRLF is one line end and must not be tried as two.
_EVENT_END: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_WHOLE: Final = (b"\n\n", b"\r\n\r\n")


def ask_for_usage(raw: bytes, body: dict[str, Any]) -> bytes:
    """The request `raw`, which was parsed to `body`, with `stream_options.include_usage`; `raw` itself if it asks.

    For chat and legacy completions. Requests that do not stream, and options that are no object, stay as they are.
    Text is inserted, or a refusal in the options replaced, and nothing else changed; only where names are written with
    escapes is the whole body written anew. The length changes, so Content-Length must.
    """
    options = body.get("stream_options")
    if body.get("stream") is not True or not isinstance(options, dict | None):
        return raw
    if options is not None and options.get("include_usage") not in (None, False):
        return raw
    if "stream_options" not in body:
        start = raw.index(b"{") + 1
        return b'%b"stream_options":{%b},%b' % (raw[:start], _ASK, raw[start:])
    asked = {**body, "stream_options": {**(options or {}), "include_usage": True}}
    for options_at in islice(_OPTIONS.finditer(raw), _TRIES):
        changed = _with_ask(raw, options_at)
        if parse(changed) == asked:
            return changed
    return orjson.dumps(asked)


def _with_ask(raw: bytes, options: re.Match[bytes]) -> bytes:
    """`raw` with the options at this place changed to ask for usage."""
    before, after = raw[: options.start(1)], raw[options.end() :]
    if options[1] != b"{":  # null, or an object without members
        return b"%b{%b}%b" % (before, _ASK, after)
    refused = _REFUSED.search(after)
    if refused is not None and b"}" not in after[: refused.start()]:
        return b"%b{%b%b%b" % (before, after[: refused.start()], _ASK, after[refused.end() :])
    return b"%b{%b,%b" % (before, _ASK, after)


class UsageStripper:
    """Takes the usage chunk out of an OpenAI stream: the event with no choices and a usage.

    Every other byte comes out unchanged and in order. At most one event that has not ended yet is held back, and none
    of more than 64 KiB. The blank line that ends the chunk goes with it.
    """

    __slots__ = ("_drop_line_feed", "_held", "_letting_through")

    def __init__(self) -> None:
        self._held = bytearray()
        self._letting_through = False
        self._drop_line_feed = False

    def feed(self, chunk: bytes) -> bytes:
        """What can be sent on once this chunk is there; often the chunk itself."""
        if not self._held and not self._drop_line_feed and chunk.endswith(_WHOLE) and not _EMPTY_LIST.search(chunk):
            return chunk
        if self._drop_line_feed and chunk:
            chunk, self._drop_line_feed = chunk.removeprefix(b"\n"), False
        known = max(0, len(self._held) - 3)  # an end that is three quarters there: CR LF CR
        self._held += chunk
        sent, start = [], 0
        while end := _EVENT_END.search(self._held, max(start, known)):
            sent.append(self._sent(bytes(self._held[start : end.end()])))
            start = end.end()
        del self._held[:start]
        if self._held:
            self._drop_line_feed = False
        sent.append(self._overflow())
        return b"".join(sent)

    def flush(self) -> bytes:
        """What is left when the stream ends: an event without its blank line."""
        rest = bytes(self._held)
        self._held.clear()
        return self._sent(rest)

    def _sent(self, event: bytes) -> bytes:
        """What of a whole event goes on."""
        letting_through, self._letting_through = self._letting_through, False
        if letting_through or not _is_usage_chunk(event):
            return event
        # Its blank line may be CR LF, of which only the CR has come.
        self._drop_line_feed = event.endswith(b"\r")
        return event[: len(event) - len(event.lstrip(b"\r\n"))]

    def _overflow(self) -> bytes:
        """What of an unfinished event goes on because the event is too long to be held."""
        if not self._letting_through and len(self._held) <= _HELD_MAX:
            return b""
        self._letting_through = True
        sent = bytes(self._held[:-3])
        del self._held[:-3]
        return sent


def _is_usage_chunk(event: bytes) -> bool:
    if len(event) > _HELD_MAX or not _EMPTY_LIST.search(event):
        return False
    value = parse(payload(with_line_feeds(event)))
    return isinstance(value, dict) and value.get("choices") == [] and isinstance(value.get("usage"), dict)
