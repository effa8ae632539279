"""P8 within the process: the express lane and the general way give the same integers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit import CostExceedsLimit, Limiter, PlanRegistry, RateLimited
from ratelimit.backends.memory import MemoryBackend
from ratelimit.express import ExpressReservation
from ratelimit.reservation import Reservation
from ratelimit.testing import ManualClock

SUBJECTS = ("ann", "bob")
steps = st.one_of(
    st.tuples(st.just("acquire"), st.sampled_from(SUBJECTS), st.integers(0, 12), st.integers(0, 62_000)),
    st.tuples(st.just("settle"), st.integers(0, 20), st.integers(0, 3), st.one_of(st.none(), st.integers(0, 90_000))),
    st.tuples(st.just("clock"), st.one_of(st.integers(-6_000_000, 0), st.integers(0, 90_000_000), st.integers(0, 999))),
)


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
