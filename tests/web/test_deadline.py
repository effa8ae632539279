"""Promises of `ratelimit.web.deadline`."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit.testing import ManualClock
from ratelimit.web.deadline import within
from tests.web.virtual_time import run_virtually


class Work:
    """A coroutine function that waits some seconds, in two steps, and knows what became of it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.ended = ""

    async def __call__(self) -> str:
        try:
            await asyncio.sleep(self._seconds / 2)
            await asyncio.sleep(self._seconds / 2)
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        self.ended = "done"
        return "result"


def test_what_is_there_comes_without_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer costs more than the rest of it."""

    async def ready() -> int:
        return 7

    monkeypatch.setattr(asyncio, "timeout", None)
    coroutine = within(1.0, ready())
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value == 7


@pytest.mark.parametrize("seconds", [0.0, 1.0, 9.9])
def test_what_comes_in_time_comes(seconds: float) -> None:
    """However often it waits."""
    work = Work(seconds)
    assert run_virtually(lambda: within(10.0, work()), ManualClock()) == "result"


def test_what_takes_longer_is_cancelled() -> None:
    """At the deadline, to the microsecond, wherever it waits."""
    clock, work = ManualClock(), Work(30.0)
    began = clock()
    with pytest.raises(TimeoutError):
        run_virtually(lambda: within(20.0, work()), clock)
    assert work.ended == "cancelled"
    assert 20_000_000 <= clock() - began <= 20_000_002


def test_a_cancellation_reaches_it() -> None:
    """And is not taken for a deadline."""
    work = Work(30.0)

    async def main() -> None:
        task = asyncio.create_task(within(20.0, work()))
        await asyncio.sleep(1.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtually(main, ManualClock())
    assert work.ended == "cancelled"


@pytest.mark.parametrize("waits", [False, True])
def test_what_it_raises_comes_out(waits: bool) -> None:
    """Before it has waited, and after."""

    async def fails() -> None:
        if waits:
            await asyncio.sleep(1.0)
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        run_virtually(lambda: within(10.0, fails()), ManualClock())


def test_what_swallows_its_cancellation_goes_on() -> None:
    """It is thrown in where it waits, as by any await."""

    async def stubborn() -> str:
        try:
            await asyncio.sleep(30.0)
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
        return "late"

    assert run_virtually(lambda: within(20.0, stubborn()), ManualClock()) == "late"


def test_closing_it_closes_the_work() -> None:
    """A task that is thrown away leaves nothing behind that waits."""

    class Forever:
        def __await__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204
            yield

    closed = []

    async def work() -> None:
        try:
            await Forever()
        finally:
            closed.append(True)

    async def main() -> None:
        coroutine = within(10.0, work())
        coroutine.send(None)
        coroutine.close()

    run_virtually(main, ManualClock())
    assert closed == [True]
