"""How the mock sends streams, and how fast it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import orjson
from starlette.responses import Response, StreamingResponse

__all__ = ("DONE", "Pace", "data", "event", "interleave", "json_response", "stream_response")

DONE: Final = b"data: [DONE]\n\n"
_BREATHE_EVERY: Final = 32

Piece = TypeVar("Piece")


def data(document: Any) -> bytes:
    """An event without a name, as OpenAI's chat sends it."""
    return b"data: %b\n\n" % orjson.dumps(document)


def event(document: dict[str, Any]) -> bytes:
    """An event named by its type, as Anthropic and OpenAI's responses send it."""
    return b"event: %b\ndata: %b\n\n" % (document["type"].encode(), orjson.dumps(document))


def json_response(document: Any) -> Response:
    """A whole answer."""
    return Response(orjson.dumps(document), media_type="application/json")


def stream_response(events: AsyncIterator[bytes]) -> Response:
    """A stream of events."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})


class Pace:
    """How fast tokens come. By default as fast as they are taken.

    Args:
        tokens_per_second: of one request; 0 for no wait between tokens.
        first_token: seconds until the first one.
        sleep: waits for so many seconds.
        clock: seconds, only forwards.
    """

    def __init__(
        self,
        tokens_per_second: float = 0.0,
        first_token: float = 0.0,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._between = 1 / tokens_per_second if tokens_per_second else 0.0
        self._first = first_token
        self._sleep = sleep
        self._clock = clock

    async def whole(self, tokens: int) -> None:
        """Wait as long as an answer of so many tokens takes."""
        seconds = self._first + self._between * max(0, tokens - 1)
        if seconds:
            await self._sleep(seconds)

    async def drip(self, pieces: Iterable[Piece]) -> AsyncIterator[Piece]:
        """Yield the pieces when they are due: by a schedule, so that slow readers do not slow it down further."""
        due = self._clock() + self._first
        for number, piece in enumerate(pieces):
            late = self._clock() - due if self._between or self._first else 0.0
            if late < 0:
                await self._sleep(-late)
            elif number % _BREATHE_EVERY == 0:
                await self._sleep(0)  # a long answer must not keep the others from being served
            due += self._between
            yield piece


def interleave(streams: Iterable[Iterator[str]]) -> Iterator[tuple[int, str]]:
    """The next piece of each stream in turn, with the stream's index, until all have ended."""
    open_streams = list(enumerate(streams))
    while open_streams:
        left = []
        for index, stream in open_streams:
            piece = next(stream, None)
            if piece is not None:
                left.append((index, stream))
                yield index, piece
        open_streams = left
