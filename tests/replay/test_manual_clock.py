"""Promises of `ratelimit.testing`."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from ratelimit import ConfigError, Limiter, Plan, RateLimited
from ratelimit.backends.memory import MemoryBackend
from ratelimit.testing import ManualClock


def test_it_stands_still_until_it_is_advanced() -> None:
    """Time passes by exactly what `advance` was told, in either unit, and `advance` returns the new time."""
    clock = ManualClock(100)
    assert (clock(), clock()) == (100, 100)
    assert clock.advance(us=5) == clock() == 105
    assert clock.advance(seconds=1.5) == clock() == 1_500_105


def test_set_goes_anywhere() -> None:
    """`set` moves the time back as well as forward."""
    clock = ManualClock()
    clock.set(7)
    assert clock() == 7


def test_it_drives_the_memory_backend() -> None:
    """A limiter on it refuses until the clock was advanced by the retry-after, and admits then."""
    clock = ManualClock()
    limiter = Limiter(MemoryBackend(clock=clock))
    plan = Plan("One", rpm=1)
    limiter.acquire("a", plan=plan)
    with pytest.raises(RateLimited) as refused:
        limiter.acquire("a", plan=plan)
    clock.advance(us=refused.value.decision.retry_after_us - 1)
    assert not limiter.try_acquire("a", plan=plan)
    clock.advance(us=1)
    assert limiter.try_acquire("a", plan=plan)


def test_no_step_is_lost_between_threads() -> None:
    """Concurrent advances add up."""
    clock = ManualClock(0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: clock.advance(us=1), range(1_000)))
    assert clock() == 1_000


@pytest.mark.parametrize("us", [-1, 2**52 + 1, 1.0, True, "0"])
def test_times_out_of_range_are_refused(us: int) -> None:
    """A start or a `set` that the scripts could not count exactly raises ConfigError."""
    with pytest.raises(ConfigError, match=re.escape("must be whole microseconds from 0 to 2**52")):
        ManualClock(us)
    with pytest.raises(ConfigError, match=re.escape("must be whole microseconds from 0 to 2**52")):
        ManualClock().set(us)


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        ({}, "either"),
        ({"seconds": 1, "us": 1}, "either"),
        ({"us": -1}, "from 0"),
        ({"us": 1.0}, "whole number"),
        ({"seconds": -0.1}, "from 0"),
        ({"seconds": float("nan")}, "finite"),
        ({"seconds": float("inf")}, "finite"),
        ({"seconds": True}, "finite"),
    ],
)
def test_steps_that_are_no_step_are_refused(step: dict[str, float], rule: str) -> None:
    """Advancing by nothing, by both units, backwards or by no number raises ConfigError and leaves the time alone."""
    clock = ManualClock(5)
    with pytest.raises(ConfigError, match=rule):
        clock.advance(**step)  # type: ignore[arg-type]
    assert clock() == 5
