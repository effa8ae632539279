"""One client's connection through the proxy.

Three tasks share it. `_read_requests` splits what the client sends into commands and decides each one's fate;
`_forward` passes them on, in order, and waits at a held one; `_read_replies` pairs the server's replies with the
commands, first in first out, and delivers them. The link ends when the client has gone *and* all it sent has been
executed, or when the server has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from .faults import PASS, Action, Counters, FaultPlan, Kind, command_name
from .resp import Command, frame_end, parse_command

__all__ = ("Exchange", "Link", "Shared", "Stream")

# Long enough for a reader to wake up between two bytes of a sliced reply; more bytes at once would be no slicing.
_SLICE_PAUSE = 0.001

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False)
class Exchange:
    """A command and what becomes of it."""

    command: Command
    frame: bytes
    action: Action
    released: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The command's name."""
        return command_name(self.command)


@dataclass(eq=False)
class Shared:
    """What all links of a proxy share; touched in the proxy's thread, except for the plan."""

    plan: FaultPlan
    counters: Counters = field(default_factory=Counters)
    held: set[Exchange] = field(default_factory=set)


class Link:
    """The commands and replies between one client and the server."""

    def __init__(self, shared: Shared, client: Stream, server: Stream) -> None:
        """Connect the two streams; nothing flows before `run`."""
        self._shared = shared
        self._client_reader, self._client = client
        self._server_reader, self._server = server
        self._requests: asyncio.Queue[Exchange | None] = asyncio.Queue()
        self._open: list[Exchange] = []  # not answered yet
        self._forwarded: deque[Exchange] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._mute = False

    async def run(self) -> None:
        """Carry the traffic until either side has gone; raise only for a bug in here or in a rule."""
        reader, *others = [
            asyncio.create_task(job) for job in (self._read_requests(), self._forward(), self._read_replies())
        ]
        try:
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reader, *others):
                task.cancel()
            self._finish()  # before anything is awaited: the proxy may be closed, this task cancelled, at any time
            results = await asyncio.gather(reader, *others, return_exceptions=True)
            for writer in (self._client, self._server):
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    def _finish(self) -> None:
        for exchange in self._open:
            self._shared.held.discard(exchange)
            exchange.over.set()
        self._client.close()
        self._server.close()

    async def _read_requests(self) -> None:
        try:
            async for frame in _frames(self._client_reader):
                command = parse_command(frame)
                if command and not self._accept(command, frame):
                    return
        finally:
            self._requests.put_nowait(None)

    def _accept(self, command: Command, frame: bytes) -> bool:
        """Take a command in; False if that was the end of the connection."""
        self._shared.counters.seen[command_name(command)] += 1
        exchange = Exchange(command, frame, self._shared.plan.decide(command))
        if exchange.action.kind is Kind.RESET_BEFORE:
            _reset(self._client)
            return False
        if exchange.action.kind is Kind.HOLD_REQUEST:
            self._shared.held.add(exchange)
        self._open.append(exchange)
        self._requests.put_nowait(exchange)
        return True

    async def _forward(self) -> None:
        while (exchange := await self._requests.get()) is not None:
            if exchange.action.kind is Kind.HOLD_REQUEST:
                await exchange.released.wait()
                self._shared.held.discard(exchange)
            self._forwarded.append(exchange)
            self._idle.clear()
            self._shared.counters.forwarded[exchange.name] += 1
            self._server.write(exchange.frame)
            await self._server.drain()
        # Closing now could discard what the server has not read yet; what was sent is to be executed.
        await self._idle.wait()

    async def _read_replies(self) -> None:
        async for frame in _frames(self._server_reader):
            if frame.startswith(b">") or not self._forwarded:  # a push is nobody's reply
                await self._deliver(PASS, frame)
                continue
            exchange = self._forwarded.popleft()
            self._shared.counters.executed[exchange.name] += 1
            if not await self._deliver(exchange.action, frame):
                self._shared.counters.dropped[exchange.name] += 1
            self._open.remove(exchange)
            exchange.over.set()
            if not self._forwarded:
                self._idle.set()

    async def _deliver(self, action: Action, frame: bytes) -> bool:
        """Pass a reply on the way that *action* says; False if it was withheld."""
        if action.kind is Kind.RESET_AFTER and not self._mute:
            _reset(self._client)
        self._mute |= action.kind in (Kind.DROP_REPLY, Kind.RESET_AFTER)
        if self._mute:
            return False
        if action.kind is Kind.DELAY:
            await asyncio.sleep(action.seconds)
        if action.kind is Kind.SLICE:
            for byte in frame:
                await self._send(bytes((byte,)))
                await asyncio.sleep(_SLICE_PAUSE)
        else:
            await self._send(frame)
        return True

    async def _send(self, data: bytes) -> None:
        # A client that left without waiting is no error: the replies still have to be read and counted.
        if not self._client.is_closing():
            with contextlib.suppress(OSError):
                self._client.write(data)
                await self._client.drain()


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Split a stream into complete frames (see `frame_end`)."""
    buffer = bytearray()
    while data := await reader.read(65_536):
        buffer += data
        while end := frame_end(buffer):
            yield bytes(buffer[:end])
            del buffer[:end]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST rather than FIN: what a crashed peer or a firewall does."""
    with contextlib.suppress(OSError):
        linger_for_nothing = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_nothing)
    writer.transport.abort()
