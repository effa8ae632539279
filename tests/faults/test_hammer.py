"""Eight processes, one server, a hundred thousand decisions: every answer is checked, in the server's order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import pytest

from ratelimit import Retention
from ratelimit.intake import OpMaker
from tests.faults.hammering import SUBJECTS, Decided, Settled, backend_for, decided, hammer, hold_for, layout_of
from tests.faults.ordered_log import Entry, by_subject, find_mismatch, find_overuse
from tests.servers import RedisServer

pytestmark = pytest.mark.slow

PROCESSES = 8
DECISIONS = 100_000

#: Charged to each of the books beforehand. A refund is clipped to what the level has been since the reserve; with this
#: much in the books it never is, so that they must balance.
BASE = 500_000


@dataclass(frozen=True)
class Run:
    """All that was answered, by subject and in order, and what stood in the books at the end (tokens, requests)."""

    log: dict[int, list[Entry]]
    books: dict[int, tuple[int, int]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Hammer a server of its own once."""
    with RedisServer() as server:
        backend, name = backend_for(server.url), OpMaker(Retention())
        log: list[Entry] = []
        for subject in range(0, SUBJECTS, 2):
            hold, op = hold_for(subject, BASE, requests=1), name()
            assert backend.reserve([hold], op)
            log.append(decided(subject, op, hold, True))
        with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
            shares = [pool.submit(hammer, server.url, seed, DECISIONS // PROCESSES) for seed in range(PROCESSES)]
            for share in shares:
                log += share.result()
        books = {}
        for subject in range(0, SUBJECTS, 2):
            hold = hold_for(subject, 0)
            backend.peek([hold])
            used = {
                meter: -(-level // units) for level, (meter, units) in zip(hold.levels, hold.layout.prices, strict=True)
            }
            books[subject] = used["tokens"], used["requests"]
        backend.close()
        yield Run(by_subject(log), books)


def test_every_answer_is_what_the_core_says_in_server_order(run: Run) -> None:
    """Allowed or refused, levels, refunds and epochs: no false refusal and no false admission among them."""
    entries = [entry for entries in run.log.values() for entry in entries]
    decisions = [entry for entry in entries if isinstance(entry, Decided)]
    assert len(decisions) == DECISIONS + SUBJECTS // 2
    assert sum(not entry.allowed for entry in decisions) > 1_000
    assert len(entries) - len(decisions) > 20_000
    assert [find_mismatch(entries) for entries in run.log.values()] == [None] * SUBJECTS


def test_real_usage_never_passes_capacity_plus_drain(run: Run) -> None:
    """Over every interval of every subject, with what was really used counted when it was admitted."""
    tight = [entries for subject, entries in run.log.items() if subject % 2]
    assert [find_overuse(entries) for entries in tight] == [None] * (SUBJECTS // 2)


def test_the_books_show_the_sum_of_all_usage(run: Run) -> None:
    """Settled operations count with their real cost and open ones with their estimate, to the token."""
    for subject, books in run.books.items():
        settled = {entry.reserved.op.id: entry.actual for entry in run.log[subject] if isinstance(entry, Settled)}
        units = dict(layout_of(subject).prices)
        tokens = requests = 0
        for entry in run.log[subject]:
            if isinstance(entry, Decided):
                cost = settled.get(entry.op.id, entry.costs)
                requests, tokens = requests + cost[0] // units["requests"], tokens + cost[1] // units["tokens"]
        assert books == (tokens, requests)


def flip(entries: list[Entry], at: int) -> None:
    """Allow what was refused."""
    entry = entries[at]
    assert isinstance(entry, Decided)
    entries[at] = replace(entry, allowed=not entry.allowed)


def shift(entries: list[Entry], at: int) -> None:
    """One unit more in one level."""
    entries[at] = replace(entries[at], levels=(entries[at].levels[0], entries[at].levels[1] + 1))


def drop(entries: list[Entry], at: int) -> None:
    """A charge that nobody answered for."""
    del entries[at]


def swap(entries: list[Entry], at: int) -> None:
    """Two decisions in the wrong order."""
    first, second = entries[at : at + 2]
    entries[at : at + 2] = replace(second, at=first.at), replace(first, at=second.at)


@pytest.mark.parametrize("corrupt", [flip, shift, drop, swap])
def test_the_check_notices_a_single_wrong_entry(run: Run, corrupt: Callable[[list[Entry], int], None]) -> None:
    """The judge of the answers is not asleep."""
    entries = list(run.log[1])
    middle = len(entries) // 2
    at = next(
        i
        for i in range(middle, len(entries))
        if isinstance(entry := entries[i], Decided) and entry.allowed and isinstance(entries[i + 1], Decided)
    )
    corrupt(entries, at)
    assert find_mismatch(entries) is not None


def test_the_check_notices_overuse(run: Run) -> None:
    """Nor is the judge of the promise: with one large admission more, the bound is passed."""
    entries = list(run.log[1])
    index = next(i for i, entry in enumerate(entries) if isinstance(entry, Decided) and not entry.allowed)
    refused = entries[index]
    assert isinstance(refused, Decided)
    entries[index] = replace(refused, allowed=True, costs=layout_of(1).capacities)
    assert find_overuse(entries) is not None
