"""Promises of `ratelimit.replay.estimate`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.replay.estimate import LEARNED_FROM, LEARNED_SAMPLES_MIN, Estimate, Learned, estimator
from ratelimit.replay.trace import Request

REQUEST = Request(0, 10, 77)


def test_exact_knows_the_usage() -> None:
    """`exact` reserves what the request will use, whatever has finished before."""
    exact = estimator(Estimate.EXACT, 4_096)
    exact.finished(5)
    assert exact.output_tokens(REQUEST) == 77


def test_max_assumes_the_worst() -> None:
    """`max` reserves max_tokens for every request."""
    worst = estimator(Estimate.MAX, 4_096)
    worst.finished(5)
    assert worst.output_tokens(REQUEST) == 4_096


def test_learned_starts_at_max_tokens() -> None:
    """`learned` reserves max_tokens until 20 requests have finished, and from then on what it saw."""
    learned = estimator(Estimate.LEARNED, 4_096)
    for _ in range(LEARNED_SAMPLES_MIN - 1):
        learned.finished(5)
    assert learned.output_tokens(REQUEST) == 4_096
    learned.finished(5)
    assert learned.output_tokens(REQUEST) == 5


@given(st.lists(st.integers(0, 10**6), min_size=LEARNED_SAMPLES_MIN, max_size=200))
def test_learned_is_the_95th_percentile(outputs: list[int]) -> None:
    """At least 95 % of what was seen does not pass the estimate, and less than 95 % lies below it."""
    learned = Learned(4_096)
    for output in outputs:
        learned.finished(output)
    guess = learned.output_tokens(REQUEST)
    assert sum(output <= guess for output in outputs) * 100 >= 95 * len(outputs)
    assert sum(output < guess for output in outputs) * 100 < 95 * len(outputs)


def test_learned_forgets() -> None:
    """Only the last 1,000 outputs count, so its memory is bounded and it follows a change of traffic."""
    learned = Learned(4_096)
    for _ in range(3 * LEARNED_FROM):
        learned.finished(1_000)
    for _ in range(LEARNED_FROM):
        learned.finished(3)
    assert learned.output_tokens(REQUEST) == 3
    assert len(learned._recent) == LEARNED_FROM


@pytest.mark.parametrize("kind", list(Estimate))
def test_estimators_share_nothing(kind: Estimate) -> None:
    """What one estimator has seen does not reach the next replay's."""
    used = estimator(kind, 9)
    for _ in range(LEARNED_SAMPLES_MIN):
        used.finished(1)
    assert estimator(kind, 9).output_tokens(REQUEST) == (77 if kind is Estimate.EXACT else 9)
