"""Leases of the asyncio face: one task renews the slice of a subject, and serves who waits for it in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ratelimit.backends.coalesce import BATCH_MAX, closed
from ratelimit.backends.redis_asyncio import AsyncRedisBackend
from ratelimit.clock import Clock
from ratelimit.core.decision import decide
from ratelimit.core.hold import Hold
from ratelimit.errors import BackendError, RateLimited
from ratelimit.leases.lane import Lease, LeaseLane
from ratelimit.leases.leasing import Leasing, tell
from ratelimit.leases.options import Leases
from ratelimit.leases.reservation import AsyncLeasedReservation
from ratelimit.on_error import OnError
from ratelimit.reservation import AsyncReservation

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter

__all__ = ("TaskLeasing",)


class _Waiter:
    """Somebody who waits for a slice, and in the end gets a reservation out of it or one of their own."""

    __slots__ = ("future", "hold", "on_error")

    def __init__(self, hold: Hold, on_error: OnError, future: asyncio.Future[AsyncReservation | None]) -> None:
        self.hold = hold
        self.on_error = on_error
        self.future = future


class TaskLeasing(Leasing):
    """The leases of an :class:`AsyncLimiter`. Belongs to one event loop at a time, like the connections."""

    kind = AsyncLeasedReservation

    def __init__(
        self, limiter: AsyncLimiter, backend: AsyncRedisBackend, options: Leases, clock: Clock | None = None
    ) -> None:
        super().__init__(limiter, options, clock)
        self._backend = backend
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def make_turn(self) -> object:
        """As :meth:`Leasing.make_turn`: none; the task that renews takes its place."""
        return None

    def hand_out(self, lane: LeaseLane, costs: Sequence[int]) -> Any:
        """As :meth:`Leasing.hand_out`. All tasks are of one thread: the lock would cost a tenth of this."""
        lease = lane.lease
        now = self.clock_ns() // 1000
        if lease is None or not lease.take(costs, now):
            return None
        return AsyncLeasedReservation(lane, lease, costs, now)

    def forget(self) -> None:
        """As :meth:`Leasing.forget`."""
        super().forget()
        self._loop, self._tasks = None, set()

    def _enter(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Whoever waited in another loop is gone with it; the slices are as good here.
            self._loop, self._tasks = loop, set()
            for lane in self.lanes():
                lane.waiting.clear()
                lane.turn = lane.timer = None
                self._watch(lane)
        return loop

    async def reserve(self, lane: LeaseLane, hold: Hold, on_error: OnError) -> AsyncReservation:
        """As `ThreadLeasing.reserve`, first come, first served."""
        loop = self._enter()
        if not lane.waiting:
            leased = self.hand_out(lane, hold.costs)
            if leased is not None:
                leased._on_error = on_error
                made: AsyncReservation = leased
                return made
            now = self.clock()
            if lane.lease is None and (self._closed or lane.slice_for(hold.costs, (), now) is None):
                return _answer(await self._exactly(lane, hold, on_error), hold)
        waiter = _Waiter(hold, on_error, loop.create_future())
        lane.waiting.append(waiter)
        if lane.turn is None:
            lane.turn = self._spawn(self._serve(lane))
        try:
            return _answer(await waiter.future, hold)
        except asyncio.CancelledError:
            future = waiter.future
            if future.done() and not future.cancelled() and not future.exception():
                # Served, but no longer there to take it: back into the slice, if that is still possible.
                unwanted = future.result()
                if isinstance(unwanted, AsyncLeasedReservation):
                    unwanted._settle_here([0] * len(unwanted.costs))
            raise

    async def _exactly(self, lane: LeaseLane, hold: Hold, on_error: OnError) -> AsyncReservation | None:
        """Ask the backend for exactly this; None when it refuses."""
        since = self.clock()
        lane.ask(hold.costs, since)
        op = self.limiter._name()
        allowed = await self._backend.reserve([hold], op)
        lane.see(hold, since)
        idle = None if allowed else lane.end(self.clock())
        if idle is not None:
            # Somebody here has leased meanwhile what would have made it fit.
            allowed = await self._reserve(lane, idle, hold, op)
        return AsyncReservation(self.limiter, [hold], op, on_error) if allowed else None

    async def _serve(self, lane: LeaseLane) -> None:
        """Serve everybody who waits, and those who come meanwhile. They stay in line until they are served."""
        try:
            while lane.waiting:
                if not self._hand_out_in_order(lane):
                    await self._renew(lane)
                    # Slices that are too small for the first, or over before they come, are none for the others.
                    if not self._hand_out_in_order(lane):
                        await self._serve_exactly(lane)
        except BackendError as failed:
            _fail(lane, failed)
        except asyncio.CancelledError:
            _fail(lane, closed())
            raise
        except BaseException as unforeseen:
            _fail(lane, unforeseen)
            raise
        finally:
            lane.turn = None

    def _hand_out_in_order(self, lane: LeaseLane) -> int:
        """Serve those in front for whom there is enough; how many have left the line."""
        gone = 0
        while lane.waiting:
            waiter = lane.waiting[0]
            if not waiter.future.done():
                leased = self.hand_out(lane, waiter.hold.costs)
                if leased is None:
                    break
                leased._on_error = waiter.on_error
                waiter.future.set_result(leased)
            lane.waiting.popleft()
            gone += 1
        return gone

    async def _serve_exactly(self, lane: LeaseLane) -> None:
        """Let the backend decide on those in front, each on its own, in their order and in one call."""
        front: list[_Waiter] = list(islice(lane.waiting, BATCH_MAX))
        answers = await asyncio.gather(
            *[self._exactly(lane, waiter.hold, waiter.on_error) for waiter in front], return_exceptions=True
        )
        for waiter, answer in zip(front, answers, strict=True):
            lane.waiting.popleft()
            if waiter.future.done():
                continue
            if isinstance(answer, BaseException):
                waiter.future.set_exception(answer)
            else:
                waiter.future.set_result(answer)

    async def _renew(self, lane: LeaseLane) -> None:
        """Give back what is left and get a new slice, if that is worth it."""
        ahead = [waiter.hold.costs for waiter in lane.waiting if not waiter.future.done()]
        if not ahead:
            return
        since = self.clock()
        wanted = None if self._closed else lane.slice_for(ahead[0], ahead, since)
        old, resets = lane.end(since), lane.resets
        if wanted is None:
            if old is not None:
                await self._settle(old)
            return
        hold, op = Hold(lane.key, lane.layout, wanted), self.limiter._name()
        allowed = await self._reserve(lane, old, hold, op)
        lane.see(hold, since)
        if allowed:
            lane.begin(hold, op, since)
            self._watch(lane)
            if lane.resets != resets or self._closed:
                undone = lane.end(since)
                if undone is not None:
                    await self._settle(undone)

    async def _reserve(self, lane: LeaseLane, old: Lease | None, hold: Hold, op: Any) -> bool:
        if old is None:
            return await self._backend.reserve([hold], op)
        allowed, failed = await self._backend.renew([old.hold], [old.spent()], old.op, [hold], op)
        if failed is not None:
            tell(failed)
        self.limiter.lines.nudge(lane.key)
        return allowed

    async def _settle(self, lease: Lease) -> None:
        """Give back what is left of a slice. That it fails changes nothing for anybody who asks."""
        try:
            await self.limiter._settle([lease.hold], [lease.spent()], lease.op)
        except BackendError as failed:
            tell(failed)

    def _watch(self, lane: LeaseLane) -> None:
        """Have the slice ended in time; one timer per lane, whatever slices come and go."""
        if lane.timer is None and lane.lease is not None and self._loop is not None:
            delay = max(0, lane.lease.ends - self.clock()) / 1e6
            lane.timer = self._loop.call_later(delay, self._end, lane)

    def _end(self, lane: LeaseLane) -> None:
        lane.timer = None
        if lane.lease is None:
            return
        now = self.clock()
        if lane.lease.ends > now:
            self._watch(lane)
            return
        lease = lane.end(now)
        if lease is not None and not self._closed:
            self._spawn(self._settle(lease))

    def _spawn(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def reset(self, key: str) -> None:
        """As `ThreadLeasing.reset`."""
        for _, lease in self._end_reset(key):
            await self._settle(lease)

    async def close(self) -> None:
        """Give everything back, and lease nothing any more; who still waits for a slice gets BackendUnavailable."""
        self._enter()
        self._closed = True
        for lane in self.lanes():
            if lane.turn is not None:
                lane.turn.cancel()
                _fail(lane, closed())  # a task that has not begun would not do it
            if lane.timer is not None:
                lane.timer.cancel()
        ended: Sequence[tuple[LeaseLane, Lease]] = self._end_all()
        for _, lease in ended:
            self._spawn(self._settle(lease))
        while self._tasks:
            await asyncio.wait(self._tasks)


def _answer(made: AsyncReservation | None, hold: Hold) -> AsyncReservation:
    if made is None:
        raise RateLimited(decide(False, [hold]))
    return made


def _fail(lane: LeaseLane, error: BaseException) -> None:
    """Everybody who waits gets the error: who waited longest has waited for all the time that one may take."""
    while lane.waiting:
        waiter = lane.waiting.popleft()
        if not waiter.future.done():
            waiter.future.set_exception(error.again() if isinstance(error, BackendError) else error)
