"""A reservation of the express lane whose settle is cancelled, fails or is under way: it settles once, for all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ratelimit import AsyncLimiter, AsyncReservation, BackendTimeout, RetryPolicy
from tests.express_lane import pair, run, spin, taken, together
from tests.servers import DROP_REPLY, HOLD_REQUEST, FaultProxy, eventually


async def held_up(proxy: FaultProxy, job: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task whose next command stays on its way to the server."""
    proxy.next(HOLD_REQUEST)
    task = asyncio.create_task(job)
    await asyncio.to_thread(eventually, lambda: proxy.held == 1)
    return task


@pytest.mark.parametrize("again", ["settle", "block"])
def test_a_settle_that_is_cancelled_leaves_it_open_and_is_done_once(proxy: FaultProxy, again: str) -> None:
    """It may have happened: settled again, or by leaving the block, it counts once, at what was said first."""

    async def work(limiter: AsyncLimiter) -> None:
        first, second = await pair(limiter)
        both = await held_up(proxy, together(first.settle(tokens=20), second.settle(requests=0)))
        both.cancel()
        await asyncio.wait([both])
        assert first.settlement is None
        proxy.release()
        if again == "settle":
            await first.settle(tokens=20)
        else:
            async with first:
                pass
        assert first.settlement is not None
        assert first.settlement.outcomes
        await second.settle(requests=0)
        assert await taken(limiter, "alice") == {"requests": 1, "tokens": 20}

    run(proxy.url, work)


def test_who_waits_for_a_settle_that_is_cancelled_does_it(proxy: FaultProxy) -> None:
    """The next in line takes over; who is cancelled while waiting takes nothing with him."""

    async def work(limiter: AsyncLimiter) -> None:
        first, _ = await pair(limiter)
        leader = await held_up(proxy, first.settle(tokens=20))
        waiting = [asyncio.create_task(first.settle(tokens=20)) for _ in range(3)]
        await spin()
        waiting[0].cancel()
        leader.cancel()
        proxy.release()
        settled = await asyncio.gather(leader, *waiting, return_exceptions=True)
        assert [type(each) is asyncio.CancelledError for each in settled] == [True, True, False, False]
        assert settled[2] is settled[3] is first.settlement
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 20}

    run(proxy.url, work)


def test_leaving_the_block_waits_for_a_settle_under_way(proxy: FaultProxy) -> None:
    """What another task has begun is neither overtaken by the estimate nor forgotten."""

    async def block(reservation: AsyncReservation) -> None:
        async with reservation:
            pass

    async def work(limiter: AsyncLimiter) -> None:
        first, _ = await pair(limiter)
        settling = await held_up(proxy, first.settle(tokens=20))
        leaving = asyncio.create_task(block(first))
        await spin()
        assert not leaving.done()
        proxy.release()
        settled = await settling
        await leaving
        assert first.settlement is settled
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 20}

    run(proxy.url, work)


def test_leaving_the_block_repeats_a_settle_that_fails_meanwhile(proxy: FaultProxy) -> None:
    """With its amounts, whether the block ends well or not."""

    async def block(reservation: AsyncReservation, error: type[Exception] | None) -> None:
        async with reservation:
            if error is not None:
                raise error

    async def work(limiter: AsyncLimiter) -> None:
        for error in (None, ZeroDivisionError):
            await limiter.reset("alice")
            first, _ = await pair(limiter)
            settling = await held_up(proxy, first.settle(tokens=20))
            leaving = asyncio.create_task(block(first, error))
            await spin()
            settling.cancel()
            await asyncio.wait([settling])
            proxy.release()
            assert [type(each) for each in await asyncio.gather(leaving, return_exceptions=True)] == [
                error or type(None)
            ]
            assert first.settlement is not None
            assert first.settlement.outcomes
            assert await taken(limiter, "alice") == {"requests": 2, "tokens": 20}

    run(proxy.url, work)


def test_a_settle_that_failed_is_repeated_on_leaving_the_block(proxy: FaultProxy) -> None:
    """With the amounts that it asked for, and without any further effect."""

    async def block(reservation: AsyncReservation) -> None:
        async with reservation:
            with pytest.raises(BackendTimeout):
                await reservation.settle(tokens=20)

    async def work(limiter: AsyncLimiter) -> None:
        held = await pair(limiter)
        proxy.next(DROP_REPLY)
        await asyncio.gather(*[block(each) for each in held])
        for each in held:
            assert each.settlement is not None
            assert each.settlement.repeated
        assert await taken(limiter, "alice") == {"requests": 2, "tokens": 40}

    run(proxy.url, work, policy=RetryPolicy(timeout=1.0, deadline=1.0, attempts=1))
