"""Cases in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import count

import throttled
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from benchmarks import sync_work
from benchmarks.interleave import Case
from benchmarks.peers import aiolimiter_decide, pyrate_make, throttled_make, throttled_store
from benchmarks.plans import DRAIN_S, DRAINED, ESTIMATE, PLANS, fill_up, names, preload
from benchmarks.worker import take_turns
from ratelimit import Limiter

__all__ = ("memory_cases",)

_SUBJECTS = 100


class Newcomers:
    """Subjects that nobody has seen, before every pass; and engines that have seen nobody, as both keep everyone."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._generation = count()

    def work(self) -> None:
        """The pass."""
        self._work()

    def ours(self) -> None:
        """Before a pass of ours."""
        limiter = Limiter.from_url(plans=PLANS)
        preload(limiter, names(1, "first"))
        self._work = sync_work.pair(limiter, self._subjects())

    def theirs(self) -> None:
        """Before a pass of `limits`."""
        self._work = sync_work.two_hits(FixedWindowRateLimiter(MemoryStorage()), self._subjects())

    def _subjects(self) -> tuple[str, ...]:
        return names(self._calls, f"new-{next(self._generation)}")


def drain() -> None:
    """Wait until a decision under DRAINED has drained."""
    time.sleep(DRAIN_S)


def memory_cases(calls: int) -> list[Case]:
    """Everything that happens in one process, `calls` decisions a pass."""
    limiter = Limiter.from_url(plans=PLANS)
    busy, full, everyone = names(_SUBJECTS), names(_SUBJECTS, "full"), names(calls, "drained")
    preload(limiter, busy)
    fill_up(limiter, full)
    subjects, refused = busy * (calls // _SUBJECTS), full * (calls // _SUBJECTS)
    fixed, sliding = FixedWindowRateLimiter(MemoryStorage()), SlidingWindowCounterRateLimiter(MemoryStorage())
    new, store = Newcomers(calls), throttled_store("memory://", throttled)
    return [
        Case("acquire", calls, sync_work.acquire(limiter, subjects)),
        Case("acquire + settle", calls, sync_work.pair(limiter, subjects)),
        Case("acquire + settle, nothing back", calls, sync_work.pair(limiter, subjects, real=ESTIMATE)),
        Case("acquire + settle, new", calls, new.work, new.ours),
        Case("acquire + settle, drained", calls, sync_work.pair(limiter, everyone, DRAINED), drain),
        Case("peek", calls, sync_work.peek(limiter, subjects)),
        Case("refused acquire", calls, sync_work.refused(limiter, refused)),
        Case("limits fixed x 2", calls, sync_work.two_hits(fixed, subjects)),
        Case("limits fixed x 2, new", calls, new.work, new.theirs),
        Case("limits sliding x 2", calls, sync_work.two_hits(sliding, subjects)),
        Case("throttled GCRA x 2", calls, throttled_make(store, "gcra")(subjects)),
        Case("throttled token bucket x 2", calls, throttled_make(store, "token_bucket")(subjects)),
        Case("pyrate state x 2", calls, pyrate_make(None)(subjects)),
        Case("aiolimiter x 2", calls, _awaited(subjects)),
    ]


def _awaited(subjects: Sequence[str]) -> Callable[[], None]:
    """aiolimiter has no sync face: it gets a loop, which is entered once a pass."""
    runner, decide = asyncio.Runner(), aiolimiter_decide()
    return lambda: runner.run(take_turns(decide, subjects, 1))
