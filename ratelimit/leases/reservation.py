"""What a caller holds that was paid out of a slice.

It is charged: its cost is a part of what the slice's reserve has charged at `t0`. So its mark is the slice's (time,
levels, refunds, epoch), and a settle on the backend is safe under the rule that is proved for a reserve of its own:
the proof needs that its cost was charged at `t0` and that the level since is bounded from below by that mark, and both
are true of each part of a sum as of the whole. Refunds of several parts see each other in the sum of refunds.

While its slice lasts, it settles there, without a call; see `core.lease`. From the moment on at which it may be settled
elsewhere (exported, sent to the backend once, copied by a fork, its slice ended) it settles on the backend only, under
an op-id of its own, which the backend knows by. So it settles once, in whatever order these come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Any

from ratelimit.backends.base import Op
from ratelimit.core.hold import Hold
from ratelimit.core.settlement import Settlement
from ratelimit.core.wire import OP_BYTES
from ratelimit.errors import ConfigError
from ratelimit.reservation import AsyncReservation, Reservation

if TYPE_CHECKING:
    from ratelimit.leases.lane import Lease, LeaseLane

__all__ = ("AsyncLeasedReservation", "LeasedReservation")

_OPEN, _HERE, _BACKEND = range(3)
"""Where it settles: nobody has decided, out of the slice, on the backend."""
_DEFAULTS = {"_exported": False, "_on_error": "refund_tokens", "_wanted": None, "_way": _OPEN}
_ON_DEMAND = frozenset({"_exported", "_holds", "_limiter", "_lock", "_on_error", "_op", "_wanted", "_way"})
_SLOTS = ("_at", "_lane", "_lease", "_left", "_number", "_returned", "_way", "costs")


class _OnLease:
    """A reservation out of a slice. The rest of what its base class has is made when somebody needs it."""

    if not TYPE_CHECKING:
        __slots__ = ()  # its heirs have the places: of two bases with places no class can be made

    _exported: bool
    _settlement: Settlement | None
    _way: int
    costs: Sequence[int]

    def __init__(self, lane: LeaseLane, lease: Lease, costs: Sequence[int], at: int) -> None:
        self._lane = lane
        self._lease = lease
        self.costs = costs
        self._at = at
        self._left = lease.left
        self._returned = lease.returned
        self._number = lease.decisions
        self._settlement = None

    @property
    def _shown(self) -> Sequence[Hold]:
        """As its base's: with the levels as they were right after this was handed out."""
        return [self._standing_at(self._lease, self._left, self._at)]

    def _standing_at(self, lease: Lease, left: Sequence[int], now: int) -> Hold:
        hold = Hold(self._lane.key, self._lane.layout, self.costs)
        hold.at, hold.lag = lease.hold.at + now - lease.since, lease.hold.lag
        hold.levels = lease.standing(left, now)
        return hold

    def _settle_here(self, real: Sequence[int]) -> Settlement | None:
        """Settle out of the slice, if that may still be done. From a None on, it is the backend's to settle."""
        with self._lane.leasing.lock:
            if self._way == _OPEN and self._settlement is None:
                self._settlement = self._correct(real)
                self._way = _BACKEND if self._settlement is None else _HERE
            return self._settlement

    def _correct(self, real: Sequence[int]) -> Settlement | None:
        lane, lease = self._lane, self._lease
        if lane.lease is not lease:
            return None
        debts = [used - cost for used, cost in zip(real, self.costs, strict=True)]
        now = lane.leasing.clock()
        given = lease.correct(debts, self._left, self._returned, now)
        if given is None:
            return None
        hold = self._standing_at(lease, lease.left, now)
        return Settlement((lane,), ((hold.at, hold.lag, hold.levels, given),), False)

    def _export(self) -> None:
        """From now on others may settle this.

        Raises:
            ConfigError: it has been settled here, and the backend, which others would ask, knows nothing of it.
        """
        with self._lane.leasing.lock:
            if self._way == _HERE:
                raise ConfigError(
                    "the reservation was settled within this process and its lease: nothing is left that another "
                    "worker could settle; call to_token() before it is settled"
                )
            self._way = _BACKEND

    def __getattr__(self, name: str) -> Any:
        """What the base class would have set, made when it is needed."""
        if name not in _ON_DEMAND:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with self._lane.leasing.lock:
            try:
                return object.__getattribute__(self, name)
            except AttributeError:
                made = self._make(name)
            setattr(self, name, made)
            return made

    def _make(self, name: str) -> Any:
        lane, paid = self._lane, self._lease.hold
        if name == "_holds":
            hold = Hold(lane.key, lane.layout, self.costs)
            hold.at, hold.lag, hold.epoch, hold.levels, hold.refunded = (
                paid.at,
                paid.lag,
                paid.epoch,
                paid.levels,
                paid.refunded,
            )
            return [hold]
        if name == "_lock":
            return asyncio.Lock() if isinstance(self, AsyncReservation) else Lock()
        if name == "_op":
            # Not drawn at random: a copy of this in a forked process has to come to the same.
            number = self._number.to_bytes(8, "little")
            op = self._lease.op
            return Op(blake2b(op.id + number, digest_size=OP_BYTES, person=b"ratelimit.lease").digest(), op.page)
        return lane.leasing.limiter if name == "_limiter" else _DEFAULTS[name]


class LeasedReservation(_OnLease, Reservation):
    """A :class:`Reservation` out of a slice."""

    __slots__ = _SLOTS

    def _settle(self, real: Sequence[Sequence[int]]) -> Settlement:
        settlement = self._settle_here(real[0])
        return super()._settle(real) if settlement is None else settlement

    def to_token(self) -> str:
        """As :meth:`Reservation.to_token`.

        Raises:
            ConfigError: it has been settled within its lease.
        """
        self._export()
        return super().to_token()


class AsyncLeasedReservation(_OnLease, AsyncReservation):
    """An :class:`AsyncReservation` out of a slice."""

    __slots__ = _SLOTS

    async def _settle(self, real: Sequence[Sequence[int]]) -> Settlement:
        settlement = self._settle_here(real[0])
        return await super()._settle(real) if settlement is None else settlement

    def to_token(self) -> str:
        """As :meth:`LeasedReservation.to_token`."""
        self._export()
        return super().to_token()
