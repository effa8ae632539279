"""Over HTTP/2: streams that are reset, and connections that go with several streams on them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Self

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived

from tests.web.stories import INPUT, ask, produced
from tests.web_servers.keeper import Keeper, Line
from tests.web_servers.matrix import PATIENCE, Case, books, headers_of
from tests.web_servers.processes import WebServer

PAIRS = [("hypercorn", "starlette"), ("hypercorn", "quart"), ("granian", "fastapi")]


class H2Client:
    """One connection, by prior knowledge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h2 = H2Connection(H2Configuration(client_side=True))
        self._received: dict[int, bytes] = defaultdict(bytes)

    @classmethod
    async def connect(cls, port: int) -> Self:
        """To a server on this machine."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client._h2.initiate_connection()
        return client

    def ask(self, case: Case, keeper: Keeper) -> int:
        """Send a request; the number of its stream."""
        stream = self._h2.get_next_available_stream_id()
        pseudo = {":method": "POST", ":path": case.story.path, ":scheme": "http", ":authority": "api.example"}
        headers = {name.lower(): value for name, value in headers_of(case.name, keeper).items()}
        self._h2.send_headers(stream, [*pseudo.items(), *headers.items()])
        self._h2.send_data(stream, ask(), end_stream=True)
        self._flush()
        return stream

    async def until(self, stream: int, events: int) -> None:
        """Read until so many events have come on a stream."""
        while self._received[stream].count(b"\n\n") < events:
            data = await self._reader.read(65_536)
            assert data
            for event in self._h2.receive_data(data):
                if isinstance(event, DataReceived):
                    self._received[event.stream_id] += event.data
            self._flush()

    def reset(self, stream: int) -> None:
        """Cancel one stream."""
        self._h2.reset_stream(stream, ErrorCodes.CANCEL)
        self._flush()

    async def leave(self) -> None:
        """Go, with whatever is under way."""
        self._writer.transport.abort()
        await self._writer.wait_closed()

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())


def cases_of(prefix: str) -> list[Case]:
    """One for each moment before the end."""
    return [Case(f"{prefix}-{events}", "openai", events, "reset") for events in range(-1, 8)]


async def begin(client: H2Client, keeper: Keeper, case: Case) -> tuple[int, Line]:
    """Ask, and let the app go as far as this case wants; the client has received all of that."""
    stream = client.ask(case, keeper)
    line = keeper.line(case.name)
    await line.opened.wait()
    line.allow(case.events + 1)
    await client.until(stream, case.events)
    return stream, line


async def end(case: Case, line: Line) -> list[int]:
    """Let an app end; what its request has to cost."""
    line.free()
    await line.over.wait()
    return [1, INPUT + produced(b"".join(case.story.chunks)[: line.size])]


async def reset_streams(port: int) -> dict[str, list[int]]:
    """Streams one after another on one connection, and then all of them at once on another."""
    expected = {}
    async with asyncio.timeout(PATIENCE), Keeper() as keeper:
        client = await H2Client.connect(port)
        for case in cases_of("reset"):
            stream, line = await begin(client, keeper, case)
            client.reset(stream)
            expected[case.name] = await end(case, line)
        await client.leave()
        client = await H2Client.connect(port)
        lines = [(case, (await begin(client, keeper, case))[1]) for case in cases_of("gone")]
        await client.leave()
        for case, line in lines:
            expected[case.name] = await end(case, line)
    return expected


@pytest.mark.parametrize(
    ("server", "app"), [("hypercorn", "starlette"), ("hypercorn", "quart"), ("granian", "fastapi")]
)
def test_streams_that_are_reset_cost_what_was_produced(server: str, app: str) -> None:
    """Each for itself, also when their connection goes."""
    with WebServer(server, app, "network") as running:
        expected = asyncio.run(reset_streams(running.port))
        report = asyncio.run(books(running.port))
    assert report["used"] == expected
    assert report["unsettled"] == 0
