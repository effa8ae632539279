"""Wait for a condition instead of guessing how long it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ("PATIENCE", "eventually")

T = TypeVar("T")

#: Seconds allowed for what normally takes milliseconds: CI machines have two cores and several test workers.
PATIENCE = 20.0

_POLL = 0.005


def eventually(predicate: Callable[[], T], *, within: float = PATIENCE, what: str = "") -> T:
    """Return the first true value of *predicate*; raise TimeoutError when there is none in time.

    An exception of the predicate is not caught: it ends the wait at once.
    """
    deadline = time.monotonic() + within
    pause = threading.Event()
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {within:g} s: {what or predicate!r} (last value {value!r})")
        pause.wait(_POLL)
