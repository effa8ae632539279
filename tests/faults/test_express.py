"""The express lane to Redis: what happens to one of its operations, or to a whole call, counts once for each."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit import (
    AsyncLimiter,
    AsyncReservation,
    BackendTimeout,
    BackendUnavailable,
    Limit,
    Plan,
    RateLimited,
    RetryPolicy,
    WireMismatch,
)
from ratelimit.backends.coalesce import BATCH_MAX
from ratelimit.backends.scripts import load_script
from ratelimit.core.keys import KeyMaker, page_key
from tests.faults.at_once import HARMFUL, PATIENT, STUBBORN, together, until
from tests.faults.faces import used
from tests.faults.tally import Tally
from tests.servers import (
    DELAY,
    DROP_REPLY,
    HOLD_REQUEST,
    RESET_BEFORE,
    Action,
    FaultProxy,
    RedisServer,
)

BOOKS = Plan("Books", limits=[Limit("requests", 1, 60, burst=70), Limit("tokens", 1, 60, burst=70)])
"""Buckets that are books for a minute, and narrow enough for the lane: one request or token drains in that time."""


async def acquire(limiter: AsyncLimiter, subject: str, tokens: int = 3) -> AsyncReservation:
    """An acquire as a coroutine that a task can run."""
    return await limiter.acquire(subject, plan=BOOKS, tokens=tokens)


async def books(limiter: AsyncLimiter, subject: str) -> dict[str, int]:
    """What is taken of a subject's buckets."""
    return used(await limiter.peek(subject, plan=BOOKS))


def callers(count: int) -> list[str]:
    """Names of subjects."""
    return [f"caller-{i}" for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, BATCH_MAX, BATCH_MAX + 1, 1_000])
