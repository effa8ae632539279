"""Looking without charging, and forgetting, on every backend."""

from __future__ import annotations

import pytest

from ratelimit import CostExceedsLimit, Plan, Scope
from tests.contract.driver import Driver
from tests.contract.homes import Home
from tests.contract.slow_plans import DAY, HOUR, SLOW, remaining

each_plan = pytest.mark.parametrize("plan", SLOW, ids=lambda plan: plan.name)


def test_a_peek_charges_nothing(home: Home) -> None:
    """However often, with whatever cost; nothing is stored either."""
    driver = home.open()
    for _ in range(3):
        standings = driver.peek("key", plan=HOUR, requests=5, tokens=40)
        assert remaining(standings) == {"requests": 10, "tokens": 40}
        assert [standing.reset_after for standing in standings] == [0, 0]
    assert home.keys() == {}


@each_plan
def test_a_peek_says_when_a_cost_would_fit(driver: Driver, plan: Plan) -> None:
    """Per limit: 0 where it fits now, else what an acquire would be told."""
    driver.acquire("key", plan=plan, tokens=30)
    requests, tokens = driver.peek("key", plan=plan, requests=1, tokens=20)
    assert requests.retry_after == 0
    assert tokens.retry_after == pytest.approx(tokens.period / 4, rel=1e-3)
    refused = driver.try_acquire("key", plan=plan, tokens=20)
    assert 0 <= tokens.retry_after - refused.retry_after < 60


@each_plan
def test_a_peek_sees_what_an_acquire_left(driver: Driver, plan: Plan) -> None:
    """The standings are those of the acquire, a moment later."""
    held = driver.acquire("key", plan=plan, tokens=30)
    peeked = driver.peek("key", plan=plan)
    assert remaining(peeked) == remaining(held.standings)
    for before, after in zip(held.standings, peeked, strict=True):
        assert 0 <= before.reset_after - after.reset_after < 60


def test_a_peek_of_a_cost_that_never_fits_is_an_error(driver: Driver) -> None:
    """As for an acquire."""
    with pytest.raises(CostExceedsLimit):
        driver.peek("key", plan=HOUR, tokens=41)


def test_a_peek_spans_scopes(driver: Driver) -> None:
    """Every limit of every scope, in the order asked."""
    scopes = [Scope("org", DAY), Scope("key", HOUR)]
    driver.acquire(scopes, group="org", tokens=5)
    shown = [(standing.plan, standing.remaining) for standing in driver.peek(scopes, group="org")]
    assert shown == [("Per day", 9), ("Per day", 35), ("Per hour", 9), ("Per hour", 35)]


@each_plan
def test_a_reset_forgets_what_was_used(driver: Driver, plan: Plan) -> None:
    """And says whether there was anything to forget."""
    assert driver.reset("key") is False
    driver.acquire("key", plan=plan, requests=10, tokens=40)
    assert driver.reset("key") is True
    assert driver.try_acquire("key", plan=plan, requests=10, tokens=40)


def test_a_reset_forgets_debt(driver: Driver) -> None:
    """An operator can forgive an overrun."""
    driver.acquire("key", plan=HOUR, tokens=10).settle(tokens=1_000_000)
    driver.reset("key")
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 10, "tokens": 40}


def test_a_reset_touches_one_subject(driver: Driver) -> None:
    """Others, and the same subject in another group, keep their use."""
    for subject, group in (("key", None), ("key", "org"), ("other", None)):
        driver.acquire(subject, plan=HOUR, group=group, tokens=10)
    assert driver.reset("key", group="org") is True
    left = [
        driver.peek(subject, plan=HOUR, group=group)[1].remaining for subject, group in (("key", None), ("other", None))
    ]
    assert left == [30, 30]
    assert driver.peek("key", plan=HOUR, group="org")[1].remaining == 40
