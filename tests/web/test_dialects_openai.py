"""Promises of `ratelimit.web.dialects.openai`, and of what all dialects share."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import CostExceedsLimit, Decision, Limit, Plan, Standing
from ratelimit.web.answer import Answer
from ratelimit.web.dialects import DIALECTS, OpenAI, Shortage
from ratelimit.web.wait import Wait
from tests.web.goldens import FOLDER, compare
from tests.web.situations import NOW, answers, request_id, standing_answers, standing_sets
from tests.web.standings import ANY_STANDINGS, plan_of, shortage, standing
from tests.web.trip import received, received_headers

DIALECT = OpenAI(request_id)
SITUATIONS = {**standing_answers(DIALECT), **answers(DIALECT)}
_RESET = re.compile(r"0s|\d+ms|(?:(?:\d+h)?\d+m)?\d+(?:\.\d{0,2}[1-9])?s")
_STATED = re.compile(r"Limit (\d+), Used (\d+), Requested (\d+)\. Please try again in (\S+)\.$")


def shown(*standings: Standing) -> dict[str, str]:
    """The standing headers by their names' ends, such as `remaining-tokens`."""
    headers = DIALECT.standing_headers(standings, NOW)
    return {name.decode().removeprefix("x-ratelimit-"): value.decode() for name, value in headers}


def error_of(answer: Answer) -> dict[str, Any]:
    """The error object, which has the four members that SDKs read."""
    (error,) = json.loads(answer.body).values()
    assert list(error) == ["message", "type", "param", "code"]
    assert isinstance(error, dict)
    return error


def refusal(plan: Plan, spent: dict[str, int], asked: dict[str, int], model: str | None = "m") -> Answer:
    """The 429 of a refusal by the engine, without jitter."""
    short = shortage(plan, spent, asked, model)
    return DIALECT.limited(short, Wait(short.decision.retry_after_us), NOW)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_answer_is_as_in_the_golden_file(situation: str) -> None:
    """Byte for byte."""
    compare(f"openai-{situation}", SITUATIONS[situation])


@pytest.mark.parametrize("situation", answers(DIALECT))
def test_an_answer_travels(situation: str) -> None:
    """h11 takes and returns it; it has a length, an id, and is in no cache."""
    answer = SITUATIONS[situation]
    assert received(answer) == answer
    headers = dict(answer.headers)
    assert len(headers) == len(answer.headers)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == str(len(answer.body)).encode()
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-request-id"] == request_id().encode()


@given(ANY_STANDINGS)
def test_whatever_stands_there_the_headers_are_valid(standings: list[Standing]) -> None:
    """Counts within the limit, and Go durations; each header once."""
    headers = DIALECT.standing_headers(standings, NOW)
    assert received_headers(headers) == headers
    values = shown(*standings)
    assert len(values) == len(headers)
    for name, value in values.items():
        if name.startswith("reset"):
            assert _RESET.fullmatch(value)
        elif name.startswith("remaining"):
            assert 0 <= int(value) <= int(values[name.replace("remaining", "limit")])
        else:
            assert int(value) > 0


def test_a_burst_above_the_amount_is_not_shown() -> None:
    """The limit is the amount per period, as in the plan, and no more than that is said to remain of it."""
    assert shown(standing("requests", amount=60, burst=5)) == {
        "limit-requests": "60",
        "remaining-requests": "5",
        "reset-requests": "0s",
    }
    assert shown(standing("requests", amount=60, burst=500))["remaining-requests"] == "60"


def test_of_several_limits_the_tightest_is_shown() -> None:
    """A minute and a day, a key and its organisation: least left as a share, then the later reset."""
    minute = standing(amount=60_000, remaining=30_000, reset_after_us=30_000_000)
    day = standing(amount=1_000_000, period=86_400.0, remaining=400_000, reset_after_us=51_840_000_000)
    assert shown(minute, day) == shown(day, minute) == shown(day)
    other = standing(amount=120_000, remaining=60_000, reset_after_us=30_000_001)
    assert shown(minute, other) == shown(other, minute) == shown(other)


def test_a_limit_that_refuses_comes_before_one_that_does_not() -> None:
    """So that a 429's headers show the limit that its body names."""
    refusing = standing(remaining=30_000, retry_after_us=1)
    passing = standing(amount=90_000, remaining=1)
    assert shown(passing, refusing) == shown(refusing)


