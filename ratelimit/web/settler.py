"""Settles bills apart from the requests that they belong to, so that no disconnect or cancellation can lose one.

What cannot be settled keeps its estimate, which drains like any use: nothing leaks, and a process that dies costs its
tenants at most the estimates that it had open.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from random import random
from threading import Condition, Thread
from typing import Any, Final, TypeAlias

from ratelimit.errors import BackendError, RateLimitError
from ratelimit.reservation import AsyncReservation, Reservation
from ratelimit.web.exchange import Bill

__all__ = ("QUEUE_MAX", "Settler", "ThreadSettler")

_log = logging.getLogger("ratelimit.web")

QUEUE_MAX: Final = 10_000
"""Settlements under way at once. More than that are dropped, and their estimates stay charged."""
_PAUSE: Final = 0.05
"""Seconds before the second try, doubled each time up to a second, and jittered."""


def _pause(tries: int) -> float:
    return min(1.0, _PAUSE * 2.0**tries) * (0.5 + random())


_Settle: TypeAlias = Callable[[], Coroutine[Any, Any, object]]


class Settler:
    """Settles in tasks of its own on the running event loop.

    Args:
        seconds: longest time for one settlement, all tries together.
        in_process: the reservations' state lives in this process, so that settling never waits.
    """

    def __init__(self, seconds: float, *, in_process: bool) -> None:
        self._seconds = seconds
        self._in_process = in_process
        # The event loop keeps only weak references to its tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Settlements under way."""
        return len(self._tasks)

    def submit(self, bill: Bill[AsyncReservation] | None) -> asyncio.Task[None] | None:
        """Settle this bill, come what may to the caller; returns at once, with the task if there has to be one."""
        if bill is None:
            return None
        if not self._in_process:
            return self._spawn(lambda: bill.reservation.settle_each(bill.amounts))
        try:
            _run_through(bill.reservation.settle_each(bill.amounts))
        except RateLimitError as error:
            _log.error("a settlement cannot be right, its estimate stays charged: %s", error)
        return None

    def abandon(self, acquiring: asyncio.Future[AsyncReservation]) -> asyncio.Task[None] | None:
        """Give back what an acquire still under way may charge: the request that it was for is gone."""
        return self._spawn(lambda: _give_back(acquiring))

    async def drain(self) -> None:
        """Wait until everything that was submitted on this loop is settled, or has run out of time."""
        loop = asyncio.get_running_loop()
        while mine := [task for task in self._tasks if task.get_loop() is loop]:
            await asyncio.wait(mine)

    def _spawn(self, settle: _Settle) -> asyncio.Task[None] | None:
        if len(self._tasks) >= QUEUE_MAX:
            self._tasks.difference_update([task for task in self._tasks if task.get_loop().is_closed()])
        if len(self._tasks) >= QUEUE_MAX:
            _log.error("%d settlements are under way: one more is dropped, its estimate stays charged", QUEUE_MAX)
            return None
        task = _Steadfast(self._persist(settle), loop=asyncio.get_running_loop())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _persist(self, settle: _Settle) -> None:
        """Try until it is done or out of time. A try that is cancelled is repeated: only its loop's end does that."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        for tries in count():
            attempt = loop.create_task(settle())
            await asyncio.wait({attempt}, timeout=deadline - loop.time())
            if not attempt.done():
                attempt.cancel()
                break
            if not attempt.cancelled():
                if not _should_repeat(attempt.exception()):
                    return
                await asyncio.sleep(_pause(tries))
            if loop.time() >= deadline:
                break
        _log.error("no settlement within %g s, the estimate stays charged", self._seconds)


class _Steadfast(asyncio.Task[None]):
    """A task that refuses to be cancelled: a loop that ends, and cancels all tasks, waits for it instead.

    Also before its first step, at which no `except` within it could have caught the cancellation.
    """

    def cancel(self, msg: Any = None) -> bool:  # noqa: ARG002 - there is nothing to tell
        """Do nothing, and say so."""
        return False


def _should_repeat(error: BaseException | None) -> bool:
    """Log what is wrong with a try; True where another one may do."""
    match error:
        case None:
            return False
        case BackendError():
            _log.info("a settlement is tried again: %s", error)
            return True
        case RateLimitError():
            _log.error("a settlement cannot be right, its estimate stays charged: %s", error)
        case _:  # a supervisor must say so, whatever it was
            _log.error("a settlement failed, its estimate stays charged", exc_info=error)
    return False


async def _give_back(acquiring: asyncio.Future[AsyncReservation]) -> None:
    if acquiring.cancelled():
        return  # the loop is being torn down, and it with it
    try:
        reservation = await asyncio.shield(acquiring)
    except RateLimitError:
        return  # nothing was charged; or it is not known, and then it drains
    await reservation.cancel()


def _run_through(settling: Awaitable[object]) -> None:
    """Run a coroutine that never waits, here and now: there is nothing to interrupt it, and no task to pay for."""
    try:
        settling.__await__().send(None)
    except StopIteration:
        return
    raise AssertionError("a backend in this process must not wait")


class ThreadSettler:
    """Settles in the caller's thread; what the backend does not take is tried again in a thread of its own.

    Args:
        seconds: longest time for one settlement, all tries together.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._turn = Condition()
        self._queue: deque[tuple[float, Bill[Reservation]]] = deque()
        self._thread: Thread | None = None
        self._busy = False

    def __len__(self) -> int:
        """Settlements still to be tried again."""
        with self._turn:
            return len(self._queue) + self._busy

    def submit(self, bill: Bill[Reservation] | None) -> None:
        """Settle this bill; returns after one try."""
        if bill is None or self._settled(bill):
            return
        with self._turn:
            if len(self._queue) >= QUEUE_MAX:
                _log.error("%d settlements are waiting: one more is dropped, its estimate stays charged", QUEUE_MAX)
                return
            self._queue.append((time.monotonic() + self._seconds, bill))
            if self._thread is None:
                self._thread = Thread(target=self._work, name="ratelimit-settler", daemon=True)
                self._thread.start()
                atexit.register(self.drain)

    def drain(self) -> None:
        """Wait until everything is settled, or has run out of time."""
        with self._turn:
            while self._queue or self._busy:
                self._turn.wait()

    def _work(self) -> None:
        """Until the queue is empty: try the oldest one again and again, as all of them wait for the same backend."""
        tries = 0
        while True:
            with self._turn:
                self._busy = bool(self._queue)
                if not self._busy:
                    self._thread = None
                    atexit.unregister(self.drain)
                    self._turn.notify_all()
                    return
                deadline, bill = self._queue.popleft()
            while time.monotonic() < deadline:
                if tries:
                    time.sleep(max(0.0, min(_pause(tries), deadline - time.monotonic())))
                if self._settled(bill):
                    tries = 0
                    break
                tries += 1
            else:
                _log.error("no settlement within %g s, the estimate stays charged", self._seconds)

    @staticmethod
    def _settled(bill: Bill[Reservation]) -> bool:
        try:
            bill.reservation.settle_each(bill.amounts)
        except Exception as error:  # the thread must live on
            return not _should_repeat(error)
        return True
