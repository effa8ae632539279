"""How an app under test asks whether it may go on, and tells what it hands over: a connection to the test per request.

The test sends a byte for each step that is allowed, and closes its side to allow all that come. The app writes how many
bytes of body it has handed over, before they go to the server: an empty line's worth for the head.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol, Self

__all__ = ("GATE", "LINKS", "STORY", "AsyncLink", "AsyncPermits", "BlockingLink", "Permits")

GATE: Final = "x-gate"
"""Header with the port on which the test listens."""
STORY: Final = "x-story"
"""Header with the name of the request."""


class AsyncPermits(Protocol):
    """What a framework's app needs of a link."""

    async def permission(self) -> None:
        """Wait until the next step is allowed."""


class Permits(Protocol):
    """The same for threads."""

    def permission(self) -> None:
        """Wait until the next step is allowed."""


LINKS: dict[str, AsyncPermits | Permits] = {}
"""The links of the requests that are being served in this process, by name."""


class AsyncLink:
    """A link of a request under asyncio."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, name: str) -> Self:
        """Connect to the test."""
        link = cls(*await asyncio.open_connection("127.0.0.1", port))
        link._writer.write(f"{name}\n".encode())
        return link

    async def permission(self) -> None:
        """Wait until the next step is allowed."""
        await self._reader.read(1)

    def handed(self, size: int) -> None:
        """Tell that so many bytes are on their way. Written at once: what follows may end the process."""
        self._writer.write(b"%d\n" % size)

    def close(self) -> None:
        """Tell that the app has ended."""
        self._writer.close()


class BlockingLink:
    """A link of a request under threads."""

    def __init__(self, port: int, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(f"{name}\n".encode())

    def permission(self) -> None:
        """Wait until the next step is allowed."""
        self._socket.recv(1)

    def handed(self, size: int) -> None:
        """Tell that so many bytes are on their way."""
        self._socket.sendall(b"%d\n" % size)

    def close(self) -> None:
        """Tell that the app has ended."""
        self._socket.close()
