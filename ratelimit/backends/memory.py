"""All state in one process: for one gateway, for tests, and for replays in virtual time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from threading import RLock

from ratelimit.backends.base import Op, Retention
from ratelimit.clock import Clock
from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout
from ratelimit.core.scope import ScopeState, open_scope, settle_scope
from ratelimit.core.settlement import Outcome, Settlement

__all__ = ("AsyncMemoryBackend", "MemoryBackend")

_SWEEP = 2
"""Scopes looked at for each new one: at most twice as many are remembered as are in use."""


class MemoryBackend:
    """Thread-safe, in whole integers like the Lua, and bounded: what has drained is forgotten.

    `clock` counts microseconds; the default is the system's monotonic clock. The lock, the scopes by key and the clock
    are shared with `ratelimit.express`, which goes past these methods.
    """

    def __init__(self, *, clock: Clock | None = None, retention: Retention | None = None) -> None:
        self.clock_ns = time.monotonic_ns if clock is None else lambda: clock() * 1000
        self.retention = retention or Retention()
        self._skew = self.retention.head.skew_us
        self.lock = RLock()
        self.scopes: OrderedDict[str, ScopeState] = OrderedDict()
        # Epochs of named operations have 32 bits; those counted here lie beyond, so that the two never meet.
        self.new_epoch = count(2**32).__next__
        self._log = _OperationLog(self.retention.head.page_ttl_ms * 1000)

    def __repr__(self) -> str:
        return f"<MemoryBackend: {len(self.scopes)} scopes>"

    def __len__(self) -> int:
        """Scopes remembered."""
        return len(self.scopes)

    def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """As `Backend.reserve`. Within a process no answer gets lost: only a named operation is remembered."""
        with self.lock:
            now = self.clock_ns() // 1000
            if op is not None and self._log.answer(op.id, holds, now):
                return True
            return self._reserve(holds, op, now)

    def _reserve(self, holds: Sequence[Hold], op: Op | None, now: int) -> bool:
        """Any number of scopes, in any state."""
        epoch, _ = self._epochs(op)
        opened = [open_scope(self.scopes.get(hold.key), hold.layout, now, self._skew, epoch) for hold in holds]
        allowed = all(map(_fits, opened, holds))
        for hold, scope in zip(holds, opened, strict=True):
            count = len(hold.costs)
            if allowed:
                charged = [level + cost for level, cost in zip(scope.levels, hold.costs, strict=False)]
                scope.levels = [*charged, *scope.levels[count:]]
            if allowed or self._must_reanchor(hold.key, scope, now):
                self._store(hold.key, scope, now)
            hold.epoch, hold.at, hold.lag = scope.epoch, scope.at, scope.at - now
            hold.levels, hold.refunded = scope.levels[:count], scope.refunded[:count]
        if allowed and op is not None:
            self._log.record(op.id, holds, now)
        return allowed

    def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """As `Backend.settle`."""
        with self.lock:
            now = self.clock_ns() // 1000
            repeated = op is not None and not self._log.first_settle(op.id, now)
            outcomes = [self._settle(hold, real, op, now, repeated) for hold, real in zip(holds, actual, strict=True)]
        return Settlement(holds, outcomes, repeated)

    def _settle(self, hold: Hold, actual: Sequence[int], op: Op | None, now: int, repeated: bool) -> Outcome:
        """One scope, in any state."""
        debts = [0 if repeated else real - cost for real, cost in zip(actual, hold.costs, strict=True)]
        scope, levels, given = settle_scope(
            self.scopes.get(hold.key),
            hold.layout,
            now,
            self._skew,
            epoch=self._epochs(op)[1],
            mark_epoch=hold.epoch,
            since=hold.at,
            debts=debts,
            marks=hold.marks(),
        )
        if scope is not None and not repeated:
            self._store(hold.key, scope, now)
        at = now if scope is None else scope.at
        return at, at - now, levels, given

    def peek(self, holds: Sequence[Hold]) -> None:
        """As `Backend.peek`."""
        with self.lock:
            now = self.clock_ns() // 1000
            for hold in holds:
                scope = open_scope(self.scopes.get(hold.key), hold.layout, now, self._skew, 0)
                hold.at, hold.lag, hold.levels = scope.at, scope.at - now, scope.levels[: len(hold.costs)]

    def reset(self, keys: Sequence[str]) -> bool:
        """As `Backend.reset`."""
        with self.lock:
            known = [key for key in keys if key in self.scopes]
            for key in known:
                _retire(self.scopes.pop(key))
            return bool(known)

    def close(self) -> None:
        """Nothing to give back."""

    def _must_reanchor(self, key: str, scope: ScopeState, now: int) -> bool:
        """True when a refusal has to store the time, because the clock has jumped back: refill would stall."""
        stored = self.scopes.get(key)
        return stored is not None and now < stored.at - self._skew and any(scope.levels)

    def _epochs(self, op: Op | None) -> tuple[int, int]:
        """Epochs of a named operation are drawn from its name, as in Lua; others are counted."""
        return (self.new_epoch(), self.new_epoch()) if op is None else op.epochs

    def begin(self, key: str, layout: Layout, now: int) -> ScopeState:
        """Store an empty scope, to be charged at once, and return it."""
        zeros = (0,) * len(layout.specs)
        scope = ScopeState(
            epoch=self.new_epoch(), at=now, layout=layout, specs=layout.specs, levels=zeros, refunded=zeros
        )
        self._store(key, scope, now)
        return scope

    def _store(self, key: str, scope: ScopeState, now: int) -> None:
        before = self.scopes.get(key)
        if before is None:
            self._sweep(now)
        else:
            _retire(before)
        self.scopes[key] = scope

    def _sweep(self, now: int) -> None:
        """Look at the scopes that were looked at longest ago, and forget those that have drained."""
        for _ in range(min(_SWEEP, len(self.scopes))):
            key, scope = self.scopes.popitem(last=False)
            if scope.drained_at() > now:
                self.scopes[key] = scope
            else:
                _retire(scope)


def _fits(scope: ScopeState, hold: Hold) -> bool:
    terms = zip(scope.levels, hold.costs, hold.layout.capacities, strict=False)
    return all(level + cost <= capacity or not cost for level, cost, capacity in terms)


def _retire(scope: ScopeState) -> None:
    """Mark a scope that is no longer stored, for whoever still holds it: it is under no plan any more."""
    scope.layout = None


class _OperationLog:
    """Remembers operations for a while, oldest first: first answers, and settles that have been done."""

    def __init__(self, keep_us: int) -> None:
        self._keep_us = keep_us
        self._answers: OrderedDict[bytes, tuple[int, list[tuple[int, int, Sequence[int], Sequence[int]]]]] = (
            OrderedDict()
        )
        self._settled: OrderedDict[bytes, int] = OrderedDict()

    def record(self, op_id: bytes, holds: Sequence[Hold], now: int) -> None:
        answers = [(hold.epoch, hold.at, hold.levels, hold.refunded) for hold in holds]
        self._answers[op_id] = (now, answers)
        while self._answers and next(iter(self._answers.values()))[0] < now - self._keep_us:
            self._answers.popitem(last=False)

    def answer(self, op_id: bytes, holds: Sequence[Hold], now: int) -> bool:
        """Fill the holds with the first answer, if this operation has had one."""
        known = self._answers.get(op_id)
        if known is None:
            return False
        for hold, (epoch, at, levels, refunded) in zip(holds, known[1], strict=True):
            hold.epoch, hold.at, hold.lag, hold.levels, hold.refunded = epoch, at, max(0, at - now), levels, refunded
        return True

    def first_settle(self, op_id: bytes, now: int) -> bool:
        settled = self._settled
        if op_id in settled:
            return False
        settled[op_id] = now
        while settled and next(iter(settled.values())) < now - self._keep_us:
            settled.popitem(last=False)
        return True


class AsyncMemoryBackend:
    """The same state, awaited. Nothing ever waits, so nothing can be interrupted."""

    def __init__(self, backend: MemoryBackend | None = None) -> None:
        self.backend = MemoryBackend() if backend is None else backend
        self.retention = self.backend.retention

    def __repr__(self) -> str:
        return f"<Async{repr(self.backend)[1:]}"

    async def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """As `Backend.reserve`."""
        return self.backend.reserve(holds, op)

    async def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """As `Backend.settle`."""
        return self.backend.settle(holds, actual, op)

    async def peek(self, holds: Sequence[Hold]) -> None:
        """As `Backend.peek`."""
        self.backend.peek(holds)

    async def reset(self, keys: Sequence[str]) -> bool:
        """As `Backend.reset`."""
        return self.backend.reset(keys)

    async def close(self) -> None:
        """Nothing to give back."""
