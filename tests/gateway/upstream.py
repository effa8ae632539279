"""An upstream that does what a test says, byte by byte, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

__all__ = ("CHAT", "CHUNKED", "MESSAGES", "OK", "Peer", "Request", "Upstream", "upstream")

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Request:
    """A request as it arrived."""

    line: str
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that came once."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None


@dataclass
class Peer:
    """A connection, from the upstream's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read_request(self) -> Request | None:
        """The next request; None when the other side has closed."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None
        line, *rest = head.rstrip("\r\n").split("\r\n")
        pairs = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in rest)]
        fields = dict(pairs)
        if fields.get("transfer-encoding") == "chunked":
            body = await self._read_chunked()
        else:
            body = await self.reader.readexactly(int(fields.get("content-length", "0")))
        return Request(line, pairs, body)

    async def _read_chunked(self) -> bytes:
        parts = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        """Write now."""
        self.writer.write(data)

    def send_chunk(self, data: bytes) -> None:
        """Write one chunk of a chunked body; an empty one ends it."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def closed(self) -> None:
        """Wait until the other side has closed."""
        with contextlib.suppress(ConnectionResetError):
            assert await self.reader.read() == b""


Script = Callable[[Peer, Request], Awaitable[None]]


@dataclass
class Upstream:
    """A server that calls its script for each request, and keeps them."""

    script: Script
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        peer = Peer(reader, writer)
        try:
            while (request := await peer.read_request()) is not None:
                self.requests.append(request)
                await self.script(peer, request)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def upstream(script: Script | bytes = OK) -> AsyncIterator[Upstream]:
    """A running upstream. Bytes are what it answers every request with."""

    async def answer(peer: Peer, request: Request) -> None:
        assert isinstance(script, bytes)
        peer.send(script)

    made = Upstream(answer if isinstance(script, bytes) else script)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(made.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, AssertionError):
                raise result
