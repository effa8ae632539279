"""Leases on a real server: few calls, and books that hold what was used, whoever dies, forks, gives up or gets lost."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ratelimit import (
    AsyncLimiter,
    BackendError,
    BackendUnavailable,
    ConfigError,
    Leases,
    Limit,
    Limiter,
    Plan,
    RateLimited,
)
from ratelimit.leases.reservation import AsyncLeasedReservation, LeasedReservation
from tests.faults.faces import LEDGER, FaceMaker, each_face, used
from tests.faults.leased import BALLAST, OPTIONS, ballast, books, job
from tests.servers import DROP_REPLY, RESET_AFTER, RESET_BEFORE, Action, FaultProxy, RedisServer, eventually

each_harm = pytest.mark.parametrize(
    "harm", [DROP_REPLY, RESET_AFTER, RESET_BEFORE], ids=["drop-reply", "reset-after", "reset-before"]
)


@each_face
def test_a_lease_of_32_is_one_call_for_32_decisions(face_of: FaceMaker, server: RedisServer, proxy: FaultProxy) -> None:
    """And one more where amounts differ never comes to it: what is left travels with the next slice."""
    with face_of(proxy.url, leases=OPTIONS) as face:
        for _ in range(1_000):
            face.acquire("alice", tokens=10)
        calls = proxy.counters.seen["EVALSHA"]
        assert 1_000 / 32 <= calls <= 1_000 / 32 + 8
        for index in range(1_000):
            face.acquire("alice", tokens=1 + index % 19)
        assert proxy.counters.seen["EVALSHA"] - calls <= 1_000 / 32 * 2
    assert books(server) == {"requests": 2_000, "tokens": 10_000 + sum(1 + index % 19 for index in range(1_000))}


@each_face
def test_one_off_subjects_pay_nothing(face_of: FaceMaker, server: RedisServer, proxy: FaultProxy) -> None:
    """One call each, and nothing in the books but what they asked for."""
    with face_of(proxy.url, leases=Leases()) as face:
        for number in range(20):
            face.acquire(f"caller-{number}", tokens=10)
        assert proxy.counters.seen["EVALSHA"] == 20
        assert books(server, "caller-7") == {"requests": 1, "tokens": 10}


@each_face
@each_harm
def test_a_renewal_whose_reply_is_lost_counts_once(
    face_of: FaceMaker, harm: Action, server: RedisServer, proxy: FaultProxy
) -> None:
    """Slice and remainder are operations like any: a repeat is recognised."""
    ballast(server)
    total = 0
    with face_of(proxy.url, leases=OPTIONS) as face:
        for index in range(300):
            if index in {50, 120, 200}:
                proxy.next(harm)
            total += (tokens := 1 + index % 19)
            face.acquire("alice", tokens=tokens)
        assert proxy.queued == 0
    assert books(server) == {"requests": BALLAST + 300, "tokens": BALLAST + total}


@each_face
def test_a_renewal_that_fails_is_an_error_and_forfeits_one_slice(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy
) -> None:
    """Never a refusal; what nobody knows the outcome of stays charged, and the next call goes on."""
    ballast(server)
    with face_of(proxy.url, leases=OPTIONS) as face:
        admitted = 0
        for _ in range(40):
            face.acquire("alice", tokens=10)
            admitted += 1
        proxy.random(1, {DROP_REPLY: 1.0})
        failed: BackendError | None = None
        while failed is None:
            try:
                face.acquire("alice", tokens=10)
                admitted += 1
            except BackendError as error:
                failed = error
        proxy.clear()
        for _ in range(100):
            face.acquire("alice", tokens=10)
            admitted += 1
    stranded = books(server)["requests"] - BALLAST - admitted
    assert 0 < stranded <= 32


def test_threads_settle_to_the_sum_of_usage(server: RedisServer) -> None:
    """In exact integers, once the limiter is closed."""
    ballast(server)
    with Limiter.from_url(server.url, leases=OPTIONS) as limiter, ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda seed: job(limiter, seed, 300), range(8)))
    assert books(server) == {
        "requests": BALLAST + sum(requests for requests, _ in done),
        "tokens": BALLAST + sum(tokens for _, tokens in done),
    }


@pytest.mark.parametrize("coalesce", [True, False])
def test_tasks_settle_to_the_sum_of_usage(coalesce: bool, server: RedisServer) -> None:
    """Some of them cancelled while they wait for a slice: what they were served in vain comes back with it."""
    ballast(server)

    async def job(limiter: AsyncLimiter, seed: int) -> int:
        rng, tokens = random.Random(seed), 0
        for _ in range(30):
            one = await limiter.acquire("alice", plan=LEDGER, tokens=rng.randint(1, 20))
            await asyncio.sleep(0)
            tokens += (used := rng.randint(0, 25))
            await one.settle(requests=0, tokens=used)
        return tokens

    async def run() -> int:
        async with AsyncLimiter.from_url(server.url, leases=OPTIONS, coalesce=coalesce) as limiter:
            jobs = [asyncio.create_task(job(limiter, seed)) for seed in range(60)]
            return sum(await asyncio.gather(*jobs))

    total = asyncio.run(run())
    assert books(server) == {"requests": BALLAST, "tokens": BALLAST + total}


def test_waiters_that_are_cancelled_leave_the_others_alone(server: RedisServer) -> None:
    """Every third gives up while the slice is under way; the rest are served, and the books hold no more than a slice
    or a decision under way for each that has gone."""
    ballast(server)

    async def one(limiter: AsyncLimiter) -> Any:
        return await limiter.acquire("alice", plan=LEDGER, tokens=10)

    async def run() -> int:
        async with AsyncLimiter.from_url(server.url, leases=OPTIONS) as limiter:
            for _ in range(3):
                await one(limiter)
            tasks = [asyncio.create_task(one(limiter)) for _ in range(200)]
            await asyncio.sleep(0)
            gone = {index for index in range(0, 200, 3) if tasks[index].cancel()}
            assert len(gone) > 50
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(answer, BaseException) for answer in answers] == [i in gone for i in range(200)]
            return 3 + sum(not isinstance(answer, BaseException) for answer in answers)

    assert books(server)["requests"] == BALLAST
    served = asyncio.run(run())
    assert served <= books(server)["requests"] - BALLAST <= served + 67


def test_tasks_are_served_first_come_first_served(server: RedisServer) -> None:
    """Over slices and, at the limit, over exact decisions: those who came first are in, and no one else."""
    room = Plan("Room", limits=[Limit(meter, amount=1, period="day", burst=500) for meter in ("requests", "tokens")])
    order: list[int] = []

    async def one(limiter: AsyncLimiter, number: int) -> bool:
        try:
            await limiter.acquire("alice", plan=room, tokens=1)
        except RateLimited:
            return False
        order.append(number)
        return True

    async def run() -> list[bool]:
        async with AsyncLimiter.from_url(server.url, leases=OPTIONS) as limiter:
            return list(await asyncio.gather(*[one(limiter, number) for number in range(700)]))

    assert asyncio.run(run()) == [True] * 500 + [False] * 200
    assert order == sorted(order)


def test_what_is_not_used_comes_back_when_the_term_ends(server: RedisServer) -> None:
    """By a thread, and by a timer of the loop, without anybody calling."""
    ballast(server)
    options = Leases(most=32, workers=1, busy=2, term=0.05)
    with Limiter.from_url(server.url, leases=options) as limiter:
        for _ in range(10):
            limiter.acquire("alice", plan=LEDGER, tokens=10)
        eventually(lambda: books(server) == {"requests": BALLAST + 10, "tokens": BALLAST + 100})

    async def run() -> None:
        async with AsyncLimiter.from_url(server.url, leases=options) as limiter:
            for _ in range(10):
                await limiter.acquire("alice", plan=LEDGER, tokens=10)
            await asyncio.to_thread(eventually, lambda: books(server)["requests"] == BALLAST + 20)

    asyncio.run(run())


def test_after_close_nothing_is_leased(server: RedisServer) -> None:
    """Everything is given back, the thread has ended."""
    ballast(server)
    limiter = Limiter.from_url(server.url, leases=OPTIONS)
    for _ in range(10):
        limiter.acquire("alice", plan=LEDGER, tokens=10)
    assert any(thread.name == "ratelimit-leases" for thread in threading.enumerate())
    limiter.close()
    assert not any(thread.name == "ratelimit-leases" for thread in threading.enumerate())
    assert books(server) == {"requests": BALLAST + 10, "tokens": BALLAST + 100}


def test_closing_tells_those_who_wait_for_a_slice(proxy: FaultProxy) -> None:
    """They get BackendUnavailable, at once."""

    async def run() -> None:
        limiter = AsyncLimiter.from_url(proxy.url, leases=OPTIONS)
        for _ in range(3):
            await limiter.acquire("alice", plan=LEDGER, tokens=10)
        proxy.random(1, {DROP_REPLY: 1.0})
        waiting = [asyncio.ensure_future(_acquire(limiter)) for _ in range(50)]
        await asyncio.sleep(0)
        await limiter.close()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} <= {BackendUnavailable, AsyncLeasedReservation}
        assert isinstance(answers[-1], BackendUnavailable)

    asyncio.run(run())


async def _acquire(limiter: AsyncLimiter) -> Any:
    return await limiter.acquire("alice", plan=LEDGER, tokens=10)


def test_nobody_is_refused_from_memory_for_what_his_own_slice_holds(server: RedisServer) -> None:
    """Also when callers in line have been refused meanwhile: the slice goes back, and then it fits."""
    plan = Plan("Tight", limits=[Limit("requests", 1_000, "day"), Limit("tokens", 1_000, "day")])
    with Limiter.from_url(server.url, leases=Leases(most=100, workers=1, busy=2, term=5), recheck=60) as limiter:
        held = [limiter.acquire("alice", plan=plan, tokens=5) for _ in range(12)]
        assert isinstance(held[-1], LeasedReservation)
        charged = used(limiter.peek("alice", plan=plan))["tokens"]
        backend: Any = limiter._backend
        moments = iter(range(10**9, 10**10, 10**6))
        backend.recall.clock, backend.recall._virtual = lambda: next(moments), True
        wanted = 1_000 - charged + 1
        for _ in range(4):
            assert not limiter.try_acquire("alice", plan=plan, tokens=wanted, timeout=0.001)
        assert backend.recall.refusals
        assert limiter.try_acquire("alice", plan=plan, tokens=wanted)


def test_what_a_renewal_gives_back_ends_the_memory_of_refusals(server: RedisServer) -> None:
    """As any settle does."""
    with Limiter.from_url(server.url, recheck=60) as limiter:
        backend: Any = limiter._backend
        paid = limiter.acquire("alice", plan=LEDGER, tokens=90_000_000)
        for _ in range(6):
            assert not limiter.try_acquire("alice", plan=LEDGER, tokens=50_000_000)
        asked = limiter._intake.holds("alice", LEDGER, None, 1, 1, {})
        backend.renew(paid._holds, [[0, 0]], paid._op, asked, limiter._name())
        assert limiter.try_acquire("alice", plan=LEDGER, tokens=50_000_000)


@each_face
def test_what_was_settled_within_its_lease_cannot_be_exported(face_of: FaceMaker, server: RedisServer) -> None:
    """The backend knows nothing of that settle: a token would settle it once more."""
    with face_of(server.url, leases=OPTIONS) as face:
        held = [face.acquire("alice", tokens=10) for _ in range(8)][-1]
        face.settle(held, tokens=3)
        with pytest.raises(ConfigError, match=r"to_token\(\) before"):
            held.to_token()


def test_leases_do_nothing_in_memory() -> None:
    """There is no call to save: the option is taken, so that a URL can be changed alone."""
    with Limiter.from_url("memory://", leases=OPTIONS) as limiter:
        kinds = {type(limiter.acquire("alice", plan=LEDGER, tokens=1)) for _ in range(10)}
    assert LeasedReservation not in kinds
