"""Promises of `ratelimit.web.durations`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.web.durations import go_duration, period_text, rfc3339

MS, SECOND, MINUTE, HOUR = 1_000, 1_000_000, 60_000_000, 3_600_000_000
_GO = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)(?:\.(\d{0,2}[1-9]))?s)?(?:(\d+)ms)?")


def from_go(text: str) -> int:
    """Milliseconds of a duration as Go writes it."""
    match = _GO.fullmatch(text)
    assert match is not None, text
    hours, minutes, seconds, fraction, ms = match.groups()
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return whole * 1_000 + int((fraction or "").ljust(3, "0")) + int(ms or 0)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0s"),
        (12 * MS, "12ms"),
        (9 * MS, "9ms"),
        (SECOND, "1s"),
        (3 * SECOND, "3s"),
        (6 * MINUTE, "6m0s"),
        (2 * HOUR + 7 * MINUTE + 1_233 * MS, "2h7m1.233s"),
        (18_642 * MS, "18.642s"),
        (644 * MS, "644ms"),
    ],
)
def test_a_go_duration_is_what_the_provider_shows(us: int, text: str) -> None:
    """Every sample that OpenAI's pages and messages have."""
    assert go_duration(us) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (1, "1ms"),
        (999 * MS, "999ms"),
        (999 * MS + 1, "1s"),
        (1_500 * MS, "1.5s"),
        (1_050 * MS, "1.05s"),
        (59_999 * MS + 1, "1m0s"),
        (HOUR - 1, "1h0m0s"),
        (25 * HOUR, "25h0m0s"),
        (HOUR + SECOND // 2, "1h0m0.5s"),
    ],
)
def test_a_go_duration_is_rounded_up_at_its_edges(us: int, text: str) -> None:
    """Into the next unit if need be; hours are the largest."""
    assert go_duration(us) == text


@given(st.integers(0, 10 * SECOND) | st.integers(0, 2**60))
def test_a_go_duration_reads_back_as_the_milliseconds_rounded_up(us: int) -> None:
    """Never shorter than the truth, by less than a millisecond longer."""
    assert from_go(go_duration(us)) == -(-us // 1_000)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (1_755_780_059_000_000, "2025-08-21T12:40:59Z"),
        (1_755_780_058_000_001, "2025-08-21T12:40:59Z"),
        (1_709_164_800_000_000, "2024-02-29T00:00:00Z"),
        (0, "1970-01-01T00:00:00Z"),
        (2**80, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_rounded_up_to_the_second(us: int, text: str) -> None:
    """And ends with the format."""
    assert rfc3339(us) == text


@given(st.integers(0, 253_402_300_799_000_000))
def test_a_time_reads_back(us: int) -> None:
    """By the parser of the standard library."""
    read = datetime.fromisoformat(rfc3339(us))
    ahead = read - (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
    assert timedelta(0) <= ahead < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (60.0, "minute"),
        (1.0, "second"),
        (3_600.0, "hour"),
        (86_400.0, "day"),
        (30.0, "30 seconds"),
        (300.0, "5 minutes"),
        (172_800.0, "2 days"),
        (0.5, "500 ms"),
        (1.5, "1500 ms"),
        (0.0015, "1.5 ms"),
    ],
)
def test_a_period_is_told_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    """As it stands behind "per"."""
    assert period_text(seconds) == text
