"""Where the memory backend gets its time. On Redis the server's TIME is the only clock."""

from __future__ import annotations

from typing import Protocol

__all__ = ("Clock",)


class Clock(Protocol):
    """Returns the time in whole microseconds. Any origin will do; a step back is tolerated (promise P7)."""

    def __call__(self) -> int:
        """Microseconds now."""
