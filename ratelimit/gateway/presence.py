"""Ends the work for a client that has gone away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

from starlette.types import Message, Receive

__all__ = ("Presence",)


class Presence:
    """A block that ends when its client disconnects: whatever it awaits is cancelled, and it is left quietly.

    Only the block is cancelled, not its task, as with `asyncio.timeout`, which does the work: a client that has gone
    is a deadline that is now.

    There is one reader of `receive` at a time: the body that `take` returns, and once that is complete, a task.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._deadline = asyncio.timeout(None)
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False
        """True after the block, if it was ended here."""

    async def __aenter__(self) -> Presence:
        await self._deadline.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._watcher is not None:
            self._watcher.cancel()
        try:
            await self._deadline.__aexit__(kind, error, trace)
        except TimeoutError:
            self.gone = True
        else:
            # What the departure broke on the way out, in place of a plain cancellation, is of no interest either.
            self.gone = self._deadline.expired() and not isinstance(error, asyncio.CancelledError)
        return self.gone

    def take(self, first: Message) -> bytes | AsyncIterator[bytes]:
        """The body of the request, whose first message has been received: whole, or in parts as they arrive."""
        if first.get("more_body", False):
            return self._parts(first)
        self._watch()
        body: bytes = first.get("body", b"")
        return body

    async def _parts(self, message: Message) -> AsyncIterator[bytes]:
        while message["type"] == "http.request":
            if chunk := message.get("body", b""):
                yield chunk
            if not message.get("more_body", False):
                self._watch()
                return
            message = await self._receive()
        self._end()
        # Half a body must not end like a whole one: stay here until the block's end comes around.
        await asyncio.get_running_loop().create_future()

    def _watch(self) -> None:
        self._watcher = asyncio.ensure_future(self._look_out())

    async def _look_out(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end()

    def _end(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time())
