"""P3, P4, P6, P7, P8: what goes by the express lane to Redis does what it would do alone, to the integer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit import AsyncLimiter, AsyncReservation, Limit, Plan, RateLimited, RetryPolicy
from ratelimit.backends.base import Retention
from ratelimit.backends.connect import async_executor
from ratelimit.backends.redis_asyncio import AsyncRedisBackend
from tests.promises.world import START_US
from tests.servers import RedisBinary, RedisServer, redis_binaries

PLANS = (
    Plan("Lite", rpm=10, tpm=60_000),
    Plan("Pro", rpm=60, tpm=600_000),
    Plan("Uneven", limits=[Limit("requests", 7, 60), Limit("tokens", 999_983, 60)]),
)
"""Two that the lane serves, and one whose numbers are too large for it."""
SUBJECTS = ("ann", "bob", "cid")


@dataclass(frozen=True)
class Acquire:
    """Ask for this share (percent) of what the plan holds."""

    subject: str
    plan: int
    requests: int
    share: int


@dataclass(frozen=True)
class Settle:
    """Settle a reservation of an earlier tick at this percentage of its estimate; again, if it has been settled."""

    which: int
    percent: int


Tick = tuple[int, list[Acquire | Settle]]

_settle = st.builds(Settle, which=st.integers(0, 12), percent=st.sampled_from([0, 1, 50, 100, 130, 1_000]))
_far = st.builds(Settle, which=st.integers(0, 12), percent=st.just(2_000_000))
_forwards = st.one_of(st.integers(0, 2_000_000), st.sampled_from([0, 1, 60_000_000]))
_anywhere = st.one_of(_forwards, st.sampled_from([-1, -4_999_999, -90_000_000]))


def _acquire(plans: st.SearchStrategy[int]) -> st.SearchStrategy[Acquire]:
    return st.builds(
        Acquire,
        subject=st.sampled_from(SUBJECTS),
        plan=plans,
        requests=st.integers(0, 4),
        share=st.sampled_from([0, 1, 5, 30, 60, 100]),
    )


def _ticks(moves: st.SearchStrategy[int], operations: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Tick]]:
    return st.lists(st.tuples(moves, st.lists(operations, min_size=1, max_size=12)), min_size=1, max_size=6)


class World:
    """A limiter, and what was reserved with it."""

    def __init__(self, server: RedisServer, now: list[int], *, together: bool) -> None:
        policy = RetryPolicy(timeout=10, deadline=30)
        self.backend = AsyncRedisBackend(
            async_executor(server.unix_url, policy, 8),
            policy=policy,
            retention=Retention(retry_window=300, max_skew=5.0),
            virtual_clock=lambda: now[0],
            coalesce=together,
        )
        if together:
            # Also who is alone goes by the scripts for several.
            coalescer: Any = self.backend._coalescer
            coalescer._send = coalescer._carry
        self.limiter = AsyncLimiter(self.backend, prefix="together" if together else "apart")
        self.held: list[AsyncReservation | None] = []
        self.subjects: list[str] = []

    async def acquire(self, wanted: Acquire, number: int) -> object:
        """What a caller sees."""
        plan = PLANS[wanted.plan]
        tokens = plan.limits[1].amount * wanted.share // 100
        try:
            reservation = await self.limiter.acquire(wanted.subject, plan=plan, requests=wanted.requests, tokens=tokens)
        except RateLimited as refused:
            return refused.decision.standings, refused.retry_after
        self.held[number] = reservation
        return reservation.standings, dict(reservation.estimate)

    async def settle(self, wanted: Settle, reservation: AsyncReservation) -> object:
        """What a caller sees."""
        estimate = reservation.estimate
        settled = await reservation.settle(
            requests=estimate["requests"], tokens=estimate["tokens"] * wanted.percent // 100
        )
        return settled.standings, dict(settled.returned), settled.repeated

    def jobs(self, wanted: list[Acquire | Settle], *, one_each: bool) -> list[Any]:
        """One tick's operations, or the first of each subject; settles are of ticks before, which are answered."""
        earlier, seen, jobs = list(self.held), set(), []
        for each in wanted:
            if isinstance(each, Settle):
                reservation = earlier[each.which] if each.which < len(earlier) else None
                if reservation is None:
                    continue
                subject, job = self.subjects[each.which], self.settle(each, reservation)
            else:
                subject, job = each.subject, self.acquire(each, len(self.held))
                self.held.append(None)
                self.subjects.append(subject)
            if one_each and subject in seen:
                job.close()
            else:
                seen.add(subject)
                jobs.append(job)
        return jobs


@pytest.fixture(scope="module", params=redis_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    binary: RedisBinary = request.param
    with RedisServer(binary) as running:
        yield running


async def compare(server: RedisServer, wanted: list[Tick], *, one_each: bool) -> None:
    """The same with two limiters: together, and one by one."""
    now = [START_US]
    together, apart = World(server, now, together=True), World(server, now, together=False)
    for move, operations in wanted:
        now[0] += move
        ours = await asyncio.gather(*together.jobs(operations, one_each=one_each))
        theirs = [await job for job in apart.jobs(operations, one_each=one_each)]
        assert ours == theirs
    for world in (together, apart):
        await world.limiter.close()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=_ticks(_anywhere, _acquire(st.sampled_from([0, 0, 0, 1, 2])) | _settle | _far))
def test_whatever_is_asked_gets_the_answer_that_it_would_get_alone(server: RedisServer, wanted: list[Tick]) -> None:
    """Under plans that change, by a clock that jumps: what is not ordinary is found out, and goes the general way."""
    server.call("FLUSHDB")
    asyncio.run(compare(server, wanted, one_each=True))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=_ticks(_forwards, _acquire(st.just(0)) | _settle))
def test_a_subject_that_is_several_times_in_a_call_is_served_in_order(server: RedisServer, wanted: list[Tick]) -> None:
    """Acquires and settles of one subject in one tick, as if they had come one after the other."""
    server.call("FLUSHDB")
    asyncio.run(compare(server, wanted, one_each=False))
