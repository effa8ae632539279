"""The express lane: one subject, a plan of requests and tokens, state in this process.

That is nearly every call on the memory backend, so its way is written out here, from the caller's amounts to the
reservation and back, without a layer, a loop or a list in between: it takes a fifth of the time of the general way
(docs/performance.md). Whatever is out of the ordinary (other meters, a refusal, a plan change, a clock step, a bucket
that has drained) takes the general way, with nothing changed. The arithmetic is that of `core.scope`;
tests/promises/test_express.py holds the two lanes to the same integers.

The lock is taken inside `try`, not by `with`, which costs three times as much here. Should a signal handler raise before
it is taken, there is nothing to release, which an RLock says and a Lock would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.hold import Hold
from ratelimit.core.limit import LEVEL_MAX, Layout
from ratelimit.core.settlement import Settlement
from ratelimit.reservation import Reservation

if TYPE_CHECKING:
    from ratelimit.limiter import Limiter

__all__ = ("ExpressLane", "ExpressReservation")

_ORDINARY = 2**40
"""Amounts beyond this take the general way, which knows about saturation."""
_ON_DEMAND = frozenset({"_holds", "_limiter", "_lock", "_on_error", "_op"})


class ExpressLane:
    """The way of one subject under one plan. Made on its first call, kept by the limiter."""

    __slots__ = (
        "_most0",
        "_most1",
        "capacity0",
        "capacity1",
        "clock_ns",
        "key",
        "layout",
        "limiter",
        "lock",
        "rate0",
        "rate1",
        "scopes",
        "unit0",
        "unit1",
    )

    def __init__(self, limiter: Limiter, backend: MemoryBackend, key: str, layout: Layout) -> None:
        self.limiter = limiter
        self.key = key
        self.layout = layout
        self.rate0, self.rate1 = layout.rates
        self.capacity0, self.capacity1 = layout.capacities
        (_, self.unit0), (_, self.unit1) = layout.prices
        self._most0 = self.capacity0 // self.unit0
        self._most1 = self.capacity1 // self.unit1
        self.lock, self.scopes, self.clock_ns = backend.lock, backend.scopes, backend.clock_ns

    def reserve(self, requests: int, tokens: int) -> ExpressReservation | None:
        """The reservation if all is ordinary and it fits; None for the general way."""
        if (
            type(requests) is not int
            or type(tokens) is not int
            or not 0 <= requests <= self._most0
            or not 0 <= tokens <= self._most1
        ):
            return None
        cost0, cost1 = requests * self.unit0, tokens * self.unit1
        lock = self.lock
        try:
            lock.acquire()
            scope = self.scopes.get(self.key)
            if scope is None or scope.layout is not self.layout:
                return None
            now = self.clock_ns() // 1000
            elapsed = now - scope.at
            if elapsed < 0:
                return None
            level0, level1 = scope.levels
            level0 -= elapsed * self.rate0
            level1 -= elapsed * self.rate1
            if level0 <= 0:
                if level1 <= 0:
                    return None
                level0 = 0
            elif level1 < 0:
                level1 = 0
            level0 += cost0
            level1 += cost1
            if level0 > self.capacity0 or level1 > self.capacity1:
                return None
            scope.at = now
            scope.levels = levels = (level0, level1)
            return ExpressReservation(self, (cost0, cost1), now, scope.epoch, levels, scope.refunded)
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as `with`
                lock.release()
            except RuntimeError:
                pass

    def settle(self, held: ExpressReservation, real0: int, real1: int) -> Settlement | None:
        """The settlement, now or before, if all is ordinary; None for the general way."""
        lock = self.lock
        try:
            lock.acquire()
            if held._settlement is not None:
                return held._settlement
            scope = self.scopes.get(self.key)
            if scope is None or scope.layout is not self.layout or scope.epoch != held.epoch:
                return None
            now = self.clock_ns() // 1000
            elapsed = now - scope.at
            if elapsed < 0:
                return None
            level0, level1 = scope.levels
            level0 -= elapsed * self.rate0
            level1 -= elapsed * self.rate1
            if level0 <= 0:
                if level1 <= 0:
                    return None
                level0 = 0
            elif level1 < 0:
                level1 = 0
            cost0, cost1 = held.costs
            debt0, debt1 = real0 - cost0, real1 - cost1
            credit0 = credit1 = 0
            refunded0, refunded1 = scope.refunded
            if debt0 < 0 or debt1 < 0:
                since = now - held.at
                if debt0 < 0:
                    bound = held.levels[0] + held.refunded[0] - since * self.rate0 - refunded0
                    credit0 = -debt0 if -debt0 < bound else bound
                    if credit0 > level0:
                        credit0 = level0
                    if credit0 < 0:
                        credit0 = 0
                    debt0 = -credit0
                if debt1 < 0:
                    bound = held.levels[1] + held.refunded[1] - since * self.rate1 - refunded1
                    credit1 = -debt1 if -debt1 < bound else bound
                    if credit1 > level1:
                        credit1 = level1
                    if credit1 < 0:
                        credit1 = 0
                    debt1 = -credit1
                refunded0 += credit0
                refunded1 += credit1
            level0 += debt0
            level1 += debt1
            if level0 > LEVEL_MAX or level1 > LEVEL_MAX or refunded0 > LEVEL_MAX or refunded1 > LEVEL_MAX:
                return None
            scope.at = now
            scope.levels = levels = (level0, level1)
            scope.refunded = (refunded0, refunded1)
            held._settlement = Settlement((self,), ((now, 0, levels, (credit0, credit1)),), False)
            return held._settlement
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as `with`
                lock.release()
            except RuntimeError:
                pass


class ExpressReservation(Reservation):
    """A reservation that is its own hold. Leaves the lane for everything but a settle of requests and tokens."""

    __slots__ = ("_lane", "at", "costs", "epoch", "levels", "refunded")

    def __init__(
        self,
        lane: ExpressLane,
        costs: tuple[int, int],
        at: int,
        epoch: int,
        levels: tuple[int, int],
        refunded: Sequence[int],
    ) -> None:
        # What the base class would set is set here or made on demand: this line is the hot path.
        self._lane = lane
        self.costs = costs
        self.at = at
        self.epoch = epoch
        self.levels = levels
        self.refunded = refunded
        self._settlement = None
        self._exported = False

    def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement:
        """As :meth:`Reservation.settle`."""
        lane = self._lane
        real0, real1 = self.costs
        ordinary = not (meters or self._exported or lane.limiter._lines.waiting)
        if requests is not None:
            if type(requests) is int and 0 <= requests <= _ORDINARY:
                real0 = requests * lane.unit0
            else:
                ordinary = False
        if tokens is not None:
            if type(tokens) is int and 0 <= tokens <= _ORDINARY:
                real1 = tokens * lane.unit1
            else:
                ordinary = False
        if ordinary and real0 <= LEVEL_MAX and real1 <= LEVEL_MAX:
            settlement = lane.settle(self, real0, real1)
            if settlement is not None:
                return settlement
        return super().settle(requests=requests, tokens=tokens, **meters)

    def __getattr__(self, name: str) -> Any:
        """What the base class would have set, made when the lane is left."""
        lane = self._lane
        with lane.lock:
            try:
                return object.__getattribute__(self, name)
            except AttributeError:
                if name not in _ON_DEMAND:
                    raise
            hold = Hold(lane.key, lane.layout, self.costs)
            hold.at, hold.epoch, hold.levels, hold.refunded = self.at, self.epoch, self.levels, self.refunded
            self._limiter, self._holds, self._op, self._on_error = lane.limiter, [hold], None, "refund_tokens"
            # The lane's own lock: whichever way a settle goes, it waits for the other.
            self._lock = lane.lock
            return object.__getattribute__(self, name)
