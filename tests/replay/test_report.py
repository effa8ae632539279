"""Promises of `ratelimit.replay.report`."""

from __future__ import annotations

import json
from dataclasses import replace

from ratelimit.plans import Plan, PlanRegistry
from ratelimit.replay.report import LimitReport, PlanReport, advise

LIMIT = LimitReport(
    name="tokens per minute",
    meter="tokens",
    amount=600,
    burst=900,
    period_s=60.0,
    refused=3,
    largest_burst=750,
    largest_debt=0,
)
REPORT = PlanReport(
    plan="Pro",
    tpm=600,
    minutes=2.0,
    keys=3,
    offered_requests=10,
    admitted_requests=5,
    too_large_requests=2,
    offered_tokens=5_000,
    admitted_tokens=1_800,
    reserved_tokens=2_700,
    overrun_tokens=10,
    limits=(LIMIT,),
)


def with_admitted(*counts: int) -> list[PlanReport]:
    """Reports of the built-in plans over 10,000 requests."""
    return [
        replace(REPORT, plan=plan.name, offered_requests=10_000, admitted_requests=count)
        for plan, count in zip(PlanRegistry(), counts, strict=True)
    ]


def test_shares_follow_from_the_counts() -> None:
    """Refusals, shares and bounds are what the counts say, by the definitions in their docstrings."""
    assert REPORT.refused_requests == 5
    assert REPORT.admitted_share == 0.5
    assert REPORT.tpm_share == 1_800 / (600 * 2 * 3)
    assert REPORT.over_reservation == 1.5
    assert (LIMIT.bound, LIMIT.burst_share) == (1_500, 0.5)


def test_shares_that_mean_nothing_are_none() -> None:
    """No share of a limit that is not there or of less than a minute, and no ratio to nothing."""
    assert replace(REPORT, tpm=None).tpm_share is None
    assert replace(REPORT, minutes=0.99).tpm_share is None
    assert replace(REPORT, admitted_tokens=0).over_reservation is None
    assert replace(REPORT, offered_requests=0, admitted_requests=0).admitted_share == 1.0


def test_a_report_is_json() -> None:
    """`to_dict` holds every field and every derived number, and survives JSON."""
    body = json.loads(json.dumps(REPORT.to_dict()))
    assert body["plan"] == "Pro"
    assert body["refused_requests"] == 5
    assert body["limits"][0]["bound"] == 1_500
    assert body == REPORT.to_dict()


def test_the_smallest_plan_that_admits_enough_is_advised() -> None:
    """99 % is enough, and of several plans that admit it the one with the fewest tokens per minute is named."""
    advice = advise(list(PlanRegistry()), with_admitted(10, 9_899, 9_900, 10_000))
    assert advice.plan == "MAX 5X"
    assert advice.text == "MAX 5X is the smallest of these plans that admits at least 99 % of the requests (99.00 %)."


def test_size_decides_and_not_order() -> None:
    """A plan without a limit on tokens counts as the largest, wherever it stands."""
    plans = [Plan("Endless", rpm=1), Plan("Big", tpm=900), Plan("Small", tpm=100)]
    reports = [replace(REPORT, plan=plan.name, admitted_requests=10) for plan in plans]
    assert advise(plans, reports).plan == "Small"
    assert advise(plans[:2], reports[:2]).plan == "Big"


def test_when_no_plan_is_enough_it_says_so() -> None:
    """Without a plan that admits 99 % the advice names none, and which comes nearest, rounded down."""
    advice = advise(list(PlanRegistry()), with_admitted(10, 20, 9_899, 30))
    assert advice.plan is None
    assert advice.text == "None of these plans admits 99 % of the requests; MAX 5X comes nearest (98.99 %)."
