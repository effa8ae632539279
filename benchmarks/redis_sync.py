"""Contestants on Redis that block, and cases of one caller of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import redis
import throttled
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks import sync_work
from benchmarks.interleave import Case
from benchmarks.peers import pyrate_make, throttled_make, throttled_store
from benchmarks.plans import PLANS, fill_up, names, preload
from benchmarks.worker import SyncMake, Work
from ratelimit import Limiter, RetryPolicy

__all__ = ("BARE_ARGUMENTS", "BARE_TEXT", "PATIENT", "prepare", "redis_cases", "sync_contestants")

PATIENT = RetryPolicy(timeout=20, deadline=60)
"""A machine that stalls must not turn a measurement into an error."""
BARE_TEXT: Final = "return 1"
BARE_ARGUMENTS: Final[tuple[str | bytes | int, ...]] = (
    1,
    "rl1:{0123456789012345678901}",
    b"op-id678",
    b"head56789012",
    b"layout",
    b"t" * 48,
    b"5",
)
"""A script that does nothing, with one key and five arguments, as long as ours."""

_SUBJECTS = 100


def prepare(url: str, calls: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make subjects busy and full on this server, and return them: (busy, full), `calls` of each."""
    with Limiter.from_url(url, plans=PLANS, policy=PATIENT) as limiter:
        busy, full = names(_SUBJECTS), names(_SUBJECTS, "full")
        preload(limiter, busy)
        fill_up(limiter, full)
    return busy * (calls // _SUBJECTS), full * (calls // _SUBJECTS)


def sync_contestants(url: str, stack: ExitStack) -> dict[str, SyncMake]:
    """Everyone who can decide on this Redis, whose subjects are busy. A contestant more is a line."""
    limiter = stack.enter_context(Limiter.from_url(url, plans=PLANS, policy=PATIENT))
    asking = stack.enter_context(Limiter.from_url(url, plans=PLANS, policy=PATIENT, recheck=0))
    client: Any = stack.enter_context(redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0)))
    storage: Any = RedisStorage(url)
    stack.callback(storage.get_connection().close)
    store = throttled_store(url, throttled)
    return {
        "acquire": partial(sync_work.acquire, limiter),
        "acquire + settle": partial(sync_work.pair, limiter),
        "peek": partial(sync_work.peek, limiter),
        "refused acquire": _refused(limiter),
        "refused acquire, no memory": _refused(asking),
        "bare PING": _ping(client),
        "bare EVALSHA": _bare(client),
        "limits fixed x 2": partial(sync_work.two_hits, FixedWindowRateLimiter(storage)),
        "limits sliding x 2": partial(sync_work.two_hits, SlidingWindowCounterRateLimiter(storage)),
        "throttled GCRA x 2": throttled_make(store, "gcra"),
        "throttled token bucket x 2": throttled_make(store, "token_bucket"),
        "pyrate state x 2": pyrate_make(client),
    }


@contextmanager
def redis_cases(url: str, calls: int) -> Iterator[list[Case]]:
    """One caller, one command at a time, `calls` decisions a pass."""
    with ExitStack() as stack:
        subjects, _ = prepare(url, calls)
        yield [Case(name, calls, make(subjects)) for name, make in sync_contestants(url, stack).items()]


def _refused(limiter: Limiter) -> SyncMake:
    full = dict(zip(names(_SUBJECTS), names(_SUBJECTS, "full"), strict=True))
    return lambda subjects: sync_work.refused(limiter, [full[subject] for subject in subjects])


def _ping(client: Any) -> SyncMake:
    def make(subjects: Sequence[str]) -> Work:
        def work() -> None:
            for _ in subjects:
                client.ping()

        return work

    return make


def _bare(client: Any) -> SyncMake:
    sha = client.script_load(BARE_TEXT)

    def make(subjects: Sequence[str]) -> Work:
        def work() -> None:
            for _ in subjects:
                client.evalsha(sha, *BARE_ARGUMENTS)

        return work

    return make
