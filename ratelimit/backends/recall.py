"""The memory of refusals beside a backend on Redis: which answers it learns from, and by which clock."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from threading import RLock
from typing import Final

from ratelimit.clock import Clock
from ratelimit.core.hold import Hold
from ratelimit.core.refusals import Refusals

__all__ = ("Recall",)


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1_000


class Recall:
    """What a backend was told, for the face to ask before it asks the backend. Thread-safe.

    The backend's own `reserve` always asks the server: who waits in line, and who needs certainty, calls that. Only
    decisions over one scope are remembered: the answer to several needs the levels of all of them.

    Without a lock while nothing is remembered. The lock is for a refusal that is noted while a settle forgets it, and
    an RLock because a signal handler may call the limiter too.

    Args:
        recheck: as `Refusals` takes it.
        virtual_clock: that of the scripts, if they have one. Else time is the system's monotonic clock.
    """

    def __init__(self, recheck: float, virtual_clock: Clock | None) -> None:
        self.refusals: Final = Refusals(recheck)
        self.clock: Final = virtual_clock or _monotonic_us
        self._virtual = virtual_clock is not None
        self._lock = RLock()

    def sent(self, began: float) -> int:
        """A time of `time.monotonic` on `clock`. A virtual one stands still during a call."""
        return self.clock() if self._virtual else int(began * 1_000_000)

    def refuses(self, holds: Sequence[Hold]) -> bool:
        """True when the server is sure to refuse; then the hold is filled as the server would."""
        if not self.refusals or len(holds) != 1:
            return False
        hold = holds[0]
        known = self.refusals.refuses(hold.key, hold.layout, hold.costs, self.clock())
        if known is None:
            return False
        hold.epoch, hold.at, hold.lag = known.epoch, known.at, known.lag
        hold.levels, hold.refunded = known.levels, known.refunded
        return True

    def learn(self, holds: Sequence[Hold], allowed: bool, sent: int) -> bool:
        """Take note of an answer of the server to a call that was made at `sent`; returns `allowed`."""
        if allowed:
            if self.refusals:
                self.forget([hold.key for hold in holds])
        elif len(holds) == 1:
            with self._lock:
                self.refusals.note(holds[0], sent, self.clock())
        return allowed

    def forget(self, keys: Iterable[str]) -> None:
        """Something may have been given back to these scopes."""
        if self.refusals:
            with self._lock:
                for key in keys:
                    self.refusals.forget(key)
