"""P11 for what happens at the same time: how many calls reach the servers, as they count themselves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.crc import key_slot

from ratelimit import AsyncLimiter, Limit, Plan, RateLimited, RetryPolicy
from ratelimit.backends.coalesce import BATCH_MAX
from ratelimit.core.keys import KeyMaker
from ratelimit.express_redis import RedisLaneReservation
from tests.conftest import Servers
from tests.express_lane import acquire, evalsha, together
from tests.servers import RedisCluster, RedisServer

PLAN = Plan("MAX 20X", rpm=1_200, tpm=12_000_000)
HOURLY = Plan("Hourly", limits=[Limit("requests", 1_000, 3_600), Limit("tokens", 1_000_000, 3_600)])
"""Slow enough to count by: a request drains in 3.6 seconds."""
POLICY = RetryPolicy(timeout=10.0, deadline=30.0)
Work = Callable[[AsyncLimiter], Coroutine[Any, Any, None]]


def run(url: str, prefix: str, work: Work) -> None:
    """`work` with a limiter."""

    async def inside() -> None:
        async with AsyncLimiter.from_url(url, prefix=prefix, policy=POLICY) as limiter:
            await work(limiter)

    asyncio.run(inside())


@contextmanager
def counted(*servers: RedisServer) -> Iterator[list[int]]:
    """EVALSHA within the block, once it is over; and no script is sent or loaded."""

    def loads() -> int:
        stats = [server.info("commandstats") for server in servers]
        names = ("cmdstat_eval", "cmdstat_script", "cmdstat_script|load")
        return sum(int(each[name].split("calls=")[1].split(",")[0]) for each in stats for name in names if name in each)

    sent: list[int] = []
    before, loaded = sum(map(evalsha, servers)), loads()
    yield sent
    sent.append(sum(map(evalsha, servers)) - before)
    assert loads() == loaded


async def learn(limiter: AsyncLimiter, *subjects: str) -> None:
    """Make the servers of these subjects know the scripts."""
    for subject in subjects:
        held = await together(*[acquire(limiter, subject, 1, PLAN) for _ in range(2)])
        await together(*[one.settle(tokens=0) for one in held])
        await (await acquire(limiter, subject, 1, PLAN)).settle(tokens=0)
        await limiter.reset(subject)


@pytest.mark.parametrize("same", [False, True], ids=["subjects", "subject"])
@pytest.mark.parametrize("count", [1, 2, BATCH_MAX, BATCH_MAX + 1, 1_000])
def test_what_happens_at_once_is_as_few_calls_as_the_bound_allows(servers: Servers, same: bool, count: int) -> None:
    """Decisions, refusals and settlements alike."""
    server = servers.plain()
    names = ["alice" if same else f"caller-{i}" for i in range(count)]
    expected = [-(-count // BATCH_MAX)]

    async def work(limiter: AsyncLimiter) -> None:
        await learn(limiter, "warm")
        with counted(server) as decisions:
            held = await together(*[acquire(limiter, name, 10, PLAN) for name in names])
        with counted(server) as settlements:
            await together(*[one.settle(tokens=20) for one in held])
        assert (decisions, settlements) == (expected, expected)
        await together(*[acquire(limiter, name, 6_000_000, PLAN) for name in {*names}])
        with counted(server) as refusals:
            refused = await together(*[acquire(limiter, name, 12_000_000, PLAN) for name in names])
        assert all(isinstance(one, RateLimited) for one in refused)
        assert refusals == expected

    run(server.url, f"calls{count}{'same' if same else ''}", work)


def test_who_comes_alone_uses_one_call_each_time(servers: Servers) -> None:
    """One after the other, on whichever way a reservation came."""
    server = servers.plain()

    async def work(limiter: AsyncLimiter) -> None:
        await learn(limiter, "warm")
        with counted(server) as sent:
            held = await together(acquire(limiter, "alice", 10, PLAN), acquire(limiter, "bob", 10, PLAN))
            held.append(await acquire(limiter, "alice", 10, PLAN))
            for one in held:
                await one.settle(tokens=5)
                await one.settle(tokens=5)
        assert sent == [5]

    run(server.url, "lonely", work)


def of_one_slot(cluster: RedisCluster, prefix: str, count: int) -> list[str]:
    """Subjects of their own groups that happen to share a hash slot."""
    keys = KeyMaker(prefix)
    found: defaultdict[int, list[str]] = defaultdict(list)
    for i in range(100_000):
        subject = f"subject-{i}"
        tag = keys.scope_key(subject)
        same = found[hash_slot(tag)]
        same.append(subject)
        if len(same) == count:
            assert len({cluster.slot(keys.scope_key(each)) for each in same}) == 1
            return same
    raise AssertionError("no slot has as many")


def hash_slot(key: str) -> int:
    """The slot of a key with a tag."""
    return int(key_slot(key.encode()))


def test_on_a_cluster_what_shares_a_slot_travels_together(servers: Servers) -> None:
    """One subject several times, members of one group, and strangers whom chance has put side by side."""
    cluster = servers.cluster()
    neighbours = of_one_slot(cluster, "slots", 3)

    async def work(limiter: AsyncLimiter) -> None:
        await learn(limiter, *[f"warm-{i}" for i in range(40)])
        for jobs in (
            [acquire(limiter, "alice", 10, PLAN) for _ in range(BATCH_MAX)],
            [acquire(limiter, f"member-{i}", 10, PLAN, group="org") for i in range(5)],
            [acquire(limiter, name, 10, PLAN) for name in neighbours],
        ):
            with counted(*cluster.nodes) as sent:
                held = await together(*jobs)
            assert all(type(one) is RedisLaneReservation for one in held)
            with counted(*cluster.nodes) as settled:
                await together(*[one.settle(tokens=0) for one in held])
            assert (sent, settled) == ([1], [1])

    run(cluster.url, "slots", work)


def test_on_a_cluster_slots_do_not_wait_for_each_other(servers: Servers) -> None:
    """Who has nobody in his slot goes alone: as many calls as slots, and the same answers."""
    cluster = servers.cluster()

    async def work(limiter: AsyncLimiter) -> None:
        await learn(limiter, *[f"warm-{i}" for i in range(40)])
        names = [f"caller-{i}" for i in range(12)]
        slots = {hash_slot(KeyMaker("apart").scope_key(name)) for name in names}
        with counted(*cluster.nodes) as sent:
            held = await together(*[acquire(limiter, name, 10 + i, PLAN) for i, name in enumerate(names * 2)])
        assert sent == [len(slots)]
        assert [one.burst - one.remaining for each in held for one in each.standings][1::2] == [
            10 + i if i < 12 else 2 * i + 8 for i in range(24)
        ]
        with counted(*cluster.nodes) as settled:
            await together(*[one.settle(tokens=0) for one in held])
        assert settled == [len(slots)]

    run(cluster.url, "apart", work)


def test_on_a_cluster_a_slot_that_has_moved_is_found(servers: Servers) -> None:
    """While it moves and afterwards: the call is redirected as a whole, and counts once."""
    cluster = servers.cluster()
    slot = hash_slot(KeyMaker("moved").scope_key("alice"))
    home = cluster.owner(slot)

    async def work(limiter: AsyncLimiter) -> None:
        async def tick(requests: int) -> None:
            held = await together(*[acquire(limiter, "alice", 10, HOURLY) for _ in range(10)])
            assert all(type(one) is RedisLaneReservation for one in held)
            await together(*[one.settle(tokens=20) for one in held])
            taken = [one.burst - one.remaining for one in await limiter.peek("alice", plan=HOURLY)]
            assert requests - 9 <= taken[0] <= requests

        await tick(10)
        await asyncio.to_thread(cluster.move_slot, slot, (home + 1) % 3)
        await tick(20)
        await tick(30)

    try:
        run(cluster.url, "moved", work)
    finally:
        if cluster.owner(slot) != home:
            cluster.move_slot(slot, home)
