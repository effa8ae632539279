"""The express lane: one subject, a plan of requests and tokens, state in this process.

That is nearly every call on the memory backend, so its way is written out here, from the caller's amounts to the
reservation and back, without a layer, a loop or a list in between: it takes an eighth of the time of the general way
(docs/performance.md). Whatever is out of the ordinary (other meters, a refusal, a plan change, a clock step)
takes the general way, with nothing changed. The arithmetic is that of `core.scope`;
tests/promises/test_express.py holds the two lanes to the same integers.

Objects are made empty and filled in by whoever makes them, because Python 3.11 takes longer to call an `__init__` of
ours than to set eight slots.

The lock is taken inside `try`, not by `with`, which costs three times as much here. Should a signal handler raise
before it is taken, there is nothing to release, which an RLock says and a Lock would not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.decision import Standing, standings
from ratelimit.core.hold import Hold
from ratelimit.core.limit import LEVEL_MAX, Layout
from ratelimit.core.scope import ScopeState
from ratelimit.core.settlement import Settlement
from ratelimit.reservation import AsyncReservation, Held, Reservation

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter
    from ratelimit.limiter import Limiter

__all__ = ("EXPRESS_METERS", "LANES_LEAST", "AsyncExpressReservation", "ExpressLane", "ExpressReservation", "OnDemand")

EXPRESS_METERS: Final = frozenset({"requests", "tokens"})
"""What a call may name to go this way."""
LANES_LEAST: Final = 1_024
"""Lanes that a limiter keeps at least."""

_ORDINARY = 2**30 - 1
"""Amounts beyond this take the general way, which knows about saturation."""
_NOTHING = (0, 0)
_NO_SCOPE = ScopeState(epoch=-1, at=0, layout=None, specs=(), levels=(), refunded=())


class ExpressLane:
    """The way of one subject under one plan. Made on its first call, kept by the limiter."""

    __slots__ = (
        "_kind",
        "backend",
        "capacity0",
        "capacity1",
        "clock_ns",
        "group",
        "key",
        "layout",
        "limiter",
        "lines",
        "lock",
        "plan",
        "rate0",
        "rate1",
        "scope",
        "scopes",
        "subject",
        "unit0",
        "unit1",
    )

    def __init__(
        self,
        limiter: Limiter | AsyncLimiter,
        backend: MemoryBackend,
        key: str,
        layout: Layout,
        kind: type[ExpressReservation] | type[AsyncExpressReservation],
        asked: tuple[str, str | None, str | None],
    ) -> None:
        self.limiter: Any = limiter
        self._kind: Any = kind
        self.key = key
        self.layout = layout
        self.subject, self.plan, self.group = asked
        self.rate0, self.rate1 = layout.rates
        self.capacity0, self.capacity1 = layout.capacities
        self.unit0, self.unit1 = (units for _, units in layout.prices)
        self.backend = backend
        # The scope as it was last found: retired ones are under no plan, so it is never taken for the stored one.
        self.scope = _NO_SCOPE
        self.lines = limiter.lines
        self.lock, self.scopes, self.clock_ns = backend.lock, backend.scopes, backend.clock_ns

    def reserve(self, requests: int, tokens: int) -> Any:
        """The reservation, of the lane's kind, if all is ordinary and it fits; None for the general way."""
        if not (type(requests) is type(tokens) is int and requests >= 0 <= tokens):
            return None
        cost0, cost1 = requests * self.unit0, tokens * self.unit1
        lock, clock_ns, kind = self.lock, self.clock_ns, self._kind  # Python calls what a slot holds more slowly
        reservation = kind()
        try:
            lock.acquire()
            now = clock_ns() // 1000
            scope = self.scope
            if scope.layout is not self.layout:
                scope = self._find(now, cost0, cost1)
                if scope.layout is not self.layout:
                    return None
            elapsed = now - scope.at
            if elapsed < 0:
                return None
            level0, level1 = scope.levels
            level0 -= elapsed * self.rate0
            level1 -= elapsed * self.rate1
            if level0 <= 0:
                level0 = 0
                if level1 <= 0:
                    # Drained altogether is the same as new: refunds promised before are worth nothing.
                    level1 = 0
                    scope.epoch = self.backend.new_epoch()
                    scope.refunded = _NOTHING
            elif level1 < 0:
                level1 = 0
            level0 += cost0
            level1 += cost1
            if level0 > self.capacity0 or level1 > self.capacity1:
                return None
            reservation._lane = self
            reservation._settlement = None
            reservation._exported = False
            reservation.costs = (cost0, cost1)
            reservation.at = scope.at = now
            reservation.epoch = scope.epoch
            reservation.levels = scope.levels = (level0, level1)
            reservation.refunded = scope.refunded
            return reservation
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as `with`
                lock.release()
            except RuntimeError:
                pass

    def _find(self, now: int, cost0: int, cost1: int) -> ScopeState:
        """What is stored, under whatever plan; an empty scope where nothing is, unless the cost could never fit."""
        scope = self.scopes.get(self.key)
        if scope is None:
            if cost0 > self.capacity0 or cost1 > self.capacity1:
                return _NO_SCOPE
            scope = self.backend.begin(self.key, self.layout, now)
        self.scope = scope
        return scope


