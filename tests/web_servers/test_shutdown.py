"""SIGTERM in the middle of streams, on Redis: what was under way is settled before the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ratelimit import Limiter
from tests.servers import RedisServer
from tests.web.backends import LEDGER
from tests.web.stories import INPUT, produced
from tests.web_servers.keeper import Keeper
from tests.web_servers.matrix import PATIENCE, Case, begin
from tests.web_servers.processes import WebServer

SLOW = pytest.mark.slow
GRACEFUL = [
    ("uvicorn-h11", "starlette"),
    ("uvicorn-httptools", "django"),
    pytest.param("hypercorn", "fastapi", marks=SLOW),
    pytest.param("hypercorn", "django", marks=SLOW),
    ("granian", "starlette"),
    ("gunicorn-gthread", "flask"),
]
"""Servers that let streams end for a while. Django has no lifespan; the middleware has one in its place."""
CANCELLING = [
    ("uvicorn-httptools", "starlette"),
    pytest.param("uvicorn-h11", "bare", marks=SLOW),
    pytest.param("uvicorn-h11", "django", marks=SLOW),
    pytest.param("hypercorn", "fastapi", marks=SLOW),
]
"""Servers that cancel what does not end, and then tell the app that the end has come."""
KILLED = [
    ("waitress", "flask"),
    pytest.param("granian", "starlette", marks=SLOW),
    pytest.param("gunicorn-gthread", "flask", marks=SLOW),
]
"""Servers that end with requests in them, and their processes with them."""


async def stop_in_the_middle(running: WebServer, cases: list[Case], ends: Callable[[int], bool]) -> dict[str, int]:
    """Stop a server while all of these are under way, and let those that `ends` names go on. What they have to cost."""
    async with asyncio.timeout(PATIENCE), Keeper() as keeper:
        under_way = [await begin(running.port, keeper, case) for case in cases]
        await asyncio.to_thread(running.terminate)
        for index, (_, line) in enumerate(under_way):
            if ends(index):
                line.free()
        for _, line in under_way:
            await line.over.wait()
        output = await asyncio.to_thread(running.wait)
        assert "settlement" not in output
        for client, _ in under_way:
            await client.leave("close")
        streams = [b"".join(case.story.chunks)[: line.size] for case, (_, line) in zip(cases, under_way, strict=True)]
    return {case.name: INPUT + produced(stream) for case, stream in zip(cases, streams, strict=True)}


def stopped(
    redis: RedisServer, server: str, app: str, ends: Callable[[int], bool]
) -> tuple[dict[str, int], dict[str, int]]:
    """What the requests have cost, and what they have to cost."""
    cases = [Case(f"{server}-{app}-{ends(0)}-{events}", "openai", events, "close") for events in range(1, 8)]
    with WebServer(server, app, redis.url) as running:
        expected = asyncio.run(stop_in_the_middle(running, cases, ends))
    used = {}
    with Limiter.from_url(redis.url) as limiter:
        for case in cases:
            requests, tokens = limiter.peek(case.name, plan=LEDGER)
            assert requests.burst - requests.remaining == 1
            used[case.name] = tokens.burst - tokens.remaining
    return used, expected


@pytest.mark.parametrize(("server", "app"), GRACEFUL)
def test_what_ends_in_time_is_settled(redis: RedisServer, server: str, app: str) -> None:
    """Exactly, though the settlements begin when the server is about to end."""
    used, expected = stopped(redis, server, app, lambda _: True)
    assert used == expected


@pytest.mark.parametrize(("server", "app"), CANCELLING)
def test_what_is_cancelled_at_the_end_is_settled(redis: RedisServer, server: str, app: str) -> None:
    """Exactly, at what was produced until then."""
    used, expected = stopped(redis, server, app, lambda index: index % 2 == 1)
    assert used == expected


@pytest.mark.parametrize(("server", "app"), KILLED)
def test_what_dies_with_its_process_keeps_its_estimate(redis: RedisServer, server: str, app: str) -> None:
    """And no more: there is nobody left who could settle it."""
    used, expected = stopped(redis, server, app, lambda _: False)
    assert all(used[name] in (expected[name], INPUT + 1_024) for name in expected)
