"""Promises of `ratelimit.web.wait`."""

from __future__ import annotations

from math import inf, nan
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import ConfigError, Limiter, Plan
from ratelimit.backends.memory import MemoryBackend
from ratelimit.testing import ManualClock
from ratelimit.web.wait import Wait

SECOND = 1_000_000
waits_us = st.integers(0, 70 * SECOND) | st.integers(0, 2**60)
spreads = st.floats(0, 1)


def told(wait: Wait) -> dict[str, str]:
    """The headers by name."""
    return {name.decode(): value.decode() for name, value in wait.headers()}


@pytest.mark.parametrize(
    ("us", "seconds", "ms"),
    [
        (1, "1", "1"),
        (0, "1", "1"),
        (999_999, "1", "1000"),
        (SECOND, "1", "1000"),
        (SECOND + 1, "2", "1001"),
        (18_642_000, "19", "18642"),
        (59_000_001, "60", "59001"),
        (60 * SECOND, "60", "60000"),
    ],
)
def test_a_wait_is_told_in_seconds_and_in_milliseconds(us: int, seconds: str, ms: str) -> None:
    """Both rounded up, both 1 or more."""
    assert told(Wait(us)) == {"retry-after": seconds, "retry-after-ms": ms}


@given(waits_us, spreads)
def test_nobody_is_told_to_come_back_early(us: int, spread: float) -> None:
    """Neither by the seconds nor by the milliseconds, and the seconds are never less than the milliseconds."""
    headers = told(Wait(us, spread))
    seconds, ms = int(headers["retry-after"]), int(headers["retry-after-ms"])
    assert ms * 1_000 >= max(us, 1)
    assert (seconds - 1) * 1_000 < ms <= seconds * 1_000


@given(waits_us, spreads)
def test_jitter_adds_a_tenth_at_most(us: int, spread: float) -> None:
    """And nothing else."""
    assert us <= Wait(us, spread).told_us <= us * 1.1


def test_jitter_spreads_those_who_were_refused_together() -> None:
    """Evenly over the tenth."""
    told_us = [Wait(10 * SECOND, number / 999).told_us for number in range(1_000)]
    assert (told_us[0], told_us[-1]) == (10 * SECOND, 11 * SECOND)
    assert fmean(told_us) == pytest.approx(10.5 * SECOND, rel=0.001)
    assert len({us // 1_000 for us in told_us}) == 1_000


@given(waits_us, spreads, st.integers(1, 3_600))
def test_above_the_threshold_nobody_is_to_retry(us: int, spread: float, threshold_s: int) -> None:
    """The exact wait decides; jitter never lifts a shorter one to where old SDKs would ignore it."""
    headers = told(Wait(us, spread, threshold_s))
    if us > threshold_s * SECOND:
        assert headers["x-should-retry"] == "false"
    else:
        assert "x-should-retry" not in headers
        assert int(headers["retry-after"]) <= threshold_s


@pytest.mark.parametrize(("us", "ms"), [(54 * SECOND, "59400"), (58 * SECOND, "60000"), (60 * SECOND, "60000")])
def test_jitter_ends_at_the_threshold(us: int, ms: str) -> None:
    """A wait of 58 s, spread to 61, would be ignored by old SDKs."""
    assert told(Wait(us, 1.0)) == {"retry-after": "60", "retry-after-ms": ms}
    assert told(Wait(us, 1.0, 300))["retry-after-ms"] == str(us // 1_000 * 11 // 10)


def test_the_threshold_is_a_minute_unless_set() -> None:
    """Old SDKs ignore a longer wait and come back after half a second."""
    assert told(Wait(60 * SECOND + 1)) == {"retry-after": "61", "retry-after-ms": "60001", "x-should-retry": "false"}


@given(spent=st.integers(1, 60_000), asked=st.integers(1, 60_000), spread=spreads)
def test_whoever_obeys_is_admitted(spent: int, asked: int, spread: float) -> None:
    """By the milliseconds, which come first of the two."""
    clock = ManualClock()
    limiter = Limiter(MemoryBackend(clock=clock))
    plan = Plan("Lite", rpm=10, tpm=60_000)
    limiter.acquire("key", plan=plan, tokens=spent)
    decision = limiter.try_acquire("key", plan=plan, tokens=asked)
    if not decision:
        clock.advance(us=int(told(Wait(decision.retry_after_us, spread))["retry-after-ms"]) * 1_000)
        assert limiter.try_acquire("key", plan=plan, tokens=asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), r"^retry_after_us is -1: a wait is 0 or more microseconds$"),
        ((1, 1.5), r"^spread is 1.5: must be a number from 0 to 1"),
        ((1, nan), r"^spread is nan: must be"),
        ((1, 0.0, -1.0), r"^threshold_s is -1.0: must be a finite number of seconds, 0 or more$"),
        ((1, 0.0, inf), r"^threshold_s is inf: must be a finite"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments: tuple[float, ...], message: str) -> None:
    """With its value and the rule."""
    with pytest.raises(ConfigError, match=message):
        Wait(*arguments)  # type: ignore[arg-type]
