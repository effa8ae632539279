"""Promises of `ratelimit.gateway.health`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ratelimit import AsyncLimiter
from ratelimit.gateway.health import HealthCheck
from tests.conftest import Servers
from tests.gateway.access import refusing
from tests.gateway.asgi import ask
from tests.gateway.loops import in_loop


@contextlib.asynccontextmanager
async def deaf() -> AsyncIterator[tuple[str, list[int]]]:
    """A Redis that accepts connections and never says a word; its URL, and an item per connection."""
    connections: list[int] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


@in_loop
async def test_memory_is_well() -> None:
    """200 and "ok", without a key; nothing is charged or kept."""
    limiter = AsyncLimiter.from_url("memory://")
    call = await ask(HealthCheck(refusing, limiter), "GET", "/healthz")
    assert (call.status, call.json) == (200, {"status": "ok", "backend": {"kind": "memory", "decides": True}})
    assert call.header(b"cache-control") == b"no-store"


def test_redis_is_well(servers: Servers) -> None:
    """So is a Redis that answers."""
    url = f"redis://127.0.0.1:{servers.plain().port}"

    @in_loop
    async def check() -> None:
        async with AsyncLimiter.from_url(url, prefix="health") as limiter:
            call = await ask(HealthCheck(refusing, limiter), "GET", "/healthz")
        assert (call.status, call.json) == (200, {"status": "ok", "backend": {"kind": "redis", "decides": True}})

    check()


@pytest.mark.parametrize(("fail", "status", "said"), [("closed", 503, "unavailable"), ("open", 200, "degraded")])
@in_loop
async def test_a_backend_that_is_silent_is_told_truthfully(fail: Any, status: int, said: str) -> None:
    """Within the deadline. Where requests still pass the gateway stays in service, and says what it cannot do."""
    async with deaf() as (url, _), AsyncLimiter.from_url(url) as limiter:
        call = await ask(HealthCheck(refusing, limiter, fail=fail, deadline=0.05), "GET", "/healthz")
    assert (call.status, call.json["status"], call.json["backend"]["decides"]) == (status, said, False)


@in_loop
async def test_many_checks_are_one_look_at_the_backend() -> None:
    """At the same time, and for as long as the last answer is fresh; then it is asked again."""
    now = 0.0
    async with deaf() as (url, connections), AsyncLimiter.from_url(url) as limiter:
        app = HealthCheck(refusing, limiter, deadline=0.05, fresh=10.0, clock=lambda: now)
        await asyncio.gather(*(ask(app, "GET", "/healthz") for _ in range(20)))
        await ask(app, "GET", "/healthz")
        asked = len(connections)
        now = 10.0
        await ask(app, "GET", "/healthz")
        assert len(connections) == 2 * asked > 0


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/healthz"), ("GET", "/healthz/"), ("GET", "/healthz/x"), ("GET", "/v1/models")]
)
@in_loop
async def test_everything_else_is_not_its_business(method: str, target: str) -> None:
    """It opens no way around the limits."""
    call = await ask(HealthCheck(refusing, AsyncLimiter.from_url("memory://")), method, target)
    assert call.status == 401


@in_loop
async def test_head_is_answered_too() -> None:
    """Some load balancers ask so."""
    assert (await ask(HealthCheck(refusing, AsyncLimiter.from_url("memory://")), "HEAD", "/healthz")).status == 200
