"""Counts what happens during a replay. Knows each request's real usage, which the engine learns only at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ratelimit.core.decision import Standing
from ratelimit.core.settlement import Settlement
from ratelimit.plans import Limit, Plan
from ratelimit.replay.report import LimitReport, PlanReport

__all__ = ("Tally",)


class _Window:
    """What one key was admitted within the last period, as a sliding sum."""

    __slots__ = ("admitted", "total")

    def __init__(self) -> None:
        self.admitted: deque[tuple[int, int]] = deque()
        self.total = 0

    def add(self, at_us: int, amount: int, period_us: int) -> int:
        """Take in what was admitted now; returns the sum over the period that ends now, both ends included."""
        self.admitted.append((at_us, amount))
        self.total += amount
        while self.admitted[0][0] < at_us - period_us:
            self.total -= self.admitted.popleft()[1]
        return self.total


class _LimitTally:
    """One limit. The largest window ends at an admission, so looking at each admission misses none."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.refused = 0
        self._largest_burst = 0
        self._debt_units = 0
        self._windows: dict[str, _Window] = {}

    def admitted(self, key: str, at_us: int, amount: int) -> None:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        self._largest_burst = max(self._largest_burst, window.add(at_us, amount, self.limit.period_us))

    def settled(self, level: int) -> None:
        """A settle left this level, in units; only a settle can leave more than the bucket holds."""
        self._debt_units = max(self._debt_units, level - self.limit.spec.capacity)

    def report(self) -> LimitReport:
        limit = self.limit
        return LimitReport(
            name=str(limit.spec).partition(" ")[2],  # "600,000 tokens per minute" without its amount
            meter=limit.meter,
            amount=limit.amount,
            burst=limit.burst,
            period_s=limit.period_us / 1e6,
            refused=self.refused,
            largest_burst=self._largest_burst,
            largest_debt=-(-self._debt_units // limit.spec.units),
        )


class Tally:
    """Everything that a :class:`PlanReport` tells, counted as it happens."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._limits = [_LimitTally(limit) for limit in plan.limits]
        self._by_period = {(tally.limit.meter, tally.limit.period_us / 1e6): tally for tally in self._limits}
        self._keys: set[str] = set()
        self._offered = self._admitted = self._too_large = 0
        self._offered_tokens = self._admitted_tokens = self._reserved_tokens = self._overrun_tokens = 0

    def offered(self, key: str, tokens: int) -> None:
        """A request arrived that will really use this many tokens."""
        self._keys.add(key)
        self._offered += 1
        self._offered_tokens += tokens

    def admitted(self, key: str, at_us: int, *, reserved_tokens: int, usage: Mapping[str, int]) -> None:
        """It was let through at an estimate; `usage` is what it will really use, per meter."""
        tokens = usage["tokens"]
        self._admitted += 1
        self._admitted_tokens += tokens
        self._reserved_tokens += reserved_tokens
        self._overrun_tokens += max(0, tokens - reserved_tokens)
        for tally in self._limits:
            tally.admitted(key, at_us, usage.get(tally.limit.meter, 0))

    def refused(self, binding: Standing) -> None:
        """It was refused, and this limit bound longest."""
        self._by_period[(binding.meter, binding.period)].refused += 1

    def too_large(self) -> None:
        """It was refused because its estimate can never fit."""
        self._too_large += 1

    def settled(self, settlement: Settlement) -> None:
        """A request finished and its estimate became its real usage."""
        for _, _, levels, _ in settlement.outcomes:
            for tally, level in zip(self._limits, levels, strict=True):
                tally.settled(level)

    def report(self, minutes: float) -> PlanReport:
        """The report so far; `minutes` is the time that the requests were offered in."""
        return PlanReport(
            plan=self._plan.name,
            tpm=self._plan.tpm,
            minutes=minutes,
            keys=len(self._keys),
            offered_requests=self._offered,
            admitted_requests=self._admitted,
            too_large_requests=self._too_large,
            offered_tokens=self._offered_tokens,
            admitted_tokens=self._admitted_tokens,
            reserved_tokens=self._reserved_tokens,
            overrun_tokens=self._overrun_tokens,
            limits=tuple(tally.report() for tally in self._limits),
        )
