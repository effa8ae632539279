"""Promises of `ratelimit.replay.engine`."""

from __future__ import annotations

import re

import pytest

from ratelimit import BackendError, ConfigError, Plan, Standing
from ratelimit.replay.engine import ExpiryGuard, open_limiter
from ratelimit.testing import ManualClock


def stored(reset_after_us: int) -> list[Standing]:
    """What the server keeps, drained after this long."""
    limit = {"plan": "P", "meter": "requests", "amount": 1, "period": 60.0, "burst": 1, "remaining": 0}
    return [
        Standing(**limit, reset_after_us=0, retry_after_us=0),  # type: ignore[arg-type]
        Standing(**limit, reset_after_us=reset_after_us, retry_after_us=0),  # type: ignore[arg-type]
    ]


class Stopwatch:
    """Seconds of real time, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_clock_given_is_the_only_one() -> None:
    """A limiter of a replay refuses for as long as its clock stands, and admits when it has moved."""
    clock = ManualClock()
    plan = Plan("One", rpm=1)
    with open_limiter("memory://", clock) as limiter:
        assert limiter.try_acquire("a", plan=plan)
        assert not limiter.try_acquire("a", plan=plan)
        clock.advance(seconds=60)
        assert limiter.try_acquire("a", plan=plan)


@pytest.mark.parametrize("url", ["http://x", "redis://user:hunter2@host:abc/0", "redis://[::1", "redis+sentinel://h"])
def test_a_wrong_url_is_a_config_error_without_secrets(url: str) -> None:
    """Whatever is wrong with a backend URL is a ConfigError that does not show it."""
    with pytest.raises(ConfigError, match="URL") as raised, open_limiter(url, ManualClock()):
        pass
    assert not re.search("hunter2|abc", str(raised.value))


def test_the_guard_lets_a_replay_pass_that_is_ahead_of_real_time() -> None:
    """Keys that expire too late change nothing, nor those that have drained in virtual time as well."""
    seconds = Stopwatch()
    guard = ExpiryGuard(seconds)
    guard.calling()
    guard.answered("a", 0, stored(2_000_000))
    seconds.now += 1.0
    guard.answered("a", 50_000_000, ())
    guard.answered("b", 0, ())
    seconds.now += 10.0
    guard.answered("a", 50_000_000, ())
    guard.answered("a", 2_000_000, ())


def test_the_guard_stops_a_replay_that_real_time_overtakes() -> None:
    """A key that may have expired while it still holds use, by the earliest reckoning, is a BackendError."""
    seconds = Stopwatch()
    guard = ExpiryGuard(seconds)
    guard.calling()
    seconds.now += 0.5  # the server took its time, and may have stored at the start of it
    guard.answered("a", 0, stored(2_000_000))
    seconds.now += 1.4
    guard.answered("a", 1_000_000, ())
    seconds.now += 0.1
    with pytest.raises(BackendError, match=r"lower --speed, or replay on memory://$"):
        guard.answered("a", 1_999_999, ())
