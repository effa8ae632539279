"""What the servers see: keys, lifetimes, round trips, lost scripts. On every way to a real server."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit import Limit, Plan, Scope
from tests.contract.homes import Home
from tests.contract.slow_plans import DAY, HOUR, remaining
from tests.servers import eventually

SUBJECT = "sk-live-0123456789"
SCOPES = [Scope("org-acme", DAY), Scope(SUBJECT, HOUR)]


def use(home: Home) -> None:
    """Leave a key of every kind behind."""
    driver = home.open()
    driver.acquire(SUBJECT, plan=HOUR, tokens=20).settle(tokens=10)
    driver.acquire(SCOPES, group="org-acme", tokens=10).settle(tokens=30)
    driver.acquire(SUBJECT, plan=DAY, tokens=1)


def test_every_key_has_a_lifetime_and_the_prefix(redis_home: Home) -> None:
    """Nothing stays for ever: states go when they have drained, pages with the retry window."""
    use(redis_home)
    keys = redis_home.keys()
    records = 2 if redis_home.kind.name == "together" else 0
    assert len(keys) == 5 + records
    for key, node in keys.items():
        assert key.startswith(f"{redis_home.prefix}1:{{")
        assert 0 < node.pttl(key) <= (86_400_000 if node.type(key) == b"string" else 40_000)


def test_no_subject_is_on_the_server(redis_home: Home) -> None:
    """Neither keys nor values hold a byte of what the caller named."""
    use(redis_home)
    for key, node in redis_home.keys().items():
        untyped: Any = node
        stored = untyped.get(key) if node.type(key) == b"string" else repr(untyped.hgetall(key)).encode()
        for name in (SUBJECT, "org-acme", "Per"):
            assert name not in key
            assert name.encode() not in stored


def test_a_state_lives_until_it_has_drained(redis_home: Home) -> None:
    """The lifetime of a key is the drain time of its slowest bucket, debt included."""
    driver = redis_home.open()
    held = driver.acquire("key", plan=HOUR, tokens=20)
    (state,) = [key for key, node in redis_home.keys().items() if node.type(key) == b"string"]
    node = redis_home.keys()[state]
    assert node.pttl(state) == pytest.approx(1_800_000, abs=60_000)
    held.settle(tokens=80)
    assert node.pttl(state) == pytest.approx(7_200_000, abs=60_000)


def test_one_decision_is_one_evalsha(redis_home: Home) -> None:
    """And so are a settlement, a refusal, a peek and a reset; no script is sent or loaded once the server knows it."""
    driver = redis_home.open()
    for plan in (HOUR, DAY):
        held = driver.acquire("key", plan=plan, tokens=1)
        held.settle(tokens=0)
        driver.peek("key", plan=plan)
        driver.reset("key")
    scripts = {name: redis_home.calls(name) for name in ("evalsha", "eval", "script|load", "script")}

    held = driver.acquire("key", plan=HOUR, tokens=40)
    assert redis_home.calls("evalsha") == scripts["evalsha"] + 1
    held.settle(tokens=30)
    assert redis_home.calls("evalsha") == scripts["evalsha"] + 2
    assert not driver.try_acquire("key", plan=HOUR, tokens=40)
    assert redis_home.calls("evalsha") == scripts["evalsha"] + 3
    driver.peek("key", plan=HOUR)
    driver.reset("key")
    assert redis_home.calls("evalsha") == scripts["evalsha"] + 5
    for name in ("eval", "script|load", "script"):
        assert redis_home.calls(name) == scripts[name]


def test_leaving_a_block_at_the_estimate_is_no_round_trip(redis_home: Home) -> None:
    """What is charged already needs no settlement."""
    driver = redis_home.open()
    driver.acquire("key", plan=HOUR)
    before = redis_home.calls("evalsha")
    with driver.acquire("key", plan=HOUR, tokens=1):
        pass
    assert redis_home.calls("evalsha") == before + 1


def test_a_flushed_script_is_sent_again(redis_home: Home) -> None:
    """NOSCRIPT between any two calls is invisible, and nothing is charged twice."""
    driver = redis_home.open()
    for _ in range(3):
        for node in redis_home.nodes:
            node.script_flush()
        held = driver.acquire("key", plan=HOUR, tokens=10)
        for node in redis_home.nodes:
            node.script_flush()
        held.settle(tokens=5)
    for node in redis_home.nodes:
        node.script_flush()
    assert remaining(driver.peek("key", plan=HOUR)) == {"requests": 7, "tokens": 25}


def test_keys_of_one_decision_share_a_slot(redis_home: Home) -> None:
    """The group's digest is the hash tag of every key."""
    redis_home.open().acquire(SCOPES, group="org-acme", tokens=10)
    tags = {key[key.index("{") : key.index("}")] for key in list(redis_home.keys())}
    assert len(tags) == 1


def test_a_drained_state_is_gone(redis_home: Home) -> None:
    """A key that means nothing any more has no lifetime left: a millisecond's plan is forgotten in a millisecond."""
    driver = redis_home.open()
    driver.acquire("key", plan=Plan("Brief", limits=[Limit("requests", 1_000, "second")]))
    eventually(lambda: not [k for k, node in redis_home.keys().items() if node.type(k) == b"string"])


def test_tasks_of_one_subject_share_calls(redis_home: Home) -> None:
    """On a Cluster too, where a call holds one hash slot. Whatever the plan: by the express lane, or as a batch."""
    if not redis_home.kind.is_async or redis_home.kind.name == "leases":
        pytest.skip("of tasks, without leases")
    driver = redis_home.open()
    wide = Plan("Wide", limits=[Limit("requests", 1_000, "day"), Limit("tokens", 1_000, "day")])
    for plan in (wide, Plan("Narrow", limits=[Limit("requests", 30, 60), Limit("tokens", 600, 60)])):
        asked = [{"subject": SUBJECT, "plan": plan} for _ in range(20)]
        driver.at_once(asked)  # the server learns the script
        before = redis_home.calls("evalsha")
        assert all(driver.at_once(asked[:10]))
        assert redis_home.calls("evalsha") - before <= 3
