"""An express call under faults: it happens once for each of its members, and what harms one of them harms no other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from ratelimit import (
    AsyncLimiter,
    AsyncReservation,
    BackendTimeout,
    BackendUnavailable,
    RateLimited,
    RetryPolicy,
    WireMismatch,
)
from ratelimit.core.keys import KeyMaker, page_key
from ratelimit.core.token import open_token
from ratelimit.express_redis import RedisLaneReservation
from tests.express_lane import PATIENT, PLAN, Clock, acquire, evalsha, express_limiter, taken, together
from tests.faults.tally import Tally
from tests.servers import (
    DELAY,
    DROP_REPLY,
    HOLD_REQUEST,
    RESET_AFTER,
    RESET_BEFORE,
    Action,
    Command,
    FaultProxy,
    RedisServer,
    eventually,
    redis_binaries,
)

HARMFUL = {"drop-reply": DROP_REPLY, "reset-after": RESET_AFTER, "reset-before": RESET_BEFORE, "late": DELAY(1.0)}
STUBBORN = RetryPolicy(timeout=0.5, deadline=10.0, attempts=8)
ONCE = RetryPolicy(timeout=0.3, deadline=0.3, attempts=1)
KEYS = KeyMaker()


def each(subjects: int, times: int = 1) -> list[str]:
    """Names, in turns."""
    return [f"caller-{i}" for i in range(subjects)] * times


async def books(limiter: AsyncLimiter, subjects: int) -> list[tuple[int, int]]:
    """What is taken of each subject's two buckets."""
    return [tuple((await taken(limiter, name)).values()) for name in each(subjects)]  # type: ignore[misc]


@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)
def test_a_call_that_is_lost_counts_once_for_each(harm: Action, proxy: FaultProxy, tally: Tally) -> None:
    """It is repeated as a whole, under its name: reserves and settles, of several subjects and of one."""

    async def run() -> None:
        async with express_limiter(proxy.url, policy=STUBBORN) as limiter:
            tally.inject("express", harm)
            held = await together(*[acquire(limiter, name) for name in each(5, 3)])
            assert tally.injected
            assert await books(limiter, 5) == [(3, 210)] * 5
            assert sorted(held[i].standings[0].remaining for i in (0, 5, 10)) == [57, 58, 59]
            tally.inject("express", harm)
            mixed = [one.settle(tokens=20 + i) for i, one in enumerate(held[:5])]
            await together(*mixed, *[acquire(limiter, name, 1_000) for name in each(5)], held[5].settle(tokens=100))
            assert tally.injected
            assert await books(limiter, 5) == [(4, 1_160 + i + (30 if i == 0 else 0)) for i in range(5)]
            assert not any(one.settlement.repeated for one in held[:6])

    asyncio.run(run())
    assert tally.attempts("reserve") == tally.attempts("settle") == []
    assert all(1 < tries <= STUBBORN.attempts for tries in tally.attempts("express"))
    assert len(tally.attempts("express")) == 2


def test_all_get_their_first_answers(server: RedisServer, proxy: FaultProxy) -> None:
    """Whatever has happened to their subjects between the call and its repeat."""
    clock = Clock()

    async def run(meanwhile: Callable[[], object], proxied: str) -> list[object]:
        lost = 0

        def lose_once(command: Command) -> Action | None:
            nonlocal lost
            lost += 1
            if lost == 2:
                meanwhile()
            return RESET_AFTER if lost == 1 else None

        async with express_limiter(proxied, policy=STUBBORN, clock=clock) as limiter:
            proxy.rule(lose_once)
            held = await together(*[acquire(limiter, name) for name in each(2, 2)])
            proxy.rule(None)
            return [one.standings for one in held]

    def disturb() -> None:
        clock.now += 60_000_000
        for name in each(2):
            server.call("DEL", KEYS.scope_key(name))

    undisturbed = asyncio.run(run(lambda: None, server.url))
    server.call("FLUSHALL")
    assert asyncio.run(run(disturb, proxy.url)) == undisturbed


