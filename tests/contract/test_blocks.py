"""Leaving a `with` block settles the reservation, on every backend."""

from __future__ import annotations

import pytest

from ratelimit import Plan
from tests.contract.driver import Driver
from tests.contract.slow_plans import HOUR, SLOW, remaining

each_plan = pytest.mark.parametrize("plan", SLOW, ids=lambda plan: plan.name)


class UpstreamError(Exception):
    """What the block raises."""


def test_a_block_left_normally_keeps_the_estimate(driver: Driver) -> None:
    """Without a settle, what was reserved is what was used."""
    with driver.acquire("key", plan=HOUR, tokens=15) as held:
        assert held.settlement is None
    assert held.settlement is not None
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 9, "tokens": 25}


def test_a_settle_after_the_block_comes_too_late(driver: Driver) -> None:
    """Leaving the block has settled it."""
    with driver.acquire("key", plan=HOUR, tokens=15) as held:
        pass
    held.settle(tokens=1)
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 9, "tokens": 25}


@each_plan
@pytest.mark.parametrize(
    ("on_error", "left"),
    [
        (None, {"requests": 8, "tokens": 40}),
        ("refund_tokens", {"requests": 8, "tokens": 40}),
        ("refund", {"requests": 10, "tokens": 40}),
        ("keep", {"requests": 8, "tokens": 25}),
    ],
)
def test_an_exception_refunds_what_on_error_says(
    driver: Driver, plan: Plan, on_error: str | None, left: dict[str, int]
) -> None:
    """Tokens unless told otherwise; the exception itself passes through."""
    options = {} if on_error is None else {"on_error": on_error}
    with pytest.raises(UpstreamError), driver.acquire("key", plan=plan, requests=2, tokens=15, **options):
        raise UpstreamError
    assert remaining(driver.peek("key", plan=plan)) == left


@pytest.mark.parametrize("on_error", ["refund_tokens", "refund", "keep"])
def test_an_exception_after_a_settle_changes_nothing(driver: Driver, on_error: str) -> None:
    """What was settled in the block stays."""
    held = driver.acquire("key", plan=HOUR, tokens=15, on_error=on_error)
    held.settle(tokens=5)
    with pytest.raises(UpstreamError), held:
        raise UpstreamError
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 9, "tokens": 35}


def test_a_resumed_reservation_obeys_its_own_on_error(driver: Driver) -> None:
    """`resume` takes the choice anew: it is the block there that fails."""
    token = driver.acquire("key", plan=HOUR, requests=2, tokens=15).to_token()
    with pytest.raises(UpstreamError), driver.resume(token, on_error="refund"):
        raise UpstreamError
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 10, "tokens": 40}
