"""The test's end of the links: it allows steps, and counts what the apps have handed over."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

__all__ = ("Keeper", "Line")

_WHILE: Final = 0.1
"""Seconds. Nothing depends on it but how often an app is met while it waits."""


class Line:
    """What is known of one request."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.over = asyncio.Event()
        self.closed = asyncio.Event()
        self.began = asyncio.Event()
        """The head of the response was handed over."""
        self.size = 0
        """Bytes of body handed over."""
        self.free_at_once = False
        """The app runs to its end without asking."""
        self._writer: asyncio.StreamWriter

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the app has ended, or its process."""
        self._writer = writer
        self.opened.set()
        if self.free_at_once:
            self.free()
        try:
            while line := await reader.readline():
                self.began.set()
                self.size += int(line)
        except ConnectionResetError:
            pass  # the process was killed: what it wrote before has been read
        finally:
            self.over.set()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.closed.set()

    async def stalled(self) -> None:
        """Wait until the app has ended, or has not handed anything over for a while: it waits for its client."""
        size = -1
        while size != self.size and not self.over.is_set():
            size = self.size
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), _WHILE)

    def allow(self, steps: int) -> None:
        """Let the app make so many steps."""
        self._writer.write(b"." * steps)

    def free(self) -> None:
        """Let the app run to its end."""
        if not self._writer.is_closing():
            self._writer.write_eof()


class Keeper:
    """Listens for the links of all requests of a test."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._server: asyncio.Server
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1_000)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for line in self._lines.values():
            if error is None and line.opened.is_set():
                await line.closed.wait()

    def line(self, name: str) -> Line:
        """The line of the request of this name."""
        return self._lines.setdefault(name, Line())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        await self.line(name).serve(reader, writer)
