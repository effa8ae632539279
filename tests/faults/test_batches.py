"""Operations that travel together: what happens to one of them, or to all of them on the way, counts once for each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit import (
    AsyncLimiter,
    AsyncReservation,
    BackendTimeout,
    Limit,
    Plan,
    RateLimited,
    RetryPolicy,
    WireMismatch,
)
from ratelimit.backends.coalesce import BATCH_MAX
from ratelimit.backends.scripts import load_script
from ratelimit.core.keys import KeyMaker
from tests.faults.at_once import HARMFUL, PATIENT, STUBBORN, together, until
from tests.faults.faces import LEDGER, used
from tests.faults.tally import Tally
from tests.servers import (
    DELAY,
    DROP_REPLY,
    HOLD_REQUEST,
    Action,
    FaultProxy,
    RedisServer,
    redis_binaries,
)


async def acquire(limiter: AsyncLimiter, subject: str, tokens: int = 70, plan: Plan = LEDGER) -> AsyncReservation:
    """An acquire as a coroutine that a task can run."""
    return await limiter.acquire(subject, plan=plan, tokens=tokens)


async def books(limiter: AsyncLimiter, subject: str) -> dict[str, int]:
    """What is taken of a subject's buckets."""
    return used(await limiter.peek(subject, plan=LEDGER))


