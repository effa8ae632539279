"""Slices never hand out more than was paid, nor what has drained; sizes stay within what is asked for and free."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import ConfigError, Leases
from ratelimit.core.hold import Hold
from ratelimit.core.lease import Demand, Glimpse, Slice, slice_costs
from ratelimit.core.limit import BucketSpec, Layout

SECOND = 1_000_000
TERM = SECOND // 2
PAIR = Layout(
    "Pair",
    (
        BucketSpec.of(meter="requests", amount=60, period_us=60 * SECOND),
        BucketSpec.of(meter="tokens", amount=600_000, period_us=60 * SECOND),
    ),
)
THREE = Layout(
    "Three",
    (
        PAIR.specs[0],
        BucketSpec.of(meter="tokens", amount=299_999_999, period_us=60 * SECOND),
        BucketSpec.of(meter="output_tokens", amount=100_000_007, period_us=60 * SECOND),
    ),
)
"""Ticks of a microsecond, a second and a millisecond."""
layouts = st.sampled_from([PAIR, THREE])


def reserved(layout: Layout, costs: Sequence[int], before: Sequence[int], at: int = 5 * SECOND + 123) -> Hold:
    """A reserve of so many units, as answered at `at` where so much was used before."""
    hold = Hold("k", layout, list(costs))
    hold.at, hold.epoch, hold.refunded = at, 1, [0] * len(costs)
    hold.levels = [cost + level for cost, level in zip(costs, before, strict=True)]
    return hold


def floor(hold: Hold, elapsed: int) -> list[int]:
    """The level of the reserve, drained as the server drains it, not looked at from below zero."""
    ticks = [(hold.at + elapsed) // spec.tick_us - hold.at // spec.tick_us for spec in hold.layout.specs]
    return [level - n * spec.rate for level, n, spec in zip(hold.levels, ticks, hold.layout.specs, strict=True)]


steps = st.lists(
    st.tuples(
        st.integers(0, TERM // 8),
        st.lists(st.integers(0, 40), min_size=3, max_size=3),
        st.one_of(st.none(), st.tuples(st.integers(0, 30), st.integers(0, 60))),
    ),
    max_size=40,
)
percents = st.lists(st.integers(0, 100), min_size=3, max_size=3)


@given(layouts, percents, percents, steps)
def test_a_slice_hands_out_what_was_paid_and_has_not_drained(
    layout: Layout, sizes: list[int], used: list[int], steps: list[tuple[int, list[int], tuple[int, int] | None]]
) -> None:
    """At every instant, all that goes out from then on (and stays out) is at most the floor of that instant.

    That is what keeps the level of the world in which each part was charged when it went out above zero.
    """
    costs = [spec.capacity * size // 200 for spec, size in zip(layout.specs, sizes, strict=False)]
    before = [spec.capacity * size // 200 for spec, size in zip(layout.specs, used, strict=False)]
    lease = Slice(reserved(layout, costs, before), 77, TERM)
    now = 77
    out: list[tuple[int, list[int], Sequence[int], Sequence[int]]] = []
    history: list[tuple[int, list[int]]] = []
    """Time, and what goes out then or comes back to that time's account."""
    for gap, shares, settle in steps:
        now += gap
        asked = [cost * share // 100 for cost, share in zip(costs, shares, strict=False)]
        if lease.take(asked, now):
            assert now < lease.ends
            history.append((now, asked))
            out.append((len(history) - 1, asked, lease.left, lease.returned))
        if settle is not None and out:
            index, cost, left, returned = out.pop(settle[0] % len(out))
            debts = [part * settle[1] // 50 - part for part in cost]
            given_back = lease.correct(debts, left, returned, now)
            if given_back is not None:
                assert all(0 <= credit <= max(0, -debt) for credit, debt in zip(given_back, debts, strict=True))
                # What came back never went out; an overrun goes out now.
                history[index] = (
                    history[index][0],
                    [a - b for a, b in zip(history[index][1], given_back, strict=True)],
                )
                history.append((now, [max(0, debt) for debt in debts]))
    for first in range(len(history)):
        later = [sum(parts) for parts in zip(*[parts for _, parts in history[first:]], strict=True)]
        bound = floor(lease.hold, history[first][0] - 77)
        for total, least, paid in zip(later, bound, costs, strict=True):
            assert total <= max(0, least)
            assert total <= paid
    assert all(0 <= spent <= cost for spent, cost in zip(lease.spent(), costs, strict=True))


@given(layouts, percents, st.integers(0, 2 * TERM))
def test_a_glimpse_drains_as_the_server_does(layout: Layout, used: list[int], elapsed: int) -> None:
    """In whole ticks of the server's clock, and never below zero."""
    levels = [spec.capacity * size // 100 for spec, size in zip(layout.specs, used, strict=False)]
    hold = reserved(layout, [0] * len(levels), levels)
    assert Glimpse(hold, 9).levels(9 + elapsed) == [max(0, level) for level in floor(hold, elapsed)]


def test_nothing_goes_out_once_the_term_is_over() -> None:
    """Not even what was paid and never used."""
    lease = Slice(reserved(PAIR, [10 * SECOND, 1_000], [SECOND * 40, 10**6]), 0, TERM)
    assert lease.take([SECOND, 1], TERM - 1)
    assert not lease.take([SECOND, 1], TERM)
    assert lease.correct([0, 0], lease.left, lease.returned, TERM) is None


def test_a_cost_that_one_bucket_cannot_cover_changes_nothing() -> None:
    """All or nothing over the buckets of a slice (promise P3)."""
    lease = Slice(reserved(PAIR, [10 * SECOND, 1_000], [SECOND * 40, 10**6]), 0, TERM)
    assert not lease.take([SECOND, 1_001], 1)
    assert list(lease.left) == [10 * SECOND, 1_000]
    assert lease.correct([0, 1_001], lease.left, lease.returned, 1) is None
    assert list(lease.left) == [10 * SECOND, 1_000]


def test_what_comes_back_can_go_out_again() -> None:
    """Within the slice, at once."""
    lease = Slice(reserved(PAIR, [2 * SECOND, 1_000], [SECOND * 40, 10**6]), 0, TERM)
    assert lease.take([SECOND, 1_000], 1)
    assert lease.correct([0, -600], lease.left, lease.returned, 2) == [0, 600]
    assert not lease.take([SECOND, 601], 3)
    assert lease.take([SECOND, 600], 3)


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=2),
    st.lists(st.integers(0, 120), min_size=2, max_size=2),
    st.integers(0, 500),
    st.lists(st.integers(0, 10**6), min_size=2, max_size=2),
    st.integers(2, 200),
    st.integers(1, 16),
)
def test_the_size_of_a_slice(
    asked: list[int], used: list[int], decisions: int, need: list[int], most: int, workers: int
) -> None:
    """Worth a call or none at all; at most half a worker's share of what is free, and the need of `most` decisions."""
    cost = [part * spec.units for part, spec in zip(asked, PAIR.specs, strict=True)]
    levels = [spec.capacity * percent // 100 for spec, percent in zip(PAIR.specs, used, strict=True)]
    units = [part * spec.units for part, spec in zip(need, PAIR.specs, strict=True)]
    sizes = slice_costs(PAIR, cost, levels, (decisions, units), most=most, workers=workers)
    if sizes is None:
        return
    for spec, size, part, level, wanted in zip(PAIR.specs, sizes, cost, levels, units, strict=True):
        assert size % spec.units == 0
        assert size >= 2 * part
        assert size <= max(0, spec.capacity - level) / (2 * workers)
        assert size <= max(part, wanted * min(decisions, most) / decisions)


def test_slices_shrink_to_nothing_as_the_limit_comes_near() -> None:
    """Geometrically; in the end everybody asks for exactly what they need."""
    units, level = PAIR.specs[1].units, [0, 0]
    sizes: list[int] = []
    while (size := slice_costs(PAIR, [0, units], level, (10**6, [0, 10**12]), most=10**6, workers=4)) is not None:
        sizes.append(size[1] // units)
        level = [0, level[1] + size[1]]
    assert sizes[:3] == [75_000, 65_625, 57_421]
    assert sizes[-1] == 2
    assert 600_000 - sum(sizes) < 2 * 2 * 4


@given(st.lists(st.tuples(st.integers(0, 2 * TERM), st.integers(1, 9)), max_size=30))
def test_demand_is_that_of_the_last_term(asked: list[tuple[int, int]]) -> None:
    """At least the decisions of the current window, at most those of the last two terms, at their mean cost."""
    demand, now = Demand(2, TERM), 10 * SECOND
    seen: list[tuple[int, int]] = []
    for gap, units in asked:
        now += gap
        demand.add(now, 1, [units, 7])
        seen.append((now, units))
        recent = [part for at, part in seen if at > now - 2 * TERM]
        decisions, [expected, same] = demand.expected(now)
        assert 1 <= decisions <= len(recent)
        assert decisions * min(recent) <= expected <= sum(recent)
        assert same == 7 * decisions
    assert demand.expected(now + 2 * TERM) == (0, [0, 0])


def test_demand_that_is_told_of_late_counts_with_what_came_since() -> None:
    """A slice that ended unnoticed tells of its end when it is found: that must not wipe the window that runs."""
    demand = Demand(1, TERM)
    demand.add(10 * SECOND, 3, [30])
    demand.add(10 * SECOND - 1, 2, [20])
    assert demand.expected(10 * SECOND + 1) == (5, [50])


@pytest.mark.parametrize(
    "wrong",
    [{"term": 0}, {"term": 11}, {"term": True}, {"term": "1"}, {"most": 1}, {"workers": 0}, {"busy": 0}, {"busy": 1.5}],
)
def test_options_that_cannot_be_right_are_refused(wrong: dict[str, object]) -> None:
    """Naming the option and what it may be."""
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is .*must be"):
        Leases(**wrong)  # type: ignore[arg-type]
