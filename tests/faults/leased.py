"""What tests of leases need: a subject with something used, a worker's day, and the server's books."""

from __future__ import annotations

import random

from ratelimit import Leases, Limiter
from tests.faults.faces import LEDGER, used
from tests.servers import RedisServer

__all__ = ("BALLAST", "OPTIONS", "ballast", "books", "job")

BALLAST = 50_000
"""Used before, so that the refund rule has no reason to keep anything back."""
OPTIONS = Leases(most=32, workers=1, busy=2, term=5)


def books(server: RedisServer, subject: str = "alice") -> dict[str, int]:
    """What the server has in its books."""
    with Limiter.from_url(server.url) as direct:
        return used(direct.peek(subject, plan=LEDGER))


def ballast(server: RedisServer) -> None:
    """Use what keeps the refund rule out of the way."""
    with Limiter.from_url(server.url) as direct:
        direct.acquire("alice", plan=LEDGER, requests=BALLAST, tokens=BALLAST)


def job(limiter: Limiter, seed: int, rounds: int) -> tuple[int, int]:
    """Acquire and settle at random; (requests, tokens) that were used."""
    rng, requests, tokens = random.Random(seed), 0, 0
    held = []
    for _ in range(rounds):
        held.append(limiter.acquire("alice", plan=LEDGER, tokens=rng.randint(1, 20)))
        if len(held) > 5:
            one = held.pop(rng.randrange(5))
            tokens += (used := rng.randint(0, 25))
            requests += 1
            one.settle(tokens=used)
            one.settle(tokens=99)
    for one in held:
        one.cancel()
    return requests, tokens
