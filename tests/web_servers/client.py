"""A client on a raw socket, that can leave at any moment in any way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Literal, Self, get_args

__all__ = ("WAYS", "Client", "Way")

Way = Literal["reset", "close", "half"]
"""By RST, by FIN, or by FIN on the sending side only."""
WAYS: Final[tuple[Way, ...]] = get_args(Way)

_LINGER_NOT: Final = struct.pack("ii", 1, 0)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = b""

    @classmethod
    async def connect(cls, port: int) -> Self:
        """To a server on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def ask(
        self,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str],
        send: int | None = None,
        chunk: int | None = None,
    ) -> None:
        """Send a request; of its body only so many bytes, or in chunks of so many bytes, if told."""
        length = f"Content-Length: {len(body)}" if chunk is None else "Transfer-Encoding: chunked"
        if chunk is not None:
            parts = [body[start : start + chunk] for start in range(0, len(body), chunk)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
        lines = [f"{method} {path} HTTP/1.1", "Host: api.example", length]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body[:send])

    async def sent(self) -> None:
        """Wait until what was asked has left."""
        await self._writer.drain()

    def pause(self) -> None:
        """Take nothing more from the socket."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        if transport.is_reading():
            transport.pause_reading()

    async def until(self, events: int) -> None:
        """Read until so many events of the stream have come; with 0, until the head has."""
        while b"\r\n\r\n" not in self.received or self.received.count(b"\n\n") < events:
            if not await self._more():
                raise ConnectionError(f"closed after {self.received!r}")

    async def rest(self) -> bytes:
        """Read until the server closes, or the response is at its end; all that was received."""
        while not self._ended() and await self._more():
            pass
        return self.received

    async def to_the_end(self) -> bytes:
        """Read until the server closes; all that was received."""
        while await self._more():
            pass
        return self.received

    async def skipped(self) -> int:
        """Read until the server closes, and keep nothing; how much it was."""
        size = 0
        while data := await self._reader.read(1_000_000):
            size += len(data)
        return size

    async def leave(self, way: Way) -> None:
        """Go away."""
        if way == "half":
            self._writer.write_eof()
            await self.rest()
        if way == "reset":
            connection = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self._writer.transport.abort()
        else:
            self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _more(self) -> bool:
        try:
            data = await self._reader.read(65_536)
        except ConnectionResetError:
            return False
        self.received += data
        return bool(data)

    def _ended(self) -> bool:
        head, _, body = self.received.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            return body.endswith(b"0\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(body) >= int(line[15:])
        return False