def test_a_refusal_in_a_repeated_call_is_decided_anew_and_alone(server: RedisServer, proxy: FaultProxy) -> None:
    """It is from the past: what has room by now is admitted, and nobody is charged twice for it."""
    scripts = Tally()

    def lose_once(command: Command) -> Action | None:
        scripts(command)
        if len(scripts.tries) == 1 and sum(scripts.tries.values()) == 2:
            server.call("DEL", KEYS.scope_key("full"))
        return RESET_AFTER if sum(scripts.tries.values()) == 1 else None

    async def run() -> None:
        async with express_limiter(server.url) as direct, express_limiter(proxy.url, policy=STUBBORN) as limiter:
            await acquire(direct, "full", 600_000)
            await acquire(direct, "shut", 600_000)
            proxy.rule(lose_once)
            full, bob, shut = await together(*[acquire(limiter, name) for name in ("full", "bob", "shut")])
            assert isinstance(full, AsyncReservation)
            assert isinstance(bob, RedisLaneReservation)
            assert isinstance(shut, RateLimited)
            assert [await taken(direct, name) for name in ("full", "bob")] == [{"requests": 1, "tokens": 70}] * 2
            assert await taken(direct, "shut") == {"requests": 1, "tokens": 600_000}

    asyncio.run(run())
    assert scripts.attempts("express") == [2]
    assert scripts.attempts("reserve") == [1, 1]


def test_a_settle_that_is_repeated_after_an_error_has_no_further_effect(proxy: FaultProxy, tally: Tally) -> None:
    """Together or alone, as often as one likes; and the errors are as many as the members."""

    async def run() -> None:
        async with express_limiter(proxy.url) as limiter:
            held = await together(*[acquire(limiter, name) for name in each(4)])
            tokens = [one.to_token() for one in held]
        async with express_limiter(proxy.url, policy=ONCE) as limiter:
            mine = await together(*[acquire(limiter, name) for name in each(4)])
            tally.inject("express", DROP_REPLY)
            errors = await together(*[one.settle(tokens=20) for one in mine])
            assert [type(error) for error in errors] == [BackendTimeout] * 4
            assert len({id(error) for error in errors}) == 4
            assert all(one.settlement is None for one in mine)
            alone = await mine[0].settle(tokens=20)
            rest = await together(*[one.settle(tokens=20) for one in mine[1:]])
            assert [settled.repeated for settled in (alone, *rest)] == [True] * 4
        async with express_limiter(proxy.url) as other:
            assert await books(other, 4) == [(2, 90)] * 4
            settled = await together(*[other.resume(token).settle(tokens=90) for token in tokens])
            assert [one.repeated for one in settled] == [False] * 4
            assert await books(other, 4) == [(2, 110)] * 4

    asyncio.run(run())


def test_a_reserve_that_fails_for_good_is_charged_at_most_once(proxy: FaultProxy, tally: Tally) -> None:
    """With one attempt, all members are told that nobody knows."""

    async def run() -> None:
        async with express_limiter(proxy.url, policy=ONCE) as limiter:
            tally.inject("express", DROP_REPLY)
            errors = await together(*[acquire(limiter, name) for name in each(10)])
            assert [type(error) for error in errors] == [BackendTimeout] * 10
        async with express_limiter(proxy.url) as limiter:
            assert await books(limiter, 10) == [(1, 70)] * 10

    asyncio.run(run())