class OnDemand:
    """A place of the base class that is filled when somebody asks: the hot path has no use for it.

    Not by `__getattr__`: a class that has one loses the quick way to all its attributes, which made a settle slower
    by a quarter.
    """

    def __init__(self, place: Any, fill: Callable[[Any], object]) -> None:
        self._place = place
        self._fill = fill

    def __get__(self, reservation: Any, kind: type) -> Any:
        with reservation._lane.lock:
            try:
                return self._place.__get__(reservation, kind)
            except AttributeError:
                value = self._fill(reservation)
                self._place.__set__(reservation, value)
                return value

    def __set__(self, reservation: Any, value: object) -> None:
        with reservation._lane.lock:
            self._place.__set__(reservation, value)


class _OnLane:
    """A reservation that is its own hold. Leaves the lane for everything but a settle of requests and tokens."""

    if not TYPE_CHECKING:
        __slots__ = ()  # its heirs have the places: of two bases with places no class can be made

        _holds = OnDemand(Held._holds, lambda self: [self._hold()])
        _limiter = OnDemand(Held._limiter, lambda self: self._lane.limiter)
        # Under threads the lane's own lock: whichever way a settle goes, it waits for the other.
        _lock = OnDemand(
            Held._lock, lambda self: asyncio.Lock() if isinstance(self, AsyncReservation) else self._lane.lock
        )
        _on_error = OnDemand(Held._on_error, lambda _: "refund_tokens")
        _op = OnDemand(Held._op, lambda _: None)
        _wanted = OnDemand(Held._wanted, lambda _: None)

        # The lane fills in the rest. A Python function that did it would cost an acquire another tenth.
        __init__ = object.__init__

    _lane: ExpressLane
    _exported: bool
    _settlement: Settlement | None
    at: int
    costs: tuple[int, int]
    epoch: int
    levels: tuple[int, int]
    refunded: Sequence[int]

    def _hold(self) -> Hold:
        hold = Hold(self._lane.key, self._lane.layout, self.costs)
        hold.at, hold.epoch, hold.levels, hold.refunded = self.at, self.epoch, self.levels, self.refunded
        return hold

    @property
    def standings(self) -> tuple[Standing, ...]:
        """As :attr:`Reservation.standings`."""
        return tuple(standings(self._lane.layout, self.at, 0, self.levels, None))

    def _settled_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement | None:
        """The settlement at amounts per scope, of which there is one; None for the general way."""
        if len(amounts) != 1 or amounts[0].keys() != EXPRESS_METERS:
            return None
        return self._settled(amounts[0]["requests"], amounts[0]["tokens"])

    def _settled(self, requests: int | None, tokens: int | None) -> Settlement | None:
        """The settlement at these amounts; None for the general way."""
        lane = self._lane
        debt0 = debt1 = 0
        if requests is not None:
            if type(requests) is not int or not 0 <= requests <= _ORDINARY:
                return None
            debt0 = requests * lane.unit0 - self.costs[0]
        if tokens is not None:
            if type(tokens) is not int or not 0 <= tokens <= _ORDINARY:
                return None
            debt1 = tokens * lane.unit1 - self.costs[1]
        lock, clock_ns = lane.lock, lane.clock_ns
        try:
            lock.acquire()
            if self._settlement is None:
                return self._correct(lane, clock_ns() // 1000, debt0, debt1)
            return self._settlement
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as `with`
                lock.release()
            except RuntimeError:
                pass

    def _correct(self, lane: ExpressLane, now: int, debt0: int, debt1: int) -> Settlement | None:
        """Correct the scope by these units, more or less; None for the general way. The caller holds the lock."""
        scope = lane.scope
        elapsed = now - scope.at
        if scope.epoch != self.epoch or scope.layout is not lane.layout or self._exported or elapsed < 0 or lane.lines:
            return None
        level0, level1 = scope.levels
        level0 -= elapsed * lane.rate0
        level1 -= elapsed * lane.rate1
        if level0 <= 0:
            level0 = 0
            if level1 <= 0:
                return None
        elif level1 < 0:
            level1 = 0
        refunded0, refunded1 = scope.refunded
        credit0 = credit1 = 0
        if debt0 < 0:
            bound = self.levels[0] + self.refunded[0] - refunded0 - (now - self.at) * lane.rate0
            credit0 = _credit(-debt0, bound, level0)
            debt0 = -credit0
            refunded0 += credit0
            if refunded0 > LEVEL_MAX:
                return None
        elif debt0 and level0 + debt0 > LEVEL_MAX:
            return None
        if debt1 < 0:
            bound = self.levels[1] + self.refunded[1] - refunded1 - (now - self.at) * lane.rate1
            credit1 = _credit(-debt1, bound, level1)
            debt1 = -credit1
            refunded1 += credit1
            if refunded1 > LEVEL_MAX:
                return None
        elif debt1 and level1 + debt1 > LEVEL_MAX:
            return None
        settlement: ExpressSettlement = ExpressSettlement()
        settlement._lane = lane
        settlement._credits = (credit0, credit1)
        settlement._at = scope.at = now
        settlement._levels = scope.levels = (level0 + debt0, level1 + debt1)
        scope.refunded = (refunded0, refunded1)
        self._settlement = settlement
        return settlement


class ExpressSettlement(Settlement):
    """A :class:`Settlement` in one scope that is put together when somebody asks. Made and filled in by `_correct`."""

    __slots__ = ("_at", "_credits", "_lane", "_levels")

    _at: int
    _credits: tuple[int, int]
    _lane: ExpressLane
    _levels: tuple[int, int]
    repeated = False

    __init__ = object.__init__

    if not TYPE_CHECKING:
        _holds = property(lambda self: (self._lane,))
        _outcomes = property(lambda self: ((self._at, 0, self._levels, self._credits),))


_SLOTS: Final = ("_lane", "at", "costs", "epoch", "levels", "refunded")


class ExpressReservation(_OnLane, Reservation):
    """A :class:`Reservation` on a lane."""

    __slots__ = _SLOTS

    def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement:
        """As :meth:`Reservation.settle`."""
        settlement = None if meters else self._settled(requests, tokens)
        return super().settle(requests=requests, tokens=tokens, **meters) if settlement is None else settlement

    def settle_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement:
        """As :meth:`Reservation.settle_each`."""
        settlement = self._settled_each(amounts)
        return super().settle_each(amounts) if settlement is None else settlement


class AsyncExpressReservation(_OnLane, AsyncReservation):
    """An :class:`AsyncReservation` on a lane."""

    __slots__ = _SLOTS

    async def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement:
        """As :meth:`AsyncReservation.settle`."""
        settlement = None if meters else self._settled(requests, tokens)
        return await super().settle(requests=requests, tokens=tokens, **meters) if settlement is None else settlement

    async def settle_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement:
        """As :meth:`AsyncReservation.settle_each`."""
        settlement = self._settled_each(amounts)
        return await super().settle_each(amounts) if settlement is None else settlement


def _credit(unused: int, bound: int, level: int) -> int:
    """max(0, min(unused, bound, level)), without calling either."""
    credit = level if level < bound else bound  # noqa: FURB136 - min() would be the slowest line here
    if credit > unused:
        return unused
    return credit if credit > 0 else 0  # noqa: FURB136
