"""P1, P2, P3, P5: what is admitted, what is refused, and until when."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.decision import Decision, decide
from ratelimit.core.hold import Hold
from ratelimit.core.limit import BucketSpec, Layout
from ratelimit.errors import ConfigError

SECOND = 1_000_000


def spec(meter: str, amount: int, period_us: int, burst: int) -> BucketSpec | None:
    try:
        return BucketSpec.of(meter=meter, amount=amount, period_us=period_us, burst=burst)
    except ConfigError:
        return None


specs = st.builds(
    spec,
    meter=st.just("tokens"),
    amount=st.one_of(st.integers(1, 1_000), st.integers(1, 200_000_000)),
    period_us=st.sampled_from([SECOND, 7 * SECOND, 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND]),
    burst=st.one_of(st.integers(1, 1_000), st.integers(1, 200_000_000)),
).filter(lambda made: made is not None)
gaps_us = st.one_of(st.integers(0, 5_000), st.integers(0, 90 * SECOND))
arrivals = st.lists(st.tuples(gaps_us, st.integers(0, 100)), min_size=1, max_size=40)


class Bucket:
    """One limit on the memory backend, with a clock to turn."""

    def __init__(self, *limits: BucketSpec) -> None:
        self.now = 0
        self.layout = Layout("P", limits)
        self.backend = MemoryBackend(clock=lambda: self.now)

    def ask(self, *amounts: int, key: str = "{k}") -> tuple[bool, Hold]:
        hold = Hold(key, self.layout, [a * s.units for a, s in zip(amounts, self.layout.specs, strict=True)])
        return self.backend.reserve([hold], None), hold

    def levels(self) -> list[int]:
        hold = Hold("{k}", self.layout, [0] * len(self.layout.specs))
        self.backend.peek([hold])
        return list(hold.levels)


@given(specs, arrivals)
def test_p1_and_p2_admission_is_exact(limit: BucketSpec, requests: list[tuple[int, int]]) -> None:
    """Admitted is what fits B + r * t over every interval so far, refused what would break it: to the token."""
    bucket = Bucket(limit)
    admitted: list[tuple[int, int]] = []
    for gap, percent in requests:
        bucket.now += gap
        amount = limit.burst * percent // 100
        allowed, _ = bucket.ask(amount)
        fits = all(_fits(limit, admitted[first:], amount, bucket.now) for first in range(len(admitted)))
        assert allowed is (fits or amount == 0)
        if allowed and amount:
            admitted.append((bucket.now, amount))


def _fits(limit: BucketSpec, admitted: list[tuple[int, int]], amount: int, now: int) -> bool:
    """True if `amount` now keeps the interval from the first of these within B + r * t, t in whole ticks."""
    ticks = now // limit.tick_us - admitted[0][0] // limit.tick_us
    allowed = limit.burst + Fraction(limit.amount * ticks * limit.tick_us, limit.period_us)
    return sum(a for _, a in admitted) + amount <= allowed


@given(specs, st.integers(1, 100), st.integers(1, 100), st.integers(0, 10**7))
def test_p5_retry_after_is_exact(limit: BucketSpec, used: int, wanted: int, start: int) -> None:
    """Refused at every instant before retry-after, admitted at it, when nothing else happens."""
    bucket = Bucket(limit)
    bucket.now = start
    amount = max(1, limit.burst * wanted // 100)
    bucket.ask(limit.burst)
    bucket.now += limit.period_us * used // 1_000
    allowed, hold = bucket.ask(amount)
    if not allowed:
        wait = decide(False, [hold]).retry_after_us
        bucket.now += wait - 1
        assert not bucket.ask(amount)[0]
        bucket.now += 1
        assert bucket.ask(amount)[0]


@given(st.integers(1, 60), st.integers(1, 600_000), st.integers(0, 120 * SECOND))
def test_p5_retry_after_belongs_to_the_limit_that_binds_longest(requests: int, tokens: int, gap: int) -> None:
    """With two limits used up, the longer wait is the answer, and the wait is enough for both."""
    limits = [
        BucketSpec.of(meter="requests", amount=60, period_us=60 * SECOND),
        BucketSpec.of(meter="tokens", amount=600_000, period_us=60 * SECOND),
    ]
    bucket = Bucket(*limits)
    bucket.ask(60, 600_000)
    bucket.now += gap
    allowed, hold = bucket.ask(requests, tokens)
    decision: Decision[object] = decide(allowed, [hold])
    if not allowed:
        assert decision.binding is not None
        assert decision.binding.retry_after_us == max(standing.retry_after_us for standing in decision.standings)
    bucket.now += decision.retry_after_us
    if not allowed:
        assert bucket.ask(requests, tokens)[0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 600_000), gaps_us), min_size=1, max_size=30))
def test_p3_a_refusal_changes_nothing_but_time(requests: list[tuple[int, int, int]]) -> None:
    """Asking and being refused leaves both levels where a world without the question has them."""
    limits = (
        BucketSpec.of(meter="requests", amount=3, period_us=60 * SECOND),
        BucketSpec.of(meter="tokens", amount=600_000, period_us=60 * SECOND),
    )
    asked, spared = Bucket(*limits), Bucket(*limits)
    for count, tokens, gap in requests:
        asked.now = spared.now = asked.now + gap
        if asked.ask(count, tokens)[0]:
            spared.ask(count, tokens)
        assert asked.levels() == spared.levels()


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 600_000))
def test_p3_all_or_nothing_over_scopes(first: int, second: int, tokens: int) -> None:
    """A decision over two scopes charges both or neither."""
    layout = Layout(
        "P",
        (
            BucketSpec.of(meter="requests", amount=60, period_us=60 * SECOND),
            BucketSpec.of(meter="tokens", amount=600_000, period_us=60 * SECOND),
        ),
    )
    backend = MemoryBackend(clock=lambda: 0)
    units = [spec.units for spec in layout.specs]

    def hold(key: str, requests: int, tokens: int) -> Hold:
        return Hold(key, layout, [requests * units[0], tokens * units[1]])

    backend.reserve([hold("{g}a", first, 0)], None)
    both = [hold("{g}a", second, tokens), hold("{g}b", second, tokens)]
    allowed = backend.reserve(both, None)
    assert allowed is (not second or first + second <= 60)
    after = [hold("{g}a", 0, 0), hold("{g}b", 0, 0)]
    backend.peek(after)
    charged = (second, tokens) if allowed else (0, 0)
    assert after[0].levels == [(first + charged[0]) * units[0], charged[1] * units[1]]
    assert after[1].levels == [charged[0] * units[0], charged[1] * units[1]]


PRECISION = [
    ("7,000,000/minute", 7_000_000, 60, 7_000_000),
    ("50,000,000/minute", 50_000_000, 60, 50_000_000),
    ("100,000,007/minute", 100_000_007, 60, 100_000_007),
    ("90/minute", 90, 60, 90),
    ("1,000/s, burst 400", 1_000, 1, 400),
]


@pytest.mark.parametrize(
    ("amount", "period", "burst"), [row[1:] for row in PRECISION], ids=[row[0] for row in PRECISION]
)
@pytest.mark.parametrize("gap_us", [997, 50_000])
def test_p2_long_runs_deliver_the_whole_rate(amount: int, period: int, burst: int, gap_us: int) -> None:
    """At high offered load a limit delivers between 99.999 % and 100 % of its rate over a long run, never more."""
    limit = BucketSpec.of(meter="tokens", amount=amount, period_us=period * SECOND, burst=burst)
    bucket = Bucket(limit)
    cost = max(1, amount * gap_us // (period * SECOND) // 3)
    delivered = 0
    span = 50_000 * period * SECOND * max(1, cost) // amount if amount < 10_000 else 600 * SECOND
    steps = min(60_000, span // gap_us)
    for _ in range(steps):
        bucket.now += gap_us
        while bucket.ask(cost)[0]:
            delivered += cost
    ticks = bucket.now // limit.tick_us - gap_us // limit.tick_us
    possible = burst + Fraction(amount * ticks * limit.tick_us, period * SECOND)
    assert delivered <= possible
    # What is left of the last question is not lost, only not yet asked for: less than one cost.
    assert delivered > possible * Fraction(99_999, 100_000) - cost


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(-20 * SECOND, 20 * SECOND), st.integers(0, 100)), min_size=1, max_size=40))
def test_p7_no_clock_step_backwards_ever_admits_more(moves: list[tuple[int, int]]) -> None:
    """With a clock that jumps both ways, no more is admitted than B and the rate over the time moved forwards."""
    limit = BucketSpec.of(meter="tokens", amount=60, period_us=60 * SECOND)
    bucket = Bucket(limit)
    bucket.now = 10**15
    admitted, forwards = 0, 0
    for move, percent in moves:
        bucket.now += move
        forwards += max(0, move)
        amount = 60 * percent // 100
        if bucket.ask(amount)[0]:
            admitted += amount
        assert admitted <= 60 + Fraction(forwards, SECOND)


@pytest.mark.parametrize("step_s", [1, 4, 5, 6, 3_600])
def test_p7_refill_never_stalls_for_longer_than_the_skew(step_s: int) -> None:
    """After a step back of any size, a full bucket gives one token again within the skew and the token's own time."""
    limit = BucketSpec.of(meter="tokens", amount=60, period_us=60 * SECOND)
    bucket = Bucket(limit)
    bucket.now = 10**15
    assert bucket.ask(60)[0]
    bucket.now -= step_s * SECOND
    allowed, hold = bucket.ask(1)
    wait = decide(allowed, [hold]).retry_after_us
    assert not allowed
    assert wait <= 5 * SECOND + SECOND
    bucket.now += wait
    assert bucket.ask(1)[0]
