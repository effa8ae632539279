"""Promises of `ratelimit.backends.memory` that no other backend has: what it holds is bounded."""

from __future__ import annotations

import pytest

from ratelimit import ConfigError, Limit, Limiter, Plan, Retention
from ratelimit.backends.base import Op, named
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from ratelimit.testing import ManualClock
from tests.core.holds import answered

SECOND = Plan("Second", limits=[Limit("requests", 10, "second")])
DAY = Plan("Day", limits=[Limit("requests", 10, "day")])


def test_drained_subjects_are_forgotten() -> None:
    """Of 10,000 that come and go, no more are remembered than twice those that are in use."""
    clock = ManualClock()
    backend = MemoryBackend(clock=clock)
    limiter = Limiter(backend)
    for i in range(10_000):
        limiter.acquire(f"key-{i}", plan=SECOND)
        clock.advance(us=1_000)
        assert len(backend) <= 2 * 100 + 2


def test_subjects_in_use_are_never_forgotten() -> None:
    """However many others come and go."""
    clock = ManualClock()
    backend = MemoryBackend(clock=clock)
    limiter = Limiter(backend)
    for i in range(50):
        limiter.acquire(f"used-{i}", plan=DAY, requests=10)
    for i in range(1_000):
        limiter.acquire(f"key-{i}", plan=SECOND)
        clock.advance(seconds=1)
    assert not any(limiter.try_acquire(f"used-{i}", plan=DAY, requests=10) for i in range(50))


def test_the_log_of_operations_is_bounded() -> None:
    """Named operations are remembered for the retry window and not for ever."""
    clock = ManualClock()
    backend = MemoryBackend(clock=clock, retention=Retention(retry_window=3))
    for i in range(1_000):
        op = Op(i.to_bytes(8, "little"), 0)
        hold = answered([1, 1], [])
        backend.reserve([hold], op)
        backend.settle([hold], [[0, 0]], op)
        clock.advance(us=100_000)
    assert len(backend._log._answers) <= 45
    assert len(backend._log._settled) <= 45


def test_a_named_reserve_is_charged_once() -> None:
    """Repeated within the window it gets its first answer, whatever has happened since."""
    backend = MemoryBackend(clock=ManualClock())
    op = Op(b"12345678", 0)
    first, other, again = answered([1_000, 100], []), answered([1_000, 100], []), answered([1_000, 100], [])
    assert backend.reserve([first], op)
    assert backend.reserve([other], None)
    assert backend.reserve([again], op)
    assert (first.levels, other.levels, again.levels) == ([1_000, 100], [2_000, 200], [1_000, 100])


def test_unnamed_operations_leave_no_record() -> None:
    """In one process no answer can get lost."""
    backend = MemoryBackend()
    with Limiter(backend) as limiter:
        limiter.acquire("key", plan=DAY).settle(requests=0)
    assert not backend._log._answers
    assert not backend._log._settled


def test_a_network_backend_needs_names() -> None:
    """There an answer can get lost."""
    assert named(Op(b"12345678", 1)) == Op(b"12345678", 1)
    with pytest.raises(ConfigError, match=r"^this backend needs a named operation"):
        named(None)


def test_the_reprs_count_scopes() -> None:
    """And show no subject."""
    backend = MemoryBackend()
    Limiter(backend).acquire("sk-live-1", plan=DAY)
    assert repr(backend) == "<MemoryBackend: 1 scopes>"
    assert repr(AsyncMemoryBackend(backend)) == "<AsyncMemoryBackend: 1 scopes>"


@pytest.mark.parametrize(
    ("window", "page_s", "ttl_ms"), [(1, 1, 2_000), (30, 10, 40_000), (31, 11, 42_000), (300, 100, 400_000)]
)
def test_a_page_is_a_third_of_the_retry_window(window: int, page_s: int, ttl_ms: int) -> None:
    """And lives a page longer than the window: a record written at its very end is there for all of it."""
    head = Retention(retry_window=window).head
    assert (head.page_s, head.page_ttl_ms) == (page_s, ttl_ms)


@pytest.mark.parametrize(
    "values", [{"retry_window": 0}, {"retry_window": 301}, {"retry_window": 30.0}, {"max_skew": -1}, {"max_skew": True}]
)
def test_a_retention_refuses_what_makes_no_sense(values: dict[str, float]) -> None:
    """With the name and the range."""
    (name,) = values
    with pytest.raises(ConfigError, match=f"^{name} is .*: must be "):
        Retention(**values)  # type: ignore[arg-type]  # that is the point
