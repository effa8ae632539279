"""Where the memory backend gets its time. On Redis the server's TIME is the only clock."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ("Clock", "monotonic_us")


class Clock(Protocol):
    """Returns the time in whole microseconds. Any origin will do; a step back is tolerated (promise P7)."""

    def __call__(self) -> int: ...


def monotonic_us() -> int:
    """Microseconds of the system's monotonic clock."""
    return time.monotonic_ns() // 1000
