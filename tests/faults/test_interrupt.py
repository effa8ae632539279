"""The sync face, interrupted by an exception that a signal raises anywhere: as cancellation in asyncio, but ruder."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from ratelimit import Limiter, RetryPolicy
from tests.faults.faces import LEDGER, used
from tests.servers import DELAY, HOLD_REQUEST, FaultProxy, RedisServer, eventually

PATIENT = RetryPolicy(timeout=5.0, deadline=20.0)


class Interruption(BaseException):
    """Raised by a signal handler, like KeyboardInterrupt."""


class Interruptions:
    """Raises in the main thread, while armed. pytest-timeout has SIGALRM, so these are others."""

    def __init__(self) -> None:
        self._armed = False
        self.count = 0

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            self.count += 1
            raise Interruption

    @contextmanager
    def after(self, seconds: float) -> Iterator[None]:
        """Interrupt the block if it takes longer."""
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1))
        timer.start()
        with self._raising():
            yield
        timer.join()

    @contextmanager
    def by_cpu_time(self, seconds: float) -> Iterator[None]:
        """Interrupt the block in the middle of its own work: a signal of another thread comes when it waits."""
        signal.setitimer(signal.ITIMER_PROF, seconds)
        with self._raising():
            yield
        signal.setitimer(signal.ITIMER_PROF, 0)

    @contextmanager
    def _raising(self) -> Iterator[None]:
        try:
            self._armed = True
            yield
            self._armed = False
        except Interruption:
            pass


@pytest.fixture
def interruptions() -> Iterator[Interruptions]:
    """SIGUSR1 and SIGPROF raise while armed."""
    made = Interruptions()
    before = {number: signal.signal(number, made.handle) for number in (signal.SIGUSR1, signal.SIGPROF)}
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def spare_connections(limiter: Limiter) -> int:
    """How many calls the pool can still carry at once."""
    backend: Any = limiter._backend
    return int(backend._executor._free.qsize())


@pytest.mark.slow
@pytest.mark.timeout(100)  # a lock that is never given back would show as a hang
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_hundreds_of_interrupted_calls_confuse_nobody(server: RedisServer, interruptions: Interruptions) -> None:
    """At whatever instruction: the process lives, nobody waits for ever, and each answer is about its own call."""
    rng = random.Random(7)
    with Limiter.from_url(f"{server.url}?max_connections=4", policy=PATIENT) as limiter:
        for number in range(500):
            subject, cost = f"caller-{number}", 1_009 + 2 * number
            answers = []
            with interruptions.by_cpu_time(rng.random() * 0.004 + 1e-6):
                for _ in range(1_000):  # more than fit into the longest time: the block ends by an interruption
                    answers.append(used(limiter.acquire(subject, plan=LEDGER, tokens=cost).standings))  # noqa: PERF401
            assert answers == [{"requests": n + 1, "tokens": cost * (n + 1)} for n in range(len(answers))]
            books = used(limiter.peek(subject, plan=LEDGER))
            assert len(answers) <= books["requests"] <= len(answers) + 1
            assert books["tokens"] == books["requests"] * cost
        assert interruptions.count > 400


def test_an_interrupted_call_drops_its_connection_and_frees_its_place(
    proxy: FaultProxy, interruptions: Interruptions
) -> None:
    """Interrupted while the answer is on its way: the answer is never read, and the next call connects anew."""
    with Limiter.from_url(proxy.url, policy=PATIENT, max_connections=1) as limiter:
        limiter.acquire("alice", plan=LEDGER, tokens=7)
        for number in range(1, 6):
            proxy.next(HOLD_REQUEST)
            with interruptions.after(0.02):
                limiter.acquire("alice", plan=LEDGER, tokens=7)
            assert interruptions.count == number
            assert proxy.release() == 1
            assert used(limiter.acquire("bob", plan=LEDGER, tokens=5).standings) == {
                "requests": number,
                "tokens": 5 * number,
            }
            assert spare_connections(limiter) == 1
        assert used(limiter.peek("alice", plan=LEDGER)) == {"requests": 6, "tokens": 42}
    assert proxy.counters.connections == 6


@pytest.mark.parametrize("step", range(3), ids=["lib-name", "lib-version", "database"])
def test_a_call_interrupted_while_it_connects_leaves_no_half_made_connection(
    server: RedisServer, interruptions: Interruptions, step: int
) -> None:
    """The next caller does not inherit a connection with an answer on the way, or in the wrong database."""
    with (
        FaultProxy("127.0.0.1", server.port, names=["CLIENT", "SELECT"]) as proxy,
        Limiter.from_url(f"{proxy.url[:-1]}3", policy=PATIENT) as limiter,
    ):
        proxy.next(*[DELAY(0)] * step, DELAY(0.3))
        with interruptions.after(0.1):
            limiter.acquire("alice", plan=LEDGER)
        assert interruptions.count == 1
        reservation = limiter.acquire("bob", plan=LEDGER, tokens=70)
        assert used(reservation.standings) == {"requests": 1, "tokens": 70}
    assert list(server.info("keyspace")) == ["db3"]


def test_a_settle_that_was_interrupted_may_be_settled_again(proxy: FaultProxy, interruptions: Interruptions) -> None:
    """Whether the server had seen it or not, the second settle makes it exactly one."""
    with Limiter.from_url(proxy.url, policy=PATIENT) as limiter:
        limiter.acquire("alice", plan=LEDGER, tokens=1_000)
        for number, late in enumerate((HOLD_REQUEST, DELAY(1)), 1):
            reservation = limiter.acquire("alice", plan=LEDGER, tokens=70)
            proxy.next(late)
            with interruptions.after(0.05):
                reservation.settle(tokens=20)
            assert interruptions.count == number
            assert reservation.settlement is None
            settlement = reservation.settle(tokens=20)
            assert reservation.settle(tokens=1) is settlement
            proxy.release()
        assert used(limiter.peek("alice", plan=LEDGER)) == {"requests": 3, "tokens": 1_040}
    eventually(lambda: not proxy.held)
