"""Promises of `ratelimit.plans.models.Limit`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.core.limit import BucketSpec
from ratelimit.errors import ConfigError
from ratelimit.plans import Limit

BURST = "must be a whole number from 1 to 2**48"


def test_a_rate_and_its_parts_are_the_same_limit() -> None:
    """The notation of `limits`, seconds and text build equal limits with equal specs."""
    limits = [
        Limit("tokens", 600_000, "minute"),
        Limit(meter="tokens", amount=600_000, period=60),
        Limit("tokens", rate="600000/minute", burst=600_000),
    ]
    assert {(limit, limit.spec) for limit in limits} == {(limits[0], limits[0].spec)}


def test_a_limit_exposes_plain_numbers() -> None:
    """Amount, period in microseconds and burst are ints, and the spec carries the same."""
    limit = Limit("tokens", rate="5 per 2 hours", burst=7)
    assert (limit.meter, limit.amount, limit.period_us, limit.burst) == ("tokens", 5, 7_200_000_000, 7)
    assert limit.spec == BucketSpec.of(meter="tokens", amount=5, period_us=7_200_000_000, burst=7)
    assert limit.spec is limit.spec


@given(st.integers(1, 10**7), st.integers(1, 86_400))
def test_equal_limits_have_equal_specs(amount: int, seconds: int) -> None:
    """However a limit is written, and after a round trip, its arithmetic is the same."""
    limit = Limit("tokens", amount, seconds)
    assert Limit("tokens", rate=f"{amount} per {seconds} seconds").spec == limit.spec
    assert Limit.model_validate(limit.model_dump()).spec == limit.spec
    assert Limit.model_validate_json(limit.model_dump_json()) == limit


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda limit: pickle.loads(pickle.dumps(limit))])
def test_a_copy_is_equal(twin: Any) -> None:
    """Copies and pickles are equal, hash alike and keep their spec."""
    limit = Limit("tokens", 5, "500ms")
    assert (twin(limit), hash(twin(limit)), twin(limit).spec) == (limit, hash(limit), limit.spec)


def test_a_changed_copy_has_its_own_spec() -> None:
    """The spec of a copy with another amount belongs to that amount."""
    changed = Limit("tokens", 5, "minute").model_copy(update={"amount": 7})
    assert changed.spec == BucketSpec.of(meter="tokens", amount=7, period_us=60_000_000, burst=5)


def test_a_changed_copy_is_checked() -> None:
    """A copy cannot smuggle in a number that a call would refuse."""
    with pytest.raises(ConfigError, match=r"Limit\.amount = 0: "):
        Limit("tokens", 5, "minute").model_copy(update={"amount": 0})


def test_a_limit_cannot_be_changed() -> None:
    """Limits are frozen."""
    with pytest.raises(ValueError, match="frozen"):
        Limit("tokens", 5, "minute").amount = 6


@pytest.mark.parametrize(
    ("body", "path", "value", "rule"),
    [
        ({"meter": "Tokens", "rate": "1/minute"}, "Limit.meter", "'Tokens'", "must be a lower-case letter"),
        ({"meter": "t", "amount": True, "period": 60}, "Limit.amount", "True", BURST),
        ({"meter": "t", "amount": 1.0, "period": 60}, "Limit.amount", "1.0", BURST),
        ({"meter": "t", "amount": float("nan"), "period": 60}, "Limit.amount", "nan", BURST),
        ({"meter": "t", "amount": -1, "period": 60}, "Limit.amount", "-1", BURST),
        ({"meter": "t", "amount": "5", "period": 60}, "Limit.amount", "'5'", BURST),
        ({"meter": "t", "amount": 2**48 + 1, "period": 60}, "Limit.amount", str(2**48 + 1), BURST),
        ({"meter": "t", "amount": 5, "period": 60, "burst": 0}, "Limit.burst", "0", BURST),
        ({"meter": "t", "amount": 5, "period": "soon"}, "Limit.period", "'soon'", "must be a period like"),
        ({"meter": "t", "rate": "5/soon"}, "Limit.rate", "'5/soon'", "must be a rate like"),
        ({"meter": "t", "rate": 5}, "Limit.rate", "5", "must be text like"),
        ({"meter": "t", "rate": "5/day", "amount": 5}, "Limit.rate", "'5/day'", "either rate"),
        ({"meter": "t", "rate": "5/day", "period": 5}, "Limit.rate", "'5/day'", "either rate"),
        ({"meter": "t"}, "Limit", "{'meter': 't'}", "either rate"),
        ({"meter": "t", "rate": "5/day", "brust": 9}, "Limit.brust", "9", "unknown key; known are meter, amount"),
        (
            {"meter": "t", "amount": 2**44, "period": "366d"},
            "Limit",
            "'amount': 17592",
            "does not fit exact arithmetic",
        ),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], path: str, value: str, rule: str) -> None:
    """A call and a validation both raise ConfigError with path, value and rule."""
    for build in (lambda body: Limit(**body), Limit.model_validate):
        with pytest.raises(ConfigError) as caught:
            build(body)
        text = str(caught.value)
        assert text.startswith(f"{path} = ")
        assert value in text
        assert rule in text


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"rate": "1/minute"}, "Limit.meter"),
        ({"meter": "t", "amount": 5}, "Limit.period"),
        ({"meter": "t", "period": 5}, "Limit.amount"),
    ],
)
def test_what_is_missing_is_named_once(body: dict[str, Any], path: str) -> None:
    """A missing key is the whole message: what depends on it is not reported too."""
    with pytest.raises(ConfigError) as caught:
        Limit(**body)
    assert str(caught.value) == f"{path}: is required"


def test_a_forgotten_value_in_a_file_is_no_default() -> None:
    """None in a mapping is refused, although in a call it means "not given"."""
    with pytest.raises(ConfigError, match=r"Limit\.burst = None: must be a whole number"):
        Limit.model_validate({"meter": "t", "rate": "5/day", "burst": None})


def test_huge_values_are_cut() -> None:
    """The message stays short whatever the value."""
    with pytest.raises(ConfigError) as caught:
        Limit("x" * 10**6, rate="1/minute")
    assert len(str(caught.value)) < 250


def test_a_call_with_too_many_values_is_a_type_error() -> None:
    """Misuse of the call itself is Python's error, as for any function."""
    with pytest.raises(TypeError, match="at most 3 values by position"):
        Limit("t", 5, 60, "5/day")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="meter twice"):
        Limit("t", 5, 60, meter="t")  # type: ignore[misc]


def test_a_limit_reads_as_a_sentence() -> None:
    """`str` is for people, and tells a burst only when there is one."""
    assert str(Limit("tokens", 600_000, 60)) == "600,000 tokens per minute"
    assert str(Limit("tokens", 5, 60, burst=9)) == "5 tokens per minute with a burst of 9"
