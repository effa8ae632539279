"""Calls that are cut off at any point: no answer reaches another caller, and nothing is counted twice or lost."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import pytest

from ratelimit import AsyncLimiter, RetryPolicy
from tests.faults.at_once import until
from tests.faults.faces import LEDGER, QUICK, used
from tests.faults.tally import Tally
from tests.servers import DELAY, HOLD_REQUEST, FaultProxy, RedisServer, eventually

POOL = 20
PATIENT = RetryPolicy(timeout=5.0, deadline=20.0)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel, and wait for the end."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@dataclass
class Caller:
    """One subject with a cost that nobody else has, so that an answer tells whose it is."""

    subject: str
    cost: int
    started: int = 0
    completed: int = 0
    strange: int = 0

    async def acquire(self, limiter: AsyncLimiter) -> None:
        self.started += 1
        reservation = await limiter.acquire(self.subject, plan=LEDGER, tokens=self.cost)
        self.completed += 1
        self.check(used(reservation.standings))

    def check(self, books: dict[str, int]) -> None:
        """An answer is ours when it counts tokens in our cost, and no request that never started."""
        ours = books["tokens"] == books["requests"] * self.cost
        self.strange += not (ours and self.completed <= books["requests"] <= self.started)


async def storm(limiter: AsyncLimiter, caller: Caller, rounds: int, seed: int) -> None:
    """Start calls and cancel them: after some steps of the loop, after some microseconds, or twice."""
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    for _ in range(rounds):
        task = asyncio.ensure_future(caller.acquire(limiter))
        if rng.random() < 0.5:
            for _ in range(rng.randrange(40)):
                await asyncio.sleep(0)
            task.cancel()
        else:
            loop.call_later(rng.random() * 0.05, task.cancel)
        if rng.random() < 0.3:
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


@pytest.mark.slow
def test_ten_thousand_cancelled_calls_confuse_nobody(server: RedisServer) -> None:
    """Every answer belongs to its caller, every charge to a call, and no connection is lost for good."""
    callers = [Caller(f"caller-{index}", 1_009 + 2 * index) for index in range(50)]

    async def run() -> None:
        limiter = AsyncLimiter.from_url(server.url, policy=PATIENT, max_connections=POOL)
        await asyncio.gather(*(storm(limiter, caller, 200, caller.cost) for caller in callers))
        for caller in callers:
            await caller.acquire(limiter)
            caller.check(used(await limiter.peek(caller.subject, plan=LEDGER)))
        assert await spare_connections(limiter) == POOL
        await limiter.close()

    asyncio.run(run())
    completed, started = sum(caller.completed for caller in callers), sum(caller.started for caller in callers)
    assert 500 < completed < started - 500 < 9_500  # all ends happened often: served, cut off, never begun
    assert [caller.strange for caller in callers] == [0] * 50
    eventually(lambda: server.info("clients")["connected_clients"] == "1", what="all sockets are closed")


async def spare_connections(limiter: AsyncLimiter) -> int:
    """How many calls the pool can still carry at once."""
    executor: Any = limiter._backend
    executor = executor._executor
    assert not executor._pool._in_use_connections
    return int(executor._free._value)


@pytest.mark.parametrize("step", range(3), ids=["lib-name", "lib-version", "database"])
def test_a_call_cancelled_while_it_connects_leaves_no_half_made_connection(server: RedisServer, step: int) -> None:
    """The next caller does not inherit a connection with an answer on the way, or in the wrong database."""

    async def run(proxy: FaultProxy) -> None:
        async with AsyncLimiter.from_url(f"{proxy.url[:-1]}3", policy=QUICK) as limiter:
            proxy.next(*[DELAY(0)] * step, DELAY(0.1))
            task = asyncio.ensure_future(limiter.acquire("alice", plan=LEDGER)._begin())
            await until(lambda: not proxy.queued)
            await cancelled(task)
            reservation = await limiter.acquire("bob", plan=LEDGER, tokens=70)
            assert used(reservation.standings) == {"requests": 1, "tokens": 70}

    with FaultProxy("127.0.0.1", server.port, names=["CLIENT", "SELECT"]) as proxy:
        asyncio.run(run(proxy))
    keyspace = server.info("keyspace")
    assert list(keyspace) == ["db3"]


@pytest.mark.parametrize("step", range(3), ids=["lib-name", "lib-version", "database"])
def test_an_attempt_that_times_out_while_it_connects_is_repeated(server: RedisServer, step: int) -> None:
    """A slow handshake costs an attempt, not the decision."""

    async def run(proxy: FaultProxy) -> None:
        async with AsyncLimiter.from_url(f"{proxy.url[:-1]}3", policy=QUICK) as limiter:
            proxy.next(*[DELAY(0)] * step, DELAY(QUICK.timeout * 1.5))
            reservation = await limiter.acquire("alice", plan=LEDGER, tokens=70)
            assert used(reservation.standings) == {"requests": 1, "tokens": 70}

    with FaultProxy("127.0.0.1", server.port, names=["CLIENT", "SELECT"]) as proxy:
        asyncio.run(run(proxy))
    assert list(server.info("keyspace")) == ["db3"]


def test_a_call_cancelled_twice_still_gives_its_connection_back(proxy: FaultProxy) -> None:
    """The second cancellation finds nothing left to interrupt, at whatever step of the clean-up it comes."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT, max_connections=1) as limiter:
            for steps in range(8):
                proxy.next(HOLD_REQUEST)
                task = asyncio.ensure_future(limiter.acquire(f"subject-{steps}", plan=LEDGER)._begin())
                await until(lambda: proxy.held)
                task.cancel()
                for _ in range(steps):
                    await asyncio.sleep(0)
                await cancelled(task) if not task.done() else None
                await until(lambda: proxy.release() or not proxy.held)
                assert await spare_connections(limiter) == 1
                reservation = await limiter.acquire("alice", plan=LEDGER, tokens=7)
                assert used(reservation.standings) == {"requests": steps + 1, "tokens": 7 * (steps + 1)}

    asyncio.run(run())


