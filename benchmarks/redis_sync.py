"""Cases of one sync caller on Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import redis
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks import sync_work
from benchmarks.interleave import Case
from benchmarks.plans import PLANS, fill_up, names, preload
from ratelimit import Limiter, RetryPolicy

__all__ = ("BARE_ARGUMENTS", "BARE_TEXT", "PATIENT", "prepare", "redis_cases")

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


@contextmanager
def redis_cases(url: str, calls: int) -> Iterator[list[Case]]:
    """One caller, one command at a time, `calls` decisions a pass."""
    with ExitStack() as stack:
        subjects, refused = prepare(url, calls)
        limiter = stack.enter_context(Limiter.from_url(url, plans=PLANS, policy=PATIENT))
        certain = stack.enter_context(Limiter.from_url(url, plans=PLANS, policy=PATIENT, recheck=0))
        client: Any = stack.enter_context(redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0)))
        storage: Any = RedisStorage(url)
        stack.callback(storage.get_connection().close)
        fixed, sliding = FixedWindowRateLimiter(storage), SlidingWindowCounterRateLimiter(storage)
        yield [
            Case("acquire", calls, sync_work.acquire(limiter, subjects)),
            Case("acquire + settle", calls, sync_work.pair(limiter, subjects)),
            Case("peek", calls, sync_work.peek(limiter, subjects)),
            Case("refused acquire", calls, sync_work.refused(limiter, refused)),
            Case("refused acquire, no memory", calls, sync_work.refused(certain, refused)),
            Case("bare EVALSHA", calls, _bare(client, subjects)),
            Case("limits fixed x 2", calls, sync_work.two_hits(fixed, subjects)),
            Case("limits sliding x 2", calls, sync_work.two_hits(sliding, subjects)),
        ]


def _bare(client: Any, subjects: Sequence[str]) -> Callable[[], None]:
    sha = client.script_load(BARE_TEXT)

    def work() -> None:
        for _ in subjects:
            client.evalsha(sha, *BARE_ARGUMENTS)

    return work
