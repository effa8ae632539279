"""Read by mypy, never run: what the public API promises about types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import redis
import redis.asyncio

from ratelimit import (
    AsyncLimiter,
    AsyncReservation,
    CostExceedsLimit,
    Decision,
    Limit,
    Limiter,
    Plan,
    PlanRegistry,
    RateLimited,
    Reservation,
    Retention,
    RetryPolicy,
    Scope,
    Settlement,
    Standing,
)

PLAN = Plan("Mine", rpm=60, tpm="600000/minute", limits=[Limit("images", 5, "day"), Limit("tokens", rate="9/hour")])
REGISTRY = PlanRegistry([PLAN])


def make() -> list[Limiter]:
    """Every way to a sync limiter."""
    return [
        Limiter.from_url(),
        Limiter.from_url("redis://host", plans=REGISTRY, prefix="p", secret="s", max_connections=4),
        Limiter.from_url(
            "redis://host", plans=Path("plans.toml"), retention=Retention(), policy=RetryPolicy(attempts=1)
        ),
        Limiter.from_client(redis.Redis(), secret=b"s"),
    ]


def make_async() -> list[AsyncLimiter]:
    """Every way to an asyncio limiter."""
    return [
        AsyncLimiter.from_url("memory://", plans="plans.toml"),
        AsyncLimiter.from_client(redis.asyncio.Redis()),
    ]


def use(limiter: Limiter) -> None:
    """The sync verbs."""
    with (
        limiter as entered,
        limiter.acquire("key", plan="Pro", tokens=5, images=1, timeout=1.5, on_error="keep") as held,
    ):
        assert_type(entered, Limiter)
        assert_type(held, Reservation)
        assert_type(held.estimate, Mapping[str, int])
        assert_type(held.settle(tokens=3), Settlement)
        assert_type(held.cancel(), Settlement)
        assert_type(held.settlement, Settlement | None)
        assert_type(held.to_token(), str)
    assert_type(limiter.acquire([Scope("org", PLAN), Scope("key", "Pro", group="org")], group="org"), Reservation)
    assert_type(limiter.try_acquire("key", plan=PLAN), Decision[Reservation])
    assert_type(limiter.try_acquire("key", plan=PLAN).reservation, Reservation | None)
    assert_type(limiter.peek("key", plan=PLAN, images=2), tuple[Standing, ...])
    assert_type(limiter.reset("key", group="org"), bool)
    assert_type(limiter.resume("token", on_error="refund"), Reservation)
    assert_type(limiter.plans, PlanRegistry)


async def use_async(limiter: AsyncLimiter) -> None:
    """The awaited verbs."""
    async with limiter as entered, limiter.acquire("key", plan="Pro", tokens=5) as held:
        assert_type(entered, AsyncLimiter)
        assert_type(held, AsyncReservation)
        assert_type(await held.settle(tokens=3), Settlement)
        assert_type(await held.cancel(), Settlement)
        assert_type(held.to_token(), str)
    assert_type(await limiter.acquire([Scope("org", PLAN)], group="org"), AsyncReservation)
    assert_type(await limiter.try_acquire("key", plan=PLAN), Decision[AsyncReservation])
    assert_type(await limiter.peek("key", plan=PLAN), tuple[Standing, ...])
    assert_type(await limiter.reset("key"), bool)
    assert_type(limiter.resume("token"), AsyncReservation)


def read(decision: Decision[Reservation], settlement: Settlement) -> None:
    """The values."""
    assert_type(decision.allowed, bool)
    assert_type(decision.retry_after, float)
    assert_type(decision.binding, Standing | None)
    assert_type(decision.standings, tuple[Standing, ...])
    assert_type(decision.standings[0].remaining, int)
    assert_type(decision.standings[0].reset_after_us, int)
    assert_type(settlement.returned, Mapping[str, int])
    assert_type(settlement.repeated, bool)


def caught(limiter: Limiter) -> float:
    """The errors carry typed values."""
    try:
        limiter.acquire("key", plan="Pro")
    except RateLimited as error:
        return error.retry_after
    except CostExceedsLimit as error:
        return error.burst - error.cost
    return 0.0


def wrong(limiter: Limiter) -> None:
    """What mypy must refuse; an unused ignore is an error, so each of these is checked."""
    limiter.acquire("key", plan="Pro", tokens="5")  # type: ignore[arg-type]  # amounts are whole numbers
    limiter.acquire("key", plan="Pro", tokens=1.5)  # type: ignore[arg-type]  # also not fractions of them
    limiter.acquire("key", "Pro")  # type: ignore[call-arg]  # a plan goes by name
    limiter.acquire("key", plan="Pro", on_error="give")  # type: ignore[arg-type]  # one of three choices
    limiter.acquire(b"key", plan="Pro")  # type: ignore[arg-type]  # a subject is text
    Limiter.from_client(redis.asyncio.Redis())  # type: ignore[arg-type]  # that one is for AsyncLimiter