def test_a_settle_that_was_cancelled_may_be_settled_again(proxy: FaultProxy, tally: Tally) -> None:
    """Cancelled before it was sent, or when only the answer was missing: the second settle makes it exactly one."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            await limiter.acquire("alice", plan=LEDGER, tokens=1_000)
            for late in (HOLD_REQUEST, DELAY(30)):
                reservation = await limiter.acquire("alice", plan=LEDGER, tokens=70)
                tally.inject("settle", late)
                task = asyncio.ensure_future(reservation.settle(tokens=20))
                await until(lambda: tally.injected)
                task.cancel()
                await cancelled(task)
                assert reservation.settlement is None
                settlement = await reservation.settle(tokens=20)
                assert await reservation.settle(tokens=1) is settlement
                proxy.release()
            assert used(await limiter.peek("alice", plan=LEDGER)) == {"requests": 3, "tokens": 1_040}

    asyncio.run(run())


def test_waiting_for_a_settle_does_not_settle_twice(server: RedisServer) -> None:
    """Of settles at the same time one counts, also when some of them are cancelled."""

    async def run() -> None:
        async with AsyncLimiter.from_url(server.url, policy=PATIENT) as limiter:
            await limiter.acquire("alice", plan=LEDGER, tokens=1_000)
            for round_ in range(20):
                reservation = await limiter.acquire("alice", plan=LEDGER, tokens=70)
                settles = [asyncio.create_task(reservation.settle(tokens=20)) for _ in range(5)]
                for _ in range(round_ % 7):
                    await asyncio.sleep(0)
                for task in settles[:3]:
                    task.cancel()
                await asyncio.wait(settles)
                assert settles[3].result() is settles[4].result() is reservation.settlement
            assert used(await limiter.peek("alice", plan=LEDGER)) == {"requests": 21, "tokens": 1_400}

    asyncio.run(run())
