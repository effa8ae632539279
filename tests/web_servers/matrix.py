"""Clients that leave at every moment of a response, in every way; and what each of their requests has to cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ratelimit.web.routes import DialectName
from tests.web.stories import DIALECT_PATHS, INPUT, Story, ask, produced
from tests.web_servers.client import WAYS, Client, Way
from tests.web_servers.keeper import Keeper, Line
from tests.web_servers.links import GATE, STORY

__all__ = ("PATIENCE", "Case", "all_cases", "begin", "books", "headers_of", "play", "play_all")

PATIENCE = 60.0
"""Seconds that only a hang can take."""


@dataclass(frozen=True)
class Case:
    """One request: its client leaves after so many events; -1: before the head of the response."""

    name: str
    dialect: DialectName
    events: int
    way: Way

    @property
    def story(self) -> Story:
        """What it is told."""
        return Story(self.dialect)


def all_cases(prefix: str) -> Iterator[Case]:
    """Both dialects, every moment, every way."""
    dialects: tuple[DialectName, ...] = ("openai", "anthropic")
    for dialect, way in product(dialects, WAYS):
        for events in range(-1, len(Story(dialect).chunks) + 1):
            yield Case(f"{prefix}-{dialect}-{way}-{events}", dialect, events, way)


def headers_of(name: str, keeper: Keeper) -> dict[str, str]:
    """The headers of a request under its own key."""
    return {
        "Authorization": f"Bearer {name}",
        "Content-Type": "application/json",
        STORY: name,
        GATE: str(keeper.port),
    }


async def begin(port: int, keeper: Keeper, case: Case) -> tuple[Client, Line]:
    """Ask, and let the app go as far as this case wants; the client has received all of that."""
    client = await Client.connect(port)
    client.ask(DIALECT_PATHS[case.dialect], ask(), headers=headers_of(case.name, keeper))
    line = keeper.line(case.name)
    await line.opened.wait()
    line.allow(case.events + 1)
    if case.events > 0:
        await client.until(case.events)
    elif case.events == 0:  # the head itself comes with the first event under WSGI
        await line.began.wait()
    return client, line


async def play(port: int, keeper: Keeper, case: Case) -> int:
    """Play one case to the end of its app; the tokens that it has to cost."""
    client, line = await begin(port, keeper, case)
    if case.way == "half":  # the server may go on, so the app has to be let go first
        line.free()
        await client.leave(case.way)
    else:
        await client.leave(case.way)
        line.free()
    await line.over.wait()
    return INPUT + produced(b"".join(case.story.chunks)[: line.size])


async def play_all(port: int, cases: Sequence[Case], at_once: int) -> dict[str, list[int]]:
    """Play all cases, so many at a time; what each has to cost: requests and tokens."""
    turn = asyncio.Semaphore(at_once)

    async def one(case: Case) -> list[int]:
        async with turn:
            return [1, await play(port, keeper, case)]

    async with asyncio.timeout(PATIENCE), Keeper() as keeper:
        costs = await asyncio.gather(*map(one, cases))
    return {case.name: cost for case, cost in zip(cases, costs, strict=True)}


async def books(port: int) -> dict[str, Any]:
    """The books of a server, once nothing is under way any more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            client = await Client.connect(port)
            client.ask("/books", method="GET", headers={})
            _, _, body = (await client.rest()).partition(b"\r\n\r\n")
            await client.leave("close")
            report: dict[str, Any] = json.loads(body)
            if not report["under_way"]:
                return report
