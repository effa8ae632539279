"""What the leases of threads and those of tasks share: the lanes of a limiter, and the decision that needs no call."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from copy import copy
from threading import RLock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from ratelimit.clock import Clock
from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout
from ratelimit.errors import BackendError
from ratelimit.intake import Scope
from ratelimit.leases.lane import Lease, LeaseLane
from ratelimit.leases.options import Leases
from ratelimit.leases.reservation import AsyncLeasedReservation, LeasedReservation
from ratelimit.plans import Plan

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter
    from ratelimit.limiter import Limiter

__all__ = ("Leasing", "tell")

_log = logging.getLogger("ratelimit")
_LANES_MAX: Final = 16_384
_METERS: Final = frozenset({"requests", "tokens"})
Name = tuple[str, str | Plan, str | None]


def tell(failed: BackendError) -> None:
    """Log that the backend did not take something back: nobody waits for it, so there is nobody to raise it to."""
    _log.warning("what was left of a lease could not be given back, it stays charged and drains: %s", failed)


class Leasing:
    """The lanes of one limiter. `lock` guards them and all slices, and is never held during a call."""

    kind: type[LeasedReservation] | type[AsyncLeasedReservation]

    def __init__(self, limiter: Limiter | AsyncLimiter, options: Leases, clock: Clock | None) -> None:
        self.limiter: Any = limiter
        self.options = options
        self.clock_ns = time.monotonic_ns if clock is None else lambda: clock() * 1000
        self.lock = RLock()
        self._lanes: dict[tuple[str, Layout], LeaseLane] = {}
        self._named: dict[Name, LeaseLane] = {}
        _ALL.add(self)

    def clock(self) -> int:
        """Microseconds of a clock that only goes forwards."""
        return self.clock_ns() // 1000

    def make_turn(self) -> object:
        """What a lane's renewals wait on."""
        raise NotImplementedError

    def take(self, subject: Any, plan: str | Plan | None, group: str | None, requests: int, tokens: int) -> Any:
        """A reservation out of the subject's slice; None when there is no slice, or not enough of it.

        Raises:
            CostExceedsLimit, ConfigError: as `acquire`.
        """
        if type(subject) is list:
            if plan is not None or len(subject) != 1 or type(subject[0]) is not Scope:
                return None
            scope = subject[0]
            subject, plan, group = scope.subject, scope.plan, scope.group or group
            if scope.amounts is not None:
                if scope.amounts.keys() != _METERS:
                    return None
                requests, tokens = scope.amounts["requests"], scope.amounts["tokens"]
        try:
            lane = self._named.get((subject, plan, group))  # type: ignore[arg-type]  # no key has another type
        except TypeError:  # not hashable, so not a subject: the general way says so
            return None
        if lane is None or lane.lease is None or lane.waiting:
            return None
        if type(requests) is not int or type(tokens) is not int:
            return None  # it is not for this way to explain
        return self.hand_out(lane, lane.prices.get((requests, tokens)) or lane.price(requests, tokens))

    def hand_out(self, lane: LeaseLane, costs: Sequence[int]) -> Any:
        """A reservation out of this lane's slice, whoever waits; None when it does not fit."""
        lock = self.lock
        try:
            lock.acquire()
            lease = lane.lease
            now = self.clock_ns() // 1000
            if lease is None or not lease.take(costs, now):
                return None
            return self.kind(lane, lease, costs, now)
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as `with`
                lock.release()
            except RuntimeError:  # interrupted before it was taken
                pass

    def lane(self, subject: Any, plan: str | Plan | None, group: str | None, holds: Sequence[Hold]) -> LeaseLane | None:
        """The lane of these holds, to be found by these names from now on; None of several."""
        if len(holds) > 1:
            return None
        hold = holds[0]
        with self.lock:
            lane = self._lanes.get((hold.key, hold.layout))
            if lane is None:
                if len(self._lanes) >= _LANES_MAX:
                    self._make_room()
                lane = self._lanes[hold.key, hold.layout] = LeaseLane(self, hold.key, hold.layout, self.options)
            if isinstance(subject, Sequence) and not isinstance(subject, str):
                subject, plan, group = subject[0].subject, subject[0].plan, subject[0].group or group
            if type(subject) is str and plan is not None:
                self._named[subject, plan, group] = lane
            return lane

    def _make_room(self) -> None:
        """Forget whoever lives on no slice. Called seldom enough, because half of the room is then free again."""
        keep = {name: lane for name, lane in self._lanes.items() if lane.lease is not None or lane.waiting}
        self._lanes = keep if len(keep) < _LANES_MAX // 2 else {}
        kept = set(map(id, self._lanes.values()))
        self._named = {name: lane for name, lane in self._named.items() if id(lane) in kept}

    def lanes(self) -> list[LeaseLane]:
        """All of them."""
        return list(self._lanes.values())

    def _end_all(self) -> list[tuple[LeaseLane, Lease]]:
        """End all slices; those with something left, to give back."""
        return self._end_some(self.lanes())

    def _end_reset(self, key: str) -> list[tuple[LeaseLane, Lease]]:
        """End the slices of a subject that was reset, and those that are on their way."""
        with self.lock:
            lanes = [lane for lane in self._lanes.values() if lane.key == key]
            for lane in lanes:
                lane.resets += 1
            return self._end_some(lanes)

    def _end_some(self, lanes: Sequence[LeaseLane]) -> list[tuple[LeaseLane, Lease]]:
        with self.lock:
            now = self.clock()
            ended = [(lane, lane.end(now)) for lane in lanes]
        return [(lane, lease) for lane, lease in ended if lease is not None]

    def forget(self) -> None:
        """Begin anew in a child process: slices of the parent are the parent's."""
        self.lock = RLock()
        self._lanes, self._named = {}, {}


_ALL: WeakSet[Leasing] = WeakSet()


_forking: list[Leasing] = []


def _before_fork() -> None:
    """What is out on a slice settles on the backend from here on, under its op-id: by parent and child, it counts once.

    The parent goes on with the same slices under another identity. The locks are held across the fork.
    """
    _forking[:] = _ALL
    for leasing in _forking:
        leasing.lock.acquire()
        for lane in leasing.lanes():
            lane.lease = copy(lane.lease)


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().lock.release()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop().forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
