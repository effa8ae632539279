"""Other limiters, each used for two limits as its documentation says: one request, and its 1,000 tokens.

None takes two limits with different costs at once, so each decides twice. Limits are out of reach. Connections are
kept, as many as there are tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import throttled
import throttled.asyncio
from aiolimiter import AsyncLimiter as LeakyBucket
from pyrate_limiter import GCRA, Duration, InMemoryStateStore, Rate, RedisStateStore, SingleBucketFactory, StateBucket
from pyrate_limiter import Limiter as Pyrate

from benchmarks.plans import ESTIMATE, names
from benchmarks.worker import Decide, SyncMake, Work

__all__ = ("CONNECTIONS", "aiolimiter_decide", "pyrate_decide", "pyrate_make", "throttled_decide", "throttled_make")

CONNECTIONS: Final = 20_000
"""What a pool may hold: redis-py's own bound of 100 would make a thousand tasks fail."""
Using = Literal["gcra", "token_bucket"]

_RPM, _TPM = 10**6, 10**9
"""Out of reach, as every decision of a run takes one and 1,000 of them."""


def _exhausted(who: str) -> AssertionError:
    return AssertionError(f"the limit of {who} was meant to be out of reach")


def _two_throttled(module: Any, store: Any, using: Using) -> tuple[Any, Any]:
    requests = module.Throttled(using=using, quota=throttled.per_min(_RPM, _RPM), store=store)
    return requests, module.Throttled(using=using, quota=throttled.per_min(_TPM, _TPM), store=store)


def throttled_store(url: str, module: Any) -> Any:
    """A store of throttled-py: its own in memory, or on that server."""
    if url.startswith("memory"):
        return module.MemoryStore(options={"MAX_SIZE": 10_000})
    return module.RedisStore(server=url, options={"CONNECTION_POOL_KWARGS": {"max_connections": CONNECTIONS}})


def throttled_make(store: Any, using: Using) -> SyncMake:
    """throttled-py, sync."""
    requests, tokens = _two_throttled(throttled, store, using)

    def make(subjects: Sequence[str]) -> Work:
        def work() -> None:
            for subject in subjects:
                if requests.limit(f"rpm:{subject}").limited or tokens.limit(f"tpm:{subject}", cost=ESTIMATE).limited:
                    raise _exhausted("throttled-py")

        return work

    return make


def throttled_decide(store: Any, using: Using) -> Decide:
    """throttled-py, asyncio."""
    requests, tokens = _two_throttled(throttled.asyncio, store, using)

    async def decide(subject: str) -> None:
        hit = await requests.limit(f"rpm:{subject}")
        if hit.limited or (await tokens.limit(f"tpm:{subject}", cost=ESTIMATE)).limited:
            raise _exhausted("throttled-py")

    return decide


def _two_pyrates(client: Any) -> Mapping[str, tuple[Any, Any]]:
    """A limiter per subject and limit, because each has a lock that it holds while it waits for Redis."""

    def limiter(key: str, limit: int) -> Any:
        store: Any = InMemoryStateStore() if client is None else RedisStateStore(client, key)
        bucket = StateBucket([Rate(limit, Duration.MINUTE)], GCRA(), store)
        return Pyrate(SingleBucketFactory(bucket, schedule_leak=False))

    return {
        subject: (limiter(f"pyrate:rpm:{subject}", _RPM), limiter(f"pyrate:tpm:{subject}", _TPM))
        for subject in names(100)
    }


def pyrate_make(client: Any) -> SyncMake:
    """pyrate-limiter's state bucket, sync; in memory without a client of redis-py."""
    limiters = _two_pyrates(client)

    def make(subjects: Sequence[str]) -> Work:
        def work() -> None:
            for subject in subjects:
                requests, tokens = limiters[subject]
                if not (
                    requests.try_acquire(subject, 1, blocking=False)
                    and tokens.try_acquire(subject, ESTIMATE, blocking=False)
                ):
                    raise _exhausted("pyrate-limiter")

        return work

    return make


def pyrate_decide(client: Any) -> Decide:
    """pyrate-limiter's state bucket, asyncio; in memory without a client of redis-py."""
    limiters = _two_pyrates(client)

    async def decide(subject: str) -> None:
        requests, tokens = limiters[subject]
        if not (
            await requests.try_acquire_async(subject, 1, blocking=False)
            and await tokens.try_acquire_async(subject, ESTIMATE, blocking=False)
        ):
            raise _exhausted("pyrate-limiter")

    return decide


def aiolimiter_decide() -> Decide:
    """aiolimiter, which has asyncio and memory only."""
    limiters = {subject: (LeakyBucket(_RPM), LeakyBucket(_TPM)) for subject in names(100)}

    async def decide(subject: str) -> None:
        requests, tokens = limiters[subject]
        await requests.acquire()
        await tokens.acquire(ESTIMATE)

    return decide
