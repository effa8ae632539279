"""Promises of `ratelimit.express_redis`: a reservation of the lane is one like any other, whatever is done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from ratelimit import (
    AsyncLimiter,
    AsyncReservation,
    ConfigError,
    CostExceedsLimit,
    Decision,
    Plan,
    RateLimited,
)
from ratelimit.express_redis import RedisLaneReservation
from tests.express_lane import PLAN, Clock, acquire, express_limiter, pair, run, spin, taken, together
from tests.servers import RedisServer

#: One request a minute costs 60,000,000 units: amounts that are still small make more units than a number may have.
SLOW = Plan("Slow", rpm=1, tpm=1)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """One server for this module."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """The module's server, empty."""
    shared_server.call("FLUSHALL")
    return shared_server


def test_it_shows_what_was_reserved(server: RedisServer) -> None:
    """Estimate, standings and what it says of itself, before and after the settle."""

    async def work(limiter: AsyncLimiter) -> None:
        first, second = await pair(limiter)
        assert dict(first.estimate) == {"requests": 1, "tokens": 70}
        assert [one.burst - one.remaining for one in first.standings] == [1, 70]
        assert [one.burst - one.remaining for one in second.standings] == [2, 70]
        assert repr(first) == "<RedisLaneReservation open: 1 requests, 70 tokens>"
        assert first.settlement is None
        settled = await first.settle(tokens=20)
        assert (dict(settled.returned), settled.repeated) == ({"requests": 0, "tokens": 50}, False)
        assert [one.burst - one.remaining for one in settled.standings] == [2, 20]
        assert first.settlement is settled
        assert repr(first) == "<RedisLaneReservation settled: 1 requests, 70 tokens>"
        assert not hasattr(first, "nothing_of_the_kind")

    run(server.url, work)


def test_it_settles_once_whoever_asks(server: RedisServer) -> None:
    """Again, at once from several tasks, and by every verb: all get the first settlement."""

    async def work(limiter: AsyncLimiter) -> None:
        first, second = await pair(limiter)
        settlements = await together(*[first.settle(tokens=amount) for amount in (20, 30, 0)], first.cancel())
        assert all(each is settlements[0] for each in settlements)
        assert await first.settle(tokens=5) is await first.settle_each([{"requests": 0, "tokens": 0}])
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 20}
        assert dict((await second.cancel()).returned) == {"requests": 1, "tokens": 0}
        assert await taken(limiter, "alice") == {"requests": 1, "tokens": 20}

    run(server.url, work)


@pytest.mark.parametrize(
    ("amounts", "books"),
    [
        ({"requests": 1, "tokens": 20}, {"requests": 2, "tokens": 20}),
        ({"tokens": 20}, {"requests": 2, "tokens": 20}),
        ({"requests": 0}, {"requests": 1, "tokens": 70}),
        ({"requests": 1, "tokens": 90, "input_tokens": 5}, {"requests": 2, "tokens": 90}),
        ({}, {"requests": 2, "tokens": 70}),
    ],
)
def test_meters_that_are_not_named_stay_at_the_estimate(
    server: RedisServer, amounts: dict[str, int], books: dict[str, int]
) -> None:
    """By name and scope by scope alike."""

    async def work(limiter: AsyncLimiter) -> None:
        for each in (False, True):
            first, _ = await pair(limiter)
            await (first.settle_each([amounts]) if each else first.settle(**amounts))
            assert await taken(limiter, "alice") == books
            await limiter.reset("alice")

    run(server.url, work)


@pytest.mark.parametrize("amount", [-1, 2**53 + 1, True, 1.5, "7"])
def test_an_amount_that_cannot_be_right_is_refused_and_the_estimate_stays(server: RedisServer, amount: Any) -> None:
    """As on the general way; a block that ends by this error keeps the estimate, because something was used."""

    async def work(limiter: AsyncLimiter) -> None:
        first, second = await pair(limiter)
        with pytest.raises(ConfigError, match=r"^tokens is "):
            async with first:
                await first.settle(tokens=amount)
        with pytest.raises(ConfigError, match=r"^amounts for 2 scopes"):
            await second.settle_each([{}, {}])
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 70}
        with pytest.raises(ConfigError, match=r"^tokens is "):
            await limiter.acquire("alice", plan=PLAN, tokens=amount)

    run(server.url, work)


