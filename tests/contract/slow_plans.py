"""Plans so slow that the real time a test takes changes no number in it: a token takes at least 90 s to drain."""

from __future__ import annotations

from collections.abc import Iterable

from ratelimit import Limit, Plan, Standing

__all__ = ("DAY", "HOUR", "SLOW", "WEEK", "remaining", "slow_plan")


def slow_plan(period: str, requests: int = 10, tokens: int = 40) -> Plan:
    """Requests and tokens per period."""
    return Plan(f"Per {period}", limits=[Limit("requests", requests, period), Limit("tokens", tokens, period)])


HOUR = slow_plan("hour")
"""Its levels fit 32 bits: the scripts take their express lanes."""
DAY = slow_plan("day")
"""Its levels do not: the scripts take their general code."""
WEEK = Plan("Week", limits=[Limit("tokens", 900, "week"), Limit("images", 12, "week")])
SLOW = [HOUR, DAY]


def remaining(standings: Iterable[Standing]) -> dict[str, int]:
    """What is left, per meter."""
    return {standing.meter: standing.remaining for standing in standings}
