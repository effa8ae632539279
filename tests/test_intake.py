"""Promises of `ratelimit.intake`: the short way of nearly every call prices and refuses as the general one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratelimit import Limit, Plan, PlanRegistry
from ratelimit.core.keys import KeyMaker
from ratelimit.errors import RateLimitError
from ratelimit.intake import Intake, Scope

PLANS = PlanRegistry().with_plans(
    Plan("turned", limits=[Limit("tokens", 100, 60), Limit("requests", 5, 60)]),
    Plan("requests only", limits=[Limit("requests", 5, 60)]),
    Plan("three", limits=[Limit("requests", 5, 60), Limit("tokens", 100, 60), Limit("tokens", 1_000, 3_600)]),
)
amounts = st.one_of(st.integers(-2, 12), st.integers(59_998, 60_002), st.sampled_from([True, 2**53, 2**53 + 1, 2**80]))


@given(st.sampled_from(PLANS.names), st.sampled_from(["ann", ""]), amounts, amounts)
def test_a_subject_is_priced_like_a_single_scope(plan: str, subject: str, requests: int, tokens: int) -> None:
    """The same key, layout and costs, or the same words of refusal."""
    intake = Intake(PLANS, KeyMaker("rl", b""))

    def asked(who: object, plan: str | None) -> object:
        try:
            (hold,) = intake.holds(who, plan, None, requests, tokens, {})  # type: ignore[arg-type]
        except RateLimitError as refused:
            return type(refused), str(refused)
        return hold.key, hold.layout, hold.costs

    assert asked(subject, plan) == asked([Scope(subject, plan)], None)
