"""Promises of `ratelimit.core.limit`."""

from __future__ import annotations

from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.core.limit import BUCKETS_MAX, CAPACITY_MAX, PERIOD_MAX_US, TICKS_US, BucketSpec, Layout
from ratelimit.errors import ConfigError
from ratelimit.plans import BUILTIN_PLANS

MINUTE = 60_000_000


def spec(amount: int, period_us: int = MINUTE, burst: int | None = None, meter: str = "tokens") -> BucketSpec:
    """A spec, most of it usual."""
    return BucketSpec.of(meter=meter, amount=amount, period_us=period_us, burst=burst)


def test_tokens_of_the_builtin_plans_cost_5_to_1000_units() -> None:
    """At a tick of one microsecond."""
    specs = [plan.layout.specs[1] for plan in BUILTIN_PLANS]
    assert [(each.tick_us, each.units, each.rate) for each in specs] == [
        (1, 1000, 1),
        (1, 100, 1),
        (1, 20, 1),
        (1, 5, 1),
    ]


def test_levels_of_the_builtin_plans_are_narrow() -> None:
    """A whole minute of each is 60,000,000 units: the express lanes of the scripts take them."""
    assert {each.capacity for plan in BUILTIN_PLANS for each in plan.layout.specs} == {MINUTE}


@pytest.mark.parametrize(
    ("amount", "period_us", "tick_us", "units", "rate"),
    [
        (7_000_000, MINUTE, 1, 60, 7),
        (100_000_007, MINUTE, 1_000, 60_000, 100_000_007),
        (1, 86_400_000_000, 1, 86_400_000_000, 1),
        (86_400 * 10**7 + 86_400, 86_400_000_000, 1_000_000, 1, 10**7 + 1),
        (1_000, 1_000, 1, 1, 1),
        (3, 1_000, 1, 1_000, 3),
    ],
)
def test_the_finest_tick_that_stays_exact_is_chosen(
    amount: int, period_us: int, tick_us: int, units: int, rate: int
) -> None:
    """Microseconds if the capacity fits, else milliseconds, else seconds."""
    made = spec(amount, period_us)
    assert (made.tick_us, made.units, made.rate) == (tick_us, units, rate)


@given(amount=st.integers(1, 2**48), period_us=st.integers(1_000, PERIOD_MAX_US), burst=st.integers(1, 2**48))
def test_the_numbers_are_exact_or_refused(amount: int, period_us: int, burst: int) -> None:
    """Lowest terms, a whole period drains exactly the amount, and the capacity is small enough."""
    try:
        made = spec(amount, period_us, burst)
    except ConfigError:
        return
    ticks, rest = divmod(period_us, made.tick_us)
    assert rest == 0
    assert made.tick_us in TICKS_US
    assert gcd(made.units, made.rate) == 1
    assert made.rate * ticks == amount * made.units
    assert made.capacity == burst * made.units <= CAPACITY_MAX


@pytest.mark.parametrize("number", [0, -1, 2**48 + 1, 1.0, True, "60", None])
def test_amounts_that_are_no_whole_number_in_range_are_refused(number: object) -> None:
    """Floats, bools and text are not read as numbers; None stands for the amount only as a burst."""
    with pytest.raises(ConfigError, match=r"^tokens amount is .*: must be a whole number from 1 to 2\*\*48$"):
        spec(number)  # type: ignore[arg-type]  # that is the point
    if number is not None:
        with pytest.raises(ConfigError, match=r"^tokens burst is "):
            spec(60, burst=number)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("period_us", [0, -1, 999, PERIOD_MAX_US + 1])
def test_periods_outside_a_millisecond_to_a_leap_year_are_refused(period_us: int) -> None:
    """Both ends themselves are fine."""
    assert spec(1, 1_000).period_us == 1_000
    assert spec(1, PERIOD_MAX_US).period_us == PERIOD_MAX_US
    with pytest.raises(ConfigError, match=r"must lie between 1 ms and 366 days"):
        spec(1, period_us)


def test_a_burst_that_fits_no_tick_is_refused() -> None:
    """The message says what to change."""
    with pytest.raises(
        ConfigError, match=r"does not fit exact arithmetic: .*; round the amount .* or lower the burst$"
    ):
        spec(2**47 + 1, 86_400_000_000)


def test_the_tag_depends_on_meter_and_period_alone() -> None:
    """A plan change finds the bucket whatever the amount and burst."""
    assert spec(1).tag == spec(99, burst=7).tag
    assert len({spec(1).tag, spec(1, meter="requests").tag, spec(1, 2 * MINUTE).tag}) == 3
    assert len(spec(1).tag) == 3


@pytest.mark.parametrize(
    ("period_us", "text"),
    [(MINUTE, "minute"), (2 * MINUTE, "2 minutes"), (86_400_000_000, "day"), (500_000, "500 ms"), (1_500, "1.5 ms")],
)
def test_a_spec_reads_as_its_rule(period_us: int, text: str) -> None:
    """For messages."""
    assert str(spec(1_500, period_us)) == f"1,500 tokens per {text}"


def test_a_layout_refuses_none_twins_and_too_many() -> None:
    """A plan without limits would be unlimited; twins would share a bucket; the wire counts in seven bits."""
    with pytest.raises(ConfigError, match=r"^plan 'P' has no limits"):
        Layout("P", ())
    with pytest.raises(ConfigError, match=r"^plan 'P' names the same limit twice"):
        Layout("P", (spec(1), spec(2)))
    many = tuple(spec(1, meter=f"m{i}") for i in range(BUCKETS_MAX + 1))
    assert len(Layout("P", many[:-1]).specs) == BUCKETS_MAX
    with pytest.raises(ConfigError, match=r"^plan 'P' has 65 limits: at most 64 are allowed"):
        Layout("P", many)


def test_a_layout_is_fine_when_every_tick_is_a_microsecond() -> None:
    """One coarse bucket makes the whole layout take the general way."""
    coarse = spec(100_000_007, meter="other")
    assert Layout("P", (spec(60),)).fine
    assert not Layout("P", (spec(60), coarse)).fine
