"""Opening, closing and moving between event loops, on every backend."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit import AsyncLimiter, BackendUnavailable, Limiter, RetryPolicy
from tests.contract.driver import AsyncDriver, Driver, SyncDriver
from tests.contract.homes import Home
from tests.contract.slow_plans import HOUR
from tests.servers import free_port


def test_a_limiter_may_be_closed_twice(home: Home) -> None:
    """And before its first call."""
    for used in (False, True):
        driver = home.open()
        if used:
            driver.acquire("key", plan=HOUR)
        for _ in range(2):
            _close(driver)


def _close(driver: Driver) -> None:
    if isinstance(driver, AsyncDriver):
        driver.run(driver.limiter.close())
    else:
        assert isinstance(driver, SyncDriver)
        driver.limiter.close()


def test_state_outlives_the_limiter(home: Home) -> None:
    """What was used through a limiter that is closed stays used."""
    driver = home.open()
    driver.acquire("key", plan=HOUR, tokens=30)
    _close(driver)
    assert home.open().peek("key", plan=HOUR)[1].remaining == 10


def test_an_asyncio_limiter_serves_one_loop_after_the_other(home: Home) -> None:
    """Closed in one event loop, it connects anew in the next; reservations settle there."""
    driver = home.open()
    if not isinstance(driver, AsyncDriver):
        pytest.skip("a sync limiter has no loop")
    limiter = driver.limiter

    async def first() -> str:
        reservation = await limiter.acquire("key", plan=HOUR, tokens=30)
        await limiter.close()
        return reservation.to_token()

    async def second(token: str) -> int:
        await limiter.resume(token).settle(tokens=10)
        standings = await limiter.peek("key", plan=HOUR)
        await limiter.close()
        return standings[1].remaining

    token = asyncio.run(first())
    assert asyncio.run(second(token)) == 30


def test_an_asyncio_acquisition_can_be_awaited_or_entered(home: Home) -> None:
    """Both faces of `acquire`."""
    driver = home.open()
    if not isinstance(driver, AsyncDriver):
        pytest.skip("only the asyncio face has two")

    async def both(limiter: AsyncLimiter) -> int:
        async with limiter.acquire("key", plan=HOUR, tokens=10) as entered:
            await entered.settle(tokens=5)
        async with await limiter.acquire("key", plan=HOUR, tokens=10) as awaited:
            await awaited.settle(tokens=5)
        return (await limiter.peek("key", plan=HOUR))[1].remaining

    assert driver.run(both(driver.limiter)) == 30


def test_prefixes_and_secrets_keep_quota_apart(home: Home) -> None:
    """Limiters with another prefix or secret share nothing."""
    home.open().acquire("key", plan=HOUR, tokens=40)
    for options in ({"prefix": home.prefix + "z"}, {"secret": "s"}, {"secret": b"t" * 64}):
        assert home.open(**options).try_acquire("key", plan=HOUR, tokens=40)


@pytest.mark.parametrize("scheme", ["redis://127.0.0.1:{port}", "redis+sentinel://127.0.0.1:{port}/m"])
def test_nobody_there_is_a_backend_error(scheme: str) -> None:
    """The limiter starts without its server, and says so with each call."""
    url = scheme.format(port=free_port())
    with Limiter.from_url(url, policy=RetryPolicy(attempts=2)) as limiter, pytest.raises(BackendUnavailable):
        limiter.acquire("key", plan="Pro")

    async def acquire() -> None:
        async with AsyncLimiter.from_url(url, policy=RetryPolicy(attempts=2)) as limiter:
            with pytest.raises(BackendUnavailable):
                await limiter.acquire("key", plan="Pro")

    asyncio.run(acquire())


def test_no_cluster_is_a_backend_error() -> None:
    """A sync limiter learns the slots when it is made; an asyncio one with its first call."""
    url = f"redis+cluster://127.0.0.1:{free_port()}"
    with pytest.raises(BackendUnavailable, match=r"^cannot reach the Cluster: "):
        Limiter.from_url(url)

    async def acquire() -> None:
        async with AsyncLimiter.from_url(url, policy=RetryPolicy(attempts=2)) as limiter:
            with pytest.raises(BackendUnavailable):
                await limiter.acquire("key", plan="Pro")

    asyncio.run(acquire())
