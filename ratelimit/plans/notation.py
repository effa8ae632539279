"""How amounts, periods, rates and names may be written. Plain functions that raise ValueError with the rule broken.

The values come from people's files, so everything that could be misread is refused rather than guessed: a bool is
not 1, 1.0 is not 1, "60" is not 60, and two rates in one text are not the first of them.
"""

from __future__ import annotations

import re
from typing import Final

import limits

from ratelimit.core.limit import PERIOD_MAX_US

__all__ = (
    "AMOUNT_MAX",
    "MINUTE_US",
    "SECOND_US",
    "meter_name",
    "period_in_us",
    "period_text",
    "plan_name",
    "rate_parts",
    "whole",
)

AMOUNT_MAX: Final = 2**48
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US

# Long enough for any honest rate or period; bounds the work of the regular expressions, ours and those of `limits`.
_TEXT_MAX: Final = 64
_NAME_MAX: Final = 64
_SEPARATORS: Final = "-_ "

_METER: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PERIOD: Final = re.compile(r"(?:([0-9]+)\s*)?([a-z]+)")
_ZERO_MULTIPLE: Final = re.compile(r"(?:/|per)\s*0+\s*[a-z]", re.IGNORECASE)

_UNITS_US: Final = {
    unit: length_us
    for length_us, units in (
        (1_000, "ms millisecond milliseconds"),
        (SECOND_US, "s sec second seconds"),
        (MINUTE_US, "m min minute minutes"),
        (60 * MINUTE_US, "h hour hours"),
        (24 * 60 * MINUTE_US, "d day days"),
        (7 * 24 * 60 * MINUTE_US, "w week weeks"),
    )
    for unit in units.split()
}


_TAKEN = frozenset({"group", "on_error", "plan", "self", "subject", "timeout"})


def whole(value: object) -> int:
    """Return an amount as it is. Raises ValueError unless it is an int (not a bool) from 1 to 2**48."""
    if type(value) is not int or not 1 <= value <= AMOUNT_MAX:
        raise ValueError("must be a whole number from 1 to 2**48")
    return value


def meter_name(value: object) -> str:
    """Return a meter's name as it is. Raises ValueError unless it is lower-case ASCII of at most 64 characters."""
    if not isinstance(value, str) or not _METER.fullmatch(value):
        raise ValueError("must be a lower-case letter followed by at most 63 of a-z, 0-9 and _")
    if value in _TAKEN:
        raise ValueError("is the name of an argument of acquire(), which takes meters by name; choose another")
    return value


def plan_name(value: object) -> str:
    """Return a plan's name as it is. Raises ValueError unless it has 1 to 64 printable characters, one no separator."""
    if not isinstance(value, str) or not 1 <= len(value) <= _NAME_MAX or not value.isprintable():
        raise ValueError("must be text of 1 to 64 printable characters")
    if not value.strip(_SEPARATORS):
        raise ValueError("must hold more than spaces, - and _, which do not count when names are compared")
    return value


def period_in_us(value: object) -> int:
    """Return the length in microseconds of a period given in whole seconds (60) or as text ("minute", "500 ms").

    Raises:
        ValueError: another type, an unknown unit, or a length outside 1 ms to 366 days.
    """
    if type(value) is int:
        period_us = value * SECOND_US
    elif isinstance(value, str):
        period_us = _period_from_text(value)
    else:
        raise ValueError('must be whole seconds (60) or text like "minute", "30s", "500ms"')
    if not 1 <= period_us <= PERIOD_MAX_US:
        raise ValueError("must be a period from 1 ms to 366 days")
    return period_us


def period_text(period_us: int) -> int | str:
    """Return the shortest writing that :func:`period_in_us` reads back: whole seconds, else "… ms"."""
    seconds, rest = divmod(period_us, SECOND_US)
    return f"{period_us // 1_000}ms" if rest else seconds


def rate_parts(value: object) -> tuple[int, int]:
    """Return (amount, seconds) of one rate in the notation of `limits`: "60/minute", "5 per 2 hours".

    A month counts 30 days and a year 360, as `limits` has it.

    Raises:
        ValueError: not text, not that notation, more than one rate, or a number out of range.
    """
    if not isinstance(value, str):
        raise ValueError('must be text like "60/minute" or "5 per 2 hours"')
    if len(value) > _TEXT_MAX:
        raise ValueError(f"must be one rate of at most {_TEXT_MAX} characters")
    # `limits.parse` would return the first of several rates and forget the others: a limit that silently vanishes.
    if any(mark in value for mark in ",;|"):
        raise ValueError("must be one rate; write each further one as a limit of its own")
    # ... and it would read "5/0 minutes" as "5/minute".
    if _ZERO_MULTIPLE.search(value):
        raise ValueError("must have a period longer than 0")
    try:
        item = limits.parse(value)
    except ValueError:
        raise ValueError(
            'must be a rate like "60/minute" or "5 per 2 hours" (second, minute, hour, day, month, year)'
        ) from None
    seconds = item.get_expiry()
    period_in_us(seconds)
    return whole(item.amount), seconds


def _period_from_text(text: str) -> int:
    match = _PERIOD.fullmatch(text.strip().lower()) if len(text) <= _TEXT_MAX else None
    if match is None or match[2] not in _UNITS_US:
        raise ValueError('must be a period like "minute", "30s", "5 minutes" (units ms, s, m, h, d, w or their names)')
    count = 1 if match[1] is None else int(match[1])
    return count * _UNITS_US[match[2]]
