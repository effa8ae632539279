"""Cases of asyncio on Redis: one caller, and a hundred tasks at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis.asyncio
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from benchmarks.interleave import Case
from benchmarks.plans import ESTIMATE, FULL, LIVE, PLANS, REAL, REQUESTS, TOKENS
from benchmarks.redis_sync import BARE_ARGUMENTS, BARE_TEXT, PATIENT, prepare
from ratelimit import AsyncLimiter, RateLimited

__all__ = ("TASKS", "asyncio_cases")

TASKS = ", 100 tasks"
"""What the names of concurrent cases end in."""

Decide = Callable[[str], Coroutine[Any, Any, object]]
Way = Callable[[Decide, Sequence[str]], Coroutine[Any, Any, None]]


@contextmanager
def asyncio_cases(url: str, calls: int) -> Iterator[list[Case]]:
    """`calls` decisions a pass, on an event loop of their own."""
    subjects, refused = prepare(url, calls)
    with asyncio.Runner() as runner:
        limiter = AsyncLimiter.from_url(url, plans=PLANS, policy=PATIENT)
        apart = AsyncLimiter.from_url(url, plans=PLANS, policy=PATIENT, coalesce=False)
        client: Any = redis.asyncio.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0))
        storage: Any = RedisStorage(f"async+{url}", implementation="redispy")
        cases = [
            ("acquire", _acquire(limiter), subjects),
            ("acquire + settle", _pair(limiter), subjects),
            ("acquire, not coalesced", _acquire(apart), subjects),
            ("acquire + settle, not coalesced", _pair(apart), subjects),
            ("peek", _peek(limiter), subjects),
            ("refused acquire", _refused(limiter), refused),
            ("bare EVALSHA", _bare(client, runner.run(client.script_load(BARE_TEXT))), subjects),
            ("limits fixed x 2", _two_hits(FixedWindowRateLimiter(storage)), subjects),
            ("limits sliding x 2", _two_hits(SlidingWindowCounterRateLimiter(storage)), subjects),
        ]
        yield [_case(runner, name, decide, who, _one_caller) for name, decide, who in cases] + [
            _case(runner, name + TASKS, decide, who, _many_tasks) for name, decide, who in cases
        ]
        for close in (limiter.close, apart.close, client.aclose, storage.bridge.storage.aclose):
            runner.run(close())


def _case(runner: asyncio.Runner, name: str, decide: Decide, subjects: Sequence[str], way: Way) -> Case:
    return Case(name, len(subjects), lambda: runner.run(way(decide, subjects)))


async def _one_caller(decide: Decide, subjects: Sequence[str]) -> None:
    for subject in subjects:
        await decide(subject)


async def _many_tasks(decide: Decide, subjects: Sequence[str]) -> None:
    """A task per subject of a hundred; each asks again as soon as it is answered."""

    async def task(start: int) -> None:
        for subject in subjects[start::100]:
            await decide(subject)

    await asyncio.gather(*map(task, range(100)))


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
    async def decide(subject: str) -> None:
        try:
            await limiter.acquire(subject, plan=FULL.name, tokens=ESTIMATE)
        except RateLimited:
            return
        raise AssertionError("the bucket was meant to be full")

    return decide


def _bare(client: Any, sha: str) -> Decide:
    async def decide(_: str) -> None:
        await client.evalsha(sha, *BARE_ARGUMENTS)

    return decide


def _two_hits(limiter: RateLimiter) -> Decide:
    async def decide(subject: str) -> None:
        if not (await limiter.hit(REQUESTS, subject) and await limiter.hit(TOKENS, subject, cost=ESTIMATE)):
            raise AssertionError("the limit was meant to be out of reach")

    return decide
