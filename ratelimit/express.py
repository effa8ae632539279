"""The express lane: one subject, a plan of requests and tokens, state in this process.

That is nearly every call on the memory backend, so its way is written out here, from the caller's amounts to the
reservation and back, without a layer, a loop or a list in between: it takes a fifth of the time of the general way
(docs/performance.md). Whatever is out of the ordinary (other meters, a refusal, a plan change, a clock step)
takes the general way, with nothing changed. The arithmetic is that of `core.scope`;
tests/promises/test_express.py holds the two lanes to the same integers.

The lock is taken inside `try`, not by `with`, which costs three times as much here. Should a signal handler raise
before it is taken, there is nothing to release, which an RLock says and a Lock would not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.decision import Standing, standings
from ratelimit.core.hold import Hold
from ratelimit.core.limit import LEVEL_MAX, Layout
from ratelimit.core.scope import ScopeState
from ratelimit.core.settlement import Settlement
from ratelimit.reservation import AsyncReservation, Reservation

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter
    from ratelimit.limiter import Limiter

__all__ = ("EXPRESS_METERS", "LANES_LEAST", "AsyncExpressReservation", "ExpressLane", "ExpressReservation")

EXPRESS_METERS: Final = frozenset({"requests", "tokens"})
"""What a call may name to go this way."""
LANES_LEAST: Final = 1_024
"""Lanes that a limiter keeps at least."""

_ORDINARY = 2**40
"""Amounts beyond this take the general way, which knows about saturation."""
_NOTHING = (0, 0)
_ON_DEMAND = frozenset({"_holds", "_limiter", "_lock", "_on_error", "_op", "_wanted"})


class ExpressLane:
    """The way of one subject under one plan. Made on its first call, kept by the limiter."""

    __slots__ = (
        "_most",
        "backend",
        "capacity0",
        "capacity1",
        "clock_ns",
        "key",
        "kind",
        "layout",
        "limiter",
        "lines",
        "lock",
        "rates",
        "scope",
        "scopes",
        "units",
    )

    def __init__(
        self,
        limiter: Limiter | AsyncLimiter,
        backend: MemoryBackend,
        key: str,
        layout: Layout,
        kind: type[ExpressReservation] | type[AsyncExpressReservation],
    ) -> None:
        self.limiter = limiter
        self.kind: Any = kind
        self.key = key
        self.layout = layout
        self.rates = layout.rates
        self.capacity0, self.capacity1 = layout.capacities
        self.units = tuple(units for _, units in layout.prices)
        self._most = tuple(spec.burst for spec in layout.specs)
        self.backend = backend
        # The scope as it was last found: retired ones are under no plan, so it is never taken for the stored one.
        self.scope: ScopeState | None = None
        self.lines = limiter.lines
        self.lock, self.scopes, self.clock_ns = backend.lock, backend.scopes, backend.clock_ns

    def reserve(self, requests: int, tokens: int) -> Any:
        """The reservation, of the lane's kind, if all is ordinary and it fits; None for the general way."""
        most0, most1 = self._most
        if type(requests) is type(tokens) is int and 0 <= requests <= most0 and 0 <= tokens <= most1:
            unit0, unit1 = self.units
            cost0, cost1 = requests * unit0, tokens * unit1
        else:
            return None
        lock = self.lock
        try:
            lock.acquire()
            now = self.clock_ns() // 1000
            scope = self.scope
            if scope is None or scope.layout is not self.layout:
                scope = self.scope = self.scopes.get(self.key) or self.backend.begin(self.key, self.layout, now)
                if scope.layout is not self.layout:
                    return None
            elapsed = now - scope.at
            if elapsed < 0:
                return None
            rate0, rate1 = self.rates
            level0, level1 = scope.levels
            level0 -= elapsed * rate0
            level1 -= elapsed * rate1
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
            scope.at = now
            scope.levels = levels = (level0, level1)
            return self.kind(self, (cost0, cost1), now, scope.epoch, levels, scope.refunded)
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as `with`
                lock.release()
            except RuntimeError:
                pass


class _OnLane:
    """A reservation that is its own hold. Leaves the lane for everything but a settle of requests and tokens."""

    if not TYPE_CHECKING:
        __slots__ = ()  # its heirs have the places: of two bases with places no class can be made

    _exported: bool
    _settlement: Settlement | None
    at: int
    costs: tuple[int, int]
    epoch: int
    levels: tuple[int, int]
    refunded: Sequence[int]

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
        unit0, unit1 = self._lane.units
        if (requests is None or (type(requests) is int and 0 <= requests <= _ORDINARY)) and (
            tokens is None or (type(tokens) is int and 0 <= tokens <= _ORDINARY)
        ):
            cost0, cost1 = self.costs
            return self._correct(
                0 if requests is None else requests * unit0 - cost0, 0 if tokens is None else tokens * unit1 - cost1
            )
        return None

    def _correct(self, debt0: int, debt1: int) -> Settlement | None:
        """Correct the scope by these units, more or less; None for the general way."""
        lane = self._lane
        lock = lane.lock
        try:
            lock.acquire()
            if self._settlement is not None:
                return self._settlement
            now = lane.clock_ns() // 1000
            scope = lane.scope
            if scope is None or scope.epoch != self.epoch or scope.layout is not lane.layout or self._exported:
                return None
            elapsed = now - scope.at
            if elapsed < 0 or lane.lines:
                return None
            rate0, rate1 = lane.rates
            level0, level1 = scope.levels
            level0 -= elapsed * rate0
            level1 -= elapsed * rate1
            if level0 <= 0:
                level0 = 0
                if level1 <= 0:
                    return None
            elif level1 < 0:
                level1 = 0
            refunded0, refunded1 = scope.refunded
            credit0 = credit1 = 0
            if debt0 < 0:
                bound = self.levels[0] + self.refunded[0] - refunded0 - (now - self.at) * rate0
                credit0 = _credit(-debt0, bound, level0)
                refunded0 += credit0
                debt0 = -credit0
            if debt1 < 0:
                bound = self.levels[1] + self.refunded[1] - refunded1 - (now - self.at) * rate1
                credit1 = _credit(-debt1, bound, level1)
                refunded1 += credit1
                debt1 = -credit1
            level0 += debt0
            level1 += debt1
            if level0 > LEVEL_MAX or level1 > LEVEL_MAX or refunded0 > LEVEL_MAX or refunded1 > LEVEL_MAX:
                return None
            scope.at = now
            scope.levels = levels = (level0, level1)
            scope.refunded = (refunded0, refunded1)
            self._settlement = settlement = Settlement((lane,), ((now, 0, levels, (credit0, credit1)),), False)
            return settlement
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as `with`
                lock.release()
            except RuntimeError:
                pass

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
            made = {
                "_holds": [hold],
                "_limiter": lane.limiter,
                # Under threads the lane's own lock: whichever way a settle goes, it waits for the other.
                "_lock": asyncio.Lock() if isinstance(self, AsyncReservation) else lane.lock,
                "_on_error": "refund_tokens",
                "_op": None,
                "_wanted": None,
            }
            for attribute, value in made.items():
                setattr(self, attribute, value)
            return object.__getattribute__(self, name)


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
    least = min(level, bound)
    if least > unused:
        return unused
    return least if least > 0 else 0  # noqa: FURB136 - max() would be the slowest line here
