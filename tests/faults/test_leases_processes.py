"""Leases of several processes, of one that dies or forks, and of one that a signal interrupts."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest

from ratelimit import Limiter
from ratelimit.leases.reservation import LeasedReservation
from tests.faults.faces import LEDGER, QUICK
from tests.faults.leased import BALLAST, OPTIONS, ballast, books
from tests.faults.test_crash import python
from tests.servers import DELAY, FaultProxy, RedisServer

PROCESSES = 8


@pytest.mark.slow
def test_processes_settle_to_the_sum_of_usage(server: RedisServer) -> None:
    """Eight of them, each with slices of its own."""
    ballast(server)
    program = (
        "import sys; from ratelimit import Leases, Limiter; from tests.faults.leased import job\n"
        f"with Limiter.from_url(sys.argv[1], leases=Leases(most=32, workers={PROCESSES}, busy=2)) as limiter:\n"
        "    done = job(limiter, int(sys.argv[2]), 500)\n"
        "print(*done, flush=True)\nsys.stdin.read()\n"
    )
    with ExitStack() as stack:
        workers = [stack.enter_context(python("-c", program, server.url, str(number))) for number in range(PROCESSES)]
        lines = [worker.stdout.readline() for worker in workers if worker.stdout is not None]
    done = [tuple(map(int, line.split())) for line in lines]
    assert len(done) == PROCESSES
    assert books(server) == {
        "requests": BALLAST + sum(requests for requests, _ in done),
        "tokens": BALLAST + sum(tokens for _, tokens in done),
    }


def test_a_killed_worker_forfeits_at_most_its_slice(server: RedisServer) -> None:
    """What it has handed out and what it has not stays charged, and drains."""
    ballast(server)
    program = (
        "import sys; from ratelimit import Leases, Limiter; from tests.faults.faces import LEDGER\n"
        "limiter = Limiter.from_url(sys.argv[1], leases=Leases(most=32, workers=1, busy=2))\n"
        "for _ in range(100): limiter.acquire('alice', plan=LEDGER, tokens=10)\n"
        "print('ready', flush=True)\nsys.stdin.read()\n"
    )
    with python("-c", program, server.url) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline()
    after = books(server)
    assert 100 <= after["requests"] - BALLAST <= 132
    assert after["tokens"] - BALLAST == 10 * (after["requests"] - BALLAST)


def test_a_child_uses_no_slice_of_its_parent(server: RedisServer) -> None:
    """And a reservation that both have settles once, though its slice lives on in the parent."""
    ballast(server)
    with Limiter.from_url(server.url, leases=OPTIONS, policy=QUICK) as limiter:
        held = [limiter.acquire("alice", plan=LEDGER, tokens=10) for _ in range(8)]
        assert isinstance(held[-1], LeasedReservation)
        child = os.fork()
        if not child:
            ok = held[-1].settle(tokens=4).repeated is False
            ok = ok and type(limiter.acquire("alice", plan=LEDGER, tokens=10)) is not LeasedReservation
            os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert held[-1].settle(tokens=4).repeated is True
        assert isinstance(limiter.acquire("alice", plan=LEDGER, tokens=10), LeasedReservation)
    assert books(server) == {"requests": BALLAST + 10, "tokens": BALLAST + 94}


def test_what_a_child_settles_above_the_estimate_is_charged(server: RedisServer) -> None:
    """It uses no slice of its parent, so no slice pays for an overrun of its."""
    with Limiter.from_url(server.url, leases=OPTIONS) as limiter:
        held = [limiter.acquire("alice", plan=LEDGER, tokens=10) for _ in range(20)]
        assert isinstance(held[-1], LeasedReservation)
        child = os.fork()
        if child == 0:
            held[-1].settle(tokens=50)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert held[-1].settle(tokens=50).repeated
    assert books(server) == {"requests": 20, "tokens": 240}


def test_a_signal_handler_may_ask_while_its_thread_renews(server: RedisServer, proxy: FaultProxy) -> None:
    """It goes by a call of its own; the turn that its thread holds would never come."""
    answers: list[bool] = []
    with Limiter.from_url(proxy.url, leases=OPTIONS) as limiter:

        def ask(*_: object) -> None:
            answers.append(limiter.try_acquire("alice", plan=LEDGER, tokens=1).allowed)

        before = signal.signal(signal.SIGALRM, ask)
        try:
            for _ in range(5):
                limiter.acquire("alice", plan=LEDGER, tokens=10)
            while not answers:
                proxy.next(DELAY(0.1))
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                for _ in range(33):
                    limiter.acquire("alice", plan=LEDGER, tokens=10)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert set(answers) == {True}
