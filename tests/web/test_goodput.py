"""Goodput: recorded traffic through the middleware in virtual time, at four times what its plan allows."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.goodput import KNOWN, LEARNED, OVERLOAD, TRACES, Tally, replay_through
from ratelimit.replay import Request, read_trace

REQUESTS = {"azure_conv_2023": 3_000, "mooncake_conversation": 1_000}
"""The beginnings of the traces. All of both: `python -m benchmarks --only goodput`."""


@pytest.fixture(scope="module", params=TRACES, ids=lambda trace: trace.stem)
def requests(request: pytest.FixtureRequest) -> list[Request]:
    """The beginning of a trace."""
    trace: Path = request.param
    return read_trace(trace)[: REQUESTS[trace.stem]]


@pytest.fixture(scope="module")
def known(requests: list[Request]) -> Tally:
    """What passes when all sizes are known beforehand: the most that the plan can give."""
    return replay_through(requests, KNOWN)


@pytest.mark.slow
def test_learned_estimates_give_97_percent_of_what_known_sizes_give(requests: list[Request], known: Tally) -> None:
    """In real tokens let through, with less than 2 % of them beyond what was reserved."""
    learned = replay_through(requests, LEARNED)
    assert learned.admitted >= 0.97 * known.admitted
    assert learned.overrun_share < 0.02


def test_known_sizes_reserve_what_is_used(requests: list[Request], known: Tally) -> None:
    """So that what the others are measured against is exact, and there is more traffic than the plan lets through."""
    assert (known.reserved, known.overrun) == (known.admitted, 0)
    minutes = requests[-1].at_us / 60e6
    allowed = known.offered / OVERLOAD * (1 + 1 / minutes)  # the burst of the first minute comes on top
    assert 0.9 * allowed < known.admitted <= allowed
    assert all(before.at_us <= after.at_us for before, after in pairwise(requests))
