"""What a reserve charges, answers and refuses, on every backend."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit import ConfigError, CostExceedsLimit, Plan, RateLimited
from tests.contract.driver import Driver
from tests.contract.slow_plans import DAY, HOUR, SLOW, remaining

each_plan = pytest.mark.parametrize("plan", SLOW, ids=lambda plan: plan.name)


@each_plan
def test_an_acquire_charges_its_cost(driver: Driver, plan: Plan) -> None:
    """Every standing shows what is left after the cost, in the order of the plan."""
    held = driver.acquire("key", plan=plan, tokens=15)
    assert [(standing.meter, standing.remaining) for standing in held.standings] == [("requests", 9), ("tokens", 25)]
    assert held.estimate == {"requests": 1, "tokens": 15}
    assert remaining(driver.acquire("key", plan=plan, requests=2, tokens=5).standings) == {"requests": 7, "tokens": 20}


@each_plan
def test_a_standing_describes_its_limit(driver: Driver, plan: Plan) -> None:
    """Plan, amount, period and burst are the plan's, and it takes as long to drain as the charge is worth."""
    _, tokens = driver.acquire("key", plan=plan, tokens=20).standings
    assert (tokens.plan, tokens.amount, tokens.burst) == (plan.name, 40, 40)
    assert tokens.period == {"Per hour": 3600.0, "Per day": 86400.0}[plan.name]
    assert tokens.retry_after == 0
    assert tokens.reset_after == pytest.approx(tokens.period / 2, rel=1e-6)


@each_plan
def test_subjects_do_not_share(driver: Driver, plan: Plan) -> None:
    """What one subject uses, another one still has."""
    driver.acquire("one", plan=plan, tokens=40)
    assert remaining(driver.acquire("other", plan=plan, tokens=1).standings) == {"requests": 9, "tokens": 39}


@each_plan
def test_a_refusal_is_an_exception_that_carries_the_decision(driver: Driver, plan: Plan) -> None:
    """`acquire` raises RateLimited with the limit that binds and the time until the cost fits."""
    driver.acquire("key", plan=plan, tokens=30)
    with pytest.raises(RateLimited) as caught:
        driver.acquire("key", plan=plan, tokens=20)
    decision = caught.value.decision
    assert not decision.allowed
    assert decision.reservation is None
    assert decision.binding is decision.standings[1]
    # 10 of the 40 tokens of a period are missing.
    assert caught.value.retry_after == pytest.approx(decision.binding.period / 4, rel=1e-3)
    assert str(caught.value).startswith(f"tokens of plan {plan.name!r} are used up")


@each_plan
def test_a_refusal_is_a_value(driver: Driver, plan: Plan) -> None:
    """`try_acquire` returns what `acquire` would raise, and a reservation when it would not."""
    allowed = driver.try_acquire("key", plan=plan, tokens=40)
    assert allowed
    assert allowed.binding is None
    assert allowed.retry_after == 0
    assert allowed.reservation is not None
    refused = driver.try_acquire("key", plan=plan, tokens=40)
    assert not refused
    assert refused.reservation is None
    assert refused.retry_after == pytest.approx(refused.standings[1].period, rel=1e-3)


@each_plan
def test_a_refusal_charges_nothing(driver: Driver, plan: Plan) -> None:
    """A cost that does not fit in one bucket is charged to none, and its standings are without it."""
    driver.acquire("key", plan=plan, tokens=35)
    refused = driver.try_acquire("key", plan=plan, requests=3, tokens=6)
    assert remaining(refused.standings) == {"requests": 9, "tokens": 5}
    assert remaining(driver.peek("key", plan=plan)) == {"requests": 9, "tokens": 5}


@each_plan
def test_a_bucket_can_be_used_up_exactly(driver: Driver, plan: Plan) -> None:
    """The last token fits, one more does not."""
    driver.acquire("key", plan=plan, tokens=39)
    assert driver.try_acquire("key", plan=plan, tokens=1)
    assert not driver.try_acquire("key", plan=plan, tokens=1)


