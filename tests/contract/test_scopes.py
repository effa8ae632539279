"""Several scopes are one decision, on every backend."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit import ConfigError, Limit, Plan, Scope
from tests.contract.driver import Driver
from tests.contract.slow_plans import DAY, HOUR, WEEK, remaining

TEAM = Plan("Team", limits=[Limit("requests", 5, "day"), Limit("tokens", 60, "day")])
SCOPES = [Scope("org", TEAM), Scope("key", HOUR)]


def left(driver: Driver) -> list[int]:
    """Tokens left of the organisation and of the key."""
    org, key = driver.peek("org", plan=TEAM), driver.peek("key", plan=HOUR, group="org")
    return [remaining(org)["tokens"], remaining(key)["tokens"]]


def test_every_scope_is_charged(driver: Driver) -> None:
    """The standings name every limit of every scope, in the order asked."""
    held = driver.acquire(SCOPES, group="org", tokens=15)
    shown = [(standing.plan, standing.meter, standing.remaining) for standing in held.standings]
    assert shown == [
        ("Team", "requests", 4),
        ("Team", "tokens", 45),
        ("Per hour", "requests", 9),
        ("Per hour", "tokens", 25),
    ]
    assert left(driver) == [45, 25]


@pytest.mark.parametrize("exhausted", [0, 1])
def test_one_scope_that_refuses_refuses_for_all(driver: Driver, exhausted: int) -> None:
    """Whichever it is, no scope is charged, and its limit is the one that binds."""
    driver.acquire([SCOPES[exhausted]], group="org", tokens=40)
    before = left(driver)
    refused = driver.try_acquire(SCOPES, group="org", tokens=30)
    assert not refused
    assert refused.binding is refused.standings[2 * exhausted + 1]
    assert left(driver) == before


def test_a_settle_corrects_every_scope(driver: Driver) -> None:
    """What was not used comes back to all of them, and an overrun is charged to all of them."""
    driver.acquire(SCOPES, group="org", tokens=20).settle(tokens=5)
    assert left(driver) == [55, 35]
    driver.acquire(SCOPES, group="org", tokens=10).settle(tokens=12)
    assert left(driver) == [43, 23]


def test_a_scope_may_have_amounts_of_its_own(driver: Driver) -> None:
    """At the reserve and at the settle, where two plans weigh the same usage differently; others take the call's."""
    weighed = [Scope("org", TEAM), Scope("key", HOUR, amounts={"tokens": 2})]
    held = driver.acquire(weighed, group="org", tokens=20)
    assert left(driver) == [40, 38]
    held.settle_each([{"tokens": 10}, {"tokens": 1}])
    assert left(driver) == [50, 39]
    assert held.settle_each([{"tokens": 0}, {"tokens": 0}]) is held.settlement


def test_amounts_of_scopes_pass_the_same_gate(driver: Driver) -> None:
    """No poison, no meter that nobody counts, and as many as there are scopes; nothing is charged or given back."""
    asked: list[Any] = [{"tokens": -1}, {"tokens": 1.0}, {"tokenz": 1}]
    for amounts in asked:
        with pytest.raises(ConfigError):
            driver.acquire([Scope("key", HOUR, amounts=amounts)], tokens=1)
    held = driver.acquire(SCOPES, group="org", tokens=20)
    real: list[Any] = [[{"tokens": 1}], [{"tokens": 1}, {"tokens": True}], [{"tokens": 1}, {"tokenz": 1}]]
    for each in real:
        with pytest.raises(ConfigError):
            held.settle_each(each)
    assert left(driver) == [40, 20]


def test_a_scope_of_a_group_is_the_same_in_any_decision(driver: Driver) -> None:
    """Alone, in a list or by its own group, a subject in a group has one state."""
    driver.acquire("key", plan=HOUR, group="org", tokens=10)
    driver.acquire([Scope("key", HOUR, group="org")], tokens=10)
    driver.acquire(SCOPES, group="org", tokens=10)
    assert left(driver) == [50, 10]


def test_the_same_subject_in_another_group_is_another_state(driver: Driver) -> None:
    """A key that is used under two organisations has a quota in each."""
    driver.acquire("key", plan=HOUR, group="org", tokens=40)
    assert driver.try_acquire("key", plan=HOUR, group="other", tokens=40)
    assert driver.try_acquire("key", plan=HOUR, tokens=40)


def test_different_groups_in_one_decision_are_refused(driver: Driver) -> None:
    """Also where it would work (in memory, on one server): the call would break on a Cluster."""
    mixed = [Scope("org", TEAM), Scope("key", HOUR)]
    for scopes in (mixed, [Scope("a", TEAM, group="one"), Scope("b", HOUR, group="two")]):
        with pytest.raises(
            ConfigError, match=r"^the scopes of one decision live in different hash slots: give them one"
        ):
            driver.acquire(scopes, tokens=1)
    assert remaining(driver.peek("org", plan=TEAM))["tokens"] == 60


def test_the_same_subject_twice_is_refused(driver: Driver) -> None:
    """Two plans of one subject would fight over one state."""
    with pytest.raises(ConfigError, match=r"^a decision names the same subject twice"):
        driver.acquire([Scope("key", HOUR), Scope("key", DAY)], group="org")


def test_a_list_of_scopes_takes_no_plan(driver: Driver) -> None:
    """Every scope names its own; and an empty list would limit nothing."""
    with pytest.raises(ConfigError, match=r"^plan=\.\.\. goes with a single subject"):
        driver.acquire(SCOPES, plan=HOUR, group="org")
    with pytest.raises(ConfigError, match=r"^the list of scopes is empty"):
        driver.acquire([], group="org")


def test_many_scopes_are_one_decision(driver: Driver) -> None:
    """Twenty of them, all charged or none."""
    scopes = [Scope(f"part-{i}", HOUR) for i in range(20)]
    driver.acquire(scopes, group="org", tokens=30)
    driver.acquire("part-19", plan=HOUR, group="org", tokens=5)
    assert not driver.try_acquire(scopes, group="org", tokens=6)
    standings = driver.acquire(scopes, group="org", tokens=5).standings
    assert [standing.remaining for standing in standings if standing.meter == "tokens"] == [5] * 19 + [0]


def test_scopes_with_different_meters_each_take_theirs(driver: Driver) -> None:
    """A meter that only one of the plans limits is charged there."""
    scopes = [Scope("org", WEEK), Scope("key", HOUR)]
    driver.acquire(scopes, group="org", tokens=10, images=2)
    assert remaining(driver.peek("org", plan=WEEK)) == {"tokens": 890, "images": 10}
    assert remaining(driver.peek("key", plan=HOUR, group="org")) == {"requests": 9, "tokens": 30}
