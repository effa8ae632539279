"""Waiting for a turn, on every backend. The waits are real and short: the fast plan makes room every 100 ms."""

from __future__ import annotations

import asyncio
import time

import pytest

from ratelimit import AsyncLimiter, Limit, Plan, RateLimited
from tests.contract.driver import AsyncDriver, Driver, lines_of
from tests.contract.homes import KINDS, Home
from tests.contract.slow_plans import HOUR, remaining

FAST = Plan("Fast", limits=[Limit("requests", 10, "second", burst=1)])
STEP = 0.1

pytestmark = pytest.mark.parametrize("home", [kind for kind in KINDS if kind.name != "fake"], ids=str, indirect=True)
# fakeredis rounds PSETEX down to whole seconds, so there a state of 100 ms may be gone at once.


def test_who_waits_is_served_as_soon_as_it_fits(driver: Driver) -> None:
    """Refused now, and served by an acquire that may wait; not before retry-after has passed."""
    began = time.monotonic()
    driver.acquire("key", plan=FAST)
    refused = driver.try_acquire("key", plan=FAST)
    assert 0 < refused.retry_after <= STEP
    driver.acquire("key", plan=FAST, timeout=20)
    assert time.monotonic() - began >= STEP


def test_who_need_not_wait_does_not(driver: Driver) -> None:
    """A timeout is a limit, not a pause."""
    began = time.monotonic()
    assert driver.acquire("key", plan=HOUR, tokens=40, timeout=3600).standings[1].remaining == 0
    assert time.monotonic() - began < 10


def test_a_wait_that_would_be_too_long_ends_at_once(driver: Driver) -> None:
    """When retry-after lies beyond the timeout, there is nothing to wait for, and nothing is charged."""
    driver.acquire("key", plan=HOUR, tokens=40)
    began = time.monotonic()
    with pytest.raises(RateLimited) as caught:
        driver.acquire("key", plan=HOUR, tokens=40, timeout=3000)
    assert time.monotonic() - began < 10
    assert caught.value.retry_after == pytest.approx(3600, rel=1e-2)
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 9, "tokens": 0}


def test_a_refusal_after_a_wait_is_a_value_too(driver: Driver) -> None:
    """`try_acquire` with a timeout."""
    driver.acquire("key", plan=FAST)
    assert driver.try_acquire("key", plan=FAST, timeout=20).allowed
    driver.acquire("other", plan=HOUR, tokens=40)
    assert not driver.try_acquire("other", plan=HOUR, tokens=1, timeout=1).allowed


def test_a_line_is_first_come_first_served(driver: Driver) -> None:
    """Three who wait are served in the order in which they came."""
    driver.acquire("key", plan=FAST)
    calls = [{"subject": "key", "plan": FAST, "timeout": 20} for _ in range(3)]
    assert driver.in_turn(calls) == [0, 1, 2]


def test_who_cannot_be_served_in_time_leaves_the_line_at_once(driver: Driver) -> None:
    """Behind a head that waits for long, the impatient one is refused before the head is served."""
    slow = Plan("Slow", limits=[Limit("requests", 2, "second", burst=1)])
    driver.acquire("key", plan=slow)
    calls = [{"subject": "key", "plan": slow, "timeout": timeout} for timeout in (20, 0.1)]
    assert driver.in_turn(calls) == [-2, 0]


def test_a_refund_wakes_who_waits(home: Home) -> None:
    """In one limiter, what is given back goes to the head of the line long before its retry-after."""
    driver = home.open()
    held = driver.acquire("key", plan=HOUR, tokens=40)
    if not isinstance(driver, AsyncDriver):
        pytest.skip("needs two things at once: tests/contract/test_threads.py does it with threads")

    async def refund_while_waiting(limiter: AsyncLimiter) -> int:
        async def wait() -> int:
            return (await limiter.acquire("key", plan=HOUR, tokens=30, timeout=7200)).standings[1].remaining

        waiter = asyncio.create_task(wait())
        while not lines_of(limiter):  # noqa: ASYNC110 - one turn of the loop
            await asyncio.sleep(0)
        await limiter.resume(held.to_token()).settle(tokens=5)
        return await asyncio.wait_for(waiter, 20)

    assert driver.run(refund_while_waiting(driver.limiter)) == 5


def test_a_cancelled_waiter_leaves_the_line_intact(home: Home) -> None:
    """Cancelled at the head or in the middle, those behind are served in order and nothing is left over."""
    driver = home.open()
    if not isinstance(driver, AsyncDriver):
        pytest.skip("only tasks can be cancelled")

    async def cancel_two(limiter: AsyncLimiter) -> list[int]:
        served: list[int] = []

        async def wait(number: int) -> None:
            await limiter.acquire("key", plan=FAST, timeout=20)
            served.append(number)

        await limiter.acquire("key", plan=FAST)
        waiters = [asyncio.create_task(wait(number)) for number in range(4)]
        while not lines_of(limiter):  # noqa: ASYNC110 - one turn of the loop
            await asyncio.sleep(0)
        waiters[2].cancel()
        waiters[0].cancel()
        await asyncio.wait(waiters, timeout=20)
        assert [waiter.cancelled() for waiter in waiters] == [True, False, True, False]
        assert not lines_of(limiter)
        return served

    assert driver.run(cancel_two(driver.limiter)) == [1, 3]
