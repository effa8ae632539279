"""Meters bodies that are no event stream: a JSON answer, text, and what is not to be read at all."""

from __future__ import annotations

from typing import Any, Final

import orjson

from ratelimit.web.lenient_json import parse
from ratelimit.web.output_text import answer_bytes
from ratelimit.web.routes import Kind
from ratelimit.web.stream_meter import CHUNK_OVERHEAD
from ratelimit.web.usage import Reading, Usage
from ratelimit.web.wire_usage import read_usage

__all__ = ("CountingMeter", "JsonMeter", "NullMeter")

_WHOLE_MAX: Final = 768 * 1024
"""A longer body is not kept whole, only its end."""
_HELD_MAX: Final = 1024 * 1024
_TAIL: Final = 64 * 1024
_SMALL: Final = 16 * 1024
"""A body that is simply parsed: a few microseconds."""
_TRIES: Final = 8
"""How many places that look like the usage of a body are tried, from its end."""


class NullMeter:
    """For endpoints that use no tokens: reads nothing."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> None:
        """Ignore the chunk."""

    def finish(self) -> Reading:
        """Nothing was used that a body could tell."""
        return Reading(None, complete=False, text_bytes=0)


class CountingMeter:
    """For bodies of no known form: their bytes stand for the output. `readable`: they are text at least."""

    __slots__ = ("_readable", "_size")

    def __init__(self, *, readable: bool) -> None:
        self._readable = readable
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Count the chunk."""
        self._size += len(chunk)

    def finish(self) -> Reading:
        """All bytes, as text."""
        return Reading(None, complete=False, text_bytes=self._size, readable=self._readable)


class JsonMeter:
    """For JSON answers.

    In long bodies usage is looked for from the end, where every API has it, so megabytes are not parsed, and of a body
    beyond 768 KiB only the last 64 KiB are kept. Without usage: the bytes of the output in a whole answer; all bytes
    received, an upper bound, where the answer is broken, cut, no object, or too long to keep. Embeddings have no
    output.
    """

    __slots__ = ("_chunks", "_held", "_kind", "_reading", "_size")

    def __init__(self, kind: Kind) -> None:
        self._chunks: list[bytes] = []
        self._held = 0
        self._kind = kind
        self._reading: Reading | None = None
        self._size = 0

    @property
    def held(self) -> int:
        """Bytes of memory held for the body, roughly."""
        return self._held

    def feed(self, chunk: bytes) -> None:
        """Look at the next chunk."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._held += len(chunk) + CHUNK_OVERHEAD
        if self._held > _HELD_MAX:
            self._keep(b"".join(self._chunks) if self._size <= _WHOLE_MAX else self._tail())

    def finish(self) -> Reading:
        """What the body told, or how much was in it. Later calls give the same."""
        if self._reading is None:
            self._reading = self._read()
            self._keep(b"")
        return self._reading

    def _keep(self, body: bytes) -> None:
        self._chunks = [body]
        self._held = len(body) + CHUNK_OVERHEAD

    def _tail(self) -> bytes:
        """The last 64 KiB, or all if there is less."""
        tail: list[bytes] = []
        missing = _TAIL
        for chunk in reversed(self._chunks):
            tail.append(chunk)
            missing -= len(chunk)
            if missing <= 0:
                break
        return b"".join(reversed(tail))[-_TAIL:]

    def _read(self) -> Reading:
        usage = self._usage_at_end(self._tail()) if self._size > _SMALL else None
        answer = self._answer() if usage is None else None
        if answer is not None:
            usage = read_usage(answer.get("usage"), self._kind)
        if usage is not None:
            return Reading(usage, complete=True, text_bytes=0)
        if self._kind is Kind.EMBEDDINGS:
            return Reading(None, complete=False, text_bytes=0)
        return Reading(None, complete=False, text_bytes=self._size if answer is None else answer_bytes(answer))

    def _answer(self) -> dict[str, Any] | None:
        """The whole answer, None if it is not whole. Most cut ones can be told by their last byte, unparsed."""
        if self._size > _WHOLE_MAX:
            return None
        body = b"".join(self._chunks)
        answer = parse(body) if body.rstrip().endswith(b"}") else None
        return answer if isinstance(answer, dict) else None

    def _usage_at_end(self, body: bytes) -> Usage | None:
        """The usage of the outermost object, which is the one that the rest of the body closes."""
        end = len(body)
        for _ in range(_TRIES):
            end = body.rfind(b'"usage"', 0, end)
            if end < 0:
                return None
            usage = read_usage(_outermost(body[end:]).get("usage"), self._kind)
            if usage is not None:
                return usage
        return None


def _outermost(rest: bytes) -> dict[str, Any]:
    """The members from here on, if they are members of the outermost object: only then is `{` + the rest an object."""
    try:
        value = orjson.loads(b"{" + rest)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
