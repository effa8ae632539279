"""P6 and P1: refunds never bank quota, whatever the traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import pytest

from ratelimit import Limit, Limiter, Plan, PlanRegistry
from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout

TRACES = 10_000
LIMIT = Plan("Trace", limits=[Limit("tokens", 60, 60)]).layout
"""60 tokens a minute, one a second, all at once if need be."""
SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Admitted:
    """One admitted request: when, and what it was to use."""

    at: int
    usage: int


class Naive:
    """`level -= unused`, as everybody writes it: the rule that the tests must be able to catch."""

    def __init__(self) -> None:
        self.level, self.at = 0, 0

    def _drain(self, now: int) -> None:
        self.level = max(0, self.level - (now - self.at) * LIMIT.rates[0])
        self.at = now

    def reserve(self, cost: int, now: int) -> object:
        self._drain(now)
        if self.level + cost > LIMIT.capacities[0]:
            return None
        self.level += cost
        return cost

    def settle(self, held: object, actual: int, now: int) -> None:
        assert isinstance(held, int)
        self._drain(now)
        self.level = max(0, self.level - (held - actual)) if actual < held else self.level + actual - held


class Engine:
    """The engine's own arithmetic, through the memory backend."""

    def __init__(self) -> None:
        self.now = 0
        self._backend = MemoryBackend(clock=lambda: self.now)

    def reserve(self, cost: int, now: int) -> object:
        self.now = now
        hold = Hold("{k}", LIMIT, [cost])
        return hold if self._backend.reserve([hold], None) else None

    def settle(self, held: object, actual: int, now: int) -> None:
        assert isinstance(held, Hold)
        self.now = now
        self._backend.settle([held], [[actual]], None)


def adversarial_trace(rules: Naive | Engine, rng: Random) -> list[Admitted]:
    """Estimates held open while the bucket refills; then real use, with unused estimates given back in between."""
    unit = LIMIT.specs[0].units
    now = 0
    open_: list[tuple[object, int]] = []
    admitted: list[Admitted] = []

    def reserve(estimate: int, usage: int) -> None:
        held = rules.reserve(estimate * unit, now)
        if held is not None:
            admitted.append(Admitted(now, usage))
            open_.append((held, usage))

    for _ in range(rng.randrange(1, 4)):
        for _ in range(rng.randrange(1, 6)):
            estimate = rng.choice((10, 30, 60))
            reserve(estimate, rng.choice((0, 0, 0, 1, estimate // 2)))
            now += rng.choice((0, SECOND, 20 * SECOND, 61 * SECOND))
        for _ in range(rng.randrange(5, 30)):
            if open_ and rng.random() < 0.3:
                held, usage = open_.pop(rng.randrange(len(open_)))
                rules.settle(held, usage * unit, now)
            estimate = rng.choice((1, 5, 20, 30))
            reserve(estimate, estimate)
            now += rng.choice((0, 0, 0, 300_000))
    return admitted


def worst_ratio(admitted: Sequence[Admitted], layout: Layout = LIMIT) -> float:
    """The most that any interval admitted, over what B + r * t allows, by real usage at admission."""
    spec = layout.specs[0]
    worst = 0.0
    for first in range(len(admitted)):
        used = 0
        for last in range(first, len(admitted)):
            used += admitted[last].usage
            allowed = spec.burst + spec.amount * (admitted[last].at - admitted[first].at) / spec.period_us
            worst = max(worst, used / allowed)
    return worst


def violations(make: Callable[[], Naive | Engine], traces: int) -> int:
    return sum(worst_ratio(adversarial_trace(make(), Random(seed))) > 1 + 1e-9 for seed in range(traces))


def test_naive_refund_is_caught() -> None:
    """The traces are nasty enough: a refund that forgets time breaks the bound in more than a tenth of them."""
    assert violations(Naive, 300) > 30


@pytest.mark.slow
def test_p1_never_over_with_refunds() -> None:
    """Usage counted at admission never passes B + r * t, on ten thousand adversarial traces."""
    assert violations(Engine, TRACES) == 0


def _bank(minutes: int, make: Callable[[], Naive | Engine]) -> int:
    """The banking attack: one open stream per idle minute, then finish them unused one by one, bursting after each.

    Returns the tokens admitted in the burst, all at one instant.
    """
    rules, unit = make(), LIMIT.specs[0].units
    streams = [rules.reserve(60 * unit, minute * 60 * SECOND) for minute in range(minutes)]
    now, burst = minutes * 60 * SECOND, 0
    for stream in [*streams, None]:
        while rules.reserve(unit, now) is not None:
            burst += 1
        if stream is not None:
            rules.settle(stream, 0, now)
    return burst


@pytest.mark.parametrize("minutes", [1, 2, 10])
def test_p6_the_banking_attack_buys_one_bucket(minutes: int) -> None:
    """Streams kept open while the bucket refills and then finished unused buy no more than one full bucket."""
    assert _bank(minutes, Engine) == 60


def test_the_banking_attack_breaks_the_naive_rule() -> None:
    """The attack is real: by the naive rule every idle minute is spent at once."""
    assert _bank(10, Naive) == 11 * 60


def test_p6_an_honest_refund_is_paid_in_full() -> None:
    """What was not used is given back whole, less what had drained by then."""
    clock = [0]
    limiter = Limiter(MemoryBackend(clock=lambda: clock[0]), plans=PlanRegistry([Plan("Attacked", tpm=60)]))
    reservation = limiter.acquire("honest", plan="Attacked", requests=0, tokens=60)
    clock[0] += 3 * SECOND
    assert reservation.settle(tokens=10).returned == {"tokens": 50}
    assert limiter.peek("honest", plan="Attacked")[0].remaining == 53
