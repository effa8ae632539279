"""Holds with known numbers."""

from __future__ import annotations

from ratelimit.core.hold import Hold
from ratelimit.core.limit import BucketSpec, Layout

__all__ = ("MINUTE", "TWO", "answered", "layout")

MINUTE = 60_000_000
TAG = "rl1:{AAAAAAAAAAAAAAAAAAAAAA}"


def layout(*limits: tuple[str, int, int], name: str = "P") -> Layout:
    """From (meter, amount, period in us)."""
    return Layout(
        name, tuple(BucketSpec.of(meter=meter, amount=amount, period_us=period) for meter, amount, period in limits)
    )


TWO = layout(("requests", 60, MINUTE), ("tokens", 600_000, MINUTE))
"""A request costs 1,000,000 units and a token 100; both drain one unit per microsecond."""


def answered(
    costs: list[int],
    levels: list[int],
    *,
    of: Layout = TWO,
    at: int = 1_000,
    epoch: int = 7,
    refunded: list[int] | None = None,
    lag: int = 0,
    key: str = TAG,
) -> Hold:
    """A hold as a backend leaves it."""
    hold = Hold(key, of, costs)
    hold.at, hold.epoch, hold.lag, hold.levels = at, epoch, lag, levels
    hold.refunded = [0] * len(costs) if refunded is None else refunded
    return hold
