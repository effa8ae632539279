"""Clients that leave while the requests of earlier ones are still being settled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.web.backends import LEDGER, used
from tests.web.stories import DIALECT_PATHS, INPUT, Story, ask
from tests.web_servers.client import Client
from tests.web_servers.desk import asgi_desk
from tests.web_servers.frameworks import ASGI_APPS
from tests.web_servers.here import LocalLink, serving
from tests.web_servers.links import GATE, LINKS, STORY

COUNT = 40
STREAM = Story("openai")


async def leave_after_two_events(port: int, name: str) -> None:
    """One request of the one tenant."""
    link = LINKS[name] = LocalLink()
    client = await Client.connect(port)
    headers = {"Authorization": "Bearer tenant", STORY: name, GATE: "0", "Content-Type": "application/json"}
    client.ask(DIALECT_PATHS["openai"], ask(), headers=headers)
    link.allow(3)
    await client.until(2)
    await client.leave("reset")
    link.free()
    await link.over.wait()


@pytest.mark.parametrize("app", ["bare", "starlette", "fastapi", "quart"])
def test_a_settlement_that_takes_long_holds_up_nobody(app: str) -> None:
    """Requests come, are cut and end while no settlement gets through; then each of them does, exactly once."""

    async def leave_again_and_again() -> None:
        desk = asgi_desk(ASGI_APPS[app](), "network")
        limiter: Any = desk.middleware._limiter
        backend = limiter._backend
        await limiter.acquire("tenant", plan=LEDGER, requests=0, tokens=1_000_000)
        desk.books.charges.clear()
        backend.hold("settle")
        async with asyncio.timeout(60), serving(desk, "httptools") as port:
            for index in range(COUNT):
                await leave_after_two_events(port, str(index))
            assert len(desk.middleware.settler) == COUNT
            backend.release("settle")
            await desk.middleware.settler.drain()
        assert desk.memory is not None
        assert len(desk.books.settled) == COUNT
        total = sum(settled["tokens"] for settled in desk.books.settled)
        assert used(desk.memory) == {"requests": COUNT, "tokens": 1_000_000 + total}
        first = INPUT + len(STREAM.texts[0])
        assert all(first <= settled["tokens"] <= INPUT + STREAM.tokens for settled in desk.books.settled)

    asyncio.run(leave_again_and_again())
