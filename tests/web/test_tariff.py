"""Promises of `ratelimit.web.tariff`."""

from __future__ import annotations

import gc
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import Limit, Plan, TokenWeights
from ratelimit.intake import AMOUNT_MAX, check_amounts
from ratelimit.web.tariff import Tariff, Tariffs
from ratelimit.web.usage import Usage

COUNTS = st.integers(0, 10**6) | st.integers(0, 2**70)
METERS = ("requests", "tokens", "input_tokens", "output_tokens")


def plan(*meters: str, weights: TokenWeights | None = None) -> Plan:
    """A plan that limits these meters."""
    limits = [Limit(meter, 1_000, "minute") for meter in meters]
    return Plan("Team", limits=limits, weights=weights or TokenWeights())


def test_it_names_the_meters_that_the_plan_limits_and_no_others() -> None:
    """Requests always; amounts that no limit counts would only cost time."""
    usage = Usage(input=5, output=7)
    assert Tariff(plan("requests", "tokens")).amounts(1, usage) == {"requests": 1, "tokens": 12}
    assert Tariff(plan("input_tokens")).amounts(1, usage) == {"requests": 1, "input_tokens": 5}
    assert Tariff(plan("output_tokens", "images")).amounts(0, usage) == {"requests": 0, "output_tokens": 7}


@given(
    fresh=st.integers(0, 10**9),
    read=st.integers(0, 10**9),
    written=st.integers(0, 10**9),
    output=st.integers(0, 10**9),
    weights=st.lists(st.integers(0, 3_000), min_size=4, max_size=4),
)
def test_every_class_of_tokens_counts_with_its_weight(
    fresh: int, read: int, written: int, output: int, weights: list[int]
) -> None:
    """Input and output are rounded up to whole tokens, each for itself; reasoning is part of output."""
    names = ("input", "cache_read", "cache_write", "output")
    weighed = TokenWeights(**{name: weight / 1_000 for name, weight in zip(names, weights, strict=True)})
    usage = Usage(input=fresh, cache_read=read, cache_write=written, output=output, reasoning=output)
    amounts = Tariff(plan(*METERS, weights=weighed)).amounts(1, usage)
    taken = ceil(Fraction(fresh * weights[0] + read * weights[1] + written * weights[2], 1_000))
    given_ = ceil(Fraction(output * weights[3], 1_000))
    assert amounts == {"requests": 1, "tokens": taken + given_, "input_tokens": taken, "output_tokens": given_}


@given(st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS))
def test_no_usage_is_more_than_the_engine_can_count(usage: Usage) -> None:
    """A number that cannot be right is charged at the most there is, and never raises."""
    for weights in (TokenWeights(), TokenWeights(output=1_000, cache_read=0)):
        amounts = Tariff(plan(*METERS, weights=weights)).amounts(1, usage)
        check_amounts(amounts)
        assert amounts["tokens"] == amounts["input_tokens"] + amounts["output_tokens"] <= AMOUNT_MAX


def test_a_plan_has_one_tariff() -> None:
    """Asked for again, it is the same; another plan's is another, even when all its numbers are equal."""
    tariffs = Tariffs()
    one, other = plan("tokens"), plan("tokens")
    assert tariffs.of(one) is tariffs.of(one)
    assert tariffs.of(one) is not tariffs.of(other)


def test_plans_made_for_one_request_are_not_kept_for_ever() -> None:
    """Bounded, and never the tariff of a plan that is gone and whose place in memory another one took."""
    tariffs = Tariffs()
    for i in range(3_000):
        meter = METERS[i % 4]
        amounts = tariffs.of(plan(meter)).amounts(1, Usage(input=3, output=4))
        assert amounts.keys() == {"requests", meter}
    gc.collect()
    assert len(tariffs._known) <= 1_024


@pytest.mark.parametrize("meters", [("requests",), ("requests", "images")])
def test_a_plan_without_tokens_counts_none(meters: tuple[str, ...]) -> None:
    """Requests are all there is to pay."""
    assert Tariff(plan(*meters)).amounts(1, Usage(input=10**9)) == {"requests": 1}
