"""Leases of the sync face: whoever finds a slice used up renews it, and a thread gives back what nobody used."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from threading import Condition, RLock, Thread
from typing import TYPE_CHECKING, Any, Final

from ratelimit.backends.redis import RedisBackend
from ratelimit.clock import Clock
from ratelimit.core.decision import decide
from ratelimit.core.hold import Hold
from ratelimit.errors import BackendError, RateLimited
from ratelimit.leases.lane import Lease, LeaseLane
from ratelimit.leases.leasing import Leasing, tell
from ratelimit.leases.options import Leases
from ratelimit.leases.reservation import LeasedReservation
from ratelimit.on_error import OnError
from ratelimit.reservation import Reservation

if TYPE_CHECKING:
    from ratelimit.limiter import Limiter

__all__ = ("ThreadLeasing",)

_IDLE_TERMS: Final = 20
"""Terms without a lease after which the thread ends; the next lease starts another one."""


class ThreadLeasing(Leasing):
    """The leases of a :class:`Limiter`. With a `clock` that somebody steps, that somebody also calls `give_back`."""

    kind = LeasedReservation

    def __init__(self, limiter: Limiter, backend: RedisBackend, options: Leases, clock: Clock | None = None) -> None:
        super().__init__(limiter, options, clock)
        self._backend = backend
        self._with_thread = clock is None
        self._begin()

    def _begin(self) -> None:
        self._ends: list[tuple[int, int, LeaseLane]] = []
        self._numbers = count()
        self._wake = Condition(self.lock)
        self._thread: Thread | None = None
        self._closed = False

    def forget(self) -> None:
        """As :meth:`Leasing.forget`."""
        super().forget()
        self._begin()

    def make_turn(self) -> object:
        """As :meth:`Leasing.make_turn`."""
        # Re-entered by a signal handler that comes while this thread renews.
        return RLock()

    def reserve(self, lane: LeaseLane, hold: Hold, on_error: OnError) -> Reservation:
        """Decide: out of the slice, out of a new one, or by the backend on exactly this.

        Raises:
            RateLimited, BackendError: as `acquire`.
        """
        failures, leased = lane.failures, None
        with lane.turn:
            if not lane.renewing:
                lane.renewing = True
                try:
                    leased = self.hand_out(lane, hold.costs)
                    if leased is None and failures == lane.failures and self._renew(lane, hold.costs):
                        leased = self.hand_out(lane, hold.costs)
                finally:
                    lane.renewing = False
        if leased is not None:
            leased._on_error = on_error
            made: Reservation = leased
            return made
        return self._exactly(lane, hold, on_error)

    def _exactly(self, lane: LeaseLane, hold: Hold, on_error: OnError) -> Reservation:
        with self.lock:
            since = self.clock()
            lane.ask(hold.costs, since)
        op = self.limiter._name()
        allowed = self._backend.reserve([hold], op)
        with self.lock:
            lane.see(hold, since)
            idle = None if allowed else lane.end(self.clock())
        if idle is not None:
            # Somebody here has leased meanwhile what would have made it fit.
            allowed = self._reserve(lane, idle, hold, op)
        if allowed:
            return Reservation(self.limiter, [hold], op, on_error)
        raise RateLimited(decide(False, [hold]))

    def _renew(self, lane: LeaseLane, costs: Sequence[int]) -> bool:
        """Give back what is left and get a new slice, if that is worth it; True when there is one."""
        with self.lock:
            since = self.clock()
            wanted = None if self._closed else lane.slice_for(costs, (), since)
            old, resets = lane.end(since), lane.resets
        if wanted is None:
            if old is not None:
                self._settle(old)
            return False
        hold, op = Hold(lane.key, lane.layout, wanted), self.limiter._name()
        try:
            allowed = self._reserve(lane, old, hold, op)
        except BackendError:
            lane.failures += 1
            raise
        with self.lock:
            lane.see(hold, since)
            if not allowed:
                return False
            lane.begin(hold, op, since)
            if lane.resets == resets and not self._closed:
                self._watch(lane)
                return True
            undone = lane.end(since)
        if undone is not None:
            self._settle(undone)
        return False

    def _reserve(self, lane: LeaseLane, old: Lease | None, hold: Hold, op: Any) -> bool:
        if old is None:
            return self._backend.reserve([hold], op)
        allowed, failed = self._backend.renew([old.hold], [old.spent()], old.op, [hold], op)
        if failed is not None:
            tell(failed)
        self.limiter._nudge(lane.key)
        return allowed

    def _settle(self, lease: Lease) -> None:
        """Give back what is left of a slice. That it fails changes nothing for anybody who asks."""
        try:
            self.limiter._settle([lease.hold], [lease.spent()], lease.op)
        except BackendError as failed:
            tell(failed)

    def give_back(self) -> int | None:
        """Give back what is left of slices whose term is over; when the next one ends (us), None without any."""
        while True:
            with self.lock:
                now = self.clock()
                if not self._ends or self._ends[0][0] > now:
                    return self._ends[0][0] if self._ends else None
                _, _, lane = heappop(self._ends)
                lane.timer = None
                if lane.lease is None:
                    continue
                if lane.lease.ends > now:
                    self._watch(lane)
                    continue
                lease = lane.end(now)
            if lease is not None:
                self._settle(lease)

    def _watch(self, lane: LeaseLane) -> None:
        """Have the slice ended in time. A lane stands in line once, whatever slices come and go."""
        if lane.timer is None and lane.lease is not None:
            lane.timer = lane.lease.ends
            heappush(self._ends, (lane.lease.ends, next(self._numbers), lane))
            if self._thread is None and self._with_thread:
                thread = Thread(target=self._run, name="ratelimit-leases", daemon=True)
                thread.start()
                self._thread = thread
            self._wake.notify()

    def _run(self) -> None:
        wake = self._wake
        while True:
            ends = self.give_back()
            with self.lock:
                if wake is not self._wake or self._closed:
                    return
                if ends is not None:
                    wake.wait(max(0, ends - self.clock()) / 1e6)
                elif not self._ends and not wake.wait(_IDLE_TERMS * self.options.term) and not self._ends:
                    self._thread = None
                    return

    def reset(self, key: str) -> None:
        """The subject was reset: what is left of its slices was forgotten, and is not to be used."""
        for _, lease in self._end_reset(key):
            self._settle(lease)

    def close(self) -> None:
        """Give everything back, and lease nothing any more."""
        with self.lock:
            self._closed = True
            self._wake.notify_all()
            thread = self._thread
        for _, lease in self._end_all():
            self._settle(lease)
        if thread is not None:
            thread.join()
