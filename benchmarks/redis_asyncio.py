"""Contestants of asyncio, on Redis and in memory, and cases of them: one caller, and a hundred tasks at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import redis.asyncio
import throttled.asyncio
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from benchmarks.interleave import Case
from benchmarks.peers import CONNECTIONS, aiolimiter_decide, pyrate_decide, throttled_decide, throttled_store
from benchmarks.plans import ESTIMATE, FULL, LIVE, PLANS, REAL, REQUESTS, TOKENS, names
from benchmarks.redis_sync import BARE_ARGUMENTS, BARE_TEXT, PATIENT, prepare
from benchmarks.worker import Decide, take_turns
from ratelimit import AsyncLimiter, RateLimited

__all__ = ("TASKS", "asyncio_cases", "asyncio_contestants")

TASKS = ", 100 tasks"
"""What the names of concurrent cases end in."""


async def asyncio_contestants(url: str, stack: AsyncExitStack) -> dict[str, Decide]:
    """Everyone who can decide at this URL, `memory://` or a Redis with busy subjects. A contestant more is a line."""
    limiter = await stack.enter_async_context(AsyncLimiter.from_url(url, plans=PLANS, policy=PATIENT))
    ours = {"acquire": _acquire(limiter), "acquire + settle": _pair(limiter), "peek": _peek(limiter)}
    if url.startswith("memory"):
        return {**ours, **_in_memory()}
    return {**ours, "refused acquire": _refused(limiter), **await _on_redis(url, stack)}


def _in_memory() -> dict[str, Decide]:
    storage: Any = MemoryStorage()
    store = throttled_store("memory://", throttled.asyncio)
    return {
        "aiolimiter x 2": aiolimiter_decide(),
        "limits fixed x 2": _two_hits(FixedWindowRateLimiter(storage)),
        "limits sliding x 2": _two_hits(SlidingWindowCounterRateLimiter(storage)),
        "throttled GCRA x 2": throttled_decide(store, "gcra"),
        "throttled token bucket x 2": throttled_decide(store, "token_bucket"),
        "pyrate state x 2": pyrate_decide(None),
    }


async def _on_redis(url: str, stack: AsyncExitStack) -> dict[str, Decide]:
    apart = await stack.enter_async_context(AsyncLimiter.from_url(url, plans=PLANS, policy=PATIENT, coalesce=False))
    client: Any = redis.asyncio.Redis.from_url(
        url, protocol=2, retry=Retry(NoBackoff(), 0), max_connections=CONNECTIONS
    )
    stack.push_async_callback(client.aclose)
    storage: Any = RedisStorage(f"async+{url}", implementation="redispy", max_connections=CONNECTIONS)
    stack.push_async_callback(storage.bridge.storage.aclose)
    store = throttled_store(url, throttled.asyncio)
    return {
        "acquire, not coalesced": _acquire(apart),
        "acquire + settle, not coalesced": _pair(apart),
        "bare PING": _ping(client),
        "bare EVALSHA": _bare(client, await client.script_load(BARE_TEXT)),
        "limits fixed x 2": _two_hits(FixedWindowRateLimiter(storage)),
        "limits sliding x 2": _two_hits(SlidingWindowCounterRateLimiter(storage)),
        "throttled GCRA x 2": throttled_decide(store, "gcra"),
        "throttled token bucket x 2": throttled_decide(store, "token_bucket"),
        "pyrate state x 2": pyrate_decide(client),
    }


@contextmanager
def asyncio_cases(url: str, calls: int) -> Iterator[list[Case]]:
    """`calls` decisions a pass, on an event loop of their own."""
    subjects, _ = prepare(url, calls)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        contestants = runner.run(asyncio_contestants(url, stack))
        yield [
            _case(runner, name + ending, decide, subjects, tasks)
            for ending, tasks in (("", 1), (TASKS, 100))
            for name, decide in contestants.items()
        ]
        runner.run(stack.aclose())


def _case(runner: asyncio.Runner, name: str, decide: Decide, subjects: Sequence[str], tasks: int) -> Case:
    return Case(name, len(subjects), lambda: runner.run(take_turns(decide, subjects, tasks)))


def _acquire(limiter: AsyncLimiter) -> Decide:
    async def decide(subject: str) -> None:
        await limiter.acquire(subject, plan=LIVE.name, tokens=ESTIMATE)

    return decide


def _pair(limiter: AsyncLimiter) -> Decide:
    async def decide(subject: str) -> None:
        reservation = await limiter.acquire(subject, plan=LIVE.name, tokens=ESTIMATE)
        await reservation.settle(tokens=REAL)

    return decide


def _peek(limiter: AsyncLimiter) -> Decide:
    async def decide(subject: str) -> None:
        await limiter.peek(subject, plan=LIVE.name)

    return decide


def _refused(limiter: AsyncLimiter) -> Decide:
    full = dict(zip(names(100), names(100, "full"), strict=True))

    async def decide(subject: str) -> None:
        try:
            await limiter.acquire(full[subject], plan=FULL.name, tokens=ESTIMATE)
        except RateLimited:
            return
        raise AssertionError("the bucket was meant to be full")

    return decide


def _bare(client: Any, sha: str) -> Decide:
    async def decide(_: str) -> None:
        await client.evalsha(sha, *BARE_ARGUMENTS)

    return decide


def _ping(client: Any) -> Decide:
    async def decide(_: str) -> None:
        await client.ping()

    return decide


def _two_hits(limiter: RateLimiter) -> Decide:
    async def decide(subject: str) -> None:
        if not (await limiter.hit(REQUESTS, subject) and await limiter.hit(TOKENS, subject, cost=ESTIMATE)):
            raise AssertionError("the limit was meant to be out of reach")

    return decide
