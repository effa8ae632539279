"""Promises of `ratelimit.plans.notation`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.plans import notation

NOT_AMOUNTS = (
    st.booleans()
    | st.floats()
    | st.text()
    | st.none()
    | st.integers(max_value=0)
    | st.integers(min_value=2**48 + 1)
    | st.integers().map(str)
)


@given(NOT_AMOUNTS)
def test_an_amount_is_nothing_but_a_whole_number(value: object) -> None:
    """Bools, floats, NaN, text, zero, negative and huge numbers are no amounts."""
    with pytest.raises(ValueError, match=r"must be a whole number from 1 to 2\*\*48"):
        notation.whole(value)


@given(st.integers(1, 2**48))
def test_an_amount_in_range_comes_back_as_it_is(value: int) -> None:
    """Every int from 1 to 2**48 is an amount."""
    assert notation.whole(value) == value


@pytest.mark.parametrize(
    ("written", "period_us"),
    [
        (60, 60_000_000),
        ("second", 1_000_000),
        ("minute", 60_000_000),
        ("hour", 3_600_000_000),
        ("day", 86_400_000_000),
        ("week", 604_800_000_000),
        ("30s", 30_000_000),
        ("500ms", 500_000),
        (" 5 Minutes ", 300_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
        ("366 days", 366 * 86_400_000_000),
    ],
)
def test_a_period_is_seconds_or_text(written: object, period_us: int) -> None:
    """A period may be whole seconds, a unit, or a number of units, in any case and with spaces."""
    assert notation.period_in_us(written) == period_us


@pytest.mark.parametrize(
    "written",
    [
        *(0, -1, True, 1.0, float("nan"), None, [], 367 * 86_400),
        *("", "60", "0s", "-1s", "1.5s", "367d", "fortnight", "1 month", "1s 1s", "٣s"),
        *("9" * 5_000 + "s", "1" + " " * 100 + "s"),
    ],
)
def test_a_period_that_could_be_misread_is_refused(written: object) -> None:
    """Numbers as text, fractions, unknown units and lengths out of range are no periods."""
    with pytest.raises(ValueError, match="must be"):
        notation.period_in_us(written)


@given(st.integers(1, 366 * 86_400_000))
def test_a_period_reads_back_what_it_writes(milliseconds: int) -> None:
    """`period_in_us` undoes `period_text`."""
    assert notation.period_in_us(notation.period_text(milliseconds * 1_000)) == milliseconds * 1_000


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("60/minute", (60, 60)),
        ("5 per 2 hours", (5, 7_200)),
        ("1000/day", (1_000, 86_400)),
        ("1 PER second", (1, 1)),
        ("10/month", (10, 30 * 86_400)),
    ],
)
def test_a_rate_is_read_as_limits_reads_it(written: str, parts: tuple[int, int]) -> None:
    """A rate in the notation of `limits` gives its amount and its period in seconds."""
    assert notation.rate_parts(written) == parts


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("60", "must be a rate like"),
        ("sixty/minute", "must be a rate like"),
        ("1.5/minute", "must be a rate like"),
        ("-1/minute", "must be a rate like"),
        ("60/fortnight", "must be a rate like"),
        ("0/minute", "must be a whole number"),
        (f"{2**48 + 1}/minute", "must be a whole number"),
        ("1/2 years", "must be a period from 1 ms to 366 days"),
        ("1/minute; 2/hour", "must be one rate;"),
        ("1/minute|2/hour", "must be one rate;"),
        ("5/0 minutes", "must have a period longer than 0"),
        ("5 per 00hours", "must have a period longer than 0"),
        ("1" * 5_000 + "/minute", "must be one rate of at most 64 characters"),
        (60, "must be text like"),
        (None, "must be text like"),
    ],
)
def test_a_rate_that_limits_would_misread_is_refused(written: object, rule: str) -> None:
    """Several rates, a period of zero, numbers out of range and other notations are refused with the rule."""
    with pytest.raises(ValueError, match=rule):
        notation.rate_parts(written)


@pytest.mark.parametrize("name", ["requests", "a", "input_tokens", "x" * 64, "t5"])
def test_a_meter_is_a_lower_case_identifier(name: str) -> None:
    """Meters are named like variables."""
    assert notation.meter_name(name) == name


@pytest.mark.parametrize("name", ["", "Tokens", "5t", "_t", "a-b", "a b", "x" * 65, "tokens\n", "é", 5, None])
def test_other_meters_are_refused(name: object) -> None:
    """Anything else is no meter, a trailing line end included."""
    with pytest.raises(ValueError, match="must be a lower-case letter"):
        notation.meter_name(name)


@pytest.mark.parametrize("name", ["Pro", "MAX 20X", "x" * 64, "Größe", "計画"])
def test_a_plan_name_is_printable(name: str) -> None:
    """Plans may be named in any language."""
    assert notation.plan_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "a\x00", "\x7f", "\ud800", "- _", 5, None, True])
def test_other_plan_names_are_refused(name: object) -> None:
    """Control characters, lone surrogates, separators alone and other types name no plan."""
    with pytest.raises(ValueError, match="must"):
        notation.plan_name(name)
