"""Backends that keep books of what they were asked, one in this process and one that a test can hold back or break."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ratelimit import Limit, Plan
from ratelimit.backends.base import Op, Retention
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from ratelimit.core.hold import Hold
from ratelimit.core.settlement import Settlement
from ratelimit.errors import BackendUnavailable
from ratelimit.testing import ManualClock

__all__ = ("LEDGER", "SWIFT", "Books", "Charge", "HeldBackend", "RecordingAsyncBackend", "RecordingBackend", "used")

LEDGER = Plan(
    "Ledger",
    limits=[
        Limit("requests", amount=1, period="day", burst=1_000_000),
        Limit("tokens", amount=1, period="day", burst=100_000_000),
    ],
)
"""Its buckets are books: what is used of them is exactly what was charged, in whole requests and tokens."""

SWIFT = Plan("Swift", rpm=1_000_000, tpm=100_000_000)
"""One that takes the engine's express lane, past the verbs of a backend in this process: no trace of it in `Books`."""
assert SWIFT.layout.express
assert not LEDGER.layout.express


@dataclass
class Charge:
    """One reservation that a backend granted, and every settlement of it that reached the backend."""

    holds: Sequence[Hold]
    reserved: Mapping[str, int]
    settled: list[Mapping[str, int]] = field(default_factory=list)


class Books:
    """Everything that a backend was asked to change, in order."""

    def __init__(self) -> None:
        self.charges: list[Charge] = []
        self.refused = 0

    def reserve(self, holds: Sequence[Hold], allowed: bool) -> bool:
        """Note a decision."""
        if not allowed:
            self.refused += 1
        else:
            self.charges.append(Charge(holds, _amounts(holds[0], holds[0].costs)))
        return allowed

    def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]]) -> None:
        """Note a settlement."""
        charge = next(charge for charge in reversed(self.charges) if charge.holds is holds)
        charge.settled.append(_amounts(holds[0], actual[0]))

    @property
    def settled(self) -> list[Mapping[str, int]]:
        """Each settlement, of reservations that had exactly one; more or none is a failure."""
        assert [len(charge.settled) for charge in self.charges] == [1] * len(self.charges)
        return [charge.settled[0] for charge in self.charges]


def _amounts(hold: Hold, costs: Sequence[int]) -> Mapping[str, int]:
    return {spec.meter: cost // spec.units for spec, cost in zip(hold.layout.specs, costs, strict=True)}


def used(memory: MemoryBackend) -> dict[str, int]:
    """What is charged of requests and tokens, over all scopes. For a clock that stands still."""
    total = {"requests": 0, "tokens": 0}
    for scope in memory.scopes.values():
        for meter, spec, level in zip(total, scope.specs, scope.levels, strict=True):
            assert level % spec.units == 0
            total[meter] += level // spec.units
    return total


class RecordingBackend(MemoryBackend):
    """State in this process, by a clock that stands still. Can be told to fail a verb."""

    def __init__(self) -> None:
        super().__init__(clock=ManualClock(1_000_000))
        self.books = Books()
        self.faults: dict[str, deque[Exception]] = defaultdict(deque)

    def fail(self, verb: str, *errors: Exception) -> None:
        """Answer the next calls of this verb with these errors, nothing changed."""
        self.faults[verb].extend(errors)

    def _maybe_fail(self, verb: str) -> None:
        if self.faults[verb]:
            raise self.faults[verb].popleft()

    def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """As `Backend.reserve`."""
        self._maybe_fail("reserve")
        return self.books.reserve(holds, super().reserve(holds, op))

    def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """As `Backend.settle`."""
        self._maybe_fail("settle")
        self.books.settle(holds, actual)
        return super().settle(holds, actual, op)


class RecordingAsyncBackend(AsyncMemoryBackend):
    """The same, awaited: still in this process."""

    backend: RecordingBackend

    def __init__(self) -> None:
        super().__init__(RecordingBackend())

    @property
    def books(self) -> Books:
        """What it was asked."""
        return self.backend.books


class HeldBackend:
    """State beyond a network: every call waits, in `steps` turns of the loop, before it takes effect and after.

    `hold(point)` stops calls at "reserve", "reserved", "settle" or "settled" until `release(point)`; `fail` lets them
    fail there. A call under a name that was there before has no second effect, as everywhere.
    """

    def __init__(self, steps: int = 1) -> None:
        self.memory = MemoryBackend(clock=ManualClock(1_000_000))
        self.retention = Retention()
        self.books = Books()
        self.calls: Counter[str] = Counter()
        self.closed = False
        self._faults: dict[str, deque[Exception]] = defaultdict(deque)
        self._held: dict[str, asyncio.Event] = {}
        self._arrived: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._steps = steps

    def hold(self, point: str) -> None:
        """Let calls wait here."""
        self._held[point] = asyncio.Event()

    def release(self, point: str) -> None:
        """Let them go on, and those that come."""
        self._held.pop(point).set()

    async def arrived(self, point: str) -> None:
        """Wait until a call has come to this point."""
        await self._arrived[point].wait()

    def fail(self, point: str, *errors: Exception) -> None:
        """Fail the next calls here."""
        self._faults[point].extend(errors)

    async def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """As `AsyncBackend.reserve`."""
        await self._pass("reserve")
        allowed = self.books.reserve(holds, self.memory.reserve(holds, op))
        await self._pass("reserved")
        return allowed

    async def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """As `AsyncBackend.settle`."""
        await self._pass("settle")
        settlement = self.memory.settle(holds, actual, op)
        if not settlement.repeated:
            self.books.settle(holds, actual)
        await self._pass("settled")
        return settlement

    async def peek(self, holds: Sequence[Hold]) -> None:
        """As `AsyncBackend.peek`."""
        self.memory.peek(holds)

    async def reset(self, keys: Sequence[str]) -> bool:
        """As `AsyncBackend.reset`."""
        return self.memory.reset(keys)

    async def close(self) -> None:
        """From here on nothing gets through."""
        self.closed = True

    async def _pass(self, point: str) -> None:
        self.calls[point] += 1
        self._arrived[point].set()
        for _ in range(self._steps):
            await asyncio.sleep(0)
        while point in self._held:
            await self._held[point].wait()
        if self.closed:
            raise BackendUnavailable("closed")
        if self._faults[point]:
            raise self._faults[point].popleft()