def test_a_tick_is_as_few_calls_as_can_be(proxy: FaultProxy, tally: Tally, count: int) -> None:
    """One EVALSHA for every BATCH_MAX decisions, and for every BATCH_MAX settlements."""
    expected = -(-count // BATCH_MAX)

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            held = await together(*[acquire(limiter, name) for name in callers(count)])
            assert proxy.counters.seen["EVALSHA"] == expected
            await together(*[one.settle(tokens=1) for one in held])
            assert proxy.counters.seen["EVALSHA"] == 2 * expected
            assert proxy.counters.seen["EVAL"] == 0

    asyncio.run(run())
    assert len(tally.attempts("express")) == (0 if count == 1 else 2 * expected)


def test_one_subject_goes_batch_after_batch_in_order(proxy: FaultProxy, tally: Tally) -> None:
    """First come, first served; and never more calls than for many subjects."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            held = await together(*[acquire(limiter, "alice", 0) for _ in range(BATCH_MAX + 2)])
            assert [used(one.standings)["requests"] for one in held] == list(range(1, BATCH_MAX + 3))

    asyncio.run(run())
    assert len(tally.attempts("express")) == 2


@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
def test_a_call_that_is_lost_counts_once_for_each(harm: Action, proxy: FaultProxy, tally: Tally) -> None:
    """It is repeated as a whole, and its record gives all of its members their first answers."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=STUBBORN) as limiter:
            tally.inject("express", harm)
            held = await together(*[acquire(limiter, name) for name in callers(10) * 2])
            assert tally.injected
            assert [used(one.standings) for one in held[:10]] == [{"requests": 1, "tokens": 3}] * 10
            assert [used(one.standings) for one in held[10:]] == [{"requests": 2, "tokens": 6}] * 10
            tally.inject("express", harm)
            settled = await together(*[one.settle(tokens=1) for one in held[:10]])
            assert [dict(one.returned) for one in settled] == [{"requests": 0, "tokens": 2}] * 10
            for name in callers(10):
                assert await books(limiter, name) == {"requests": 2, "tokens": 4}

    asyncio.run(run())
    assert sorted(tally.attempts("express")) == [2, 2]
    assert tally.attempts("reserve") == tally.attempts("settle") == []


def test_a_refusal_of_a_call_that_was_lost_is_decided_anew(
    server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """It is from the past: meanwhile there may be room. What was allowed stays what it was."""

    async def run() -> None:
        async with (
            AsyncLimiter.from_url(proxy.url, policy=STUBBORN) as limiter,
            AsyncLimiter.from_url(server.url, policy=PATIENT) as other,
        ):
            await acquire(other, "full", 70)
            tally.inject("express", DROP_REPLY)
            jobs = [asyncio.create_task(acquire(limiter, name)) for name in ("full", "alice")]
            await until(lambda: tally.injected)
            await until(lambda: server.call("EXISTS", KeyMaker().scope_key("alice")))
            await other.reset("full")
            full, alice = await together(*jobs)
            assert used(full.standings) == used(alice.standings) == {"requests": 1, "tokens": 3}
            assert await books(other, "full") == await books(other, "alice") == {"requests": 1, "tokens": 3}

    asyncio.run(run())


def test_a_refusal_says_what_the_server_says(proxy: FaultProxy) -> None:
    """The others of the call have nothing to do with it."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            await acquire(limiter, "full", 70)
            refused, alice = await together(acquire(limiter, "full"), acquire(limiter, "alice"))
            assert isinstance(refused, RateLimited)
            assert 178 < refused.retry_after <= 180
            assert isinstance(alice, AsyncReservation)

    asyncio.run(run())


def test_a_call_that_fails_for_good_is_charged_at_most_once(proxy: FaultProxy, tally: Tally) -> None:
    """All members are told that nobody knows, each by an error of its own; a settle may be tried again."""

    async def run() -> None:
        policy = RetryPolicy(timeout=0.15, deadline=0.15, attempts=1)
        async with AsyncLimiter.from_url(proxy.url, policy=policy) as limiter:
            held = await together(*[acquire(limiter, f"held-{i}") for i in range(3)])
            tally.inject("express", DROP_REPLY)
            errors = await together(*[acquire(limiter, name) for name in callers(3)])
            assert [type(error) for error in errors] == [BackendTimeout] * 3
            assert len({id(error) for error in errors}) == 3
            tally.inject("express", DROP_REPLY)
            errors = await together(*[one.settle(tokens=1) for one in held])
            assert [type(error) for error in errors] == [BackendTimeout] * 3
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            assert [await books(limiter, name) for name in callers(3)] == [{"requests": 1, "tokens": 3}] * 3
            copies = [limiter.resume(one.to_token()) for one in held]
            settled = await together(*[one.settle(tokens=0) for one in copies])
            assert [one.repeated for one in settled] == [True] * 3
            assert [await books(limiter, f"held-{i}") for i in range(3)] == [{"requests": 1, "tokens": 1}] * 3

    asyncio.run(run())


def test_a_call_that_was_broken_off_on_the_server_is_not_believed(
    server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """Its record has begun and holds no reply: whoever was in it is told, and nothing is done twice."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=STUBBORN) as limiter:
            tally.inject("express", DROP_REPLY)
            lost = [asyncio.create_task(acquire(limiter, name)) for name in callers(2)]
            await until(lambda: tally.injected and len(server.call("KEYS", "*")) == 3)  # type: ignore[arg-type]
            (record,) = [key for key in server.call("KEYS", "*") if len(str(key)) > 36]  # type: ignore[union-attr]
            server.call("HDEL", str(record), "reply")
            errors = await together(*lost)
            assert [type(error) for error in errors] == [BackendUnavailable] * 2
            assert "may have happened in part" in str(errors[0])
            assert await books(limiter, "caller-0") == {"requests": 1, "tokens": 3}

    asyncio.run(run())


@pytest.mark.parametrize("poison", ["state", "page"])
def test_a_poisoned_key_fails_its_own_operation_only(server: RedisServer, poison: str) -> None:
    """Somebody else's data in a key of ours: it is found out, and its own call says so."""

    async def run() -> None:
        async with AsyncLimiter.from_url(server.url, policy=PATIENT) as limiter:
            held = await together(*[acquire(limiter, name) for name in ("a", "victim", "b")])
            key = KeyMaker().scope_key("victim")
            if poison == "state":
                server.call("DEL", key)
                server.call("HSET", key, "not", "ours")
            else:
                page = limiter._name().page
                for number in (page, page + 1):  # the next one may begin meanwhile
                    server.call("SET", page_key(key, number % 4_096), "not ours")
            answers = await together(*[one.settle(tokens=1) for one in held])
            assert isinstance(answers[1], WireMismatch)
            assert "WRONGTYPE" in str(answers[1])
            assert [dict(answers[i].returned) for i in (0, 2)] == [{"requests": 0, "tokens": 2}] * 2

    asyncio.run(run())


def test_a_cancelled_member_leaves_the_others_alone(proxy: FaultProxy, tally: Tally) -> None:
    """Before the call goes it does not happen; afterwards it may. The connection stays as good as it was."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            for first in range(3):  # the one who leads, and two of the others
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
            tally.inject("express", DELAY(0.1))
            tasks = [asyncio.create_task(acquire(limiter, f"late-{i}")) for i in range(3)]
            await until(lambda: tally.injected)
            tasks[1].cancel()
            await together(*tasks)
            assert tasks[1].cancelled()
            assert used(tasks[2].result().standings) == {"requests": 1, "tokens": 3}
            assert proxy.counters.connections == opened

    asyncio.run(run())


@pytest.mark.parametrize("way", ["again", "leaving the block"])
def test_a_settle_that_was_cancelled_may_be_settled_again(proxy: FaultProxy, tally: Tally, way: str) -> None:
    """Whether it has happened or not, it counts once."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            alice, bob = await together(acquire(limiter, "alice"), acquire(limiter, "bob"))
            tally.inject("express", DELAY(0.1))
            tasks = [asyncio.create_task(one.settle(tokens=1)) for one in (alice, bob)]
            await until(lambda: tally.injected)
            tasks[0].cancel()
            await together(*tasks)
            assert tasks[0].cancelled()
            assert alice.settlement is None
            if way == "again":
                await alice.settle(tokens=1)
            else:
                async with alice:
                    pass
            assert await books(limiter, "alice") == await books(limiter, "bob") == {"requests": 1, "tokens": 1}

    asyncio.run(run())


def test_two_tasks_that_settle_one_reservation_settle_it_once(proxy: FaultProxy, tally: Tally) -> None:
    """The second waits for what the first one brings."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            alice, _ = await together(acquire(limiter, "alice"), acquire(limiter, "bob"))
            first, second, third = await together(*[alice.settle(tokens=tokens) for tokens in (1, 2, 3)])
            assert first is second is third is alice.settlement
            assert await books(limiter, "alice") == {"requests": 1, "tokens": 1}

    asyncio.run(run())


def test_a_call_is_sent_as_text_when_the_server_has_forgotten_it(server: RedisServer, proxy: FaultProxy) -> None:
    """Once, as a whole; and by digest from then on."""

    async def run() -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            server.call("SCRIPT", "FLUSH")
            for requests in (1, 2):
                held = await together(*[acquire(limiter, name) for name in callers(10)])
                assert [used(one.standings)["requests"] for one in held] == [requests] * 10
            assert (proxy.counters.seen["EVALSHA"], proxy.counters.seen["EVAL"]) == (2, 1)

    asyncio.run(run())


def test_a_replica_refuses_a_call_and_it_looks_elsewhere(server: RedisServer, proxy: FaultProxy) -> None:
    """The connection is dropped, and the next attempt finds the one that serves."""

    async def run(promoted: RedisServer) -> None:
        async with AsyncLimiter.from_url(proxy.url, policy=PATIENT) as limiter:
            await together(*[acquire(limiter, name) for name in callers(4)])
            server.call("REPLICAOF", "127.0.0.1", promoted.port)
            await until(lambda: server.info("replication")["master_link_status"] == "up")
            proxy.retarget("127.0.0.1", promoted.port)
            held = await together(*[acquire(limiter, name) for name in callers(4)])
            assert [used(one.standings)["requests"] for one in held] == [1] * 4

    with RedisServer(server.binary) as promoted:
        try:
            asyncio.run(run(promoted))
        finally:
            server.call("REPLICAOF", "NO", "ONE")


def test_a_user_without_a_right_is_told_so_in_every_answer(server: RedisServer) -> None:
    """And nobody is let through, or charged, for it."""

    async def run() -> None:
        url = f"redis://limiter:secret@127.0.0.1:{server.port}/0"
        async with AsyncLimiter.from_url(url, policy=PATIENT) as limiter:
            errors = await together(*[acquire(limiter, name) for name in callers(3)])
            assert all(isinstance(error, BackendUnavailable) for error in errors)
            assert [str(error).lower().count("permission") + str(error).count("can't run") for error in errors]
        assert server.call("DBSIZE") == 0

    server.call("ACL", "SETUSER", "limiter", "reset", "on", ">secret", "~rl1:*", "-@all", "+evalsha", "+eval", "+time")
    asyncio.run(run())


def test_a_limiter_that_is_closed_cuts_off_what_is_under_way(proxy: FaultProxy, tally: Tally) -> None:
    """Its callers are told; nobody waits for ever."""

    async def run() -> None:
        limiter = AsyncLimiter.from_url(proxy.url, policy=PATIENT)
        tally.inject("express", HOLD_REQUEST)
        tasks = [asyncio.create_task(acquire(limiter, "alice")) for _ in range(3)]
        await until(lambda: proxy.held == 1)
        await limiter.close()
        answers = await together(*tasks)
        assert ["the limiter was closed" in str(answer) for answer in answers] == [True] * 3

    asyncio.run(run())


@pytest.mark.parametrize("steps", range(6))
def test_a_limiter_may_be_closed_in_any_step_of_a_call(server: RedisServer, steps: int) -> None:
    """Also before the task that carries a call has begun: every caller is answered or told."""

    async def run() -> None:
        limiter = AsyncLimiter.from_url(server.url, policy=PATIENT)
        await together(*[acquire(limiter, name) for name in callers(3)])
        tasks = [asyncio.create_task(acquire(limiter, f"caller-{i % 7}", 0)) for i in range(200)]
        for _ in range(steps):
            await asyncio.sleep(0)
        await limiter.close()
        _, waiting = await asyncio.wait(tasks, timeout=20)
        assert not waiting
        answers = await together(*tasks)
        assert {type(answer) for answer in answers} <= {BackendUnavailable, *AsyncReservation.__subclasses__()} | {
            AsyncReservation
        }

    asyncio.run(run())


@pytest.mark.parametrize("coalesce", [True, False])
def test_what_is_under_way_when_the_limiter_closes_keeps_no_connection(server: RedisServer, coalesce: bool) -> None:
    """In whatever step of connecting, sending or repeating it was."""

    async def run(steps: int) -> None:
        limiter = AsyncLimiter.from_url(server.url, policy=PATIENT, coalesce=coalesce)
        asked = asyncio.create_task(acquire(limiter, "alice", 0))
        for _ in range(steps):
            await asyncio.sleep(0)
        await limiter.close()
        await together(asked)
        await until(lambda: int(server.info("clients")["connected_clients"]) == 1)

    for steps in range(45):
        asyncio.run(run(steps))


@pytest.mark.parametrize("leaves", ["at its end", "by an exception"])
def test_a_block_that_is_left_while_it_settles_repeats_that_settle(
    proxy: FaultProxy, tally: Tally, leaves: str
) -> None:
    """And does not take its own for it, which would be at the estimate or at nothing."""

    async def run() -> None:
        async with AsyncLimiter.from_url(
            proxy.url, policy=RetryPolicy(timeout=0.3, deadline=0.3, attempts=1)
        ) as limiter:
            alice, bob = await together(acquire(limiter, "alice"), acquire(limiter, "bob"))
            tally.inject("express", RESET_BEFORE)
            settles = []
            try:
                async with alice:
                    settles = [asyncio.create_task(one.settle(tokens=40)) for one in (alice, bob)]
                    await asyncio.sleep(0)
                    if leaves == "by an exception":
                        raise LookupError
            except LookupError:
                pass
            errors = await together(*settles)
            assert isinstance(errors[1], BackendUnavailable)
            assert await books(limiter, "alice") == {"requests": 1, "tokens": 40}

    asyncio.run(run())


def test_the_text_of_a_call_is_small_enough_to_send() -> None:
    """Once per restart of a server."""
    assert len(load_script("express").text) < 15_000
