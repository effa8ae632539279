"""Promises of `ratelimit.core.decision`, `hold` and `settlement`."""

from __future__ import annotations

import pickle

import pytest

from ratelimit.core.decision import Decision, decide, standings
from ratelimit.core.settlement import Settlement
from ratelimit.errors import CostExceedsLimit, RateLimited
from tests.core.holds import MINUTE, answered, layout

COARSE = layout(("tokens", 100_000_007, MINUTE))
"""Ticks of a millisecond: a token costs 60,000 units and 100,000,007 units drain per tick."""


def test_an_allowed_decision_waits_for_nothing() -> None:
    """It is true, binds nowhere, and its standings show the levels with the cost."""
    decision: Decision[object] = decide(True, [answered([1_000_000, 500], [1_000_000, 500])])
    assert decision
    assert decision.binding is None
    assert decision.retry_after_us == 0
    assert [standing.remaining for standing in decision.standings] == [59, 599_995]
    assert [standing.reset_after_us for standing in decision.standings] == [1_000_000, 500]
    assert str(decision) == "allowed"


def test_a_refused_decision_names_the_limit_that_binds_longest() -> None:
    """Retry-after is exactly the excess, as one unit drains per microsecond."""
    decision: Decision[object] = decide(False, [answered([1_000_000, 500], [MINUTE - 999_993, MINUTE - 1])])
    assert not decision
    assert [standing.retry_after_us for standing in decision.standings] == [7, 499]
    assert decision.binding is decision.standings[1]
    assert decision.retry_after == 499e-6
    assert str(decision) == "tokens of plan 'P' are used up (600,000 per 60 s, 0 left); retry in 0.000 s"


def test_what_is_left_is_rounded_down() -> None:
    """A part of a token is none."""
    _, tokens = standings(answered([0, 0], [0, 0]).layout, 0, 0, [0, MINUTE - 199], None)
    assert tokens.remaining == 1


def test_nothing_is_left_of_debt() -> None:
    """Never negative."""
    _, tokens = standings(answered([0, 0], [0, 0]).layout, 0, 0, [0, 5 * MINUTE], None)
    assert tokens.remaining == 0
    assert tokens.reset_after == 300.0


def test_a_cost_of_nothing_fits_in_any_state() -> None:
    """Also in debt."""
    _, tokens = standings(answered([0, 0], [0, 0]).layout, 0, 0, [0, 5 * MINUTE], [1, 0])
    assert tokens.retry_after == 0


def test_lag_is_added_to_every_wait() -> None:
    """After the clock stepped back, time has to catch up first."""
    _, tokens = standings(answered([0, 0], [0, 0]).layout, 0, 30, [0, 100], [0, MINUTE])
    assert (tokens.reset_after_us, tokens.retry_after_us) == (130, 130)


@pytest.mark.parametrize(("at", "wait"), [(0, 1_000), (1, 999), (999, 1), (1_000, 1_000), (123_456, 544)])
def test_a_coarse_tick_ends_a_wait_at_its_edge(at: int, wait: int) -> None:
    """Whatever the moment within a millisecond, one unit has drained when the next one begins."""
    (tokens,) = standings(COARSE, at, 0, [COARSE.capacities[0]], [1])
    assert tokens.retry_after_us == wait


def test_a_coarse_wait_counts_whole_ticks() -> None:
    """Two ticks' worth and a unit take three."""
    (tokens,) = standings(COARSE, 500, 0, [2 * 100_000_007 + 1], None)
    assert tokens.reset_after_us == 2_500


def test_a_mark_is_the_level_and_what_had_been_given_back() -> None:
    """The most that a settle may return."""
    assert answered([1, 1], [10, 20], refunded=[3, 4]).marks() == [13, 24]


def test_a_settlement_reads_as_amounts() -> None:
    """Credits in whole amounts, the standings as after it."""
    hold = answered([1_000_000, 5_000], [1_000_000, 5_000])
    settlement = Settlement([hold], [(1_000, 0, [0, 2_001], [999_999, 2_999])], repeated=False)
    assert settlement.returned == {"requests": 0, "tokens": 29}
    assert [standing.remaining for standing in settlement.standings] == [60, 599_979]
    assert repr(settlement) == "Settlement(repeated=False, returned={'requests': 0, 'tokens': 29})"


def test_a_settlement_without_an_outcome_is_empty() -> None:
    """The estimate was kept without asking."""
    settlement = Settlement([answered([0, 0], [0, 0])], (), repeated=False)
    assert settlement.standings == ()
    assert settlement.returned == {}


def test_errors_cross_processes() -> None:
    """With everything that they carry."""
    decision: Decision[object] = decide(False, [answered([1_000_000, 500], [MINUTE, MINUTE])])
    refused = pickle.loads(pickle.dumps(RateLimited(decision)))
    assert refused.decision == decision
    assert refused.retry_after == decision.retry_after
    never = pickle.loads(pickle.dumps(CostExceedsLimit(plan="P", meter="tokens", cost=9, burst=8)))
    assert (never.plan, never.meter, never.cost, never.burst) == ("P", "tokens", 9, 8)
