"""Promises of `ratelimit.core.settlement`: an outcome is worked out when somebody asks, and once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratelimit.core.settlement import Outcome, Settlement
from tests.core.holds import TWO, answered


@pytest.mark.parametrize("first", ["outcomes", "standings", "returned"])
def test_outcomes_given_as_a_function_are_asked_for_once(first: str) -> None:
    """Whatever is looked at first, and nothing is worked out before."""
    hold = answered([1, 1], [1, 1])
    units = [spec.units for spec in TWO.specs]
    outcomes: list[Outcome] = [(hold.at, 0, [0, 7 * units[1]], [units[0], 3 * units[1]])]
    asked: list[int] = []

    def work_out() -> Sequence[Outcome]:
        asked.append(1)
        return outcomes

    late, ready = Settlement([hold], work_out, False), Settlement([hold], outcomes, False)
    assert not asked
    assert getattr(late, first) == getattr(ready, first)
    assert (late.outcomes, late.standings, late.returned) == (ready.outcomes, ready.standings, ready.returned)
    assert late.returned == {"requests": 1, "tokens": 3}
    assert len(asked) == 1
