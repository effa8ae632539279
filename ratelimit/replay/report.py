"""What a replay found out, as values: one report per plan, and which plan the traffic needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf

from ratelimit.plans import Plan

__all__ = ("ENOUGH", "Advice", "LimitReport", "PlanReport", "advise")

ENOUGH = 0.99
"""Share of the requests that a plan has to admit to be recommended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReport:
    """What one limit of a plan did. Amounts are the meter's own (requests, tokens)."""

    name: str
    """The limit without its amount: "tokens per minute"."""
    meter: str
    amount: int
    burst: int
    period_s: float
    refused: int
    """Requests refused while this limit bound longest."""
    largest_burst: int
    """Most real use that one key was admitted within any one period, counted at admission."""
    largest_debt: int
    """Most that one key ever used beyond its full burst; comes from overruns only."""

    @property
    def bound(self) -> int:
        """Most that any one period may admit: what fits at once and what drains meanwhile. Overruns may pass it."""
        return self.burst + self.amount

    @property
    def burst_share(self) -> float:
        """Largest burst as a share of the bound."""
        return self.largest_burst / self.bound

    def to_dict(self) -> dict[str, object]:
        """Every number, for JSON."""
        return {**asdict(self), "bound": self.bound, "burst_share": round(self.burst_share, 6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What happened to a trace under one plan."""

    plan: str
    tpm: int | None
    """Tokens per minute and key that the plan allows; None when it does not limit them."""
    minutes: float
    """From the first arrival to the last, at the replayed speed."""
    keys: int
    """Keys that sent at least one request."""
    offered_requests: int
    admitted_requests: int
    too_large_requests: int
    """Requests refused because their estimate can never fit the plan."""
    offered_tokens: int
    admitted_tokens: int
    """Tokens really used by the admitted requests."""
    reserved_tokens: int
    """Tokens estimated for the admitted requests."""
    overrun_tokens: int
    """Tokens used beyond the estimate, over the admitted requests that did."""
    limits: tuple[LimitReport, ...]

    @property
    def refused_requests(self) -> int:
        """Requests refused, by a limit or because they are too large."""
        return self.too_large_requests + sum(limit.refused for limit in self.limits)

    @property
    def admitted_share(self) -> float:
        """Share of the requests that were admitted."""
        return self.admitted_requests / self.offered_requests if self.offered_requests else 1.0

    @property
    def tpm_share(self) -> float | None:
        """Real use as a share of TPM x minutes x keys; None without such a limit, or when less than a minute passed.

        Can exceed 1: what fits at once comes on top of what drains per minute.
        """
        if self.tpm is None or self.minutes < 1:
            return None
        return self.admitted_tokens / (self.tpm * self.minutes * self.keys)

    @property
    def over_reservation(self) -> float | None:
        """Tokens reserved per token used; None when none was used."""
        return self.reserved_tokens / self.admitted_tokens if self.admitted_tokens else None

    def to_dict(self) -> dict[str, object]:
        """Every number, for JSON."""
        return {
            **asdict(self),
            "minutes": round(self.minutes, 6),
            "refused_requests": self.refused_requests,
            "admitted_share": round(self.admitted_share, 6),
            "tpm_share": _rounded(self.tpm_share),
            "over_reservation": _rounded(self.over_reservation),
            "limits": [limit.to_dict() for limit in self.limits],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The plan that the traffic needs, and a line that says so. `plan` is None when none of the plans is enough."""

    plan: str | None
    text: str


def advise(plans: Sequence[Plan], reports: Sequence[PlanReport]) -> Advice:
    """The smallest plan (fewest tokens, then requests, per minute) that admits 99 % of the requests."""
    ranked = sorted(zip(plans, reports, strict=True), key=lambda pair: (pair[0].tpm or inf, pair[0].rpm or inf))
    for plan, report in ranked:
        if report.admitted_share >= ENOUGH:
            enough = f"at least {ENOUGH * 100:g} % of the requests ({_percent(report)})"
            return Advice(plan=plan.name, text=f"{plan.name} is the smallest of these plans that admits {enough}.")
    _, nearest = max(ranked, key=lambda pair: pair[1].admitted_share)
    share = _percent(nearest)
    return Advice(
        plan=None,
        text=f"None of these plans admits {ENOUGH * 100:g} % of the requests; {nearest.plan} comes nearest ({share}).",
    )


def _percent(report: PlanReport) -> str:
    # Rounded down, in integers: 99.997 % must not read as all of them, nor 98.996 % as enough.
    return f"{report.admitted_requests * 10_000 // (report.offered_requests or 1) / 100:.2f} %"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
