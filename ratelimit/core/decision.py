"""The answer to a request for quota, and where every limit stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ratelimit.core.hold import Hold
from ratelimit.core.limit import BucketSpec, Layout

__all__ = ("Decision", "Standing", "decide", "standings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one limit stands, at the moment of the decision."""

    plan: str
    meter: str
    amount: int
    """The limit: this many per `period`."""
    period: float
    """Seconds."""
    burst: int
    """Most that fits at once."""
    remaining: int
    """What fits now; 0 while in debt."""
    debt: int
    """What has been used beyond the burst, and must drain before anything fits; rounded up."""
    reset_after_us: int
    """Microseconds until nothing is used, when nothing else happens."""
    retry_after_us: int
    """Microseconds until the cost asked for fits; 0 when it did."""

    @property
    def reset_after(self) -> float:
        """Seconds until nothing is used."""
        return self.reset_after_us / 1e6

    @property
    def retry_after(self) -> float:
        """Seconds until the cost asked for fits; 0 when it did."""
        return self.retry_after_us / 1e6


R = TypeVar("R")


class Decision(Generic[R]):
    """Allowed or refused, with a standing for every limit of every scope, in the order they were asked.

    The standings are worked out when somebody looks: most callers only want to know whether they may.
    """

    __slots__ = ("_holds", "_standings", "allowed", "reservation")

    def __init__(
        self,
        *,
        allowed: bool,
        standings: tuple[Standing, ...] | None = None,
        holds: Sequence[Hold] = (),
        reservation: R | None = None,
    ) -> None:
        self.allowed = allowed
        self.reservation = reservation
        """What to settle later; None when refused."""
        self._standings = standings
        self._holds = holds

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where every limit stands."""
        if self._standings is None:
            self._standings = tuple(
                standing
                for hold in self._holds
                for standing in standings(
                    hold.layout, hold.at, hold.lag, hold.levels, None if self.allowed else hold.costs
                )
            )
        return self._standings

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return self.allowed == other.allowed and self.standings == other.standings

    def __hash__(self) -> int:
        return hash((self.allowed, self.standings))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.allowed, self.standings))

    def __repr__(self) -> str:
        return f"Decision(allowed={self.allowed}, standings={self.standings})"

    @property
    def binding(self) -> Standing | None:
        """The limit that binds longest; None when the decision is to allow."""
        return None if self.allowed else max(self.standings, key=lambda standing: standing.retry_after_us)

    @property
    def retry_after_us(self) -> int:
        """Microseconds: refused at every instant before, admitted then, when nothing else happens."""
        return max(standing.retry_after_us for standing in self.standings)

    @property
    def retry_after(self) -> float:
        """Seconds after which the same cost fits, when nothing else happens; 0 when it did."""
        return self.retry_after_us / 1e6

    def __bool__(self) -> bool:
        return self.allowed

    def __str__(self) -> str:
        binding = self.binding
        if binding is None:
            return "allowed"
        return (
            f"{binding.meter} of plan {binding.plan!r} are used up ({binding.amount:,} per {binding.period:g} s, "
            f"{binding.remaining:,} left); retry in {binding.retry_after:.3f} s"
        )


def _rebuild(allowed: bool, standings: tuple[Standing, ...]) -> Decision[None]:
    return Decision(allowed=allowed, standings=standings)


def decide(allowed: bool, holds: Sequence[Hold], reservation: R | None = None) -> Decision[R]:
    """The decision that a backend's answer amounts to."""
    return Decision(allowed=allowed, holds=holds, reservation=reservation)


def standings(layout: Layout, at: int, lag: int, levels: Sequence[int], costs: Sequence[int] | None) -> list[Standing]:
    """Where every limit of a layout stands at `at`, and when `costs` (units, None: nothing) would fit.

    All times count from `lag` us before `at`, which is when the backend's clock made the decision.
    """
    asked = [0] * len(levels) if costs is None else costs
    return [
        _standing(layout.name, spec, at, lag, level, cost)
        for spec, level, cost in zip(layout.specs, levels, asked, strict=True)
    ]


def _standing(plan: str, spec: BucketSpec, at: int, lag: int, level: int, cost: int) -> Standing:
    left = spec.capacity - level
    return Standing(
        plan=plan,
        meter=spec.meter,
        amount=spec.amount,
        period=spec.period_us / 1e6,
        burst=spec.burst,
        remaining=left // spec.units if left > 0 else 0,
        debt=-(left // spec.units) if left < 0 else 0,
        reset_after_us=_until(spec, at, lag, level),
        retry_after_us=_until(spec, at, lag, cost - left) if cost else 0,
    )


def _until(spec: BucketSpec, at: int, lag: int, excess: int) -> int:
    """Microseconds until `excess` units have drained: to the first tick at which they have."""
    if excess <= 0:
        return 0
    ticks = -(-excess // spec.rate)
    return (at // spec.tick_us + ticks) * spec.tick_us - at + lag
