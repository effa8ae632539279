"""A trace against a plan: discrete events in virtual time, decided by the engine that serves real traffic.

Two kinds of event: a request arrives and is reserved at its estimate, or an admitted request is done and is settled
at its real usage. At one instant, what is done comes before what arrives. Refused requests do not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from ratelimit.errors import CostExceedsLimit, RateLimited
from ratelimit.limiter import Limiter
from ratelimit.plans import Plan
from ratelimit.replay.engine import open_limiter
from ratelimit.replay.estimate import estimator
from ratelimit.replay.report import PlanReport
from ratelimit.replay.tally import Tally
from ratelimit.replay.trace import Request
from ratelimit.replay.workload import Arrival, Settings, offer
from ratelimit.reservation import Reservation
from ratelimit.testing import ManualClock

__all__ = ("replay",)

_PROGRESS_EVERY = 200
"""Requests between two calls of a progress function."""


def replay(
    requests: Sequence[Request],
    plan: Plan,
    settings: Settings | None = None,
    *,
    backend: str = "memory://",
    progress: Callable[[int], None] | None = None,
) -> PlanReport:
    """Offer the requests of a trace to a plan and report what came of them. Deterministic, whatever the backend.

    Args:
        requests: a trace, in order of arrival.
        plan: what every key is limited by.
        settings: what the trace does not say; by default all requests come from one key.
        backend: URL of the state, as of `Limiter.from_url`; keys get a prefix of their own and expire by themselves.
        progress: called now and then with the number of requests offered since the last call.

    Raises:
        ConfigError: a setting or a URL that cannot be right.
        BackendError: the backend could not decide.
    """
    settings = settings or Settings()
    clock = ManualClock()
    arrivals = offer(requests, settings)
    with open_limiter(backend, clock) as limiter:
        run = _Run(limiter, clock, plan, settings)
        unreported = 0
        for arrival in arrivals:
            run.arrive(arrival)
            unreported += 1
            if progress is not None and unreported == _PROGRESS_EVERY:
                progress(unreported)
                unreported = 0
        run.finish(until_us=None)
    if progress is not None:
        progress(unreported)
    return run.tally.report(minutes=arrivals[-1].at_us / 60e6 if arrivals else 0.0)


class _Run:
    """One replay under way."""

    def __init__(self, limiter: Limiter, clock: ManualClock, plan: Plan, settings: Settings) -> None:
        self.tally = Tally(plan)
        self._limiter = limiter
        self._clock = clock
        self._start_us = clock()
        self._plan = plan
        self._estimator = estimator(settings.estimate, settings.max_tokens)
        self._open: list[tuple[int, int, Arrival, Reservation]] = []
        self._admitted = 0

    def arrive(self, arrival: Arrival) -> None:
        """Settle what is done by now, then decide on this request."""
        self.finish(until_us=arrival.at_us)
        self._clock.set(self._start_us + arrival.at_us)
        request = arrival.request
        self.tally.offered(arrival.key, request.tokens)
        estimate = _cost(request.input_tokens, self._estimator.output_tokens(request))
        reservation = self._reserve(arrival.key, estimate)
        if reservation is None:
            return
        self.tally.admitted(
            arrival.key,
            arrival.at_us,
            reserved_tokens=estimate["tokens"],
            usage={"requests": 1, **_cost(request.input_tokens, request.output_tokens)},
        )
        # The count keeps the order of arrival among those that are done at the same instant.
        self._admitted += 1
        heappush(self._open, (arrival.done_us, self._admitted, arrival, reservation))

    def finish(self, *, until_us: int | None) -> None:
        """Settle, in order, every open request that is done by then; None: all of them."""
        while self._open and (until_us is None or self._open[0][0] <= until_us):
            done_us, _, arrival, reservation = heappop(self._open)
            self._clock.set(self._start_us + done_us)
            request = arrival.request
            self.tally.settled(reservation.settle(**_cost(request.input_tokens, request.output_tokens)))
            self._estimator.finished(request.output_tokens)

    def _reserve(self, key: str, estimate: dict[str, int]) -> Reservation | None:
        try:
            return self._limiter.acquire(
                key,
                plan=self._plan,
                tokens=estimate["tokens"],
                input_tokens=estimate["input_tokens"],
                output_tokens=estimate["output_tokens"],
            )
        except CostExceedsLimit:
            self.tally.too_large()
            return None
        except RateLimited as refused:
            self.tally.refused(max(refused.decision.standings, key=lambda standing: standing.retry_after_us))
            return None


def _cost(input_tokens: int, output_tokens: int) -> dict[str, int]:
    """Amounts of every token meter that a plan may limit."""
    return {"tokens": input_tokens + output_tokens, "input_tokens": input_tokens, "output_tokens": output_tokens}