@pytest.mark.parametrize("count", [1, 2, BATCH_MAX, BATCH_MAX + 1, 3 * BATCH_MAX - 1])
@pytest.mark.parametrize("same", [False, True], ids=["subjects", "subject"])
def test_what_waits_in_one_tick_is_as_few_calls_as_can_be(
    server: RedisServer, proxy: FaultProxy, same: bool, count: int
) -> None:
    """One EVALSHA for every BATCH_MAX operations, decisions and settlements alike."""
    expected = -(-count // BATCH_MAX)

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            held = await together(*[acquire(limiter, "alice" if same else f"caller-{i}") for i in range(count)])
            assert proxy.counters.seen["EVALSHA"] == expected
            await together(*[one.settle(tokens=20) for one in held])
            assert proxy.counters.seen["EVALSHA"] == 2 * expected
            both = [acquire(limiter, "bob"), held[0].to_token() and limiter.resume(held[0].to_token()).settle(tokens=3)]
            await together(*both)
            assert proxy.counters.seen["EVALSHA"] == 2 * expected + 1
            assert proxy.counters.seen["EVAL"] == 0

    asyncio.run(run())


def test_without_coalescing_each_goes_alone(proxy: FaultProxy) -> None:
    """As many EVALSHA as operations."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT, coalesce=False) as limiter:
            await together(*[acquire(limiter, f"caller-{i}") for i in range(10)])
            assert proxy.counters.seen["EVALSHA"] == 10

    asyncio.run(run())


def test_first_come_first_served(proxy: FaultProxy) -> None:
    """Of many that ask for one subject at once, over several batches, exactly the first ones are admitted."""
    room = 2 * BATCH_MAX + 10
    plan = Plan("Room", limits=[Limit(meter, amount=1, period="day", burst=room) for meter in ("requests", "tokens")])

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            answers = await together(*[acquire(limiter, "alice", 1, plan) for _ in range(4 * BATCH_MAX)])
            assert [isinstance(answer, AsyncReservation) for answer in answers] == [True] * room + [False] * (
                4 * BATCH_MAX - room
            )
            assert all(isinstance(answer, RateLimited) for answer in answers[room:])
            left = [answer.standings[0].remaining for answer in answers[:room]]
            assert left == list(range(room - 1, -1, -1))

    asyncio.run(run())


def test_who_comes_later_does_not_overtake_a_batch_under_way(proxy: FaultProxy, tally: Tally) -> None:
    """Later operations of the same subject wait for its answer; those of others do not."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=RetryPolicy(timeout=60.0, deadline=120.0)) as limiter:
            tally.inject("batch", HOLD_REQUEST)
            first = [asyncio.create_task(acquire(limiter, "alice")) for _ in range(2)]
            await until(lambda: proxy.held == 1)
            later = asyncio.create_task(acquire(limiter, "alice"))
            assert used((await acquire(limiter, "bob")).standings)["requests"] == 1
            assert not later.done()
            proxy.release()
            assert [used((await task).standings)["requests"] for task in (*first, later)] == [1, 2, 3]

    asyncio.run(run())


def test_a_slow_batch_keeps_its_subject_waiting_for_a_moment_only(proxy: FaultProxy, tally: Tally) -> None:
    """After a tenth of an attempt's time the next ones go on without its answer."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=RetryPolicy(timeout=2.0, deadline=4.0)) as limiter:
            tally.inject("batch", HOLD_REQUEST)
            first = [asyncio.create_task(acquire(limiter, "alice")) for _ in range(2)]
            await until(lambda: proxy.held == 1)
            later = await together(*[acquire(limiter, "alice") for _ in range(3)])
            assert [used(one.standings)["requests"] for one in later] == [1, 2, 3]
            assert not any(task.done() for task in first)
            proxy.release()
            assert [used((await task).standings)["requests"] for task in first] == [4, 5]

    asyncio.run(run())


@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
def test_a_batch_that_is_lost_counts_once_for_each(harm: Action, proxy: FaultProxy, tally: Tally) -> None:
    """Its members repeat alone what may have happened already; the next batch has nothing to do with it."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=STUBBORN) as limiter:
            await together(*[acquire(limiter, f"caller-{i}", 1_000) for i in range(10)])
            tally.inject("batch", harm)
            held = await together(*[acquire(limiter, f"caller-{i % 10}") for i in range(20)])
            assert tally.injected
            for i in range(10):
                assert await books(limiter, f"caller-{i}") == {"requests": 3, "tokens": 1_140}
            tally.inject("batch", harm)
            settled = asyncio.gather(*[one.settle(tokens=20 + i) for i, one in enumerate(held[:10])])
            await until(lambda: tally.injected)
            others = await together(*[acquire(limiter, f"other-{i}") for i in range(10)])
            assert [used(one.standings) for one in others] == [{"requests": 1, "tokens": 70}] * 10
            await settled
            for i in range(10):
                assert await books(limiter, f"caller-{i}") == {"requests": 3, "tokens": 1_090 + i}

    asyncio.run(run())
    assert max(tally.tries.values()) <= STUBBORN.attempts


def test_a_batch_that_fails_for_good_is_charged_at_most_once(proxy: FaultProxy, tally: Tally) -> None:
    """With one attempt each, all members are told that nobody knows."""

    async def run() -> None:
        policy = RetryPolicy(timeout=0.15, deadline=0.15, attempts=1)
        async with AsyncLimiter.from_url(proxy.url, policy=policy) as limiter:
            tally.inject("batch", DROP_REPLY)
            errors = await together(*[acquire(limiter, f"caller-{i}") for i in range(10)])
            assert [type(error) for error in errors] == [BackendTimeout] * 10
            assert len({id(error) for error in errors}) == 10
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            assert [await books(limiter, f"caller-{i}") for i in range(10)] == [{"requests": 1, "tokens": 70}] * 10

    asyncio.run(run())


@pytest.mark.parametrize("binary", redis_binaries(), ids=str)
@pytest.mark.parametrize("poison", ["state", "page"])
def test_a_poisoned_key_fails_its_own_decision_only(binary: Any, poison: str) -> None:
    """Somebody else's data in a key of ours: the others of the batch count exactly once, in one call."""

    async def run(server: RedisServer) -> None:
        async with AsyncLimiter.from_url(server.url, policy=PATIENT) as limiter:
            for _ in range(2):  # the server learns the scripts
                await together(acquire(limiter, "warm"), acquire(limiter, "warm"))
            key = KeyMaker().scope_key("victim")
            if poison == "state":
                server.call("HSET", key, "not", "ours")
            else:
                held = await acquire(limiter, "victim", 0)
                (page,) = [name for name in server.call("KEYS", f"{key}*") if name != key]  # type: ignore[union-attr]
                server.call("SET", str(page), "not ours")
                assert held.settlement is None
            before = calls(server)
            names = ["a", "b", "victim", "c", "d", "a"]
            answers = await together(*[acquire(limiter, name) for name in names])
            assert [type(answer) for answer in answers] == [
                WireMismatch if name == "victim" else AsyncReservation for name in names
            ]
            assert "WRONGTYPE" in str(answers[2])
            assert calls(server) == before + 1
            for name, requests in {"a": 2, "b": 1, "c": 1, "d": 1}.items():
                assert await books(limiter, name) == {"requests": requests, "tokens": 70 * requests}

    with RedisServer(binary) as server:
        asyncio.run(run(server))


def calls(server: RedisServer) -> int:
    """EVALSHA so far."""
    return int(server.info("commandstats")["cmdstat_evalsha"].split("calls=")[1].split(",")[0])


def test_a_cancelled_member_leaves_the_others_alone(proxy: FaultProxy, tally: Tally) -> None:
    """Before the batch goes it does not happen; afterwards it may. The connection stays as good as it was."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            for first in range(3):  # the one who sends the others off, and two of the others
                names = [f"early-{first}-{i}" for i in range(3)]
                tasks = [asyncio.create_task(acquire(limiter, name)) for name in names]
                await asyncio.sleep(0)
                tasks[first].cancel()
                answers = await together(*tasks)
                assert [type(answer) is asyncio.CancelledError for answer in answers] == [i == first for i in range(3)]
                assert [(await books(limiter, name))["requests"] for name in names] == [
                    int(i != first) for i in range(3)
                ]
            opened = proxy.counters.connections
            tally.inject("batch", DELAY(0.1))
            tasks = [asyncio.create_task(acquire(limiter, f"late-{i}")) for i in range(3)]
            await until(lambda: tally.injected)
            tasks[1].cancel()
            await together(*tasks)
            assert tasks[1].cancelled()
            assert used(tasks[2].result().standings) == {"requests": 1, "tokens": 70}
            assert (await books(limiter, "late-1"))["requests"] <= 1
            assert proxy.counters.connections == opened

    asyncio.run(run())


def test_a_batch_is_sent_as_text_when_the_server_has_forgotten_it(
    server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """Once, as a batch; and by digest from then on."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            server.call("SCRIPT", "FLUSH")
            for requests in (1, 2):
                held = await together(*[acquire(limiter, f"caller-{i}") for i in range(10)])
                assert [used(one.standings)["requests"] for one in held] == [requests] * 10
            assert (proxy.counters.seen["EVALSHA"], proxy.counters.seen["EVAL"]) == (2, 1)

    asyncio.run(run())


def test_a_replica_refuses_a_batch_and_every_member_looks_elsewhere(server: RedisServer, proxy: FaultProxy) -> None:
    """Its answers are errors inside of a reply; the connection is dropped all the same."""

    async def run(promoted: RedisServer) -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            await together(*[acquire(limiter, f"caller-{i}") for i in range(4)])
            server.call("REPLICAOF", "127.0.0.1", promoted.port)
            await until(lambda: server.info("replication")["master_link_status"] == "up")
            proxy.retarget("127.0.0.1", promoted.port)
            held = await together(*[acquire(limiter, f"caller-{i}") for i in range(4)])
            assert [used(one.standings)["requests"] for one in held] == [1] * 4

    with RedisServer(server.binary) as promoted:
        try:
            asyncio.run(run(promoted))
        finally:
            server.call("REPLICAOF", "NO", "ONE")


def test_a_user_without_a_right_is_told_so_in_every_answer(server: RedisServer) -> None:
    """And nobody is let through for it."""

    async def run() -> None:
        url = f"redis://limiter:secret@127.0.0.1:{server.port}/0"
        async with AsyncLimiter.from_url(url, policy=PATIENT) as limiter:
            for _ in range(2):
                errors = await together(*[acquire(limiter, f"caller-{i}") for i in range(3)])
                assert [str(error).lower().count("permission") + str(error).count("can't run") for error in errors]

    server.call("ACL", "SETUSER", "limiter", "reset", "on", ">secret", "~rl1:*", "-@all", "+evalsha", "+eval", "+time")
    asyncio.run(run())


def test_a_limiter_that_is_closed_cuts_off_what_is_under_way(proxy: FaultProxy, tally: Tally) -> None:
    """Its callers are told; nobody waits for ever."""

    async def run() -> None:
        limiter = AsyncLimiter.from_url(proxy.url, policy=PATIENT)
        tally.inject("batch", HOLD_REQUEST)
        tasks = [asyncio.create_task(acquire(limiter, "alice")) for _ in range(3)]
        await until(lambda: proxy.held == 1)
        await limiter.close()
        answers = await together(*tasks)
        assert ["the limiter was closed" in str(answer) for answer in answers] == [True] * 3

    asyncio.run(run())


def test_the_text_of_a_batch_is_small_enough_to_send() -> None:
    """Once per restart of a server."""
    assert len(load_script("batch").text) < 40_000