def test_input_and_output_are_shown_as_tokens_if_nothing_else_is() -> None:
    """By the side that will refuse first; a limit of all tokens comes before both."""
    into, out = standing("input_tokens", remaining=40_000), standing("output_tokens", amount=8_000, remaining=2_000)
    assert shown(into, out)["limit-tokens"] == shown(out, into)["limit-tokens"] == shown(out)["limit-tokens"] == "8000"
    assert shown(into)["remaining-tokens"] == "40000"
    assert shown(into, out, standing(amount=70_000))["limit-tokens"] == "70000"


@pytest.mark.parametrize(
    ("amount", "used", "asked", "wait"),
    [
        (30_000, 14_567, 24_754, "18.642s"),
        (10_000, 8_554, 3_082, "9.816s"),
        (30_000, 29_937, 385, "644ms"),
    ],
)
def test_the_message_is_the_providers_own(amount: int, used: int, asked: int, wait: str) -> None:
    """The three public messages, word for word but for whose limit it is."""
    answer = refusal(plan_of(("tokens", amount, 60)), {"tokens": used}, {"tokens": asked}, "gpt-4o")
    assert error_of(answer) == {
        "message": f"Rate limit reached for gpt-4o in plan Team on tokens per min (TPM): Limit {amount}, Used {used}, "
        f"Requested {asked}. Please try again in {wait}.",
        "type": "tokens",
        "param": None,
        "code": "rate_limit_exceeded",
    }


def test_requests_have_a_type_of_their_own() -> None:
    """And the wait of the public sample, a third of a minute."""
    error = error_of(refusal(plan_of(("requests", 3, 60)), {"requests": 3}, {}, None))
    assert error["type"] == "requests"
    assert error["message"] == (
        "Rate limit reached in plan Team on requests per min (RPM): Limit 3, Used 3, Requested 1. "
        "Please try again in 20s."
    )


@pytest.mark.parametrize(
    ("meter", "period", "text"),
    [
        ("requests", "day", "requests per day (RPD)"),
        ("tokens", "day", "tokens per day (TPD)"),
        ("tokens", "hour", "tokens per hour (TPH)"),
        ("requests", "second", "requests per sec (RPS)"),
        ("input_tokens", 60, "input tokens per min (ITPM)"),
        ("output_tokens", 60, "output tokens per min (OTPM)"),
        ("images", 60, "images per min (IPM)"),
        ("requests", 30, "requests per 30 seconds"),
        ("requests", "500ms", "requests per 500 ms"),
    ],
)
def test_the_message_names_meter_and_period(meter: str, period: int | str, text: str) -> None:
    """With initials where there are some."""
    error = error_of(refusal(plan_of((meter, 5, period)), {meter: 5}, {meter: 2}))
    assert f" on {text}: Limit 5, Used 5, Requested 2." in error["message"]
    assert error["type"] == ("tokens" if meter.endswith("tokens") else meter)


def test_message_and_headers_name_the_limit_that_binds_longest() -> None:
    """Of a minute and a day that both refuse, the day; and what was asked of its meter."""
    plan = plan_of(("requests", 60, 60), ("tokens", 60_000, 60), ("tokens", 70_000, "day"))
    answer = refusal(plan, {"requests": 60, "tokens": 60_000}, {"tokens": 20_000})
    assert error_of(answer)["message"] == (
        "Rate limit reached for m in plan Team on tokens per day (TPD): Limit 70000, Used 60000, Requested 20000. "
        "Please try again in 3h25m42.858s."
    )
    headers = dict(answer.headers)
    assert headers[b"x-ratelimit-limit-tokens"] == b"70000"
    assert headers[b"x-should-retry"] == b"false"


@given(
    amount=st.integers(1, 10**6),
    burst=st.integers(1, 10**6),
    spent=st.integers(1, 2 * 10**6),
    asked=st.integers(1, 10**6),
)
def test_the_figures_of_a_message_give_its_wait(amount: int, burst: int, spent: int, asked: int) -> None:
    """Wait = (Used + Requested - Limit) / Limit x period, whatever the burst: clients compute with them."""
    plan = Plan("Team", limits=[Limit("tokens", amount, 60, burst=burst)])
    spent, asked = min(spent, burst), min(asked, burst)
    if spent + asked <= burst:
        return
    short = shortage(plan, {"tokens": spent}, {"tokens": asked})
    answer = DIALECT.limited(short, Wait(short.decision.retry_after_us), NOW)
    match = _STATED.search(error_of(answer)["message"])
    assert match is not None
    limit, used, requested = (int(group) for group in match.groups()[:3])
    assert (limit, requested) == (amount, asked)
    if burst <= amount + spent:
        over_us = (used + requested - limit) * 60_000_000 // amount
        assert abs(over_us - short.decision.retry_after_us) <= 1_000


