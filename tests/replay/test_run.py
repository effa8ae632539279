"""Promises of `ratelimit.replay.run`, and of what `ratelimit.replay.tally` counts for it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.plans import Limit, Plan
from ratelimit.replay import Estimate, PlanReport, Request, Settings, replay

EXACT = Settings(estimate=Estimate.EXACT)
SECOND = 1_000_000

# One request drains in 10 s, one token in 0.1 s.
TINY = Plan("Tiny", rpm=6, tpm=600)
GOLDEN = [
    Request(0, 200, 100),  # 300 of 600 tokens
    Request(1 * SECOND, 250, 50),  # 290 are left in the bucket, 590 now
    Request(2 * SECOND, 20, 10),  # 580 + 30 do not fit
    Request(3 * SECOND, 20, 10),  # 570 + 30 just do
    Request(4 * SECOND, 600, 1),  # never fits
    *[Request(63 * SECOND, 1, 0)] * 7,  # all has drained: six fit, the seventh is a request too many
]


def counts(report: PlanReport) -> tuple[int, int, int, dict[str, int]]:
    return (
        report.offered_requests,
        report.admitted_requests,
        report.too_large_requests,
        {limit.meter: limit.refused for limit in report.limits},
    )


def test_the_golden_trace() -> None:
    """A trace worked out by hand: who is refused by what, what is used, and the largest burst of each limit."""
    report = replay(GOLDEN, TINY, EXACT)
    assert counts(report) == (12, 9, 1, {"requests": 1, "tokens": 1})
    assert (report.offered_tokens, report.admitted_tokens, report.reserved_tokens) == (1_268, 636, 636)
    assert (report.minutes, report.keys, report.tpm, report.overrun_tokens) == (1.05, 1, 600, 0)
    requests, tokens = report.limits
    assert (requests.name, requests.largest_burst, requests.bound) == ("requests per minute", 7, 12)  # from 3 s to 63 s
    assert (tokens.name, tokens.largest_burst, tokens.bound) == ("tokens per minute", 630, 1_200)  # from 0 s to 3 s


def test_a_window_holds_both_of_its_ends() -> None:
    """Two admissions exactly one period apart are in one window; a microsecond more and they are not."""
    for gap_us, most in ((60 * SECOND, 2), (60 * SECOND + 1, 1)):
        report = replay([Request(0, 1, 0), Request(gap_us, 1, 0)], TINY, EXACT)
        assert report.limits[0].largest_burst == most


def test_an_overrun_is_debt() -> None:
    """What is used beyond the estimate is charged at the end, and the most that a key owed is reported."""
    trace = [
        Request(0, 590, 110),  # reserves 600, done at 2.7 s: 573 + 100 are 73 too many
        Request(10 * SECOND - 1, 1, 0),  # 0.01 token too early: one and the reserve of 10 are owed first
        Request(11 * SECOND + 100_000, 1, 0),  # 589 + 11 fit
    ]
    report = replay(trace, Plan("P", tpm=600), Settings(estimate=Estimate.MAX, max_tokens=10))
    assert counts(report) == (3, 2, 0, {"tokens": 1})
    assert (report.overrun_tokens, report.reserved_tokens, report.limits[0].largest_debt) == (100, 611, 73)
    assert report.limits[0].largest_burst == 701


def test_what_was_not_used_comes_back_when_the_request_is_done() -> None:
    """Until a request is done its estimate is held; at that very moment the rest is free for others."""
    settings = Settings(estimate=Estimate.MAX, max_tokens=599)
    plan = Plan("P", tpm=600)
    done_us = 500_000
    assert counts(replay([Request(0, 1, 0), Request(done_us - 1, 1, 0)], plan, settings))[1] == 1
    assert counts(replay([Request(0, 1, 0), Request(done_us, 0, 0)], plan, settings))[1] == 2


def test_reservations_that_are_parked_while_the_bucket_refills_give_nothing_back() -> None:
    """Reserve a whole bucket twice over, wait until it has drained, use it, and finish unused: no second bucketful."""
    parked, real = (1, 0), (1, 599)  # both reserve 600
    plan = Plan("P", limits=[Limit("tokens", 600, "minute", burst=1_200)])
    settings = Settings(estimate=Estimate.MAX, max_tokens=599, first_token_s=241, tokens_per_second=1e6)
    attack = [(0, parked), (120, parked), (240, real), (241, real)]
    report = replay([Request(at * SECOND, *tokens) for at, tokens in attack for _ in range(2)], plan, settings)
    assert counts(report) == (8, 6, 0, {"tokens": 2})
    assert report.limits[0].largest_burst == 1_200


def test_learning_starts_with_what_has_finished() -> None:
    """The learned estimate reserves max_tokens until 20 requests are done, and then what was seen."""
    trace = [Request(at * SECOND, 0, 10) for at in range(25)]
    report = replay(trace, Plan("P", tpm=10**6), Settings(max_tokens=1_000))
    assert report.reserved_tokens == 20 * 1_000 + 5 * 10


def test_input_and_output_limits_are_charged() -> None:
    """A plan may limit input and output tokens apart, over periods of their own."""
    plan = Plan("P", limits=[Limit("input_tokens", 100, "hour"), Limit("output_tokens", 10, "second", burst=20)])
    report = replay([Request(0, 60, 5), Request(1, 10, 16), Request(2, 41, 0), Request(3, 40, 0)], plan, EXACT)
    assert counts(report) == (4, 2, 0, {"input_tokens": 1, "output_tokens": 1})
    assert [(limit.name, limit.largest_burst, limit.bound) for limit in report.limits] == [
        ("input_tokens per hour", 100, 200),
        ("output_tokens per second", 5, 30),
    ]


def test_every_key_has_the_plan_to_itself() -> None:
    """Keys do not share quota, and those that sent anything are counted."""
    report = replay([Request(0, 0, 0)] * 100, Plan("P", rpm=10), Settings(keys=3))
    assert report.keys == 3
    assert report.admitted_requests == 30
    assert report.limits[0].largest_burst == 10


def test_speed_offers_more_per_minute() -> None:
    """A trace that just fits a plan does not at twice its speed."""
    trace = [Request(at * 10 * SECOND, 0, 0) for at in range(100)]
    assert replay(trace, TINY, EXACT).refused_requests == 0
    doubled = replay(trace, TINY, Settings(estimate=Estimate.EXACT, speed=2))
    assert (doubled.refused_requests > 40, doubled.minutes) == (True, 8.25)


def test_nothing_offered_is_nothing_done() -> None:
    """An empty trace gives an empty report."""
    assert counts(replay([], TINY)) == (0, 0, 0, {"requests": 0, "tokens": 0})


def test_progress_adds_up() -> None:
    """What the progress function is told adds up to the requests of the trace."""
    told: list[int] = []
    replay([Request(0, 0, 0)] * 450, TINY, progress=told.append)
    assert told == [200, 200, 50]


requests = st.builds(
    Request,
    st.integers(0, 120 * SECOND),
    st.integers(0, 400),
    st.one_of(st.just(0), st.integers(0, 400)),
)
traces = st.lists(requests, max_size=60).map(lambda trace: sorted(trace, key=lambda request: request.at_us))
plans = st.builds(
    lambda rpm, tpm, hourly, burst: Plan("P", rpm=rpm, tpm=tpm, limits=[Limit("tokens", hourly, "30s", burst=burst)]),
    st.integers(1, 50),
    st.integers(1, 3_000),
    st.integers(1, 3_000),
    st.integers(1, 3_000),
)


@settings(deadline=None)
@given(traces, plans, st.integers(1, 3))
def test_known_usage_never_passes_the_bound(trace: list[Request], plan: Plan, keys: int) -> None:
    """With exact estimates no period of any limit admits more than burst + amount, and nothing is ever owed."""
    report = replay(trace, plan, Settings(estimate=Estimate.EXACT, keys=keys))
    for limit in report.limits:
        assert limit.largest_burst <= limit.bound
        assert limit.largest_debt == 0
    assert report.overrun_tokens == 0


@settings(deadline=None)
@given(traces, plans, st.sampled_from(Estimate), st.integers(1, 800), st.integers(1, 3))
def test_every_request_is_accounted_for(
    trace: list[Request], plan: Plan, estimate: Estimate, max_tokens: int, keys: int
) -> None:
    """Offered is admitted plus refused, and only overruns can carry a burst past the bound: never a refund."""
    report = replay(trace, plan, Settings(estimate=estimate, max_tokens=max_tokens, keys=keys))
    assert report.offered_requests == len(trace) == report.admitted_requests + report.refused_requests
    assert report.offered_tokens == sum(request.tokens for request in trace) >= report.admitted_tokens
    for limit in report.limits:
        assert limit.largest_burst <= limit.bound + report.overrun_tokens
        assert limit.largest_debt <= report.overrun_tokens