@pytest.mark.parametrize("amount", [2**26, 80_000_000, 2**31, 2**32 - 1, 2**32, 2**53])
@pytest.mark.parametrize("meter", ["requests", "tokens"])
def test_a_huge_amount_is_a_debt_as_on_the_general_way(server: RedisServer, meter: str, amount: int) -> None:
    """Whatever a request costs in units: no number is too large to be owed."""
    seen = []

    async def work(limiter: AsyncLimiter) -> None:
        held = await together(acquire(limiter, "alice", 1, SLOW), acquire(limiter, "bob", 1, SLOW))
        settled = await held[0].settle(**{meter: amount})
        seen.append((settled.standings, dict(settled.returned), await limiter.peek("alice", plan=SLOW)))

    for coalesce in (True, False):
        server.call("FLUSHALL")
        run(server.url, work, coalesce=coalesce)
    assert seen[0] == seen[1]


def test_a_decision_as_a_value_holds_the_same(server: RedisServer) -> None:
    """`try_acquire` by the lane: allowed with the reservation, refused with the time to wait."""

    async def work(limiter: AsyncLimiter) -> None:
        def ask(tokens: int) -> Coroutine[Any, Any, Decision[AsyncReservation]]:
            return limiter.try_acquire("alice", plan=PLAN, tokens=tokens)

        allowed, refused = await together(ask(400_000), ask(200_001))
        assert (allowed.allowed, refused.allowed) == (True, False)
        assert type(allowed.reservation) is RedisLaneReservation
        assert refused.retry_after == pytest.approx(0.0001)
        assert [one.remaining for one in refused.standings] == [59, 200_000]
        with pytest.raises(CostExceedsLimit):
            await limiter.try_acquire("alice", plan=PLAN, tokens=600_001)
        await allowed.reservation.settle(tokens=0)
        assert await taken(limiter, "alice") == {"requests": 1, "tokens": 0}

    run(server.url, work)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_token_is_settled_elsewhere_and_here_but_once(server: RedisServer, when: str) -> None:
    """Whoever is second is told that it had been done."""

    async def work(limiter: AsyncLimiter) -> None:
        first, _ = await pair(limiter)
        if when == "before":
            token = first.to_token()
            elsewhere = await limiter.resume(token).settle(tokens=30)
            assert (dict(elsewhere.returned), elsewhere.repeated) == ({"requests": 0, "tokens": 40}, False)
            assert (await first.settle(tokens=10)).repeated
        else:
            await first.settle(tokens=30)
            assert (await limiter.resume(first.to_token()).settle(tokens=10)).repeated
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 30}

    run(server.url, work)


def test_a_token_and_its_original_settle_once_in_one_tick(server: RedisServer) -> None:
    """They go by different scripts, and find the same record."""

    async def work(limiter: AsyncLimiter) -> None:
        first, second = await pair(limiter)
        copies = [limiter.resume(first.to_token()) for _ in range(3)]
        settled = await together(
            first.settle(tokens=30), *[copy.settle(tokens=30) for copy in copies], second.settle(tokens=0)
        )
        assert sorted(each.repeated for each in settled[:4]) == [False, True, True, True]
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 30}

    run(server.url, work)


def test_a_block_that_a_token_has_left_tells_the_copies(server: RedisServer) -> None:
    """Leaving at the estimate costs no call, unless somebody else holds the token: then it must find it settled."""

    async def work(limiter: AsyncLimiter) -> None:
        first, second = await pair(limiter)
        async with first:
            copy = limiter.resume(first.to_token())
        async with second:
            pass
        assert first.settlement is not None
        assert second.settlement is not None
        assert (len(first.settlement.outcomes), len(second.settlement.outcomes)) == (1, 0)
        assert (await copy.settle(tokens=0)).repeated
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 70}

    run(server.url, work)


@pytest.mark.parametrize(
    ("on_error", "books"),
    [
        ("refund_tokens", {"requests": 1, "tokens": 0}),
        ("refund", {"requests": 0, "tokens": 0}),
        ("keep", {"requests": 1, "tokens": 70}),
    ],
)
def test_a_block_that_fails_is_settled_as_was_asked(server: RedisServer, on_error: Any, books: dict[str, int]) -> None:
    """By the lane or not: which of the two a reservation came by never shows."""

    async def failing(limiter: AsyncLimiter, subject: str) -> None:
        async with limiter.acquire(subject, plan=PLAN, tokens=70, on_error=on_error):
            raise ZeroDivisionError

    async def work(limiter: AsyncLimiter) -> None:
        errors = await together(failing(limiter, "alice"), failing(limiter, "bob"))
        assert [type(error) for error in errors] == [ZeroDivisionError] * 2
        assert await taken(limiter, "alice") == await taken(limiter, "bob") == books

    run(server.url, work)