def test_a_call_is_sent_as_text_when_the_server_has_forgotten_it(
    server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """Once, under the same name; and by digest from then on."""

    async def run() -> None:
        async with express_limiter(proxy.url) as limiter:
            server.call("SCRIPT", "FLUSH")
            for requests in (1, 2):
                await together(*[acquire(limiter, name) for name in each(10)])
                assert (proxy.counters.seen["EVALSHA"], proxy.counters.seen["EVAL"]) == (requests, 1)
            assert await books(limiter, 10) == [(2, 140)] * 10

    asyncio.run(run())
    assert sorted(tally.attempts("express")) == [1, 2]


def test_a_server_that_dies_in_the_middle_is_waited_for(server: RedisServer, proxy: FaultProxy) -> None:
    """It comes back empty, and without the script: the call is repeated there as a whole."""
    calls = 0

    def die_once(command: Command) -> Action | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            server.kill()
            server.start()
            return RESET_BEFORE
        return None

    async def run() -> None:
        async with express_limiter(proxy.url, policy=RetryPolicy(timeout=5.0, deadline=20.0, attempts=8)) as limiter:
            proxy.rule(die_once)
            held = await together(*[acquire(limiter, name) for name in each(6, 2)])
            assert all(isinstance(one, RedisLaneReservation) for one in held)
            assert await books(limiter, 6) == [(2, 140)] * 6

    asyncio.run(run())


def test_a_call_that_was_broken_off_fails_for_its_members_and_nobody_else(
    server: RedisServer, proxy: FaultProxy
) -> None:
    """A record that has begun and holds no reply: nobody knows what it did, so nobody is let through for it."""
    spoilt: list[str] = []

    def spoil_once(command: Command) -> Action | None:
        if not spoilt and int(command[2]) > 10:
            spoilt.append(command[3].decode())
            server.call("HSETNX", spoilt[0], "begun", "")
        return None

    async def run() -> None:
        async with express_limiter(proxy.url) as limiter:
            proxy.rule(spoil_once)
            answers = await together(*[acquire(limiter, name) for name in each(70)])
            halves = [answers[:35], answers[35:]]  # two calls, of which either may come first
            broken = [{type(one) for one in half} == {BackendUnavailable} for half in halves]
            whole = [{type(one) for one in half} == {RedisLaneReservation} for half in halves]
            assert sorted(broken) == [False, True]
            assert whole == broken[::-1]
            assert all("broken off" in str(error) for error in halves[broken.index(True)])
            assert await books(limiter, 70) == [(0, 0) if broken[i // 35] else (1, 70) for i in range(70)]

    asyncio.run(run())


@pytest.mark.parametrize("binary", redis_binaries(), ids=str)
@pytest.mark.parametrize("poison", ["state", "page"])
def test_a_poisoned_key_fails_its_own_subject_only(binary: Any, poison: str) -> None:
    """Somebody else's data in a key of ours: the others count exactly once, in one call."""

    async def run(server: RedisServer) -> None:
        async with express_limiter(server.url) as limiter:
            names = ["a", "b", "victim", "c", "victim", "a"]
            held = await together(*[acquire(limiter, name, 100) for name in names])
            await acquire(limiter, "warm")
            await (await acquire(limiter, "warm")).settle(tokens=0)
            key = KEYS.scope_key("victim")
            if poison == "state":
                server.call("DEL", key)
                server.call("HSET", key, "not", "ours")
            else:
                for at in (2, 4):
                    _, page, _ = open_token(held[at].to_token(), b"")
                    server.call("SET", page_key(key, page), "not ours")
            before = evalsha(server)
            answers = await together(*[one.settle(tokens=70) for one in held], *[acquire(limiter, n, 0) for n in names])
            wrong = {2, 4} if poison == "page" else {2, 4, 8, 10}
            assert {i for i, answer in enumerate(answers) if isinstance(answer, WireMismatch)} == wrong
            assert not any(isinstance(answer, Exception) for i, answer in enumerate(answers) if i not in wrong)
            assert evalsha(server) == before + 1 + len(wrong)
            for name, requests in {"a": 2, "b": 1, "c": 1}.items():
                assert await taken(limiter, name) == {"requests": 2 * requests, "tokens": 70 * requests}
            if poison == "page":
                assert await taken(limiter, "victim") == {"requests": 4, "tokens": 200}

    with RedisServer(binary) as server:
        asyncio.run(run(server))


RIGHTS = ("evalsha", "time", "get", "hsetnx", "pexpire", "psetex")


@pytest.mark.parametrize("binary", redis_binaries(), ids=str)
def test_a_user_without_a_right_is_told_so_and_leaves_nothing_for_ever(binary: Any) -> None:
    """Each command of the script is needed: nobody is let through without it, and no key is made that never goes."""

    async def run(server: RedisServer, missing: str) -> None:
        url = f"redis://limiter:secret@127.0.0.1:{server.port}/0"
        async with AsyncLimiter.from_url(url, policy=PATIENT) as limiter:  # a virtual clock would ask for no time
            errors = await together(*[acquire(limiter, name) for name in each(3)])
            assert [type(error) for error in errors] == [BackendUnavailable] * 3, missing
            assert all(re.search(r"(?i)permission|can't run this command", str(error)) for error in errors), missing

    with RedisServer(binary) as server:
        for missing in RIGHTS:
            server.call("FLUSHALL")
            granted = [f"+{name}" for name in (*RIGHTS, "eval", "hget", "del") if name != missing]
            server.call("ACL", "SETUSER", "limiter", "reset", "on", ">secret", "~rl1:*", "-@all", *granted)
            asyncio.run(run(server, missing))
            keys = server.call("KEYS", "*")
            assert isinstance(keys, list)
            assert [key for key in keys if server.call("PTTL", str(key)) == -1] == [], missing


def test_who_is_cancelled_leaves_the_others_alone(proxy: FaultProxy, tally: Tally) -> None:
    """Before the call goes he is not charged; afterwards he may be. The connection stays as good as it was."""

    async def run() -> None:
        async with express_limiter(proxy.url) as limiter:
            for first in range(3):  # the one who sends the others off, and two of the others
                names = [f"early-{first}-{i}" for i in range(3)]
                tasks = [asyncio.create_task(acquire(limiter, name)) for name in names]
                await asyncio.sleep(0)
                tasks[first].cancel()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
                assert [type(answer) is asyncio.CancelledError for answer in answers] == [i == first for i in range(3)]
                assert [(await taken(limiter, name))["requests"] for name in names] == [
                    int(i != first) for i in range(3)
                ]
            opened = proxy.counters.connections
            tally.inject("express", HOLD_REQUEST)
            tasks = [asyncio.create_task(acquire(limiter, f"late-{i}")) for i in range(3)]
            await asyncio.to_thread(eventually, lambda: proxy.held == 1)
            tasks[1].cancel()
            proxy.release()
            await asyncio.wait(tasks)
            assert tasks[1].cancelled()
            assert [await taken(limiter, f"late-{i}") for i in range(3)] == [{"requests": 1, "tokens": 70}] * 3
            assert proxy.counters.connections == opened

    asyncio.run(run())


def test_a_limiter_that_is_closed_cuts_off_what_is_under_way(proxy: FaultProxy, tally: Tally) -> None:
    """Its callers are told, and so is who waits behind them; nobody waits for ever, and nothing is left open."""

    async def run() -> None:
        async with express_limiter(proxy.url, policy=PATIENT) as limiter:
            tally.inject("express", HOLD_REQUEST)
            tasks = [asyncio.create_task(acquire(limiter, "alice")) for _ in range(3)]
            await asyncio.to_thread(eventually, lambda: proxy.held == 1)
            tasks += [asyncio.create_task(acquire(limiter, "alice")) for _ in range(2)]
            for _ in range(5):
                await asyncio.sleep(0)
            await limiter.close()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert ["the limiter was closed" in str(answer) for answer in answers] == [True] * 5

    asyncio.run(run())


def test_the_plan_of_these_tests_is_served_by_the_lane(proxy: FaultProxy, tally: Tally) -> None:
    """Or none of them would test anything."""

    async def run() -> None:
        async with express_limiter(proxy.url) as limiter:
            held = await together(*[acquire(limiter, "alice", plan=PLAN) for _ in range(2)])
            assert [type(one) for one in held] == [RedisLaneReservation] * 2

    asyncio.run(run())
    assert tally.attempts("express") == [1]
