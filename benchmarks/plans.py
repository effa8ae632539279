"""The states that a decision meets, as plans, and the job that every case does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from limits import RateLimitItemPerMinute

from ratelimit import Limit, Limiter, Plan, PlanRegistry

__all__ = (
    "DRAINED",
    "DRAIN_S",
    "ESTIMATE",
    "FULL",
    "LIVE",
    "PLANS",
    "PRELOAD_REQUESTS",
    "PRELOAD_TOKENS",
    "REAL",
    "REQUESTS",
    "TOKENS",
    "fill_up",
    "names",
    "preload",
)

ESTIMATE: Final = 1_000
"""Tokens that are reserved, or hit with `limits`, per decision; beside one request."""
REAL: Final = 700
"""Tokens that a settle reports."""

LIVE: Final = Plan(
    "live",
    limits=[Limit("requests", 12_000, 60, burst=200_000), Limit("tokens", 12_000_000, 60, burst=200_000_000)],
)
"""A busy subject: preloaded, its buckets neither drain nor fill up during a run.

Levels stay below 2**30 units, as those of the built-in plans do: beyond, Python computes more slowly.
"""
PRELOAD_REQUESTS: Final = 100_000
PRELOAD_TOKENS: Final = 100_000_000
"""Five hundred seconds' worth of both limits of LIVE."""

FULL: Final = Plan("full", limits=[Limit("requests", 1, 1_200), Limit("tokens", 12_000_000, 60)])
"""One request fills it for twenty minutes: every other one is refused."""

DRAINED: Final = "MAX 20X"
"""The built-in plan that drains fastest: one decision of the job is gone after `DRAIN_S`."""
DRAIN_S: Final = 0.06

PLANS: Final = PlanRegistry().with_plans(LIVE, FULL)

REQUESTS: Final = RateLimitItemPerMinute(10**9)
TOKENS: Final = RateLimitItemPerMinute(10**12)
"""The same two limits for `limits`, never reached. Two items need two amounts: it is part of their keys."""


def names(count: int, what: str = "live") -> tuple[str, ...]:
    """Subjects."""
    return tuple(f"sk-{what}-{number:07d}" for number in range(count))


def preload(limiter: Limiter, subjects: Sequence[str]) -> None:
    """Make subjects of LIVE busy."""
    for subject in subjects:
        limiter.acquire(subject, plan=LIVE.name, requests=PRELOAD_REQUESTS, tokens=PRELOAD_TOKENS)


def fill_up(limiter: Limiter, subjects: Sequence[str]) -> None:
    """Spend what FULL allows."""
    for subject in subjects:
        limiter.try_acquire(subject, plan=FULL.name)
