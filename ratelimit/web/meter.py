"""Reads from a response, as it passes, what the request really used."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from typing import Final, Literal, Protocol

from ratelimit.web.body_meter import CountingMeter, JsonMeter, NullMeter
from ratelimit.web.coding import CodingError, Decoder, open_decoder
from ratelimit.web.routes import Kind
from ratelimit.web.stream_meter import CHUNK_OVERHEAD, StreamMeter
from ratelimit.web.usage import Reading

__all__ = ("Meter", "open_meter")

_log = logging.getLogger("ratelimit.web")

_WITH_TOKENS: Final = frozenset({Kind.CHAT, Kind.COMPLETION, Kind.RESPONSES, Kind.EMBEDDINGS, Kind.MESSAGES})
_CODED_HELD_MAX: Final = 16 * 1024
"""Coded bytes are decoded in batches: a call of a decoder costs more than keeping a chunk."""
_SNIFFED: Final = 6
"""Bytes, white space aside, that decide what a body without a telling content type is: as many as `event:` has."""
_SPACE_MAX: Final = 4 * 1024
"""Among so many bytes the first that is no space must be."""
_SPACE: Final = b" \t\r\n"
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_BOM: Final = b"\xef\xbb\xbf"

_Format = Literal["json", "stream", "unknown"]


class Meter(Protocol):
    """Looks at the body of one response, chunk by chunk. It changes, holds back and delays nothing, and never raises.

    A meter holds at most about 1 MiB, however long the body, and takes time in proportion to the body.
    """

    def feed(self, chunk: bytes) -> None:
        """Look at the next chunk, in the order in which the app sends them. After `finish` it has no effect."""
        ...

    def finish(self) -> Reading:
        """What was read, when no more chunks come for whatever reason. Later calls give the same."""
        ...


def open_meter(kind: Kind, content_type: str, content_encoding: str) -> Meter:
    """A meter for one response; the header values are empty where the header is missing.

    Without a complete usage the reading's `text_bytes` are those of the output that was streamed, or that a whole JSON
    answer holds; for a JSON answer that is cut or broken they are all bytes received, and for a coding that cannot be
    decoded all coded bytes. With a complete usage, and for embeddings, they are 0.
    """
    if kind not in _WITH_TOKENS:
        return NullMeter()
    try:
        decoder = open_decoder(content_encoding) if content_encoding else None
    except CodingError as error:
        _warn(str(error))
        return _counting(kind, readable=False)
    plain = _open_plain(kind, _format(content_type))
    return plain if decoder is None else _CodedMeter(plain, _counting(kind, readable=False), decoder)


def _open_plain(kind: Kind, form: _Format) -> Meter:
    match form:
        case "stream":
            return StreamMeter(kind)
        case "json":
            return JsonMeter(kind)
    return _SniffingMeter(kind)


def _counting(kind: Kind, *, readable: bool) -> Meter:
    """A meter for bytes of no known form; embeddings have no output that they could stand for."""
    return NullMeter() if kind is Kind.EMBEDDINGS else CountingMeter(readable=readable)


@lru_cache(maxsize=128)
def _format(content_type: str) -> _Format:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return "stream"
    return "json" if media_type == "application/json" or media_type.endswith("+json") else "unknown"


@lru_cache(maxsize=16)
def _warn(problem: str) -> None:
    """Log a problem once, not once a response."""
    _log.warning("responses are metered by their size only: %s", problem)


class _SniffingMeter:
    """For a content type that says nothing (apps send event streams as text/plain): the first bytes decide."""

    __slots__ = ("_head", "_kind", "_meter")

    def __init__(self, kind: Kind) -> None:
        self._head = b""
        self._kind = kind
        self._meter: Meter | None = None

    @property
    def held(self) -> int:
        return len(self._head) + _held(self._meter)

    def feed(self, chunk: bytes) -> None:
        if self._meter is not None:
            self._meter.feed(chunk)
            return
        self._head += chunk
        if len(self._start()) >= _SNIFFED or len(self._head) >= _SPACE_MAX:
            self._decide()

    def finish(self) -> Reading:
        return (self._meter or self._decide()).finish()

    def _start(self) -> bytes:
        return self._head[:_SPACE_MAX].removeprefix(_BOM).lstrip(_SPACE)

    def _decide(self) -> Meter:
        start = self._start()
        if start.startswith(_FIELDS):
            self._meter = StreamMeter(self._kind)
        elif start.startswith((b"{", b"[")):
            self._meter = JsonMeter(self._kind)
        else:
            self._meter = _counting(self._kind, readable=True)
        self._meter.feed(self._head)
        self._head = b""
        return self._meter


class _CodedMeter:
    """Meters what a decoder makes of the body.

    Where decoding fails, what was decoded before is known, and the coded bytes stand for at least as much text.
    """

    __slots__ = ("_chunks", "_coded", "_decoder", "_failed", "_held", "_plain")

    def __init__(self, plain: Meter, coded: Meter, decoder: Decoder) -> None:
        self._chunks: list[bytes] = []
        self._coded = coded
        self._decoder = decoder
        self._failed = False
        self._held = 0
        self._plain = plain

    @property
    def held(self) -> int:
        return self._held + _held(self._plain)

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._held += len(chunk) + CHUNK_OVERHEAD
        if self._held > _CODED_HELD_MAX:
            self._decode()

    def finish(self) -> Reading:
        self._decode()
        reading = self._plain.finish()
        if reading.complete or not self._failed:
            return reading
        text_bytes = max(reading.text_bytes, self._coded.finish().text_bytes)
        return replace(reading, text_bytes=text_bytes, readable=False)

    def _decode(self) -> None:
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        self._coded.feed(data)
        if self._failed:
            return
        try:
            for piece in self._decoder.decode(data):
                self._plain.feed(piece)
        except CodingError as error:
            self._failed = True
            _log.info("a response is metered in part only: %s", error)


def _held(meter: object) -> int:
    held = getattr(meter, "held", 0)
    return held if isinstance(held, int) else 0
