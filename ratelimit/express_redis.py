"""The express lane of `AsyncLimiter` on Redis: one subject, a plan of requests and tokens, no layer in between.

What `ratelimit.express` is for the memory backend: the way from the caller's amounts to `ratelimit.backends.express`
and back, written out. Whatever is out of the ordinary takes the general way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from ratelimit.backends.express import Express
from ratelimit.backends.redis_asyncio import AsyncRedisBackend
from ratelimit.core.decision import Standing, decide, standings
from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout
from ratelimit.core.settlement import Settlement
from ratelimit.core.wire_express import ALLOWED, NARROW, NOT_ORDINARY, REPEATED, encode_settle, is_narrow
from ratelimit.errors import RateLimited
from ratelimit.express import EXPRESS_METERS, OnDemand
from ratelimit.reservation import AsyncReservation, Held

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter

__all__ = ("RedisLane", "RedisLaneReservation", "open_redis_lane")

_DETOUR: Final = 1.0
"""Seconds for which a subject takes the general way after it was found not to be ordinary: what is left from another
plan, or a clock that stepped back, would cost each of its operations a second call.
"""


class RedisLane:
    """The way of one subject under one plan. Made on its first call, kept by the limiter."""

    lock: Final = RLock()
    """For what a reservation makes on demand, where a lane in memory has one against threads."""

    __slots__ = ("_most", "backend", "detour", "express", "layout", "limiter", "recall", "refusals", "scope", "units")

    def __init__(
        self, limiter: AsyncLimiter, backend: AsyncRedisBackend, express: Express, key: str, layout: Layout
    ) -> None:
        self.express = express
        self._most = tuple(spec.burst for spec in layout.specs)
        self.backend = backend
        self.detour = 0.0
        """Until when to take the general way (s, `time.monotonic`)."""
        self.layout = layout
        self.limiter = limiter
        self.recall = backend.recall
        self.refusals = backend.recall.refusals
        self.scope = express.scope(key, layout)
        self.units = tuple(units for _, units in layout.prices)

    async def reserve(self, requests: int, tokens: int) -> AsyncReservation | None:
        """The reservation; None for the general way, when the amounts or the subject are out of the ordinary.

        Raises:
            RateLimited: it does not fit now.
            BackendError: the backend could not decide.
        """
        most0, most1 = self._most
        if not (type(requests) is type(tokens) is int and 0 <= requests <= most0 and 0 <= tokens <= most1):
            return None
        unit0, unit1 = self.units
        costs = cost0, cost1 = requests * unit0, tokens * unit1
        if self.refusals:
            known = self.refusals.refuses(self.scope.key, self.layout, costs, self.recall.clock())
            if known is not None:
                raise RateLimited(decide(False, [known]))
        began = time.monotonic()
        if began < self.detour:
            return None
        coalescer = self.express.coalescer
        if coalescer.may_go_alone():
            return await self._reserve_alone(costs, began)
        operation = self.express.reserve(self.scope, cost0, cost1, began)
        if coalescer.join(operation):
            await coalescer.lead(operation)
        answered = await operation.future
        if answered is None:
            return await self._reserve_alone(costs, began)
        now, (verdict, epoch, level0, refunded0, level1, refunded1) = answered
        if verdict == ALLOWED:
            if self.refusals:
                self.recall.forget((self.scope.key,))
            kind: Any = RedisLaneReservation
            reservation: RedisLaneReservation = kind()
            reservation._lane = self
            reservation._done = reservation._op = reservation._settlement = reservation._wanted = None
            reservation._exported = reservation._settling = False
            reservation.costs = costs
            reservation.at = now
            reservation.epoch = epoch
            reservation.levels = (level0, level1)
            reservation.refunded = (refunded0, refunded1)
            return reservation
        if verdict == NOT_ORDINARY:
            self.detour = began + _DETOUR
            return await self._reserve_alone(costs, began)
        holds = [self.hold(costs, now, epoch, (level0, level1), (refunded0, refunded1))]
        self.recall.learn(holds, False, self.recall.sent(began))
        raise RateLimited(decide(False, holds))

    async def _reserve_alone(self, costs: tuple[int, int], began: float) -> AsyncReservation:
        holds, op = [Hold(self.scope.key, self.layout, costs)], self.limiter._name()
        if await self.backend.reserve_alone(holds, op, began):
            return AsyncReservation(self.limiter, holds, op, "refund_tokens")
        raise RateLimited(decide(False, holds))

    def hold(self, costs: Sequence[int], at: int, epoch: int, levels: Sequence[int], refunded: Sequence[int]) -> Hold:
        """What the general way takes."""
        hold = Hold(self.scope.key, self.layout, costs)
        hold.at, hold.epoch, hold.levels, hold.refunded = at, epoch, levels, refunded
        return hold


def open_redis_lane(limiter: AsyncLimiter, backend: object, key: str, layout: Layout) -> RedisLane | None:
    """The lane of a subject under a plan, where there is one."""
    if isinstance(backend, AsyncRedisBackend) and backend.express is not None and is_narrow(layout):
        return RedisLane(limiter, backend, backend.express, key, layout)
    return None


class RedisLaneReservation(AsyncReservation):
    """An :class:`AsyncReservation` on a lane: it is its own hold, and gets a name when it first needs one."""

    __slots__ = ("_done", "_lane", "_settling", "at", "costs", "epoch", "levels", "refunded")

    if not TYPE_CHECKING:
        _holds = OnDemand(Held._holds, lambda self: [self._hold()])
        _limiter = OnDemand(Held._limiter, lambda self: self._lane.limiter)
        _lock = OnDemand(Held._lock, lambda _: asyncio.Lock())
        _on_error = OnDemand(Held._on_error, lambda _: "refund_tokens")

        # The lane fills in the rest, see `ratelimit.express`.
        __init__ = object.__init__

    _done: asyncio.Future[None] | None
    _lane: RedisLane
    _settling: bool
    at: int
    costs: tuple[int, int]
    epoch: int
    levels: tuple[int, int]
    refunded: tuple[int, int]

    @property
    def standings(self) -> tuple[Standing, ...]:
        """As :attr:`Reservation.standings`."""
        return tuple(standings(self._lane.layout, self.at, 0, self.levels, None))

    def settle(
        self, *, requests: int | None = None, tokens: int | None = None, **meters: int
    ) -> Coroutine[Any, Any, Settlement]:
        """As :meth:`AsyncReservation.settle`."""
        if (
            not meters
            and (requests is None or (type(requests) is int and requests >= 0))
            and (tokens is None or (type(tokens) is int and tokens >= 0))
        ):
            unit0, unit1 = self._lane.units
            real0, real1 = self.costs
            if requests is not None:
                real0 = requests * unit0
            if tokens is not None:
                real1 = tokens * unit1
            if real0 < NARROW and real1 < NARROW:  # more than that is the general way's to bound
                return self._settle_pair(real0, real1)
        return super().settle(requests=requests, tokens=tokens, **meters)

    async def settle_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement:
        """As :meth:`AsyncReservation.settle_each`."""
        if len(amounts) == 1 and amounts[0].keys() == EXPRESS_METERS:
            return await self.settle(requests=amounts[0]["requests"], tokens=amounts[0]["tokens"])
        return await super().settle_each(amounts)

    async def _settle(self, real: Sequence[Sequence[int]]) -> Settlement:
        return await self._settle_pair(real[0][0], real[0][1])

    async def _settle_pair(self, real0: int, real1: int) -> Settlement:
        """Settle once: whoever comes while another task is at it waits for what that brings."""
        while self._settling:
            if self._done is None:
                self._done = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._done)
        if self._settlement is not None:
            return self._settlement
        self._settling = True
        self._wanted = ((real0, real1),)  # from now on, so that who leaves the block meanwhile waits, too
        try:
            self._settlement = settlement = await self._ask(real0, real1)
        finally:
            self._settling = False
            self._lane.recall.forget((self._lane.scope.key,))
            if self._done is not None:
                self._done.set_result(None)
                self._done = None
        if self._lane.limiter.lines:
            self._lane.limiter.lines.nudge(self._lane.scope.key)
        return settlement

    async def _ask(self, real0: int, real1: int) -> Settlement:
        """The settlement, by the express lane if it can go there."""
        lane = self._lane
        if self._op is None:
            self._op = lane.limiter._name()
        op_id, page = self._op
        began = time.monotonic()
        coalescer = lane.express.coalescer
        if coalescer.may_go_alone():
            return await lane.backend.settle_alone(self._holds, [(real0, real1)], self._op, began)
        if real0 < NARROW and real1 < NARROW and began >= lane.detour:
            (cost0, cost1), (level0, level1), (refunded0, refunded1) = self.costs, self.levels, self.refunded
            mark0, mark1 = level0 + refunded0, level1 + refunded1
            payload = encode_settle(2, op_id, page, self.epoch, self.at, cost0, real0, mark0, cost1, real1, mark1)
            operation = lane.express.settle(lane.scope, payload, page, began)
            if coalescer.join(operation):
                await coalescer.lead(operation)
            answered = await operation.future
            if answered is not None:
                now, (verdict, _, level0, given0, level1, given1) = answered
                if verdict != NOT_ORDINARY:
                    return Settlement((lane,), ((now, 0, (level0, level1), (given0, given1)),), verdict == REPEATED)
                lane.detour = began + _DETOUR
            return await lane.backend.settle_alone(self._holds, [(real0, real1)], self._op, began)
        return await lane.backend.settle(self._holds, [(real0, real1)], self._op)

    def _hold(self) -> Hold:
        """What the general way takes."""
        return self._lane.hold(self.costs, self.at, self.epoch, self.levels, self.refunded)
