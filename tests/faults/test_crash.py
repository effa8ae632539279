"""Workers that die with reservations open: what they held drains, and nothing of them stays behind."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ratelimit import Limiter
from tests.faults.crash_worker import FLEETING, SHORT, SUBJECTS
from tests.faults.faces import LEDGER, used
from tests.servers import RedisServer, eventually

ROOT = Path(__file__).parents[2]


@contextmanager
def python(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is dead, by SIGKILL, at the end of the block."""
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def lives(server: RedisServer) -> list[int]:
    """The remaining milliseconds of every key; -1 would be for ever. One that has gone meanwhile does not count."""
    keys = server.call("KEYS", "*")
    assert isinstance(keys, list)
    answers = [int(str(server.call("PTTL", str(key)))) for key in keys]
    return [answer for answer in answers if answer != -2]


@pytest.mark.slow
def test_killed_workers_leave_nothing_behind(server: RedisServer) -> None:
    """Estimates drain, every key has an end at all times, and after the retry window the server is empty."""
    rng, seen = random.Random(9), 0
    with Limiter.from_url(server.url, retention=SHORT) as limiter:

        def in_use() -> int:
            subjects = (f"subject-{index}" for index in range(SUBJECTS))
            return sum(used(limiter.peek(subject, plan=FLEETING))["tokens"] for subject in subjects)

        for seed in range(6):
            with python("-m", "tests.faults.crash_worker", server.url, str(seed)) as worker:
                assert worker.stdout is not None
                for _ in range(rng.randint(1, 400)):
                    assert worker.stdout.readline()
                during = lives(server)
            after = lives(server)
            assert in_use() > 0  # there was something to leave behind
            assert all(0 <= life <= 2_000 for life in during + after)
            seen += len(during)
        assert seen > 50
        eventually(lambda: in_use() == 0, what="the estimates have drained")
    eventually(lambda: server.call("DBSIZE") == 0, what="the server is empty")


def test_the_reservation_of_a_dead_worker_may_be_settled_by_another(server: RedisServer) -> None:
    """What was written down of it is enough, and it counts once however many try."""
    program = (
        "import sys; from ratelimit import Limiter; from tests.faults.faces import LEDGER\n"
        "limiter = Limiter.from_url(sys.argv[1])\n"
        "limiter.acquire('alice', plan=LEDGER, tokens=1_000)\n"
        "print(limiter.acquire('alice', plan=LEDGER, tokens=70).to_token(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with python("-c", program, server.url) as worker:
        assert worker.stdout is not None
        token = worker.stdout.readline().strip()
    with Limiter.from_url(server.url) as limiter:
        assert used(limiter.peek("alice", plan=LEDGER)) == {"requests": 2, "tokens": 1_070}
        settlements = [limiter.resume(token).settle(tokens=20) for _ in range(3)]
        assert [settlement.repeated for settlement in settlements] == [False, True, True]
        assert used(limiter.peek("alice", plan=LEDGER)) == {"requests": 2, "tokens": 1_020}
