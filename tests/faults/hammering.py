"""What each process of the hammer test does, and what it writes down about every answer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from ratelimit import Limit, Plan, Retention, RetryPolicy
from ratelimit.backends.base import Op
from ratelimit.backends.connect import executor
from ratelimit.backends.redis import RedisBackend
from ratelimit.core.hold import Hold
from ratelimit.core.keys import KeyMaker
from ratelimit.core.limit import Layout
from ratelimit.intake import OpMaker
from tests.faults.faces import LEDGER

__all__ = ("SUBJECTS", "Decided", "Settled", "backend_for", "decided", "hammer", "hold_for", "layout_of")

SUBJECTS = 64

#: Binds on either limit, however slow the machine; fits the express lanes of the scripts.
TIGHT = Plan("Tight", limits=[Limit("requests", 5, 1, burst=30), Limit("tokens", 250, 1, burst=1_500)])

_POLICY = RetryPolicy(timeout=10.0, deadline=60.0)


@dataclass(frozen=True, slots=True)
class Decided:
    """A reserve and its answer."""

    subject: int
    at: int
    op: Op
    costs: tuple[int, ...]
    allowed: bool
    epoch: int
    levels: tuple[int, ...]
    refunded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """A settle, what it was based on, and its answer."""

    subject: int
    at: int
    reserved: Decided
    actual: tuple[int, ...]
    levels: tuple[int, ...]
    credits: tuple[int, ...]


def layout_of(subject: int) -> Layout:
    """Odd subjects are kept in tight limits, even ones have books that never drain."""
    return TIGHT.layout if subject % 2 else LEDGER.layout


def hold_for(subject: int, tokens: int, requests: int = 1) -> Hold:
    """A hold for one request of so many tokens."""
    layout = layout_of(subject)
    amounts = {"requests": requests, "tokens": tokens}
    costs = [amounts[meter] * units for meter, units in layout.prices]
    return Hold(KeyMaker().scope_key(f"subject-{subject}"), layout, costs)


def backend_for(url: str) -> RedisBackend:
    """A backend that is patient enough for a crowded machine."""
    return RedisBackend(executor(url, _POLICY, 2), policy=_POLICY)


def hammer(url: str, seed: int, decisions: int) -> list[Decided | Settled]:
    """Reserve so many times on random subjects, settle some of what was allowed, and return the answers."""
    backend = backend_for(url)
    try:
        return list(_strike(backend, random.Random(seed), decisions))
    finally:
        backend.close()


def _strike(backend: RedisBackend, rng: random.Random, decisions: int) -> Iterator[Decided | Settled]:
    name = OpMaker(Retention())
    open_ones: list[tuple[Hold, Decided]] = []
    for _ in range(decisions):
        answer, hold = _reserve(backend, rng, name())
        yield answer
        if answer.allowed:
            open_ones.append((hold, answer))
        if open_ones and rng.random() < 0.35:
            yield _settle(backend, rng, *open_ones.pop(rng.randrange(len(open_ones))))


def _reserve(backend: RedisBackend, rng: random.Random, op: Op) -> tuple[Decided, Hold]:
    subject = rng.randrange(SUBJECTS)
    hold = hold_for(subject, rng.randint(1, 100))
    allowed = backend.reserve([hold], op)
    return decided(subject, op, hold, allowed), hold


def decided(subject: int, op: Op, hold: Hold, allowed: bool) -> Decided:
    """What a backend has written into a hold."""
    return Decided(
        subject, hold.at, op, tuple(hold.costs), allowed, hold.epoch, tuple(hold.levels), tuple(hold.refunded)
    )


def _settle(backend: RedisBackend, rng: random.Random, hold: Hold, reserved: Decided) -> Settled:
    estimate = reserved.costs[1] // hold.layout.prices[1][1]
    # An overrun may pass the bound of a tight limit: it stands as debt. The books have room for some.
    tokens = rng.randint(0, estimate if reserved.subject % 2 else 2 * estimate)
    actual = tuple(hold_for(reserved.subject, tokens).costs)
    settlement = backend.settle([hold], [actual], reserved.op)
    assert not settlement.repeated
    [(at, _, levels, given_back)] = settlement.outcomes
    return Settled(reserved.subject, at, reserved, actual, tuple(levels), tuple(given_back))
