"""Promises of `ratelimit.web.dialects.anthropic`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import CostExceedsLimit, Standing
from ratelimit.web.answer import Answer
from ratelimit.web.dialects import Anthropic
from ratelimit.web.wait import Wait
from tests.web.goldens import compare
from tests.web.situations import NOW, answers, request_id, standing_answers
from tests.web.standings import ANY_STANDINGS, plan_of, shortage, standing
from tests.web.trip import received, received_headers

DIALECT = Anthropic(request_id)
SITUATIONS = {**standing_answers(DIALECT), **answers(DIALECT)}
TYPES = {
    "limited-requests": "rate_limit_error",
    "limited-tokens": "rate_limit_error",
    "limited-output": "rate_limit_error",
    "limited-for-long": "rate_limit_error",
    "too-large": "rate_limit_error",
    "no-key": "authentication_error",
    "unknown-key": "authentication_error",
    "bad-request": "invalid_request_error",
    "body-too-large": "request_too_large",
    "body-too-slow": "timeout_error",
    "not-found": "not_found_error",
    "unavailable": "overloaded_error",
}


def shown(*standings: Standing, now: float = NOW) -> dict[str, str]:
    """The standing headers by their names' ends, such as `input-tokens-limit`."""
    headers = DIALECT.standing_headers(standings, now)
    return {name.decode().removeprefix("anthropic-ratelimit-"): value.decode() for name, value in headers}


def message_of(answer: Answer) -> str:
    """The message of an error in the provider's envelope."""
    document = json.loads(answer.body)
    assert list(document) == ["type", "error", "request_id"]
    assert document["type"] == "error"
    assert list(document["error"]) == ["type", "message"]
    return str(document["error"]["message"])


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_answer_is_as_in_the_golden_file(situation: str) -> None:
    """Byte for byte."""
    compare(f"anthropic-{situation}", SITUATIONS[situation])


@pytest.mark.parametrize("situation", answers(DIALECT))
def test_an_answer_travels(situation: str) -> None:
    """h11 takes and returns it; its type is one that the SDK knows, and body and header name the same id."""
    answer = SITUATIONS[situation]
    assert received(answer) == answer
    headers = dict(answer.headers)
    assert len(headers) == len(answer.headers)
    assert headers[b"content-length"] == str(len(answer.body)).encode()
    assert headers[b"cache-control"] == b"no-store"
    document = json.loads(answer.body)
    assert document["error"]["type"] == TYPES[situation]
    assert document["request_id"] == headers[b"request-id"].decode() == request_id()


@given(ANY_STANDINGS, st.floats(0, 2**40))
def test_whatever_stands_there_the_headers_are_valid(standings: list[Standing], now: float) -> None:
    """Counts within the limit, and times that are not over yet; each header once."""
    headers = DIALECT.standing_headers(standings, now)
    assert received_headers(headers) == headers
    values = shown(*standings, now=now)
    assert len(values) == len(headers)
    for name, value in values.items():
        if name.endswith("reset"):
            reset = datetime.fromisoformat(value)
            assert reset.year == 9999 or reset.timestamp() >= now
        elif name.endswith("remaining"):
            assert 0 <= int(value) <= int(values[name.replace("remaining", "limit")])
        else:
            assert int(value) > 0


def test_all_families_that_the_plan_has_are_shown() -> None:
    """Twelve headers at most, and none for meters that the provider does not have."""
    meters = ("requests", "tokens", "input_tokens", "output_tokens", "images")
    values = shown(*(standing(meter) for meter in meters))
    assert set(values) == {
        f"{family}-{part}"
        for family in ("requests", "tokens", "input-tokens", "output-tokens")
        for part in ("limit", "remaining", "reset")
    }


@pytest.mark.parametrize(
    ("limit", "remaining", "text"),
    [
        (60_000, 58_499, "58000"),
        (60_000, 58_500, "59000"),
        (60_000, 499, "0"),
        (59_600, 59_600, "59600"),
        (59_600, 59_499, "59000"),
        (1_000, 400, "0"),
        (999, 998, "998"),
    ],
)
def test_remaining_tokens_are_rounded_to_the_nearest_thousand(limit: int, remaining: int, text: str) -> None:
    """Within the limit; exact where the limit has no thousands."""
    assert shown(standing(amount=limit, remaining=remaining))["tokens-remaining"] == text


