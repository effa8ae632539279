"""P8 within the process: the express lane and the general way give the same integers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit import AsyncLimiter, CostExceedsLimit, Limiter, PlanRegistry, RateLimited
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from ratelimit.errors import ConfigError
from ratelimit.express import AsyncExpressReservation, ExpressReservation
from ratelimit.intake import Scope
from ratelimit.reservation import AsyncReservation, Reservation
from ratelimit.testing import ManualClock

SUBJECTS = ("ann", "bob")
steps = st.one_of(
    st.tuples(st.just("acquire"), st.sampled_from(SUBJECTS), st.integers(0, 12), st.integers(0, 62_000)),
    st.tuples(st.just("settle"), st.integers(0, 20), st.integers(0, 3), st.one_of(st.none(), st.integers(0, 90_000))),
    st.tuples(st.just("clock"), st.one_of(st.integers(-6_000_000, 0), st.integers(0, 90_000_000), st.integers(0, 999))),
)


T = TypeVar("T")


def run(awaitable: Awaitable[T]) -> T:
    """What it returns: in memory nothing ever waits, so no event loop is needed."""
    try:
        awaitable.__await__().send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("waited in memory")


class Side:
    """A limiter that goes one way: by the plan's name through the express lane, by the Plan itself round it."""

    def __init__(self, *, express: bool) -> None:
        self.clock = ManualClock()
        self.limiter = Limiter(MemoryBackend(clock=self.clock))
        self.plan = "Lite" if express else PlanRegistry().get("Lite")
        self.open: list[Reservation] = []
        self.express = 0

    def acquire(self, subject: str, requests: int, tokens: int) -> object:
        try:
            reservation = self.limiter.acquire(subject, plan=self.plan, requests=requests, tokens=tokens)
        except CostExceedsLimit as never:
            return str(never)
        except RateLimited as refused:
            return refused.decision
        self.express += isinstance(reservation, ExpressReservation)
        self.open.append(reservation)
        return reservation.standings

    def settle(self, index: int, requests: int, tokens: int | None) -> object:
        if not self.open:
            return None
        settlement = self.open[index % len(self.open)].settle(requests=requests, tokens=tokens)
        return settlement.standings, settlement.returned, settlement.repeated

    def step(self, what: str, *args: int | str | None) -> object:
        if what == "clock":
            self.clock.set(self.clock() + int(args[0] or 0))
            return None
        return getattr(self, what)(*args)


@settings(max_examples=400)
@given(st.lists(steps, min_size=1, max_size=40))
def test_p8_the_express_lane_is_the_same_way(sequence: list[tuple[int | str | None, ...]]) -> None:
    """Any sequence of acquires, settles and clock steps gives the same standings, refunds and refusals both ways."""
    fast, slow = Side(express=True), Side(express=False)
    for step in sequence:
        assert fast.step(*step) == slow.step(*step)  # type: ignore[arg-type]
    for subject in SUBJECTS:
        assert fast.limiter.peek(subject, plan="Lite") == slow.limiter.peek(subject, plan="Lite")
    assert slow.express == 0


def test_the_express_lane_is_taken() -> None:
    """An ordinary call by plan name goes through the lane, so that the test above compares two ways."""
    side = Side(express=True)
    side.acquire("ann", 1, 100)
    assert side.express == 1


class AsyncSide(Side):
    """An asyncio limiter that goes through its express lane, by a single scope with amounts, as the middleware does."""

    def __init__(self) -> None:
        super().__init__(express=True)
        backend = self.limiter._backend
        assert isinstance(backend, MemoryBackend)
        self.asyncio = AsyncLimiter(AsyncMemoryBackend(backend))
        self.held: list[AsyncReservation] = []

    def acquire(self, subject: str, requests: int, tokens: int) -> object:
        scope = Scope(subject, "Lite", amounts={"requests": requests, "tokens": tokens})
        try:
            reservation = run(self.asyncio.acquire([scope]))
        except CostExceedsLimit as never:
            return str(never)
        except RateLimited as refused:
            return refused.decision
        self.express += isinstance(reservation, AsyncExpressReservation)
        self.held.append(reservation)
        return reservation.standings

    def settle(self, index: int, requests: int, tokens: int | None) -> object:
        if not self.held:
            return None
        amounts = {"requests": requests} if tokens is None else {"requests": requests, "tokens": tokens}
        settlement = run(self.held[index % len(self.held)].settle_each([amounts]))
        return settlement.standings, settlement.returned, settlement.repeated


@settings(max_examples=400)
@given(st.lists(steps, min_size=1, max_size=40))
def test_p8_the_express_lane_of_asyncio_is_the_same_way(sequence: list[tuple[int | str | None, ...]]) -> None:
    """As above, for single scopes with amounts of their own."""
    fast, slow = AsyncSide(), Side(express=False)
    for step in sequence:
        assert fast.step(*step) == slow.step(*step)  # type: ignore[arg-type]
    for subject in SUBJECTS:
        assert fast.limiter.peek(subject, plan="Lite") == slow.limiter.peek(subject, plan="Lite")


