"""What tests of programs that use `ratelimit` need: a clock that stands still until it is told otherwise."""

from __future__ import annotations

from math import isfinite
from threading import Lock
from typing import Final

from ratelimit.errors import ConfigError

__all__ = ("ManualClock",)

_START_US: Final = 1_000_000_000_000_000
_MAX_US: Final = 2**52
"""The latest time that the scripts take: beyond it a Lua number could no longer add to it exactly."""


class ManualClock:
    """Whole microseconds that pass only by :meth:`advance` and :meth:`set`. Thread-safe.

    The clock of a memory backend, `MemoryBackend(clock=clock)`, or of a Redis backend that is to run in virtual time,
    `RedisBackend(executor, virtual_clock=clock)`; there the server still expires keys in real time.

    Args:
        start_us: the first time shown, in microseconds of any origin.

    Raises:
        ConfigError: a time that is not a whole number from 0 to 2**52.
    """

    __slots__ = ("_lock", "_now_us")

    def __init__(self, start_us: int = _START_US) -> None:
        self._lock = Lock()
        self._now_us = _time(start_us)

    def __call__(self) -> int:
        """The time in microseconds."""
        return self._now_us

    def __repr__(self) -> str:
        return f"<ManualClock at {self._now_us:,} us>"

    def advance(self, *, seconds: float | None = None, us: int | None = None) -> int:
        """Let time pass, by seconds (rounded to whole microseconds) or by microseconds; returns the new time.

        Raises:
            ConfigError: neither or both are given, or an amount that is negative or no number. To go back, use `set`.
        """
        step_us = _step(seconds, us)
        with self._lock:
            self._now_us = _time(self._now_us + step_us)
            return self._now_us

    def set(self, us: int) -> None:
        """Show this time from now on; earlier than before is a clock that stepped back.

        Raises:
            ConfigError: not a whole number from 0 to 2**52.
        """
        with self._lock:
            self._now_us = _time(us)


def _time(us: object) -> int:
    if type(us) is not int or not 0 <= us <= _MAX_US:
        raise ConfigError(f"time of a ManualClock is {us!r}: must be whole microseconds from 0 to 2**52")
    return us


def _step(seconds: object, us: object) -> int:
    if (seconds is None) == (us is None):
        raise ConfigError("advance takes either seconds=... or us=...")
    if us is not None:
        if type(us) is not int or us < 0:
            raise ConfigError(f"us is {us!r}: must be a whole number from 0; a clock goes back by set()")
        return us
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not isfinite(seconds) or seconds < 0:
        raise ConfigError(f"seconds is {seconds!r}: must be a finite number from 0; a clock goes back by set()")
    return round(seconds * 1_000_000)
