"""A subject whose plan changes keeps its use, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice

import pytest

from ratelimit import Limit, Plan
from tests.contract.driver import Driver
from tests.contract.slow_plans import remaining, slow_plan

SMALL = slow_plan("day", requests=10, tokens=40)
LARGE = slow_plan("day", requests=20, tokens=400)
ODD = Plan("Odd", limits=[Limit("requests", 11, "day"), Limit("tokens", 37, "day")])
MORE = Plan("More", limits=[Limit("requests", 10, "day"), Limit("tokens", 40, "day"), Limit("images", 5, "day")])
LESS = Plan("Less", limits=[Limit("tokens", 40, "day")])
TURNED = Plan("Turned", limits=[Limit("tokens", 40, "day"), Limit("requests", 10, "day")])


def test_an_upgrade_keeps_the_amount_used(driver: Driver) -> None:
    """30 tokens used are 30 tokens used, of 400 now."""
    driver.acquire("key", plan=SMALL, tokens=30)
    assert remaining(driver.acquire("key", plan=LARGE, tokens=100).standings) == {"requests": 18, "tokens": 270}


def test_a_downgrade_keeps_the_amount_used(driver: Driver) -> None:
    """More than the new plan holds has to drain first, at the new rate."""
    driver.acquire("key", plan=LARGE, tokens=100)
    refused = driver.try_acquire("key", plan=SMALL, tokens=10)
    assert remaining(refused.standings) == {"requests": 9, "tokens": 0}
    assert refused.retry_after == pytest.approx(86400 * 70 / 40, rel=1e-3)


def test_a_refused_plan_change_changes_nothing(driver: Driver) -> None:
    """Asking under another plan and being refused leaves the state as it was."""
    driver.acquire("key", plan=LARGE, tokens=100)
    assert not driver.try_acquire("key", plan=SMALL, tokens=10)
    assert remaining(driver.peek("key", plan=LARGE)) == {"requests": 19, "tokens": 300}


def test_a_new_meter_starts_empty(driver: Driver) -> None:
    """The meters that were there keep their use."""
    driver.acquire("key", plan=SMALL, tokens=30)
    held = driver.acquire("key", plan=MORE, tokens=5, images=2)
    assert remaining(held.standings) == {"requests": 8, "tokens": 5, "images": 3}


def test_a_meter_that_is_gone_comes_back_with_its_use(driver: Driver) -> None:
    """Dropping a limit for a moment does not wash its debt away."""
    driver.acquire("key", plan=SMALL, requests=4, tokens=10)
    assert remaining(driver.acquire("key", plan=LESS, tokens=10).standings) == {"tokens": 20}
    assert remaining(driver.acquire("key", plan=SMALL, tokens=10).standings) == {"requests": 5, "tokens": 10}


def test_the_order_of_limits_does_not_matter(driver: Driver) -> None:
    """Buckets are found by meter and period."""
    driver.acquire("key", plan=SMALL, requests=4, tokens=10)
    assert remaining(driver.acquire("key", plan=TURNED, tokens=5).standings) == {"requests": 5, "tokens": 25}


def _alternating() -> Iterator[Plan]:
    return islice(cycle([SMALL, LARGE, ODD, MORE, TURNED]), 10)


def test_alternating_plans_count_every_use(driver: Driver) -> None:
    """Two workers with different plan files cannot make use vanish by taking turns; rounding favours the limit."""
    for plan in _alternating():
        driver.acquire("key", plan=plan, tokens=3)
    left = remaining(driver.peek("key", plan=LARGE))
    assert 370 - 10 <= left["tokens"] <= 370
    assert 10 - 1 <= left["requests"] <= 10


def test_a_settle_after_an_upgrade_gives_nothing_back(driver: Driver) -> None:
    """The refund was measured in numbers that no longer hold; the use stays charged."""
    held = driver.acquire("key", plan=SMALL, tokens=30)
    driver.acquire("key", plan=LARGE, tokens=0)
    held.settle(tokens=10)
    assert remaining(driver.peek("key", plan=LARGE)) == {"requests": 18, "tokens": 370}


def test_an_overrun_after_an_upgrade_is_charged(driver: Driver) -> None:
    """In tokens, under whatever plan the subject has now; settling does not change the plan back."""
    held = driver.acquire("key", plan=SMALL, tokens=30)
    driver.acquire("key", plan=LARGE, tokens=0)
    settlement = held.settle(tokens=50)
    assert settlement.standings[1].plan == "Per day"
    assert remaining(driver.peek("key", plan=LARGE)) == {"requests": 18, "tokens": 350}


def test_an_overrun_of_a_meter_that_is_gone_is_charged(driver: Driver) -> None:
    """It stands when the meter comes back."""
    held = driver.acquire("key", plan=MORE, tokens=5, images=1)
    driver.acquire("key", plan=SMALL, tokens=5)
    held.settle(tokens=5, images=4)
    assert remaining(driver.peek("key", plan=MORE)) == {"requests": 8, "tokens": 30, "images": 1}


def test_a_renamed_plan_with_the_same_limits_is_no_change(driver: Driver) -> None:
    """Refunds survive: only the numbers count, not the name."""
    renamed = Plan("Renamed", limits=SMALL.limits)
    held = driver.acquire("key", plan=SMALL, tokens=30)
    driver.acquire("key", plan=renamed, tokens=5)
    assert held.settle(tokens=10).returned["tokens"] == 20
    assert remaining(driver.peek("key", plan=renamed)) == {"requests": 8, "tokens": 25}
