"""Refusing from memory: never what the server would admit, with its very integers, and only while nobody gave back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout
from ratelimit.core.refusals import REFUSALS_MAX, Refusals
from ratelimit.core.scope import ScopeState, open_scope
from ratelimit.errors import ConfigError
from tests.core.holds import MINUTE, TAG, TWO, answered, layout

MS = 1_000
SKEW = 5_000_000
COARSE = layout(("tokens", 100_000_007, MINUTE), ("requests", 90, MINUTE))
"""A tick of a millisecond beside one of a microsecond."""
FULL = [60_000_000, 60_000_000]


def trusting(*answers: Hold, recheck: float = 1.0, sent: int = 0) -> Refusals:
    """After these refusals, a second apart and of no duration."""
    refusals = Refusals(recheck)
    for number, hold in enumerate(answers):
        refusals.note(hold, sent + number * 1_000_000, sent + number * 1_000_000)
    return refusals


def asks(refusals: Refusals, now: int, *, costs: tuple[int, int] = (1_000_000, 0), of: Layout = TWO) -> bool:
    """True when the server has to be asked."""
    return refusals.refuses(TAG, of, costs, now) is None


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    """A scope as stored, what is asked of it, and two clocks that run apart by up to a thousandth."""
    of = draw(st.sampled_from([TWO, COARSE]))
    at = draw(st.integers(10**9, 2 * 10**9))
    return {
        "of": of,
        "levels": [draw(st.integers(0, 2 * capacity)) for capacity in of.capacities],
        "costs": [draw(st.integers(0, capacity)) for capacity in of.capacities],
        "at": at,
        "now": at + draw(st.integers(-SKEW, SKEW)),
        "flight": draw(st.integers(0, 20 * MS)),
        "later": draw(st.integers(0, 25 * MS)),
        "gain": draw(st.integers(-1_000, 1_000)),
    }


@given(stories())
def test_what_is_refused_from_memory_the_server_refuses(story: dict[str, Any]) -> None:
    """Whenever in the flight of the call it decided, and whichever way its clock drifts; with its integers."""
    of, costs, now, later = story["of"], story["costs"], story["now"], story["later"]
    stored = ScopeState(epoch=7, at=story["at"], layout=of, specs=of.specs, levels=story["levels"], refunded=[3, 4])
    opened = open_scope(stored, of, now, SKEW, 8)
    first = answered(
        costs, list(opened.levels), of=of, at=opened.at, lag=opened.at - now, epoch=opened.epoch, refunded=[3, 4]
    )
    refusals = Refusals(1.0)
    refusals.note(first, -1, 0)
    refusals.note(first, 0, 0)
    known = refusals.refuses(TAG, of, costs, later)
    if known is None:
        return

    # The server decided `flight` after the call was sent, and its clock gains or loses.
    passed = max(0, later - story["flight"])
    true = now + passed + passed * story["gain"] // 1_000_000
    server = open_scope(stored, of, true, SKEW, 8)
    assert any(
        cost and level + cost > most for cost, level, most in zip(costs, server.levels, of.capacities, strict=True)
    )

    same = open_scope(stored, of, now + later, SKEW, 8)
    assert list(known.levels) == list(same.levels)
    assert (known.at, known.lag, known.key, known.costs) == (same.at, same.at - now - later, TAG, costs)
    assert (known.epoch, known.refunded) == (7, [3, 4])


@given(st.integers(0, 900 * MS), st.integers(1, 60_000_000))
def test_what_is_remembered_is_refused_until_it_fits(later: int, cost: int) -> None:
    """But for a thousandth of the time that has passed, in which the server is asked."""
    hold = answered([cost, 0], [60_000_000, 0])
    refusals = Refusals(1.0)
    for number in range(8):
        refusals.note(hold, number * 1_000_000, number * 1_000_000)
    assert asks(refusals, 7_000_000 + later, costs=(cost, 0)) is (later + later // 1_000 + 1 >= cost)


def test_the_first_refusal_earns_no_trust() -> None:
    """Somebody may be about to give back: nothing says otherwise yet."""
    assert asks(trusting(answered([1, 0], FULL)), 0)


def test_trust_doubles_up_to_the_recheck() -> None:
    """25 ms for the second refusal, and never more than was allowed."""
    hold = answered([1, 0], FULL)
    refusals = Refusals(0.3)
    windows = []
    sent = 0
    for _ in range(7):
        refusals.note(hold, sent, sent)
        windows.append(refusals[TAG].until - sent)
        if windows[-1]:
            assert not asks(refusals, refusals[TAG].until - 1, costs=(60_000_000, 0))
        assert asks(refusals, refusals[TAG].until, costs=(60_000_000, 0))
        sent = refusals[TAG].until
    assert windows == [0, 25_000, 50_000, 100_000, 200_000, 300_000, 300_000]


def test_trust_counts_from_the_time_of_asking() -> None:
    """An answer that was long under way is old: a refund since it was given must not be overlooked for longer."""
    refusals = Refusals(1.0)
    refusals.note(answered([1, 0], FULL), 0, 10 * MS)
    refusals.note(answered([1, 0], FULL), 10 * MS, 30 * MS)
    assert not asks(refusals, 34 * MS)
    assert asks(refusals, 35 * MS)
    assert asks(refusals, 9 * MS)  # a clock that ran backwards says nothing


@pytest.mark.parametrize(
    "other",
    [
        answered([1, 0], FULL, refunded=[0, 5]),
        answered([1, 0], FULL, epoch=8),
        answered([1, 0], FULL, of=layout(("requests", 61, MINUTE), ("tokens", 600_000, MINUTE))),
    ],
    ids=["refund", "epoch", "plan"],
)
def test_whatever_else_happened_ends_the_trust(other: Hold) -> None:
    """A refund, a new epoch and a new plan begin again with none, however well it was known before."""
    hold = answered([1, 0], FULL)
    refusals = trusting(hold, hold, hold, other)
    assert asks(refusals, 3_000_000, of=other.layout)
    refusals.note(other, 4_000_000, 4_000_000)
    assert refusals[TAG].until == 4_025_000


def test_answers_of_the_same_moment_confirm_nothing() -> None:
    """A hundred calls that were under way together are one piece of evidence."""
    refusals = Refusals(1.0)
    for _ in range(100):
        refusals.note(answered([1, 0], FULL), 0, 500)
    assert asks(refusals, 500)


def test_a_late_answer_that_shows_a_refund_is_believed() -> None:
    """Whichever of the two came first on the server, something was given back between them."""
    hold = answered([1, 0], FULL)
    refusals = trusting(hold, hold)
    refusals.note(answered([1, 0], FULL, refunded=[1, 0]), 900_000, 1_000_001)
    assert asks(refusals, 1_000_001)


def test_another_plan_is_not_refused_by_it() -> None:
    """Nor is a subject that was not refused. A plan of the same limits is the same plan."""
    refusals = trusting(answered([1, 0], FULL), answered([1, 0], FULL))
    assert asks(refusals, 1_000_000, of=layout(("requests", 70, MINUTE), ("tokens", 600_000, MINUTE)))
    assert not asks(refusals, 1_000_000, of=layout(("requests", 60, MINUTE), ("tokens", 600_000, MINUTE)))
    assert refusals.refuses("rl1:{other}", TWO, (1_000_000, 0), 1_000_000) is None


def test_a_cost_that_fits_goes_to_the_server() -> None:
    """Refused was the request, not the subject: a bucket that is asked for nothing does not refuse."""
    refusals = trusting(answered([1_000_000, 0], [60_000_000, 0]), answered([1_000_000, 0], [60_000_000, 0]))
    assert not asks(refusals, 1_000_000, costs=(1_000_000, 0))
    assert asks(refusals, 1_000_000, costs=(0, 60_000_000))


def test_what_is_forgotten_is_asked_for() -> None:
    """And what was never known can be forgotten too."""
    refusals = trusting(answered([1, 0], FULL), answered([1, 0], FULL))
    refusals.forget(TAG)
    refusals.forget(TAG)
    assert not refusals
    assert asks(refusals, 1_000_000)


def test_memory_is_bounded() -> None:
    """The subject whose refusal is the oldest makes room."""
    refusals = Refusals(1.0)
    for number in range(REFUSALS_MAX):
        refusals.note(answered([1, 0], FULL, key=str(number)), number, number)
    refusals.note(answered([1, 0], FULL, key="0"), REFUSALS_MAX, REFUSALS_MAX)
    refusals.note(answered([1, 0], FULL, key="new"), REFUSALS_MAX, REFUSALS_MAX)
    assert len(refusals) == REFUSALS_MAX
    assert ("0" in refusals, "1" in refusals, "2" in refusals) == (True, False, True)


def test_a_recheck_of_zero_remembers_nothing() -> None:
    """Every request asks the server."""
    assert not trusting(answered([1, 0], FULL), answered([1, 0], FULL), recheck=0)


@pytest.mark.parametrize("recheck", [-0.1, 60.1, float("nan"), float("inf"), True, "1", None])
def test_nonsense_is_refused(recheck: Any) -> None:
    """The error names the value and what would do."""
    with pytest.raises(ConfigError, match=r"recheck is .* must be seconds from 0 to 60"):
        Refusals(recheck)
