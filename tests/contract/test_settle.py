"""What a settle corrects, on every backend."""

from __future__ import annotations

import pytest

from ratelimit import ConfigError, Plan
from tests.contract.driver import Driver
from tests.contract.slow_plans import HOUR, SLOW, remaining

each_plan = pytest.mark.parametrize("plan", SLOW, ids=lambda plan: plan.name)


@each_plan
def test_what_was_not_used_is_given_back(driver: Driver, plan: Plan) -> None:
    """Settling below the estimate leaves the real cost charged, and says what was returned."""
    held = driver.acquire("key", plan=plan, tokens=30)
    settlement = held.settle(tokens=10)
    assert remaining(settlement.standings) == {"requests": 9, "tokens": 30}
    assert settlement.returned == {"requests": 0, "tokens": 20}
    assert not settlement.repeated
    assert held.settlement == settlement
    assert remaining(driver.peek("key", plan=plan)) == {"requests": 9, "tokens": 30}


@each_plan
def test_what_was_used_beyond_the_estimate_is_charged(driver: Driver, plan: Plan) -> None:
    """Settling above the estimate charges the difference."""
    settlement = driver.acquire("key", plan=plan, tokens=10).settle(tokens=25)
    assert remaining(settlement.standings) == {"requests": 9, "tokens": 15}
    assert settlement.returned == {"requests": 0, "tokens": 0}


@each_plan
def test_an_overrun_stands_as_debt(driver: Driver, plan: Plan) -> None:
    """More than the bucket holds is charged all the same, and refuses until it has drained."""
    settlement = driver.acquire("key", plan=plan, tokens=10).settle(tokens=80)
    assert remaining(settlement.standings)["tokens"] == 0
    assert settlement.standings[1].reset_after == pytest.approx(settlement.standings[1].period * 2, rel=1e-3)
    refused = driver.try_acquire("key", plan=plan, tokens=40)
    assert refused.retry_after == pytest.approx(settlement.standings[1].period * 2, rel=1e-3)


@each_plan
def test_settling_at_the_estimate_changes_nothing(driver: Driver, plan: Plan) -> None:
    """The real cost equals the reserved one."""
    settlement = driver.acquire("key", plan=plan, tokens=10).settle(requests=1, tokens=10)
    assert remaining(settlement.standings) == {"requests": 9, "tokens": 30}


@each_plan
def test_meters_that_are_not_named_stay_at_the_estimate(driver: Driver, plan: Plan) -> None:
    """Settling requests leaves tokens alone, and settling nothing leaves everything."""
    held = driver.acquire("key", plan=plan, requests=4, tokens=10)
    assert remaining(held.settle(requests=1).standings) == {"requests": 9, "tokens": 30}
    other = driver.acquire("other", plan=plan, requests=4, tokens=10)
    assert remaining(other.settle(tokens=None).standings) == {"requests": 6, "tokens": 30}


@each_plan
def test_settling_twice_is_harmless(driver: Driver, plan: Plan) -> None:
    """The second settle returns the first settlement, whatever its amounts."""
    held = driver.acquire("key", plan=plan, tokens=30)
    first = held.settle(tokens=10)
    assert held.settle(tokens=40) == first
    assert held.cancel() == first
    assert remaining(driver.peek("key", plan=plan)) == {"requests": 9, "tokens": 30}


@each_plan
def test_a_cancel_gives_everything_back(driver: Driver, plan: Plan) -> None:
    """The request included."""
    held = driver.acquire("key", plan=plan, requests=3, tokens=30)
    assert remaining(held.cancel().standings) == {"requests": 10, "tokens": 40}
    assert driver.try_acquire("key", plan=plan, requests=10, tokens=40)


@each_plan
def test_reservations_settle_while_others_are_open(driver: Driver, plan: Plan) -> None:
    """In the order in which they were made, everything that was not used comes back."""
    held = [driver.acquire("key", plan=plan, tokens=amount) for amount in (5, 10, 20)]
    returned = [reservation.settle(tokens=real).returned for reservation, real in zip(held, (2, 3, 4), strict=True)]
    assert [amounts["tokens"] for amounts in returned] == [3, 7, 16]
    assert remaining(driver.peek("key", plan=plan)) == {"requests": 7, "tokens": 31}


@each_plan
def test_refunds_of_later_reservations_count_against_earlier_ones(driver: Driver, plan: Plan) -> None:
    """Newest first, no more comes back than the bound proves safe, and what does is the same on every backend."""
    held = [driver.acquire("key", plan=plan, tokens=amount) for amount in (10, 5, 20)]
    returned = [held[i].settle(tokens=0).returned["tokens"] for i in (1, 2, 0)]
    # The level was 10 after the first one; 25 have come back since, so it may have been empty in between.
    assert returned == [5, 20, 0]
    assert remaining(driver.peek("key", plan=plan)) == {"requests": 7, "tokens": 30}


@each_plan
def test_a_refund_makes_room_at_once(driver: Driver, plan: Plan) -> None:
    """What one reservation gives back, the next one can have."""
    held = driver.acquire("key", plan=plan, tokens=40)
    assert not driver.try_acquire("key", plan=plan, tokens=20)
    held.settle(tokens=20)
    assert driver.try_acquire("key", plan=plan, tokens=20)
    assert not driver.try_acquire("key", plan=plan, tokens=1)


@each_plan
def test_a_reservation_from_before_a_reset_gives_nothing_back(driver: Driver, plan: Plan) -> None:
    """What was forgotten cannot be refunded: the use after the reset stays charged."""
    before = driver.acquire("key", plan=plan, tokens=30)
    driver.reset("key")
    driver.acquire("key", plan=plan, tokens=20)
    assert before.settle(tokens=0).returned == {"requests": 0, "tokens": 0}
    assert remaining(driver.peek("key", plan=plan)) == {"requests": 9, "tokens": 20}


def test_an_overrun_after_a_reset_is_charged(driver: Driver) -> None:
    """The difference to the estimate has not been paid by anybody."""
    held = driver.acquire("key", plan=HOUR, tokens=10)
    driver.reset("key")
    assert remaining(held.settle(tokens=15).standings) == {"requests": 10, "tokens": 35}


def test_poison_does_not_settle(driver: Driver) -> None:
    """A wrong amount is a ConfigError; the reservation stays open and can be settled with the right one."""
    held = driver.acquire("key", plan=HOUR, tokens=10)
    for amount in (-1, 1.5, True, "7", 2**53 + 1):
        with pytest.raises(ConfigError, match=r"^tokens is "):
            held.settle(tokens=amount)  # type: ignore[arg-type]  # that is the point
    assert held.settlement is None
    assert remaining(held.settle(tokens=5).standings)["tokens"] == 35


def test_a_settle_of_an_unknown_meter_is_an_error(driver: Driver) -> None:
    """Its amount would be lost; the reservation stays open."""
    held = driver.acquire("key", plan=HOUR, tokens=10)
    with pytest.raises(ConfigError, match=r"^no plan of this call limits 'tokenz': .*; limited are requests, tokens$"):
        held.settle(tokenz=5)
    assert held.settlement is None


def test_the_largest_amount_saturates(driver: Driver) -> None:
    """2**53 tokens are a debt that no arithmetic loses or overflows."""
    settlement = driver.acquire("key", plan=HOUR, tokens=10).settle(tokens=2**53)
    assert remaining(settlement.standings)["tokens"] == 0
    assert not driver.try_acquire("key", plan=HOUR, tokens=1)
    assert remaining(driver.acquire("key", plan=HOUR).standings)["requests"] == 8