def test_remaining_requests_are_exact() -> None:
    """There are few enough."""
    assert shown(standing("requests", amount=1_200, remaining=1_199))["requests-remaining"] == "1199"


@pytest.mark.parametrize(
    ("now", "reset_after_us", "text"),
    [
        (1_755_780_059.0, 0, "2025-08-21T12:40:59Z"),
        (1_755_780_059.0, 1, "2025-08-21T12:41:00Z"),
        (1_755_780_059.25, 750_000, "2025-08-21T12:41:00Z"),
        (1_755_780_059.25, 750_001, "2025-08-21T12:41:01Z"),
    ],
)
def test_a_reset_is_when_nothing_is_used_any_more(now: float, reset_after_us: int, text: str) -> None:
    """Rounded up to the second."""
    assert shown(standing(reset_after_us=reset_after_us), now=now)["tokens-reset"] == text


def test_a_refusal_says_how_long_to_wait_as_the_other_dialect_does() -> None:
    """And where the limits stand."""
    short = shortage(plan_of(("tokens", 30_000, 60)), {"tokens": 14_567}, {"tokens": 24_754})
    headers = dict(DIALECT.limited(short, Wait(short.decision.retry_after_us, 0.5), NOW).headers)
    assert headers[b"retry-after"] == b"20"
    assert headers[b"retry-after-ms"] == b"19575"
    assert headers[b"anthropic-ratelimit-tokens-limit"] == b"30000"


@pytest.mark.parametrize(
    ("meter", "period", "text", "remedy"),
    [
        ("tokens", 60, "60,000 tokens per minute", "reduce the prompt length or the maximum tokens requested, or "),
        (
            "input_tokens",
            "day",
            "60,000 input tokens per day",
            "reduce the prompt length or the maximum tokens requested, or ",
        ),
        ("requests", 30, "60,000 requests per 30 seconds", ""),
    ],
)
def test_the_message_names_the_limit(meter: str, period: int | str, text: str, remedy: str) -> None:
    """In words, with whom it binds and what helps."""
    short = shortage(plan_of((meter, 60_000, period), name="MAX 5X"), {meter: 60_000}, {meter: 1_000})
    assert message_of(DIALECT.limited(short, Wait(short.decision.retry_after_us), NOW)) == (
        f"This request would exceed your plan's rate limit of {text} (plan: MAX 5X, model: minimax-m2.5). "
        f"You can see the response headers for current usage. Please {remedy}try again later."
    )


@given(st.none() | st.text(max_size=300) | st.text(st.characters(categories=["Cc", "Cs", "Cf"]), max_size=300))
def test_a_model_can_say_nothing_but_its_name(model: str | None) -> None:
    """It is the client's text: printable, at most 64 characters, and left out when nothing remains."""
    short = shortage(plan_of(("requests", 3, 60)), {"requests": 3}, {}, model)
    message = message_of(DIALECT.limited(short, Wait(short.decision.retry_after_us), NOW))
    assert message.isprintable()
    about = message.partition("(plan: Team")[2].rpartition("). You can see")[0]
    assert about == "" or about.startswith(", model: ")
    assert len(about) <= len(", model: ") + 64


def test_what_can_never_fit_is_not_retried() -> None:
    """429, no wait."""
    answer = DIALECT.too_large(CostExceedsLimit(plan="Lite", meter="tokens", cost=61_500, burst=60_000), None)
    headers = dict(answer.headers)
    assert (answer.status, headers[b"x-should-retry"]) == (429, b"false")
    assert not {b"retry-after", b"retry-after-ms"} & headers.keys()


@pytest.mark.parametrize("missing", [True, False])
def test_without_a_known_key_the_client_is_told_how_to_send_one(missing: bool) -> None:
    """RFC 9110: a 401 names the scheme."""
    answer = DIALECT.unauthorized(missing=missing)
    assert answer.status == 401
    assert dict(answer.headers)[b"www-authenticate"] == b"Bearer"


@pytest.mark.parametrize(("param", "begin"), [("max_tokens", "max_tokens: is"), (None, "is"), ("\0", "is")])
def test_the_field_to_blame_begins_the_message(param: Any, begin: str) -> None:
    """The provider's errors have no member for it."""
    assert message_of(DIALECT.bad_request("is \ud800bad\r\n", param)) == f"{begin} bad"
