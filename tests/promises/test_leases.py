"""P1, P4 and P6 with leases: several workers on one server, each with a clock of its own, under virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from ratelimit import Leases, Limit, Limiter, Plan, RateLimited, Reservation
from ratelimit.leases.reservation import LeasedReservation
from tests.promises.leased import Server, worker
from tests.promises.test_refund import Admitted

SECOND = 1_000_000
PLAN = Plan("Trace", limits=[Limit("tokens", 60, 60)])
TERM_S = 2.0
OPTIONS = Leases(term=TERM_S, most=16, workers=2, busy=2)


def give_back(limiter: Limiter) -> None:
    assert limiter._leasing is not None
    limiter._leasing.give_back()


def trace(seed: int, workers: int, *, refunds: bool) -> list[Admitted]:
    """Bursts, pauses and streams over some workers; real use counted when the limiter let it through."""
    rng = Random(seed)
    server = Server(rng)
    limiters = [worker(server, OPTIONS) for _ in range(workers)]
    open_: list[tuple[Reservation, int]] = []
    admitted: list[Admitted] = []
    for _ in range(rng.randrange(20, 120)):
        limiter = rng.choice(limiters)
        give_back(limiter)
        estimate = rng.choice((1, 1, 2, 3))
        try:
            held = limiter.acquire("key", plan=PLAN, requests=0, tokens=estimate)
        except RateLimited:
            pass
        else:
            usage = rng.choice((0, estimate, estimate // 2)) if refunds else estimate
            at = server.now if isinstance(held, LeasedReservation) else server.decided
            admitted.append(Admitted(at, usage))
            open_.append((held, usage))
        if refunds and open_ and rng.random() < 0.4:
            held, usage = open_.pop(rng.randrange(len(open_)))
            held.settle(tokens=usage)
        server.now += rng.choice((0, 0, 0, 1_000, 100_000, 900_000, 5 * SECOND, 61 * SECOND * (rng.random() < 0.1)))
    return admitted


def excess(admitted: Sequence[Admitted], term_s: float) -> float:
    """The most by which any interval passes B + r * (t + term), in tokens."""
    worst = 0.0
    for first in range(len(admitted)):
        used = 0
        for last in range(first, len(admitted)):
            used += admitted[last].usage
            worst = max(worst, used - 60 - (admitted[last].at - admitted[first].at) / SECOND - term_s)
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_p1_within_a_term(workers: int) -> None:
    """Usage admitted in an interval t is at most B + r * (t + term), whatever is given back by whom."""
    assert max(excess(trace(seed, workers, refunds=True), TERM_S) for seed in range(400)) <= 1e-9


@pytest.mark.slow
def test_p1_exactly_where_nobody_else_gives_back() -> None:
    """One worker that settles nothing: only its slices come back, and the bound needs no term."""
    assert max(excess(trace(seed, 1, refunds=False), 0) for seed in range(400)) <= 1e-9


def test_leases_are_used_in_these_traces() -> None:
    """Or the tests above would prove nothing."""
    rng = Random(1)
    server = Server(rng)
    limiter = worker(server, OPTIONS)
    kinds = [type(limiter.acquire("key", plan=PLAN, requests=0, tokens=1)) for _ in range(10)]
    assert kinds.count(LeasedReservation) >= 6
    assert server.calls < 10


def test_p6_a_lease_banks_nothing() -> None:
    """A slice that lay unused while the bucket drained is worth no more than what is left of the bucket."""
    server = Server(Random(3))
    limiter = worker(server, Leases(term=10, most=16, workers=1, busy=1))
    bursts = []
    for _ in range(5):
        burst = 0
        try:
            while True:
                limiter.acquire("key", plan=PLAN, requests=0, tokens=1)
                burst += 1
        except RateLimited:
            bursts.append(burst)
        for _ in range(3):
            server.now += 5 * SECOND
            give_back(limiter)
            limiter.try_acquire("key", plan=PLAN, requests=0, tokens=1)
        server.now += 45 * SECOND
    assert bursts[0] <= 61
    assert max(bursts[1:]) <= 61


@pytest.mark.parametrize("seed", range(60))
def test_p4_settled_is_what_was_used(seed: int) -> None:
    """Once everything has been given back, the books hold the usage, to the token, on whatever way each was settled.

    Half of the bucket is used before, so that the refund rule has no reason to keep anything; next to nothing drains.
    """
    rng = Random(seed)
    books = Plan("Books", limits=[Limit("tokens", 1, "day", burst=100_000)])
    server = Server(rng)
    limiters = [worker(server, Leases(term=TERM_S, most=16, workers=2, busy=2)) for _ in range(3)]
    usage = 50_000
    limiters[0].acquire("key", plan=books, requests=0, tokens=50_000)
    open_: list[Reservation] = []
    for _ in range(150):
        limiter = rng.choice(limiters)
        open_.append(limiter.acquire("key", plan=books, requests=0, tokens=rng.randint(1, 9)))
        for _ in range(rng.randrange(3) if len(open_) > 3 else 0):
            held = open_.pop(rng.randrange(len(open_)))
            usage += (used := rng.randint(0, 12))
            if rng.random() < 0.3:
                token = held.to_token()
                held = rng.choice([held, rng.choice(limiters).resume(token)])
                held.settle(tokens=used)
                rng.choice(limiters).resume(token).settle(tokens=5)
            held.settle(tokens=used)
            held.settle(tokens=7)
        server.now += rng.choice((0, 0, 1_000, 300_000, 3 * SECOND))
        if rng.random() < 0.2:
            give_back(limiter)
    for held in open_:
        usage += held.estimate["tokens"]
    for limiter in limiters:
        limiter.close()
    assert server.used(books) == usage


def test_standings_count_down_as_without_leases() -> None:
    """Each decision shows what it has left, as if the backend had been asked."""
    server = Server(Random(5))
    limiter = worker(server, Leases(term=TERM_S, most=16, workers=1, busy=2))
    books = Plan("Books", limits=[Limit("tokens", 1, "day", burst=1_000)])
    left = []
    for _ in range(40):
        decision = limiter.try_acquire("key", plan=books, requests=0, tokens=2)
        assert decision.reservation is not None
        assert decision.standings == decision.reservation.standings
        left.append(decision.standings[0].remaining)
    assert left == [1_000 - 2 * n for n in range(1, 41)]


def test_a_refusal_is_the_servers_own_and_comes_at_the_limit_only() -> None:
    """One worker gets the whole plan, to the last token, and the retry-after of the server."""
    server = Server(Random(6))
    limiter = worker(server, Leases(term=TERM_S, most=16, workers=3, busy=2))
    books = Plan("Books", limits=[Limit("tokens", 1, "day", burst=500)])
    admitted = 0
    while decision := limiter.try_acquire("key", plan=books, requests=0, tokens=1):
        admitted += 1
    assert admitted == 500
    assert 86_399 <= decision.retry_after <= 86_400
    assert server.calls < 150


def test_reset_drops_the_slice() -> None:
    """What was paid before is forgotten, and is not handed out after."""
    server = Server(Random(7))
    limiter = worker(server, Leases(term=TERM_S, most=16, workers=1, busy=2))
    held = [limiter.acquire("key", plan=PLAN, requests=0, tokens=1) for _ in range(8)]
    assert limiter.reset("key")
    assert server.used(PLAN) == 0
    limiter.acquire("key", plan=PLAN, requests=0, tokens=1)
    for one in held:
        one.settle(tokens=0)
    limiter.close()
    assert server.used(PLAN) == 1