@each_plan
def test_the_limit_that_binds_longest_is_named(driver: Driver, plan: Plan) -> None:
    """When two limits refuse, retry-after is that of the one that takes longer."""
    driver.acquire("key", plan=plan, requests=10, tokens=40)
    refused = driver.try_acquire("key", plan=plan, requests=5, tokens=4)
    requests, tokens = refused.standings
    assert refused.binding is requests
    assert requests.retry_after == pytest.approx(requests.period / 2, rel=1e-3)
    assert tokens.retry_after == pytest.approx(tokens.period / 10, rel=1e-3)
    assert refused.retry_after == requests.retry_after


def test_a_cost_that_can_never_fit_is_another_error(driver: Driver) -> None:
    """CostExceedsLimit names the limit, and nothing was charged."""
    with pytest.raises(CostExceedsLimit, match=r"^tokens=41 can never fit: plan 'Per day' holds at most 40 ") as caught:
        driver.acquire("key", plan=DAY, tokens=41)
    assert (caught.value.meter, caught.value.cost, caught.value.burst) == ("tokens", 41, 40)
    with pytest.raises(CostExceedsLimit):
        driver.try_acquire("key", plan=DAY, tokens=2**53)
    assert remaining(driver.peek("key", plan=DAY)) == {"requests": 10, "tokens": 40}


@each_plan
def test_a_zero_cost_is_admitted_by_a_full_bucket(driver: Driver, plan: Plan) -> None:
    """A limit is not asked for what is not used: only the meters with a cost have to fit."""
    driver.acquire("key", plan=plan, tokens=40)
    assert remaining(driver.acquire("key", plan=plan, tokens=0).standings) == {"requests": 8, "tokens": 0}
    assert driver.try_acquire("key", plan=plan, requests=0, tokens=0)


@each_plan
def test_a_zero_cost_is_admitted_by_a_bucket_in_debt(driver: Driver, plan: Plan) -> None:
    """An overrun stands as debt: it refuses tokens, not calls that cost none."""
    driver.acquire("key", plan=plan, tokens=10).settle(tokens=100)
    assert remaining(driver.acquire("key", plan=plan, tokens=0).standings) == {"requests": 8, "tokens": 0}
    refused = driver.try_acquire("key", plan=plan, tokens=1)
    # 61 of 40 tokens are too many.
    assert refused.retry_after == pytest.approx(refused.standings[1].period * 61 / 40, rel=1e-3)


def test_poison_does_not_pass_the_gate(driver: Driver) -> None:
    """Anything but a whole number from 0 to 2**53 is a ConfigError and charges nothing."""
    for amount in (-1, 1.0, True, "1", None, 2**53 + 1, float("nan"), 10**400):
        with pytest.raises(ConfigError, match=r"^tokens is .*: must be a whole number \(int\) from 0 to 2\*\*53$"):
            driver.acquire("key", plan=HOUR, tokens=amount)
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 10, "tokens": 40}


_MISTAKES: list[tuple[Any, dict[str, object], str]] = [
    ("key", {}, r"^no plan given"),
    ("", {"plan": HOUR}, r"^subject is 0 characters"),
    (b"key", {"plan": HOUR}, r"^the first argument is bytes"),
    ("key", {"plan": "Nonsense"}, r"^plan 'Nonsense': no such plan"),
    ("key", {"plan": HOUR, "on_error": "give"}, r"^on_error is 'give': must be one of refund_tokens, "),
    ("key", {"plan": HOUR, "timeout": -1}, r"^timeout is -1: must be seconds from 0 to 86,400"),
    ("key", {"plan": HOUR, "timeout": float("nan")}, r"^timeout is nan: "),
]


def test_a_call_that_cannot_be_right_is_a_config_error(driver: Driver) -> None:
    """Whatever the state of the buckets, from both verbs."""
    for subject, options, message in _MISTAKES:
        for verb in (driver.acquire, driver.try_acquire):
            with pytest.raises(ConfigError, match=message):
                verb(subject, **options)


def test_builtin_plans_are_found_in_any_spelling(driver: Driver) -> None:
    """All spellings of a name are one plan, on one state."""
    driver.acquire("key", plan="MAX 20X", requests=1_200)
    refused = driver.try_acquire("key", plan="max-20x", requests=1_200)
    assert not refused
    assert refused.standings[0].plan == "MAX 20X"
