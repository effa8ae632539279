"""Threads and tasks share a limiter without losing or inventing quota, on every backend."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from ratelimit import Limit, Plan, Settlement
from tests.contract.driver import AsyncDriver, Driver, SyncDriver
from tests.contract.homes import Home
from tests.contract.slow_plans import HOUR, remaining

CROWD = Plan("Crowd", limits=[Limit("requests", 30, "day"), Limit("tokens", 600, "day")])


def test_exactly_as_many_are_admitted_as_fit(driver: Driver) -> None:
    """Of 50 at once, 30 fit; the state agrees afterwards."""
    allowed = driver.at_once([{"subject": "key", "plan": CROWD, "tokens": 10} for _ in range(50)])
    assert allowed.count(True) == 30
    assert remaining(driver.peek("key", plan=CROWD)) == {"requests": 0, "tokens": 300}


def test_limiters_of_two_workers_share_quota(home: Home) -> None:
    """What one admits, the other one cannot."""
    if home.kind.name == "leases":
        pytest.skip("what a worker has leased counts as used until its term ends: docs/leases.md")
    drivers = [home.open(), home.open()]
    allowed = [driver.at_once([{"subject": "key", "plan": CROWD} for _ in range(20)]) for driver in drivers]
    assert [answers.count(True) for answers in allowed] == [20, 10]


def test_subjects_at_once_do_not_mix(driver: Driver) -> None:
    """Each is charged its own cost, whoever else asks at that moment."""
    driver.at_once([{"subject": f"key-{i}", "plan": HOUR, "tokens": i} for i in range(40)])
    left = [remaining(driver.peek(f"key-{i}", plan=HOUR))["tokens"] for i in range(40)]
    assert left == [40 - i for i in range(40)]


def test_a_reservation_settled_by_many_at_once_settles_once(home: Home) -> None:
    """Threads or tasks that race to settle all get the one settlement."""
    driver = home.open()
    held = driver.acquire("key", plan=HOUR, tokens=30)
    if isinstance(driver, SyncDriver):
        with ThreadPoolExecutor(8) as threads:
            settlements = list(threads.map(lambda tokens: held.settle(tokens=tokens), [10] * 8))
    else:
        assert isinstance(driver, AsyncDriver)
        settlements = driver.run(_settle_at_once(driver, held.to_token()))
    assert len({id(settlement) for settlement in settlements}) == 1
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 9, "tokens": 30}


async def _settle_at_once(driver: AsyncDriver, token: str) -> list[Settlement]:
    reservation = driver.limiter.resume(token)
    return list(await asyncio.gather(*[reservation.settle(tokens=10) for _ in range(8)]))


def test_more_callers_than_connections_wait_for_one(home: Home) -> None:
    """A small pool makes callers wait, not fail."""
    bounded = home.kind.name != "memory" and "cluster" not in home.kind.name
    driver = home.open(max_connections=2) if bounded else home.open()
    allowed = driver.at_once([{"subject": "key", "plan": CROWD} for _ in range(25)])
    assert allowed == [True] * 25
