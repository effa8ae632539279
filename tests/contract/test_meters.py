"""Plans with other meters and several periods, on every backend."""

from __future__ import annotations

import pytest

from ratelimit import ConfigError, Limit, Plan, RateLimited
from tests.contract.driver import Driver
from tests.contract.slow_plans import HOUR, WEEK, remaining

TIERED = Plan("Tiered", limits=[Limit("tokens", 40, "hour"), Limit("tokens", 100, "day"), Limit("tokens", 150, "week")])
SPLIT = Plan("Split", limits=[Limit("input_tokens", 100, "day"), Limit("output_tokens", 20, "day")])
WIDE = Plan("Wide", limits=[Limit(f"meter_{i}", 10 + i, "day") for i in range(64)])


def test_one_meter_may_have_several_periods(driver: Driver) -> None:
    """A cost is charged to each, and each can refuse."""
    driver.acquire("key", plan=TIERED, tokens=40)
    assert [standing.remaining for standing in driver.peek("key", plan=TIERED)] == [0, 60, 110]
    refused = driver.try_acquire("key", plan=TIERED, tokens=1)
    assert refused.binding is refused.standings[0]


def test_the_longest_wait_of_several_periods_counts(driver: Driver) -> None:
    """An overrun fills them all; retry-after is that of the slowest to make room."""
    driver.acquire("key", plan=TIERED, tokens=40).settle(tokens=150)
    hour, day, week = (standing.retry_after for standing in driver.try_acquire("key", plan=TIERED, tokens=40).standings)
    assert hour == pytest.approx(3600 * 150 / 40, rel=1e-3)
    assert day == pytest.approx(86400 * 90 / 100, rel=1e-3)
    assert week == pytest.approx(7 * 86400 * 40 / 150, rel=1e-3)
    with pytest.raises(RateLimited) as caught:
        driver.acquire("key", plan=TIERED, tokens=40)
    assert caught.value.retry_after == pytest.approx(week, rel=1e-3)


def test_the_refund_of_a_meter_is_the_least_over_its_limits(driver: Driver) -> None:
    """`returned` counts a meter once; every one of its limits gets the same back."""
    settlement = driver.acquire("key", plan=TIERED, tokens=40).settle(tokens=15)
    assert settlement.returned == {"tokens": 25}
    assert [standing.remaining for standing in settlement.standings] == [25, 85, 135]


def test_custom_meters_are_named_by_keyword(driver: Driver) -> None:
    """And are refunded and charged like any other."""
    held = driver.acquire("key", plan=WEEK, tokens=100, images=4)
    assert held.estimate == {"tokens": 100, "images": 4}
    assert remaining(held.settle(tokens=100, images=1).standings) == {"tokens": 800, "images": 11}
    refused = driver.try_acquire("key", plan=WEEK, images=12)
    assert refused.binding is not None
    assert refused.binding.meter == "images"


def test_input_and_output_tokens_are_meters_of_their_own(driver: Driver) -> None:
    """One can be used up while the other has room."""
    driver.acquire("key", plan=SPLIT, input_tokens=10, output_tokens=20)
    assert not driver.try_acquire("key", plan=SPLIT, output_tokens=1)
    assert remaining(driver.acquire("key", plan=SPLIT, input_tokens=90).standings) == {
        "input_tokens": 0,
        "output_tokens": 0,
    }


def test_standard_meters_that_the_plan_does_not_limit_are_not_counted(driver: Driver) -> None:
    """A caller may name requests and all kinds of tokens whatever the plan."""
    held = driver.acquire("key", plan=HOUR, input_tokens=10**9, output_tokens=10**9, tokens=10)
    assert remaining(held.settle(input_tokens=1, output_tokens=2, tokens=5).standings) == {"requests": 9, "tokens": 35}


def test_a_meter_that_no_plan_limits_is_an_error(driver: Driver) -> None:
    """A misspelt meter would never be counted."""
    for verb in (driver.acquire, driver.try_acquire, driver.peek):
        with pytest.raises(
            ConfigError, match=r"^no plan of this call limits 'imagse': .*; limited are images, tokens$"
        ):
            verb("key", plan=WEEK, imagse=1)


def test_a_plan_of_64_limits_is_one_decision(driver: Driver) -> None:
    """As many as a scope can have; one that is full refuses the whole cost."""
    costs = {f"meter_{i}": i for i in range(64)}
    driver.acquire("key", plan=WIDE, **costs)
    assert [standing.remaining for standing in driver.peek("key", plan=WIDE)] == [10] * 64
    assert not driver.try_acquire("key", plan=WIDE, **{**dict.fromkeys(costs, 10), "meter_63": 11})
    held = driver.acquire("key", plan=WIDE, **dict.fromkeys(costs, 10))
    settled = held.settle(**dict.fromkeys(costs, 3))
    assert [standing.remaining for standing in settled.standings] == [7] * 64


@pytest.mark.parametrize(
    "limit",
    [
        Limit("tokens", 100_000_007, "day"),
        Limit("tokens", 7, "366 days"),
        Limit("tokens", 604_800_000_000, "week"),
        Limit("tokens", 1, "ms", burst=1_000_000_000),
    ],
    ids=str,
)
def test_limits_of_any_size_count_exactly(driver: Driver, limit: Limit) -> None:
    """Primes, years, large amounts and coarse ticks: the last token of the burst fits, and comes back."""
    plan = Plan("Odd", limits=[limit])
    held = driver.acquire("key", plan=plan, requests=0, tokens=limit.burst)
    assert held.standings[0].remaining == 0
    assert held.settle(tokens=0).standings[0].remaining == limit.burst
