"""Ten thousand disconnects: no reservation stays open, and the sum settled is the sum that was produced."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from ratelimit.web.routes import DialectName
from tests.web.backends import used
from tests.web.stories import DIALECT_PATHS, INPUT, Story, ask, produced
from tests.web_servers.client import WAYS, Client
from tests.web_servers.desk import asgi_desk
from tests.web_servers.frameworks import ASGI_APPS
from tests.web_servers.here import LocalLink, serving
from tests.web_servers.links import GATE, LINKS, STORY

TENANTS = 20
BASE = 4_000_000
"""Tokens that every tenant has used before, so that what is given back is never bounded by what is there."""
COMBINATIONS = list(product(("h11", "httptools"), ("bare", "starlette", "fastapi", "quart")))
DIALECTS: tuple[DialectName, ...] = ("openai", "anthropic")


async def leave_once(port: int, name: str, rng: random.Random) -> int:
    """One request whose client leaves at a random moment in a random way; the tokens that it has to cost."""
    story = Story(rng.choice(DIALECTS))
    events = rng.randint(-1, len(story.chunks))
    way = rng.choice(WAYS)
    link = LINKS[name] = LocalLink()
    client = await Client.connect(port)
    headers = {"Authorization": f"Bearer tenant-{rng.randrange(TENANTS)}", STORY: name, GATE: "0"}
    client.ask(DIALECT_PATHS[story.dialect], ask(), headers={**headers, "Content-Type": "application/json"})
    link.allow(events + 1)
    if events >= 0:
        await client.until(events)
    else:
        await asyncio.sleep(0)
    if way == "half" or rng.random() < 0.3:  # before the server can have noticed, or after
        link.free()
        await client.leave(way)
    else:
        await client.leave(way)
        link.free()
    await link.over.wait()
    return INPUT + produced(b"".join(story.chunks)[: link.size])


async def leave_often(http: str, app: str, backend: str, count: int, seed: int) -> None:
    """So many disconnects against one server, and the books afterwards."""
    desk = asgi_desk(ASGI_APPS[app](), backend)
    limiter: Any = desk.middleware._limiter
    for tenant in range(TENANTS):
        await limiter.acquire(f"tenant-{tenant}", plan=desk.customers.plan, requests=0, tokens=BASE)
    desk.books.charges.clear()
    rng = random.Random(seed)
    turn = asyncio.Semaphore(64)

    async def one(index: int) -> int:
        async with turn:
            return await leave_once(port, f"{index}", random.Random(rng.random()))

    async with asyncio.timeout(240), serving(desk, http) as port:
        costs: Sequence[int] = await asyncio.gather(*map(one, range(count)))
    if backend != "express":
        assert Counter(settled["tokens"] for settled in desk.books.settled) == Counter(costs)
    assert desk.memory is not None
    assert used(desk.memory) == {"requests": count, "tokens": TENANTS * BASE + sum(costs)}
    assert len(desk.middleware.settler) == 0
    assert not LINKS


@pytest.mark.parametrize(("http", "app"), COMBINATIONS)
@pytest.mark.parametrize("backend", ["memory", "express", "network"])
def test_some_disconnects_leave_exact_books(http: str, app: str, backend: str) -> None:
    """A sample of the ten thousand."""
    asyncio.run(leave_often(http, app, backend, 20, seed=1))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("http", "app"), COMBINATIONS)
def test_ten_thousand_disconnects_leave_exact_books(http: str, app: str) -> None:
    """1,250 with each of the eight pairs of parser and framework, half of them on a backend beyond a network."""
    asyncio.run(leave_often(http, app, "memory", 300, seed=2))
    asyncio.run(leave_often(http, app, "express", 325, seed=3))
    asyncio.run(leave_often(http, app, "network", 625, seed=4))
