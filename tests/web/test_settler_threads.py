"""Promises of `ratelimit.web.settler` under threads: what the backend does not take is settled later, or told."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import pytest

from ratelimit import BackendUnavailable, Limiter
from ratelimit.intake import Scope
from ratelimit.web import settler as module
from ratelimit.web.exchange import Bill
from ratelimit.web.settler import ThreadSettler
from tests.servers import eventually
from tests.web.backends import LEDGER, Books, RecordingBackend

DOWN = BackendUnavailable("nobody answers")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(module, "_pause", lambda _: 0.0)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What an operator is told of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


class Counter:
    """The books of a sync limiter, and bills on it."""

    def __init__(self) -> None:
        self.backend = RecordingBackend()
        self.limiter = Limiter(self.backend)

    @property
    def books(self) -> Books:
        """What was settled."""
        return self.backend.books

    def bill(self, amounts: Mapping[str, int] | None = None) -> Bill[Any]:
        """A bill of 30 tokens for a reservation of 100."""
        reservation = self.limiter.acquire([Scope("alice", LEDGER)], tokens=100)
        return Bill(reservation, [amounts or {"requests": 1, "tokens": 30}])


def test_a_thread_settles_its_own_bills() -> None:
    """Before it goes on, so that the next request finds the real cost."""
    counter = Counter()
    settler = ThreadSettler(10)
    settler.submit(counter.bill())
    assert counter.books.settled == [{"requests": 1, "tokens": 30}]
    assert settler._thread is None


def test_what_the_backend_does_not_take_is_tried_again_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    """The caller goes on after one try; the thread ends when there is nothing left, and begins anew."""
    counter = Counter()
    settler = ThreadSettler(10)
    for _ in range(2):
        bills = [counter.bill() for _ in range(5)]
        counter.backend.fail("settle", *[DOWN] * 11)
        for bill in bills:
            settler.submit(bill)
        settler.drain()
        assert len(settler) == 0
        eventually(lambda: not any(thread.name == "ratelimit-settler" for thread in threading.enumerate()))
    assert counter.books.settled == [{"requests": 1, "tokens": 30}] * 10
    assert errors(caplog) == []


def test_after_an_outage_the_queue_is_settled_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be thousands in it, and each has a deadline."""
    pauses: list[int] = []

    def pause(tries: int) -> float:
        pauses.append(tries)
        return 0.0

    monkeypatch.setattr(module, "_pause", pause)
    counter = Counter()
    bills = [counter.bill() for _ in range(50)]
    settler = ThreadSettler(10)
    held = threading.Event()
    settle = counter.backend.settle

    def once_released(*args: Any) -> Any:
        if threading.current_thread().name == "ratelimit-settler":
            held.wait()
            return settle(*args)
        raise DOWN

    monkeypatch.setattr(counter.backend, "settle", once_released)
    for bill in bills:
        settler.submit(bill)
    held.set()
    settler.drain()
    assert len(counter.books.settled) == 50
    assert len(pauses) <= 1


def test_an_exception_that_nobody_foresaw_stops_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    """It is told, and the others are settled."""
    counter = Counter()
    settler = ThreadSettler(10)
    bills = [counter.bill() for _ in range(3)]
    counter.backend.fail("settle", DOWN, DOWN, DOWN, ZeroDivisionError("a bug"))
    for bill in bills:
        settler.submit(bill)
    settler.drain()
    assert sorted(len(charge.settled) for charge in counter.books.charges) == [0, 1, 1]
    assert errors(caplog) == ["a settlement failed, its estimate stays charged"]


def test_a_drain_is_over_when_all_have_run_out_of_time(caplog: pytest.LogCaptureFixture) -> None:
    """However many there are, and however long the backend takes to say no."""
    counter = Counter()
    settler = ThreadSettler(0.05)
    bills = [counter.bill() for _ in range(200)]
    counter.backend.fail("settle", *[DOWN] * 100_000)
    for bill in bills:
        settler.submit(bill)
    settler.drain()
    assert len(settler) == 0
    assert errors(caplog) == ["no settlement within 0.05 s, the estimate stays charged"] * 200


def test_a_full_queue_drops_loudly(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The estimate stays charged."""
    monkeypatch.setattr(module, "QUEUE_MAX", 2)
    counter = Counter()
    settler = ThreadSettler(10)
    with settler._turn:  # the thread takes nothing meanwhile
        bills = [counter.bill() for _ in range(4)]
        counter.backend.fail("settle", *[DOWN] * 4)
        for bill in bills:
            settler.submit(bill)
    settler.drain()
    assert [len(charge.settled) for charge in counter.books.charges] == [1, 1, 0, 0]
    assert errors(caplog) == ["2 settlements are waiting: one more is dropped, its estimate stays charged"] * 2


def test_amounts_that_cannot_be_right_are_told_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """Under threads too."""
    counter = Counter()
    settler = ThreadSettler(10)
    settler.submit(counter.bill({"tokens": -1}))
    assert len(settler) == 0
    assert errors(caplog)[0].startswith("a settlement cannot be right, its estimate stays charged: tokens is -1")


AT_EXIT = """
from ratelimit import BackendUnavailable, Limiter
from ratelimit.web.exchange import Bill
from ratelimit.web.settler import ThreadSettler
from tests.web.test_settler_threads import Counter

counter = Counter()
bill = counter.bill()
settle = counter.backend.settle

def settled(*args):
    settle(*args)
    print(counter.books.settled, flush=True)

counter.backend.settle = settled
counter.backend.faults["settle"].extend([BackendUnavailable("down")] * 3)
ThreadSettler(10).submit(bill)
"""


def test_a_process_that_ends_settles_first() -> None:
    """The interpreter's exit waits for the queue."""
    output = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout.splitlines()[-1] == "[{'requests': 1, 'tokens': 30}]"


def test_a_settler_with_an_empty_queue_can_be_collected() -> None:
    """Nothing of it stays registered for the exit."""
    counter = Counter()
    settler = ThreadSettler(10)
    bill = counter.bill()
    counter.backend.fail("settle", BackendUnavailable("a new one: an error that is kept keeps all frames alive"))
    settler.submit(bill)
    settler.drain()
    gone = weakref.ref(settler)
    del settler
    eventually(lambda: gc.collect() >= 0 and gone() is None)
