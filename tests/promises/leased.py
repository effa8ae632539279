"""A server in virtual time that workers with leases reach over a network: for tests, and for the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from ratelimit import BackendError, Leases, Limiter, Plan
from ratelimit.backends.base import Op, Retention
from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.hold import Hold
from ratelimit.core.settlement import Settlement
from ratelimit.leases.threads import ThreadLeasing

__all__ = ("Server", "worker")


class Server:
    """A memory backend that is reached over a network: its calls have names, take time, and are not this process's."""

    retention = Retention()

    def __init__(self, rng: Random) -> None:
        self.now = 10**12
        self.calls = 0
        self.decided = 0
        """When it made the decision that was asked for last."""
        self._rng = rng
        self._memory = MemoryBackend(clock=lambda: self.now)

    def _travel(self) -> None:
        self.now += self._rng.choice((0, 0, 1, 700, 40_000))

    def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        self.calls += 1
        self._travel()
        assert op is not None
        allowed = self._memory.reserve(holds, op)
        self.decided = self.now
        self._travel()
        return allowed

    def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        self.calls += 1
        self._travel()
        assert op is not None
        settled = self._memory.settle(holds, actual, op)
        self._travel()
        return settled

    def renew(self, old: Any, actual: Any, old_op: Op, new: Any, op: Op) -> tuple[bool, BackendError | None]:
        self._travel()
        self.settle(old, actual, old_op)
        self.calls -= 1
        return self.reserve(new, op), None

    def peek(self, holds: Sequence[Hold]) -> None:
        self._memory.peek(holds)

    def reset(self, keys: Sequence[str]) -> bool:
        return self._memory.reset(keys)

    def close(self) -> None: ...

    def used(self, plan: Plan) -> int:
        """Tokens in the books, rounded up."""
        hold = Hold(next(iter(self._memory.scopes), "none"), plan.layout, [0])
        self.peek([hold])
        return -(-hold.levels[0] // plan.layout.specs[0].units)


def worker(server: Server, options: Leases) -> Limiter:
    """A process of its own; its clock has another origin, and as many microseconds in a second."""
    limiter = Limiter(server)
    leasing: Any = ThreadLeasing(limiter, server, options, clock=lambda: server.now - 10**11)  # type: ignore[arg-type]
    limiter._leasing = leasing
    return limiter
