"""Promises of `ratelimit.web.ietf`; `http_sf` is the oracle for structured fields (RFC 9651)."""

from __future__ import annotations

from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import Limiter, Standing
from ratelimit.backends.memory import MemoryBackend
from ratelimit.testing import ManualClock
from ratelimit.web.answer import Answer
from ratelimit.web.ietf import ietf_headers
from tests.web.goldens import compare
from tests.web.situations import standing_sets
from tests.web.standings import ANY_STANDINGS, decide, plan_of, standing
from tests.web.trip import received_headers

SECOND = 1_000_000
LITE = plan_of(("requests", 10, 60), ("tokens", 60_000, 60), name="Lite")


def fields(*standings: Standing) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """`RateLimit` and `RateLimit-Policy` as parsed: parameters by name. Both are lists of strings."""
    parsed = []
    for _, value in ietf_headers(standings):
        items: Any = http_sf.parse(value, tltype="list")
        assert all(type(name) is str for name, _ in items)
        assert len({name for name, _ in items}) == len(items)
        parsed.append(dict(items))
    limits, policies = parsed
    return limits, policies


@pytest.mark.parametrize("name", ["standing", "standing-sides", "limited"])
def test_the_fields_are_as_in_the_golden_file(name: str) -> None:
    """Byte for byte."""
    compare(f"ietf-{name}", Answer(429 if name == "limited" else 200, ietf_headers(standing_sets()[name]), b""))


def test_the_names_of_the_fields_are_the_drafts() -> None:
    """In lower case, as all header names of ours."""
    assert [name for name, _ in ietf_headers([standing()])] == [b"ratelimit", b"ratelimit-policy"]


def test_without_limits_there_are_no_fields() -> None:
    """An empty list is not sent in structured fields."""
    assert ietf_headers([]) == []


@given(ANY_STANDINGS)
def test_whatever_stands_there_the_fields_are_valid(standings: list[Standing]) -> None:
    """h11 carries them, http_sf parses them, their values are in range, and they have a bounded size."""
    headers = ietf_headers(standings)
    assert received_headers(headers) == headers
    if not standings:
        return
    limits, policies = fields(*standings)
    assert limits.keys() <= policies.keys()
    for item in policies.values():
        assert 0 < item["q"] < 10**15
        assert item.get("w", 1) > 0
    for item in limits.values():
        assert 0 <= item["r"] < 10**15
        assert 0 <= item.get("t", 0) < 10**15
    assert all(len(value) < 4_096 for _, value in headers)


@given(
    amount=st.integers(1, 10**6),
    burst=st.integers(1, 10**6),
    seconds=st.sampled_from([1, 30, 60, 3_600, 86_400]),
    meter=st.sampled_from(["requests", "tokens", "input_tokens"]),
)
def test_a_policy_says_what_the_plan_says(amount: int, burst: int, seconds: int, meter: str) -> None:
    """Amount, period, unit and burst read back."""
    _, policies = fields(standing(meter, amount=amount, burst=burst, period=float(seconds)))
    (policy,) = policies.values()
    expected: dict[str, Any] = {"q": amount, "w": seconds}
    if meter != "requests":
        expected["qu"] = f"llm-{meter}"
    if burst != amount:
        expected["llm-burst"] = burst
    assert policy == expected


@pytest.mark.parametrize(("period", "name"), [(0.5, "Lite tokens per 500 ms"), (1.5, "Lite tokens per 1500 ms")])
def test_a_window_that_is_not_whole_seconds_is_left_out(period: float, name: str) -> None:
    """`w` has no fractions, and a rounded one would be another rate. The name tells it."""
    _, policies = fields(standing(period=period))
    assert policies == {name: {"q": 60_000, "qu": "llm-tokens"}}