def test_a_settle_lets_who_waits_for_the_subject_go_on(server: RedisServer) -> None:
    """What it gives back is there for the first in line, long before it would have drained."""

    async def work(limiter: AsyncLimiter) -> None:
        first, _ = await pair(limiter, tokens=600_000)
        waiting = asyncio.create_task(acquire(limiter, "alice", 300_000, timeout=100.0))
        await spin()
        assert limiter.lines
        await taken(limiter, "alice")
        await first.settle(tokens=0)
        async with asyncio.timeout(20):
            assert [one.burst - one.remaining for one in (await waiting).standings] == [3, 300_000]

    run(server.url, work)


def test_a_limiter_goes_from_loop_to_loop(server: RedisServer) -> None:
    """One after the other, also with reservations made in the one and settled in the other."""
    limiters: list[AsyncLimiter] = []
    held: list[AsyncReservation] = []

    async def first() -> None:
        async with express_limiter(server.url) as limiter:
            limiters.append(limiter)
            held.extend(await pair(limiter))

    async def second() -> None:
        (limiter,) = limiters
        await together(*[each.settle(tokens=20) for each in held])
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 40}
        assert len(await pair(limiter)) == 2
        await limiter.close()

    asyncio.run(first())
    asyncio.run(second())


def test_a_loop_that_stopped_in_the_middle_holds_up_no_other(server: RedisServer) -> None:
    """A tick that was never sent is left behind with its loop."""
    limiters: list[AsyncLimiter] = []
    stopped = asyncio.new_event_loop()
    left: list[asyncio.Task[Any]] = []

    async def broken_off() -> None:
        limiters.append(await express_limiter(server.url).__aenter__())
        left.extend(stopped.create_task(acquire(limiters[0], "alice")) for _ in range(2))
        stopped.call_soon(stopped.stop)

    left.append(stopped.create_task(broken_off()))
    stopped.run_forever()
    assert not left[-1].done()

    async def afterwards() -> None:
        async with asyncio.timeout(20):
            assert len(await pair(limiters[0])) == 2
        await limiters[0].close()

    try:
        asyncio.run(afterwards())
    finally:
        for task in left:
            task.cancel()
        stopped.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        stopped.close()


def test_another_plan_for_a_subject_is_another_lane(server: RedisServer) -> None:
    """Given by name, as an object, or changed from tick to tick: what was used stays used."""
    wider = Plan("Wider", rpm=120, tpm=1_200_000)

    async def work(limiter: AsyncLimiter) -> None:
        await pair(limiter)
        held = await together(*[acquire(limiter, "alice", 30, wider) for _ in range(2)])
        assert [one.burst - one.remaining for one in (await limiter.peek("alice", plan=wider))] == [4, 130]
        await together(*[each.settle(tokens=0) for each in held])
        assert await taken(limiter, "alice") == {"requests": 4, "tokens": 70}
        by_name = await together(*[limiter.try_acquire("alice", plan=name, tokens=1) for name in ("Pro", "pro")])
        assert all(each.allowed for each in by_name)
        assert await taken(limiter, "alice") == {"requests": 6, "tokens": 72}

    run(server.url, work)


def test_refused_is_refused_with_the_time_until_it_fits(server: RedisServer) -> None:
    """And admitted at that instant, not a microsecond before."""
    clock = Clock()

    async def work(limiter: AsyncLimiter) -> None:
        await pair(limiter, tokens=600_000)
        refused, other = await together(acquire(limiter, "alice", 1_000), acquire(limiter, "bob"))
        assert isinstance(refused, RateLimited)
        assert isinstance(other, AsyncReservation)
        assert refused.retry_after == pytest.approx(0.1)
        for early, kind in ((1, RateLimited), (0, RedisLaneReservation)):
            clock.now = clock.now + 99_999 if early else clock.now + 1
            answers = await together(acquire(limiter, "alice", 1_000), acquire(limiter, "bob"))
            assert type(answers[0]) is kind

    run(server.url, work, clock=clock)
