"""P4, P6, P8: however a caller comes to the express lane and leaves it, the integers are those of the general way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit import AsyncLimiter, AsyncReservation, Limit, Plan, RateLimited, Scope, Settlement
from ratelimit.backends.base import Retention
from tests.express_lane import Clock, express_limiter
from tests.servers import RedisBinary, RedisServer, redis_binaries

PLANS = (
    Plan("Pro", rpm=60, tpm=600_000),
    Plan("Lite", rpm=10, tpm=60_000),
    Plan("Tight", limits=[Limit("requests", 60, 60, burst=3), Limit("tokens", 600_000, 60, burst=50_000)]),
    Plan("Slow", rpm=1, tpm=1_000),
)
"""Two differ in everything, two in the burst only: then what is stored needs no conversion."""
SUBJECTS = ("ann", "bob", "cid")
WAYS = ("plain", "scope", "amounts", "try", "group")
ENDS = ("settle", "each", "twice", "race", "cancel", "leave", "fail", "token", "both")


@dataclass(frozen=True)
class Acquire:
    """Ask for a share (percent) of what the plan holds at most, by one of the ways to say so."""

    subject: str
    plan: int
    requests: int
    share: int
    way: str


@dataclass(frozen=True)
class End:
    """Be done with a reservation of an earlier tick, in one of the ways to be; `percent` of its estimate was used."""

    which: int
    percent: int
    how: str


Tick = tuple[int, list[Acquire | End]]


def _acquires(plans: int, ways: Sequence[str]) -> st.SearchStrategy[Acquire]:
    return st.builds(
        Acquire,
        subject=st.sampled_from(SUBJECTS),
        plan=st.integers(0, plans - 1),
        requests=st.integers(0, 2),
        share=st.sampled_from([0, 1, 5, 30, 60, 100]),
        way=st.sampled_from(ways),
    )


def _ends(percents: Sequence[int], hows: Sequence[str]) -> st.SearchStrategy[End]:
    return st.builds(End, which=st.integers(0, 9), percent=st.sampled_from(percents), how=st.sampled_from(hows))


def _ticks(moves: Sequence[int], operations: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[list[Tick]]:
    some = st.lists(operations, min_size=1, max_size=most)
    return st.lists(st.tuples(st.integers(0, 2_000_000) | st.sampled_from(moves), some), min_size=2, max_size=6)


anything = _ticks(
    [0, 1, 61_000_000, 10_000_000_000, -1, -4_999_999, -90_000_000],
    _acquires(len(PLANS), WAYS) | _ends([0, 1, 50, 100, 130, 1_000, 2_000_000], ENDS),
    most=8,
)
ordinary = _ticks(
    [0, 1, 61_000_000],
    _acquires(1, ("plain", "scope", "try")) | _ends([0, 1, 50, 100, 130], ("settle", "each", "twice", "cancel")),
    most=14,
)


def outcome(settled: Settlement) -> object:
    """All that a settlement says."""
    units = [(at, lag, tuple(levels), tuple(given)) for at, lag, levels, given in settled.outcomes]
    return units, settled.standings, dict(settled.returned), settled.repeated


class World:
    """A limiter, and what was reserved with it."""

    def __init__(self, limiter: AsyncLimiter) -> None:
        self.limiter = limiter
        self.held: list[tuple[str, AsyncReservation]] = []

    async def acquire(self, wanted: Acquire) -> object:
        """What a caller sees, refused or not."""
        plan, subject = PLANS[wanted.plan], wanted.subject
        requests = min(wanted.requests, plan.limits[0].burst)
        tokens = plan.limits[1].burst * wanted.share // 100
        ask = self.limiter.acquire
        try:
            if wanted.way == "try":
                decision = await self.limiter.try_acquire(subject, plan=plan, requests=requests, tokens=tokens)
                if decision.reservation is None:
                    return decision.standings, decision.retry_after
                reservation = decision.reservation
            elif wanted.way == "scope":
                reservation = await ask([Scope(subject, plan)], requests=requests, tokens=tokens)
            elif wanted.way == "amounts":
                reservation = await ask([Scope(subject, plan, amounts={"requests": requests, "tokens": tokens})])
            else:
                group = subject if wanted.way == "group" else None
                reservation = await ask(subject, plan=plan, group=group, requests=requests, tokens=tokens)
        except RateLimited as refused:
            return refused.decision.standings, refused.retry_after
        self.held.append((subject, reservation))
        (hold,) = reservation._holds
        held = hold.at, hold.lag, tuple(hold.costs), tuple(hold.levels), tuple(hold.refunded)
        return held, reservation.standings, dict(reservation.estimate)

    async def end(self, wanted: End, reservation: AsyncReservation) -> object:
        """What a caller sees."""
        tokens = reservation.estimate["tokens"] * wanted.percent // 100
        used = {"requests": reservation.estimate["requests"], "tokens": tokens}
        how = wanted.how
        if how == "each":
            settled = await reservation.settle_each([used])
        elif how == "cancel":
            settled = await reservation.cancel()
        elif how == "token":
            settled = await self.limiter.resume(reservation.to_token()).settle(tokens=tokens)
        elif how == "both":
            first = await self.limiter.resume(reservation.to_token()).settle(**used)
            return outcome(first), outcome(await reservation.settle(requests=0, tokens=0))
        elif how in ("leave", "fail"):
            try:
                async with reservation:
                    if how == "fail":
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            assert reservation.settlement is not None
            settled = reservation.settlement
        elif how == "race":
            others = [reservation.settle(**used), reservation.settle(requests=0, tokens=0), reservation.cancel()]
            settled, second, third = await asyncio.gather(*others)
            assert settled is second is third
        else:
            settled = await reservation.settle(**used)
            if how == "twice":
                assert await reservation.settle(requests=0, tokens=tokens + 7) is settled
        return outcome(settled)

    def jobs(self, wanted: list[Acquire | End], *, one_each: bool) -> list[Coroutine[Any, Any, object]]:
        """A tick's operations, of each subject the first one only or all of them; no reservation ends twice in it."""
        earlier, seen, jobs = list(self.held), set(), list[Coroutine[Any, Any, object]]()
        for each in wanted:
            if isinstance(each, Acquire):
                key: object = each.subject if one_each else None
                job = self.acquire(each)
            elif each.which < len(earlier):
                subject, reservation = earlier[each.which]
                key = subject if one_each else reservation
                job = self.end(each, reservation)
            else:
                continue
            if key is None or key not in seen:
                seen.add(key)
                jobs.append(job)
            else:
                job.close()
        return jobs