@pytest.mark.parametrize(
    ("plan", "shown"),
    [
        ("MAX 5X", "MAX 5X"),
        ('"; q=1\\', '"; q=1\\'),
        ("100%", "100%25"),
        ("Größe", "Gr%C3%B6%C3%9Fe"),
        ("a\r\nset-cookie: b", "a%0D%0Aset-cookie: b"),
        ("\ud800", "%ED%A0%80"),
        ("x" * 70, "x" * 64),
        ("x" * 63 + "ß", "x" * 63),
        ("x" * 61 + "ß", "x" * 61 + "%C3"),
    ],
)
def test_any_plan_name_becomes_a_string(plan: str, shown: str) -> None:
    """Quoted, escaped and cut, never refused and never a header of its own."""
    limits, policies = fields(standing(plan=plan))
    assert list(limits) == list(policies) == [f"{shown} tokens per minute"]


def test_limits_of_one_name_are_shown_once() -> None:
    """A key and its organisation on the same plan: the more restrictive one."""
    limits, policies = fields(standing(remaining=9), standing(remaining=8), standing(remaining=9))
    assert [item["r"] for item in limits.values()] == [8]
    assert len(policies) == 1


def test_of_many_limits_the_tightest_are_shown() -> None:
    """Eight at most, so that no proxy finds the headers too large; a refusing one is always among them."""
    spare = [standing(plan=f"P{number:02}", remaining=60_000 - number) for number in range(30)]
    limits, policies = fields(*spare)
    assert set(policies) == {f"P{number:02} tokens per minute" for number in range(22, 30)}
    limits, policies = fields(*spare, standing(plan="Full", remaining=60_000, retry_after_us=1))
    assert list(limits) == ["Full tokens per minute"]
    assert "Full tokens per minute" in policies


def test_debt_is_nothing_left() -> None:
    """`r` is never negative; `t` counts the debt."""
    owing = standing(remaining=0, debt=60_000, reset_after_us=120 * SECOND)
    limits, _ = fields(owing)
    assert limits == {"Lite tokens per minute": {"r": 0, "t": 61}}


def test_an_unused_limit_has_no_time() -> None:
    """There will never be more."""
    limits, _ = fields(standing())
    assert limits == {"Lite tokens per minute": {"r": 60_000}}


@given(spent=st.integers(1, 10), idle_us=st.integers(0, 60 * SECOND))
def test_the_time_is_when_one_more_fits(spent: int, idle_us: int) -> None:
    """To the second: rounded up, and not a whole second late."""
    clock = ManualClock()
    limiter = Limiter(MemoryBackend(clock=clock))
    limiter.acquire("key", plan=LITE, requests=spent).settle()
    clock.advance(us=idle_us)
    requests = limiter.peek("key", plan=LITE)[0]
    limits, _ = fields(requests)
    (item,) = limits.values()
    assert item["r"] == requests.remaining
    if "t" in item:
        clock.advance(us=max(0, (item["t"] - 1) * SECOND))
        assert limiter.peek("key", plan=LITE)[0].remaining == requests.remaining
        clock.advance(us=min(item["t"], 1) * SECOND)
        assert limiter.peek("key", plan=LITE)[0].remaining > requests.remaining
    else:
        assert requests.remaining == 10


@given(tokens=st.integers(0, 60_000), requests=st.integers(0, 10), asked=st.integers(1, 60_000))
def test_a_refusal_names_what_refused_and_no_time_beyond_the_wait(tokens: int, requests: int, asked: int) -> None:
    """The draft: `Retry-After` does not point earlier than `t`."""
    decision = decide(LITE, {"requests": requests, "tokens": tokens}, {"tokens": asked})
    if decision:
        return
    limits, policies = fields(*decision.standings)
    assert set(policies) == {"Lite requests per minute", "Lite tokens per minute"}
    refused = {f"Lite {each.meter} per minute" for each in decision.standings if each.retry_after_us}
    assert set(limits) == refused
    assert all(item["t"] <= -(-decision.retry_after_us // SECOND) for item in limits.values())
