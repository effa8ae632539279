"""Standings for the tests of headers: as the engine makes them, and as far as their types reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from ratelimit import Decision, Limit, Limiter, Plan, Standing
from ratelimit.backends.memory import MemoryBackend
from ratelimit.testing import ManualClock
from ratelimit.web.dialects import Shortage

__all__ = ("ANY_STANDINGS", "METERS", "decide", "plan_of", "shortage", "standing")

METERS = ("requests", "tokens", "input_tokens", "output_tokens")


def standing(meter: str = "tokens", **values: Any) -> Standing:
    """A standing of 60,000 a minute with nothing used, but for the values given."""
    nothing_used = {
        "plan": "Lite",
        "amount": 60_000,
        "period": 60.0,
        "burst": values.get("amount", 60_000),
        "remaining": values.get("burst", values.get("amount", 60_000)),
        "debt": 0,
        "reset_after_us": 0,
        "retry_after_us": 0,
    }
    return Standing(**{"meter": meter, **nothing_used, **values})


def plan_of(*limits: tuple[str, int, int | str], name: str = "Team", burst: int | None = None) -> Plan:
    """A plan of these limits: meter, amount, period."""
    return Plan(name, limits=[Limit(meter, amount, period, burst=burst) for meter, amount, period in limits])


def decide(plan: Plan, spent: Mapping[str, int], asked: Mapping[str, int]) -> Decision[Any]:
    """What the engine decides on `asked` at the moment at which a new subject has spent `spent`."""
    limiter = Limiter(MemoryBackend(clock=ManualClock()))
    before: dict[str, Any] = {"requests": 0, **spent}
    now: dict[str, Any] = {**asked}
    limiter.acquire("key", plan=plan, **before).settle()
    return limiter.try_acquire("key", plan=plan, **now)


def shortage(
    plan: Plan, spent: Mapping[str, int], asked: Mapping[str, int], model: str | None = "minimax-m2.5"
) -> Shortage:
    """A refusal by the engine."""
    decision = decide(plan, spent, asked)
    assert not decision
    return Shortage(model, decision, {"requests": 1, **asked})


_COUNT = st.one_of(st.integers(0, 2**20), st.integers(0, 2**53))
_AMOUNT = st.one_of(st.integers(1, 2**20), st.integers(1, 2**53))

ANY_STANDINGS = st.lists(
    st.builds(
        Standing,
        plan=st.text(max_size=80) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=4),
        meter=st.sampled_from(METERS) | st.text(max_size=80),
        amount=_AMOUNT,
        period=st.sampled_from([0.001, 0.25, 1.0, 1.5, 60.0, 3_600.0, 86_400.0]) | st.floats(0.001, 366 * 86_400.0),
        burst=_AMOUNT,
        remaining=_COUNT,
        debt=_COUNT,
        reset_after_us=st.integers(0, 10**8) | st.integers(0, 2**70),
        retry_after_us=st.integers(0, 10**8) | st.integers(0, 2**70),
    ),
    max_size=12,
)
"""Any standings within their types, whether or not an engine could make them."""