@pytest.fixture(scope="module", params=redis_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each kind."""
    binary: RedisBinary = request.param
    with RedisServer(binary) as running:
        yield running


async def answers(server: RedisServer, wanted: list[Tick], *, one_each: bool, coalesce: bool) -> list[object]:
    """All that callers see who come at once, or one by one without the lane; and what is left in the end."""
    server.call("FLUSHDB")
    clock, seen = Clock(), list[object]()
    retention = Retention(retry_window=300, max_skew=5.0)
    async with express_limiter(server.unix_url, clock=clock, retention=retention, coalesce=coalesce) as limiter:
        world = World(limiter)
        coalescer: Any = getattr(limiter._backend, "_coalescer", None)
        if coalescer is not None and not one_each:
            # Nobody waits for who is alone; here even he travels as several do, so that there is one order.
            coalescer._send = coalescer._carry
        for move, operations in wanted:
            clock.now += move
            jobs = world.jobs(operations, one_each=one_each)
            seen.append(await asyncio.gather(*jobs) if coalesce else [await job for job in jobs])
            # In the order of the jobs, whoever was answered first.
            world.held.sort(key=lambda held: held[0])
        seen += [await limiter.peek(subject, plan=plan) for subject in SUBJECTS for plan in PLANS]
    return seen


def same(server: RedisServer, wanted: list[Tick], *, one_each: bool) -> None:
    """Both ways must give the same."""
    together, apart = (
        asyncio.run(answers(server, wanted, one_each=one_each, coalesce=coalesce)) for coalesce in (True, False)
    )
    assert together == apart


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=anything)
def test_every_way_in_and_out_gives_the_same_integers(server: RedisServer, wanted: list[Tick]) -> None:
    """Under plans that change, clocks that jump, settles after all has drained, and debts beyond four bytes."""
    same(server, wanted, one_each=True)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=ordinary)
def test_one_subject_many_times_in_a_tick_gives_the_same_integers(server: RedisServer, wanted: list[Tick]) -> None:
    """Acquires and settles of it in any mixture, in the order in which they came."""
    same(server, wanted, one_each=False)
