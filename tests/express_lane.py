"""The express lane to Redis, driven by the public face of asyncio under a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from ratelimit import AsyncLimiter, AsyncReservation, Plan, Retention, RetryPolicy
from ratelimit.backends.connect import async_executor
from ratelimit.backends.redis_asyncio import AsyncRedisBackend
from ratelimit.express_redis import RedisLaneReservation
from tests.servers import RedisServer

__all__ = (
    "PATIENT",
    "PLAN",
    "START_US",
    "Clock",
    "acquire",
    "evalsha",
    "express_limiter",
    "pair",
    "run",
    "spin",
    "taken",
    "together",
)

START_US = 1_700_000_000_000_000
PLAN = Plan("Pro", rpm=60, tpm=600_000)
"""Served by the lane: one unit drains in a microsecond, a request costs 1,000,000 of them and a token 100."""
PATIENT = RetryPolicy(timeout=5.0, deadline=20.0)


class Clock:
    """Microseconds; stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = START_US

    def __call__(self) -> int:
        return self.now


@asynccontextmanager
async def express_limiter(
    url: str,
    *,
    policy: RetryPolicy = PATIENT,
    clock: Clock | None = None,
    retention: Retention | None = None,
    coalesce: bool = True,
    connections: int = 8,
) -> AsyncIterator[AsyncLimiter]:
    """A limiter whose scripts take the time from `clock` (default: one that stands still)."""
    backend = AsyncRedisBackend(
        async_executor(url, policy, connections),
        policy=policy,
        retention=retention,
        virtual_clock=clock or Clock(),
        coalesce=coalesce,
    )
    async with AsyncLimiter(backend) as limiter:
        yield limiter


async def acquire(
    limiter: AsyncLimiter, subject: str, tokens: int = 70, plan: Plan = PLAN, **more: Any
) -> AsyncReservation:
    """An acquire as a coroutine that a task can run."""
    return await limiter.acquire(subject, plan=plan, tokens=tokens, **more)


async def together(*jobs: Coroutine[Any, Any, Any]) -> list[Any]:
    """Results or errors of jobs that begin in the same tick."""
    return await asyncio.gather(*jobs, return_exceptions=True)


async def taken(limiter: AsyncLimiter, subject: str, plan: Plan = PLAN) -> dict[str, int]:
    """What of each meter's bucket is taken."""
    return {one.meter: one.burst - one.remaining for one in await limiter.peek(subject, plan=plan)}


def evalsha(server: RedisServer) -> int:
    """EVALSHA so far."""
    stats = server.info("commandstats").get("cmdstat_evalsha")
    return int(stats.split("calls=")[1].split(",")[0]) if stats else 0


def run(url: str, work: Callable[[AsyncLimiter], Coroutine[Any, Any, None]], **options: Any) -> None:
    """`work` with a limiter, in a loop of its own."""

    async def inside() -> None:
        async with express_limiter(url, **options) as limiter:
            await work(limiter)

    asyncio.run(inside())


async def pair(limiter: AsyncLimiter, tokens: int = 70, plan: Plan = PLAN) -> list[AsyncReservation]:
    """Two reservations of alice, which come by the lane because they are two."""
    held: list[AsyncReservation] = await together(acquire(limiter, "alice", tokens, plan), acquire(limiter, "alice", 0))
    assert all(type(each) is RedisLaneReservation for each in held)
    return held


async def spin() -> None:
    """Let everything happen that can without an answer."""
    for _ in range(20):
        await asyncio.sleep(0)
