"""P3, P4, P7, P8: operations that travel together do what they do one by one, to the integer, whatever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit import RetryPolicy, Settlement
from ratelimit.backends.base import Op, Retention
from ratelimit.backends.calls import Attempt
from ratelimit.backends.connect import async_executor
from ratelimit.backends.redis_asyncio import AsyncExecutor, AsyncRedisBackend
from ratelimit.core.hold import Hold
from ratelimit.intake import price, real_cost
from tests.promises.world import PLANS, START_US
from tests.servers import RedisBinary, RedisServer, redis_binaries

SUBJECTS = ("ann", "bob", "org")


@dataclass(frozen=True)
class Reserve:
    """Ask for scopes of one group under these plans; `again` repeats an operation that was sent before."""

    scopes: tuple[tuple[str, int], ...]
    requests: int
    share: int
    again: int | None = None


@dataclass(frozen=True)
class Settle:
    """Settle (or settle again) one of the reservations of earlier ticks."""

    which: int
    percent: int


Tick = tuple[int, list[Reserve | Settle]]

_scope = st.tuples(st.sampled_from(SUBJECTS), st.integers(0, len(PLANS) - 1))
_reserve = st.builds(
    Reserve,
    scopes=st.lists(_scope, min_size=1, max_size=3, unique_by=lambda scope: scope[0]).map(tuple),
    requests=st.integers(0, 3),
    share=st.sampled_from([0, 1, 5, 30, 60, 100]),
    again=st.none() | st.integers(0, 20),
)
_settle = st.builds(Settle, which=st.integers(0, 20), percent=st.sampled_from([0, 1, 50, 100, 130, 1_000]))
_moves = st.one_of(st.integers(0, 2_000_000), st.sampled_from([0, 60_000_000, -1, -4_999_999, -90_000_000]))
ticks = st.lists(st.tuples(_moves, st.lists(_reserve | _settle, min_size=1, max_size=12)), min_size=1, max_size=6)


class Counting:
    """An executor that counts what it is given."""

    def __init__(self, inner: AsyncExecutor) -> None:
        self._inner = inner
        self.sent = 0

    async def execute(self, attempt: Attempt) -> object:
        self.sent += not attempt.by_text
        return await self._inner.execute(attempt)

    async def close(self) -> None:
        await self._inner.close()


@dataclass
class World:
    """A backend, its clock, and what was reserved on it."""

    prefix: str
    backend: AsyncRedisBackend
    now: list[int]
    ops: int = 0
    sent: list[tuple[Op, Reserve]] = field(default_factory=list)
    held: list[tuple[Op, list[Hold], Mapping[str, int]]] = field(default_factory=list)

    async def reserve(self, wanted: Reserve) -> object:
        """Everything that the backend says."""
        if wanted.again is not None and wanted.again < len(self.sent):
            op, wanted = self.sent[wanted.again]
        else:
            self.ops += 1
            op = Op(self.ops.to_bytes(8, "little"), self.ops % 3)
        self.sent.append((op, wanted))
        least = {"tokens": 1_000_000, "output_tokens": 100_000}
        for _, plan in wanted.scopes:
            for spec in PLANS[plan].layout.specs:
                if spec.meter in least:
                    least[spec.meter] = min(least[spec.meter], spec.burst)
        amounts = {"requests": wanted.requests, **{m: amount * wanted.share // 100 for m, amount in least.items()}}
        holds = []
        for subject, plan in wanted.scopes:
            layout = PLANS[plan].layout
            holds.append(Hold(f"{self.prefix}{{group}}{subject}", layout, price(layout, amounts)))
        allowed = await self.backend.reserve(holds, op)
        if allowed:
            self.held.append((op, holds, amounts))
        return allowed, [(h.epoch, h.at, h.lag, list(h.levels), list(h.refunded)) for h in holds]

    async def settle(self, wanted: Settle, held: list[tuple[Op, list[Hold], Mapping[str, int]]]) -> object:
        """Everything that the backend says; None when there is nothing to settle yet."""
        if wanted.which >= len(held):
            return None
        op, holds, amounts = held[wanted.which]
        usage = {meter: amount * wanted.percent // 100 for meter, amount in amounts.items()}
        settlement: Settlement = await self.backend.settle(holds, [real_cost(hold, usage) for hold in holds], op)
        return settlement.repeated, [tuple(outcome) for outcome in settlement.outcomes]

    def jobs(self, wanted: list[Reserve | Settle]) -> list:  # type: ignore[type-arg]
        """One tick's operations; settles are of earlier ticks, because only those have been answered."""
        earlier = list(self.held)
        return [self.reserve(each) if isinstance(each, Reserve) else self.settle(each, earlier) for each in wanted]


@pytest.fixture(scope="module", params=redis_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    binary: RedisBinary = request.param
    with RedisServer(binary) as running:
        yield running


async def compare(url: str, wanted: list[Tick]) -> None:
    """The same on two backends: together, and one by one."""
    policy = RetryPolicy(timeout=10, deadline=30)
    retention = Retention(retry_window=300, max_skew=5.0)
    now = [START_US]
    executors = [Counting(async_executor(url, policy, 8)) for _ in range(2)]
    together, apart = (
        World(
            name,
            AsyncRedisBackend(
                executor, policy=policy, retention=retention, virtual_clock=lambda: now[0], coalesce=name == "together"
            ),
            now,
        )
        for name, executor in zip(("together", "apart"), executors, strict=True)
    )
    calls = 0
    for move, operations in wanted:
        now[0] += move
        count = sum(isinstance(each, Reserve) or each.which < len(apart.held) for each in operations)
        calls += min(count, 1)
        ours = await asyncio.gather(*together.jobs(operations))
        theirs = [await job for job in apart.jobs(operations)]
        assert ours == theirs
        assert len(together.held) == len(apart.held)
    assert executors[0].sent == calls
    for world in (together, apart):
        await world.backend.close()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=ticks)
def test_a_batch_is_the_same_operations_one_by_one(server: RedisServer, wanted: list[Tick]) -> None:
    """Reserves of one scope and of several, settles, repeats, plan changes and clock steps, in any mixture."""
    server.call("FLUSHDB")
    asyncio.run(compare(server.unix_url, wanted))