class NamedSide(AsyncSide):
    """An asyncio limiter that goes through its express lane by subject and plan, as callers write it."""

    def acquire(self, subject: str, requests: int, tokens: int) -> object:
        try:
            reservation = run(self.asyncio.acquire(subject, plan="Lite", requests=requests, tokens=tokens))
        except CostExceedsLimit as never:
            return str(never)
        except RateLimited as refused:
            return refused.decision
        self.express += isinstance(reservation, AsyncExpressReservation)
        self.held.append(reservation)
        return reservation.standings

    def settle(self, index: int, requests: int, tokens: int | None) -> object:
        if not self.held:
            return None
        settlement = run(self.held[index % len(self.held)].settle(requests=requests, tokens=tokens))
        return settlement.standings, settlement.returned, settlement.repeated


@settings(max_examples=400)
@given(st.lists(steps, min_size=1, max_size=40))
def test_p8_an_acquire_without_a_coroutine_is_the_same_way(sequence: list[tuple[int | str | None, ...]]) -> None:
    """As above, for subjects under a plan's name."""
    fast, slow = NamedSide(), Side(express=False)
    for step in sequence:
        assert fast.step(*step) == slow.step(*step)  # type: ignore[arg-type]
    for subject in SUBJECTS:
        assert fast.limiter.peek(subject, plan="Lite") == slow.limiter.peek(subject, plan="Lite")


def test_an_acquire_of_asyncio_begins_when_it_is_awaited() -> None:
    """Each time, and not before: also for a subject whose lane is known."""
    limiter = AsyncLimiter(AsyncMemoryBackend())

    def left() -> int:
        return run(limiter.peek("ann", plan="Lite"))[0].remaining

    run(limiter.acquire("ann", plan="Lite"))
    later = limiter.acquire("ann", plan="Lite")
    assert left() == 9
    first, second = run(later), run(later)
    assert left() == 8 - 1
    assert first is not second
    assert run(second.settle(requests=0)).returned["requests"] == 1
    assert first.settlement is None


@pytest.mark.parametrize(("requests", "tokens"), [(11, 0), (1, 60_001)])
def test_a_cost_that_can_never_fit_stores_nothing(requests: int, tokens: int) -> None:
    """Whoever asks for it under ever new names does not fill the memory."""
    backend = MemoryBackend()
    with pytest.raises(CostExceedsLimit):
        Limiter(backend).acquire("ann", plan="Lite", requests=requests, tokens=tokens)
    with pytest.raises(CostExceedsLimit):
        run(AsyncLimiter(AsyncMemoryBackend(backend)).acquire("ann", plan="Lite", requests=requests, tokens=tokens))
    assert len(backend) == 0


def test_a_subject_is_decided_under_the_plan_that_was_named() -> None:
    """By spellings, groups and plans in turn: each call is decided under its own, as on the general way."""
    asked = [("Lite", None), ("lite", None), ("Pro", None), ("Lite", "org"), ("lite", None), ("Lite", None)]
    limiter, asyncio = Limiter(MemoryBackend()), AsyncLimiter(AsyncMemoryBackend())
    general = Limiter(MemoryBackend(clock=ManualClock()))
    for plan, group in asked:
        expected = general.acquire("ann", plan=plan, group=group, on_error="keep").standings
        for made in (
            limiter.acquire("ann", plan=plan, group=group),
            run(asyncio.acquire("ann", plan=plan, group=group)),
        ):
            assert [(at.plan, at.amount, at.remaining) for at in made.standings] == [
                (at.plan, at.amount, at.remaining) for at in expected
            ]


def test_the_express_lane_of_asyncio_is_taken() -> None:
    """By a single scope under a plan of requests and tokens, and by a subject under a plan's name."""
    side = AsyncSide()
    side.acquire("ann", 1, 100)
    assert side.express == 1
    assert isinstance(run(side.asyncio.acquire("bob", plan="Lite", tokens=9)), AsyncExpressReservation)


@pytest.mark.parametrize(
    "scope",
    [
        Scope("ann", "Lite", amounts={"requests": True}),
        Scope("ann", "Lite", amounts={"tokens": -1}),
        Scope("ann", "Lite", amounts={"tokens": 2**53 + 1}),
        Scope("ann", "Lite", amounts={"pages": 1}),
        Scope("ann", "none such"),
        Scope("", "Lite"),
        Scope(b"ann", "Lite"),  # type: ignore[arg-type]
        Scope("ann", None),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_right_is_told_as_on_the_general_way(scope: Scope) -> None:
    """The lane takes nothing that the general way would refuse, and words nothing of its own."""
    limiter = AsyncLimiter(AsyncMemoryBackend())
    with pytest.raises(ConfigError) as fast:
        run(limiter.acquire([scope]))
    with pytest.raises(ConfigError) as slow:
        run(limiter.acquire([scope], on_error="keep"))
    assert str(fast.value) == str(slow.value)


def test_what_leaves_the_lane_goes_on_as_any_reservation() -> None:
    """A token, a settle of other meters, a cancel: all that the lane does not do itself."""
    limiter = AsyncLimiter(AsyncMemoryBackend())
    reservation = run(limiter.acquire([Scope("ann", "Lite", amounts={"requests": 1, "tokens": 50_000})]))
    copy = limiter.resume(reservation.to_token())
    run(copy.settle(tokens=10))
    assert run(reservation.settle_each([{"requests": 1, "tokens": 10}])).repeated
    other = run(limiter.acquire([Scope("ann", "Lite", amounts={"requests": 1, "tokens": 50_000})]))
    assert other.estimate == {"requests": 1, "tokens": 50_000}
    assert run(other.cancel()).returned == {"requests": 1, "tokens": 50_000}