def test_debt_counts_as_used() -> None:
    """An overrun of 5,000 is more used than there is, and the figures still give the wait."""
    owing = standing(remaining=0, debt=5_000, reset_after_us=65_000_000, retry_after_us=6_000_000)
    short = Shortage("m", Decision(allowed=False, standings=(owing,)), {"tokens": 1_000})
    message = error_of(DIALECT.limited(short, Wait(6_000_000), NOW))["message"]
    assert message.endswith("Limit 60000, Used 65000, Requested 1000. Please try again in 6s.")


@pytest.mark.parametrize("spread", [0.0, 0.37, 1.0])
def test_the_body_states_the_exact_wait_and_the_headers_never_less(spread: float) -> None:
    """Only the headers are spread."""
    short = shortage(plan_of(("tokens", 30_000, 60)), {"tokens": 14_567}, {"tokens": 24_754})
    answer = DIALECT.limited(short, Wait(short.decision.retry_after_us, spread), NOW)
    assert error_of(answer)["message"].endswith("Please try again in 18.642s.")
    assert int(dict(answer.headers)[b"retry-after-ms"]) == 18_642 + int(1_864.2 * spread + 0.999)


@given(st.text(max_size=300) | st.text(st.characters(categories=["Cc", "Cs", "Cf"]), max_size=300))
def test_a_model_can_say_nothing_but_its_name(model: str) -> None:
    """It is the client's text: printable, at most 64 characters, and left out when nothing remains."""
    message = error_of(refusal(plan_of(("requests", 3, 60)), {"requests": 3}, {}, model))["message"]
    assert message.isprintable()
    before, _, _ = message.rpartition(" in plan Team on requests per min (RPM): Limit 3, Used 3, Requested 1. ")
    assert before.startswith("Rate limit reached")
    assert len(before) <= len("Rate limit reached for ") + 64
    assert before == "Rate limit reached" or before.startswith("Rate limit reached for ")


def test_a_huge_model_name_costs_nothing() -> None:
    """What is looked at is bounded too."""
    message = error_of(refusal(plan_of(("requests", 3, 60)), {"requests": 3}, {}, "\0" * 10_000_000 + "x"))["message"]
    assert message.startswith("Rate limit reached in plan")


def test_what_can_never_fit_is_not_retried() -> None:
    """429 as the provider has it, no wait, and the words that say what to do."""
    answer = DIALECT.too_large(CostExceedsLimit(plan="Lite", meter="requests", cost=12, burst=10), None)
    headers = dict(answer.headers)
    assert headers[b"x-should-retry"] == b"false"
    assert not {b"retry-after", b"retry-after-ms"} & headers.keys()
    error = error_of(answer)
    assert (answer.status, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert error["message"] == (
        "Request too large in plan Lite on requests per request: Limit 10, Requested 12. "
        "The requests must be reduced in order to run successfully."
    )


def test_a_field_to_blame_and_a_message_are_cleaned() -> None:
    """Both may hold what the client sent."""
    error = error_of(DIALECT.bad_request("is \ud800bad\r\n" + "x" * 1_000, "n\0"))
    assert error["message"] == "is bad" + "x" * 506
    assert error["param"] == "n"
    assert error_of(DIALECT.bad_request("no", None))["param"] is None


def test_a_path_is_cleaned_and_cut() -> None:
    """It is whatever the client asked for."""
    error = error_of(DIALECT.not_found("GET", "/v1/\n" + "x" * 1_000))
    assert error["message"] == "Invalid URL (GET /v1/" + "x" * 124 + ")"


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_known_by_its_name(name: Any) -> None:
    """Routes call it so."""
    assert DIALECTS[name].name == name


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_every_answer_has_an_id_of_its_own(dialect: Any) -> None:
    """By which an operator finds it."""
    name = b"x-request-id" if dialect.name == "openai" else b"request-id"
    ids = {dict(dialect.unavailable().headers)[name] for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(rb"req_[0-9a-f]{24}", each) for each in ids)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_backend_that_is_down_promises_no_wait(dialect: Any) -> None:
    """Nobody knows one."""
    names = {name for name, _ in dialect.unavailable().headers}
    assert not names & {b"retry-after", b"retry-after-ms", b"x-should-retry"}


def test_no_golden_file_is_left_over() -> None:
    """Each is of a situation that still exists."""
    situations = {f"{name}-{each}" for name in DIALECTS for each in SITUATIONS} | {f"ietf-{s}" for s in standing_sets()}
    assert {file.stem for file in FOLDER.glob("*.txt")} == situations
