"""What a caller of the sync faces does, over and over: ours, and two hits of `limits` for the same decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limits.strategies import RateLimiter

from benchmarks.plans import ESTIMATE, FULL, LIVE, REAL, REQUESTS, TOKENS
from ratelimit import Limiter, RateLimited

__all__ = ("acquire", "pair", "peek", "refused", "two_hits")

Work = Callable[[], None]


def acquire(limiter: Limiter, subjects: Sequence[str], plan: str = LIVE.name) -> Work:
    """Reserve, and never settle."""

    def work() -> None:
        for subject in subjects:
            limiter.acquire(subject, plan=plan, tokens=ESTIMATE)

    return work


def pair(limiter: Limiter, subjects: Sequence[str], plan: str = LIVE.name, real: int = REAL) -> Work:
    """Reserve and settle."""

    def work() -> None:
        for subject in subjects:
            limiter.acquire(subject, plan=plan, tokens=ESTIMATE).settle(tokens=real)

    return work


def peek(limiter: Limiter, subjects: Sequence[str]) -> Work:
    """Ask where the limits stand."""

    def work() -> None:
        for subject in subjects:
            limiter.peek(subject, plan=LIVE.name)

    return work


def refused(limiter: Limiter, subjects: Sequence[str]) -> Work:
    """Be refused, with the exception and its retry_after."""

    def work() -> None:
        for subject in subjects:
            try:
                limiter.acquire(subject, plan=FULL.name, tokens=ESTIMATE)
            except RateLimited:
                continue
            raise AssertionError("the bucket was meant to be full")

    return work


def two_hits(limiter: RateLimiter, subjects: Sequence[str]) -> Work:
    """One decision over two limits is two hits, and there is nothing to settle with."""

    def work() -> None:
        for subject in subjects:
            if not (limiter.hit(REQUESTS, subject) and limiter.hit(TOKENS, subject, cost=ESTIMATE)):
                raise AssertionError("the limit was meant to be out of reach")

    return work
