"""What only threads can do: wait in one while another one gives back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ratelimit import Limit, Limiter, Plan, Reservation
from tests.contract.driver import lines_of
from tests.servers import eventually

PATIENT = Plan("Patient", limits=[Limit("tokens", 400, "30 s")])


def _settle(_: Limiter, held: Reservation) -> object:
    return held.settle(tokens=5)


def _reset(limiter: Limiter, _: Reservation) -> object:
    return limiter.reset("key")


@pytest.mark.parametrize("give_back", [_settle, _reset])
def test_what_is_given_back_wakes_a_thread_that_waits(give_back: Callable[[Limiter, Reservation], object]) -> None:
    """The head of the line is served at once: its retry-after of 22 s would come long after its patience ends."""
    with Limiter.from_url("memory://") as limiter, ThreadPoolExecutor(1) as threads:
        held = limiter.acquire("key", plan=PATIENT, tokens=400)
        waiter = threads.submit(limiter.acquire, "key", plan=PATIENT, tokens=300, timeout=30)
        eventually(lambda: lines_of(limiter), what="the thread stands in line")
        give_back(limiter, held)
        assert waiter.result(10).estimate == {"tokens": 300}
        assert not lines_of(limiter)
