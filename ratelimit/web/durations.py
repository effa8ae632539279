"""How times are written: Go durations and RFC 3339 for the headers of the dialects, words for people."""

from __future__ import annotations

from functools import lru_cache
from time import gmtime
from typing import Final

__all__ = ("go_duration", "period_text", "rfc3339")

_LAST_SECOND: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last one that RFC 3339 can write."""
_UNITS_US: Final = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000))


def go_duration(us: int) -> str:
    """Microseconds as Go's `Duration.String` has them, rounded up to the millisecond: 0s, 12ms, 6m0s, 2h7m1.233s.

    The form of OpenAI's `x-ratelimit-reset-*` and of the wait in its messages. Hours are the largest unit.
    """
    ms = -(-us // 1_000)
    if ms < 1_000:
        return f"{ms}ms" if ms > 0 else "0s"
    seconds, ms = divmod(ms, 1_000)
    fraction = f".{ms:03d}".rstrip("0") if ms else ""
    if seconds < 60:
        return f"{seconds}{fraction}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds}{fraction}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}{fraction}s"


def rfc3339(us: int) -> str:
    """Microseconds since the epoch in UTC, rounded up to the second: 2025-08-21T12:40:59Z.

    The form of Anthropic's `anthropic-ratelimit-*-reset`. What lies after the year 9999 is written as its end, since
    the format has no room for more.
    """
    minute, second = divmod(min(-(-us // 1_000_000), _LAST_SECOND), 60)
    return f"{_minute(minute)}{second:02d}Z"


@lru_cache(maxsize=1_024)
def _minute(number: int) -> str:
    """A minute since the epoch, up to its seconds. Kept, as it never changes and the calendar is most of the work."""
    year, month, day, hour, minute, *_ = gmtime(number * 60)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:"


def period_text(seconds: float) -> str:
    """A period in words, to stand behind "per": minute, 30 seconds, 500 ms."""
    us = round(seconds * 1e6)
    for name, length_us in _UNITS_US:
        if us % length_us == 0:
            count = us // length_us
            return name if count == 1 else f"{count} {name}s"
    return f"{us / 1_000:g} ms"
