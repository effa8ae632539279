"""Promises of `ratelimit.plans.weights`."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import ConfigError, Plan, TokenWeights

AMOUNTS = st.integers(0, 2**53)


def test_a_class_that_is_not_named_weighs_one() -> None:
    """Without weights, tokens are what they are."""
    plain = TokenWeights()
    assert (plain.input_tokens(3, 4, 5), plain.output_tokens(6)) == (12, 6)
    assert Plan("Pro", rpm=60).weights == plain


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.integers(0, 2_000))
def test_weighing_is_exact_and_rounds_up(fresh: int, read: int, write: int, thousandths: int) -> None:
    """Whole numbers throughout: no float decides over a token."""
    weights = TokenWeights(cache_read=thousandths / 1000, cache_write=2, output=0.5)
    assert weights.input_tokens(fresh, read, write) == fresh + 2 * write + -(-read * thousandths // 1000)
    assert weights.output_tokens(fresh) == (fresh + 1) // 2
    assert ceil(weights.cache_read) == thousandths


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"cache_read": -0.1}, "Plan.weights.cache_read = -0.1: must be a number from 0 to 1000 with at most three"),
        (
            {"cache_read": 0.0001},
            "Plan.weights.cache_read = 0.0001: must be a number from 0 to 1000 with at most three",
        ),
        ({"output": 1001}, "Plan.weights.output = 1001: must be a number"),
        ({"output": True}, "Plan.weights.output = True: must be a number"),
        ({"output": float("nan")}, "Plan.weights.output = nan: must be a number"),
        ({"output": "1"}, "Plan.weights.output = '1': must be a number"),
        ({"cached": 0}, "Plan.weights.cached = 0: unknown key; known are input, cache_read, cache_write, output"),
    ],
)
def test_a_weight_that_cannot_be_right_is_named(weights: Any, text: str) -> None:
    """Path, value and rule."""
    with pytest.raises(ConfigError) as caught:
        Plan("Pro", rpm=60, weights=weights)
    assert str(caught.value).startswith(text)


def test_a_plan_keeps_its_weights_through_a_dump() -> None:
    """What is written is read back, and two plans that differ in weights differ."""
    plan = Plan("Pro", rpm=60, weights=TokenWeights(cache_read=0.1))
    assert Plan.model_validate(plan.model_dump()) == plan != Plan("Pro", rpm=60)
