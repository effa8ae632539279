"""What happens between an express call and its repeat, to the server, and to the record of a call that breaks off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from ratelimit import (
    AsyncLimiter,
    BackendUnavailable,
    RetryPolicy,
)
from ratelimit.core.keys import KeyMaker
from ratelimit.express_redis import RedisLaneReservation
from tests.express_lane import PATIENT, Clock, acquire, express_limiter, taken, together
from tests.faults.tally import Tally
from tests.servers import (
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

STUBBORN = RetryPolicy(timeout=0.5, deadline=10.0, attempts=8)
KEYS = KeyMaker()
RIGHTS = ("evalsha", "time", "get", "hsetnx", "pexpire", "psetex")


def each(subjects: int, times: int = 1) -> list[str]:
    """Names, in turns."""
    return [f"caller-{i}" for i in range(subjects)] * times


async def books(limiter: AsyncLimiter, subjects: int) -> list[tuple[int, int]]:
    """What is taken of each subject's two buckets."""
    return [tuple((await taken(limiter, name)).values()) for name in each(subjects)]  # type: ignore[misc]


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
