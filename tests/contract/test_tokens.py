"""A reservation as text is settled once overall, by whoever comes first, on every backend."""

from __future__ import annotations

import pytest

from ratelimit import ConfigError, Plan, Scope
from tests.contract.homes import Home
from tests.contract.slow_plans import HOUR, SLOW, remaining

each_plan = pytest.mark.parametrize("plan", SLOW, ids=lambda plan: plan.name)


@each_plan
def test_another_limiter_settles_it(home: Home, plan: Plan) -> None:
    """It knows the estimate from the token, and gives back what the first one could."""
    here, there = home.open(), home.open()
    token = here.acquire("key", plan=plan, tokens=30).to_token()
    resumed = there.resume(token)
    assert resumed.estimate == {"requests": 1, "tokens": 30}
    assert remaining(resumed.standings) == {"requests": 9, "tokens": 10}
    settlement = resumed.settle(tokens=10)
    assert not settlement.repeated
    assert settlement.returned == {"requests": 0, "tokens": 20}
    assert remaining(here.peek("key", plan=plan)) == {"requests": 9, "tokens": 30}


@each_plan
def test_it_settles_once_overall(home: Home, plan: Plan) -> None:
    """The settles that come later, here or there, are told that it had been done, and change nothing."""
    here, there = home.open(), home.open()
    held = here.acquire("key", plan=plan, tokens=30)
    token = held.to_token()
    there.resume(token).settle(tokens=10)
    late = [held.settle(tokens=40), there.resume(token).settle(tokens=0), here.resume(token).cancel()]
    for settlement in late:
        assert settlement.repeated
        assert settlement.returned == {"requests": 0, "tokens": 0}
        assert remaining(settlement.standings) == {"requests": 9, "tokens": 30}
    assert remaining(here.peek("key", plan=plan)) == {"requests": 9, "tokens": 30}


@each_plan
def test_a_block_left_at_the_estimate_settles_for_all(home: Home, plan: Plan) -> None:
    """Once a token is out, the estimate has to be told to the backend, or a copy could settle differently."""
    here, there = home.open(), home.open()
    with here.acquire("key", plan=plan, tokens=30) as held:
        token = held.to_token()
    assert there.resume(token).settle(tokens=0).repeated
    assert remaining(here.peek("key", plan=plan)) == {"requests": 9, "tokens": 10}


def test_several_scopes_travel_together(home: Home) -> None:
    """A token holds every scope of its decision."""
    here, there = home.open(), home.open()
    scopes = [Scope("org", HOUR), Scope("key", HOUR)]
    token = here.acquire(scopes, group="org", tokens=30).to_token()
    there.resume(token).settle(tokens=10)
    assert remaining(here.peek("org", plan=HOUR)) == {"requests": 9, "tokens": 30}
    assert remaining(here.peek("key", plan=HOUR, group="org")) == {"requests": 9, "tokens": 30}


def test_another_secret_does_not_open_it(home: Home) -> None:
    """Workers that share reservations share the secret; the token stays good for those who do."""
    ours, theirs = home.open(secret="ours"), home.open(secret="theirs")
    token = ours.acquire("key", plan=HOUR, tokens=30).to_token()
    with pytest.raises(ConfigError, match=r"^the reservation was changed, or sealed with another secret"):
        theirs.resume(token)
    assert not ours.resume(token).settle(tokens=10).repeated


def test_a_token_shows_neither_subject_nor_secret(home: Home) -> None:
    """It may be logged or queued without giving an API key away."""
    from base64 import urlsafe_b64decode

    token = home.open(secret="s3cret").acquire("sk-live-1", plan=HOUR, group="org-1").to_token()
    payload = urlsafe_b64decode(token.split(".")[1] + "===")
    for hidden in (b"sk-live-1", b"org-1", b"s3cret"):
        assert hidden not in payload
