"""Clients that do not read, and clients that do not send to the end, on every server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.web.stories import DIALECT_PATHS, INPUT, ask, produced
from tests.web_servers.client import Client, Way
from tests.web_servers.frameworks import LONG_PATH, story_at
from tests.web_servers.keeper import Keeper
from tests.web_servers.matrix import PATIENCE, books, headers_of
from tests.web_servers.processes import QUICK, WebServer

WAYS: tuple[Way, ...] = ("reset", "close")


async def stop_reading(port: int, keeper: Keeper, name: str, events: int, way: Way) -> int:
    """Let an app fill all buffers, and go; the tokens that it has to cost."""
    client = await Client.connect(port)
    client.ask(LONG_PATH, ask(max_tokens=10**8), headers=headers_of(name, keeper))
    line = keeper.line(name)
    await line.opened.wait()
    line.allow(events + 1)
    await client.until(events)
    client.pause()
    line.free()
    await line.stalled()
    await client.leave(way)
    await line.over.wait()
    return INPUT + produced(b"".join(story_at(LONG_PATH).chunks)[: line.size])


async def stop_reading_often(port: int) -> dict[str, list[int]]:
    """At several moments, in both ways, one after another."""
    async with asyncio.timeout(PATIENCE), Keeper() as keeper:
        return {
            f"{way}-{events}": [1, await stop_reading(port, keeper, f"{way}-{events}", events, way)]
            for events in (1, 2, 5)
            for way in WAYS
        }


@pytest.mark.parametrize(("server", "app"), sorted(QUICK))
def test_a_client_that_goes_while_the_app_waits_for_it_costs_what_was_produced(server: str, app: str) -> None:
    """The app is stuck in a send, or has handed over more than the client will ever see."""
    with WebServer(server, app, "memory") as running:
        expected = asyncio.run(stop_reading_often(running.port))
        report = asyncio.run(books(running.port))
    assert report["used"] == expected
    assert report["unsettled"] == 0


async def send_half(port: int, keeper: Keeper, name: str, way: Way) -> None:
    """Announce a body, and go before its end."""
    client = await Client.connect(port)
    body = ask()
    client.ask(DIALECT_PATHS["openai"], body, headers=headers_of(name, keeper), send=len(body) // 2)
    await client.sent()
    await client.leave(way)


async def send_halves(port: int) -> dict[str, Any]:
    """Several of them, and requests that are sent to their end: of a known length, and in chunks."""
    async with asyncio.timeout(PATIENCE), Keeper() as keeper:
        for way in WAYS:
            for index in range(5):
                await send_half(port, keeper, f"{way}-{index}", way)
        for name, chunk in (("whole", None), ("chunked", 20)):
            keeper.line(name).free_at_once = True
            client = await Client.connect(port)
            headers = {**headers_of(name, keeper), "Connection": "close"}
            client.ask(DIALECT_PATHS["openai"], ask(), headers=headers, chunk=chunk)
            assert b" 200 " in await client.to_the_end()
            await client.leave("close")
    return await books(port)


@pytest.mark.parametrize(("server", "app"), sorted(QUICK))
def test_a_request_that_never_came_whole_costs_nothing(server: str, app: str) -> None:
    """Nor does it stop the server from serving others."""
    with WebServer(server, app, "memory") as running:
        report = asyncio.run(send_halves(running.port))
    used = report["used"]
    whole = [1, INPUT + story_at(DIALECT_PATHS["openai"]).tokens]
    assert (used.pop("whole"), used.pop("chunked")) == (whole, whole)
    assert all(cost == [0, 0] for cost in used.values())
    assert report["unsettled"] == 0
