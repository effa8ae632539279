"""Promises of the mock's speed, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

import pytest

from ratelimit.gateway.mock.events import Pace, interleave
from tests.gateway.loops import in_loop


class Clock:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps += 1
        self.now += seconds


def paced(clock: Clock, tokens_per_second: float, first: float) -> Pace:
    return Pace(tokens_per_second, first, sleep=clock.sleep, clock=clock)


@in_loop
async def test_tokens_come_on_schedule() -> None:
    """The first one after its time, the others at the rate."""
    clock = Clock()
    times = [clock.now async for _ in paced(clock, 50, 0.25).drip("abcd")]
    assert times == pytest.approx([100.25, 100.27, 100.29, 100.31])


@in_loop
async def test_a_slow_reader_is_not_slowed_down_further() -> None:
    """What is late comes at once, until the schedule is met again."""
    clock = Clock()
    times = []
    async for piece in paced(clock, 10, 0).drip("abcde"):
        times.append(clock.now)
        if piece == "a":
            clock.now += 0.25
    assert times == pytest.approx([100, 100.25, 100.25, 100.3, 100.4])


@in_loop
async def test_a_whole_answer_takes_as_long_as_its_stream() -> None:
    """Until its last token."""
    clock = Clock()
    await paced(clock, 50, 0.25).whole(4)
    assert clock.now == pytest.approx(100.31)


@in_loop
async def test_without_a_pace_nothing_waits() -> None:
    """A long stream lets others run now and then, and no time passes."""
    clock = Clock()
    pace = paced(clock, 0, 0)
    await pace.whole(1_000_000)
    assert clock.naps == 0
    assert [piece async for piece in pace.drip("x" * 100)] == ["x"] * 100
    assert clock.naps == 4
    assert clock.now == 100


def test_choices_take_turns() -> None:
    """Each in its own order, the longer ones go on alone."""
    assert list(interleave([iter("ab"), iter(""), iter("xyz")])) == [(0, "a"), (2, "x"), (0, "b"), (2, "y"), (2, "z")]
