"""What the SDKs raise when `ratelimit serve` says no, and how they come back when they were told to wait."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from tests.servers import eventually

from .client import Client, Outcome
from .gateway import Gateway

pytestmark = pytest.mark.slow

# A model of their own, and texts of four bytes a token: estimates are within 20 % of what is used, whatever ran before.
MODEL = "minimax-m2.5"
USUAL = 250 * "four"
LONG = 400 * "four"
HUGE = 4_000 * "four"


def at(client: Client, gateway: Gateway, key: str) -> Client:
    """The client, as configured for this gateway."""
    prefix = "/v1" if client.sdk.name == "openai" else "/anthropic"
    return client.having(base_url=f"{gateway.url}{prefix}", api_key=key)


def ask(client: Client, text: str = USUAL, tokens: int = 16, **options: Any) -> Outcome:
    """One request for an answer of so many tokens."""
    return ask_often(client, 1, text, tokens, **options)[0]


def ask_often(client: Client, times: int, text: str = USUAL, tokens: int = 16, **options: Any) -> list[Outcome]:
    """So many requests, at once where the client can."""
    asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": tokens}
    asked |= {"extra_headers": {"x-mock-output-tokens": str(tokens)}, **options}
    method = "chat.completions.create" if client.sdk.name == "openai" else "messages.create"
    return client.calls(times, method, **asked)


def until_refused(client: Client, text: str = USUAL, tokens: int = 16, **options: Any) -> Outcome:
    """Ask until a request fails. Not once more than the plan allows: on a busy machine some quota comes back."""
    for _ in range(50):
        outcome = ask(client, text, tokens, **options)
        if outcome.error is not None:
            return outcome
    raise AssertionError("50 requests, and none was refused")


def until_retried(client: Client, text: str = USUAL, tokens: int = 16, **options: Any) -> Outcome:
    """Ask until a request has to wait for its turn, which the SDK does by itself."""
    for _ in range(50):
        outcome = ask(client, text, tokens, sleeps=True, **options)
        if outcome.retries:
            return outcome
    raise AssertionError("50 requests, and none had to wait")


def check_not_retried(outcome: Outcome) -> None:
    """Assert that the SDK did not try again."""
    assert outcome.headers["x-should-retry"] == "false"
    assert (outcome.retries, outcome.slept) == (0, [])


def test_openai_requests_are_used_up(openai: Client, gateway: Gateway) -> None:
    """The third request of two an hour: RateLimitError, without another try, because it would take half an hour."""
    outcome = until_refused(at(openai, gateway, gateway.key("Hourly")))
    failure = outcome.failure
    assert (failure.name, failure.status) == ("RateLimitError", 429)
    assert (failure.type, failure.code, failure.param) == ("requests", "rate_limit_exceeded", None)
    assert failure.body["message"].startswith(
        "Rate limit reached for minimax-m2.5 in plan Hourly on requests per hour (RPH): Limit 2, Used 2, Requested 1. "
        "Please try again in 29m"
    )
    assert failure.request_id == outcome.headers["x-request-id"]
    check_not_retried(outcome)
    assert outcome.headers["x-ratelimit-remaining-requests"] == "0"
    assert outcome.headers["x-ratelimit-reset-requests"].startswith("59m")
    check_wait(outcome, 1_700, 1_800)


def test_anthropic_requests_are_used_up(anthropic: Client, gateway: Gateway) -> None:
    """The third request of two an hour: RateLimitError, without another try, because it would take half an hour."""
    outcome = until_refused(at(anthropic, gateway, gateway.key("Hourly")))
    failure = outcome.failure
    assert (failure.name, failure.status) == ("RateLimitError", 429)
    assert failure.body["error"]["type"] == "rate_limit_error"
    assert "rate limit of 2 requests per hour (plan: Hourly, model: minimax-m2.5)" in failure.message
    assert failure.request_id == outcome.headers["request-id"] == failure.body["request_id"]
    check_not_retried(outcome)
    assert outcome.headers["anthropic-ratelimit-requests-remaining"] == "0"
    check_wait(outcome, 1_700, 1_800)


def test_openai_tokens_are_used_up(openai: Client, gateway: Gateway) -> None:
    """Tokens have a type and a message of their own, from which the exact wait can be worked out."""
    outcome = until_refused(at(openai, gateway, gateway.key("Daily")), LONG)
    failure = outcome.failure
    assert (failure.name, failure.type, failure.code) == ("RateLimitError", "tokens", "rate_limit_exceeded")
    said = re.search(r"tokens per day \(TPD\): Limit 900, Used (\d+), Requested (\d+)", failure.message)
    assert said is not None, failure.message
    used, requested = map(int, said.groups())
    check_not_retried(outcome)
    exact = (used + requested - 900) / 900 * 86_400
    check_wait(outcome, exact - 2 * 96, exact)
    assert outcome.headers["x-ratelimit-remaining-tokens"] == str(900 - used)


def test_anthropic_tokens_are_used_up(anthropic: Client, gateway: Gateway) -> None:
    """The message names the limit, and what to do."""
    outcome = until_refused(at(anthropic, gateway, gateway.key("Daily")), LONG)
    assert outcome.failure.name == "RateLimitError"
    assert "rate limit of 900 tokens per day (plan: Daily, model: minimax-m2.5)" in outcome.failure.message
    assert "reduce the prompt length" in outcome.failure.message
    check_not_retried(outcome)


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_request_that_can_never_fit(openai: Client, gateway: Gateway, streamed: bool) -> None:
    """RateLimitError without a wait and without another try; a stream raises before its first event."""
    outcome = ask(at(openai, gateway, gateway.key("Daily")), HUGE, stream=streamed)
    assert (outcome.failure.name, outcome.failure.type) == ("RateLimitError", "tokens")
    assert outcome.failure.body["message"].startswith(
        "Request too large for minimax-m2.5 in plan Daily on tokens per request"
    )
    assert "retry-after" not in outcome.headers
    check_not_retried(outcome)


@pytest.mark.parametrize("streamed", [False, True])
def test_anthropic_request_that_can_never_fit(anthropic: Client, gateway: Gateway, streamed: bool) -> None:
    """RateLimitError without a wait and without another try; a stream raises before its first event."""
    outcome = ask(at(anthropic, gateway, gateway.key("Daily")), HUGE, stream=streamed)
    assert outcome.failure.name == "RateLimitError"
    assert "your plan admits at most 900 at once" in outcome.failure.message
    assert "retry-after" not in outcome.headers
    check_not_retried(outcome)


@pytest.mark.parametrize("plan", ["Fast", "Flow"])
@pytest.mark.parametrize("streamed", [False, True])
def test_openai_comes_back_when_it_was_told_to(openai: Client, gateway: Gateway, plan: str, streamed: bool) -> None:
    """Requests or tokens that are used up: the SDK sleeps for the told wait, and one retry is enough."""
    check_recovery(until_retried(at(openai, gateway, gateway.key(plan)), stream=streamed, **using_up(plan)))


@pytest.mark.parametrize("plan", ["Fast", "Flow"])
@pytest.mark.parametrize("streamed", [False, True])
def test_anthropic_comes_back_when_it_was_told_to(
    anthropic: Client, gateway: Gateway, plan: str, streamed: bool
) -> None:
    """Requests or tokens that are used up: the SDK sleeps for the told wait, and one retry is enough."""
    check_recovery(until_retried(at(anthropic, gateway, gateway.key(plan)), stream=streamed, **using_up(plan)))


def test_openai_comes_back_in_vain_when_it_does_not_wait(openai: Client, gateway: Gateway) -> None:
    """Three tries, each told to wait again; none of them costs anything."""
    check_hurry(until_refused(at(openai, gateway, gateway.key("Fast"))))


def test_anthropic_comes_back_in_vain_when_it_does_not_wait(anthropic: Client, gateway: Gateway) -> None:
    """Three tries, each told to wait again; none of them costs anything."""
    check_hurry(until_refused(at(anthropic, gateway, gateway.key("Fast"))))


def test_clients_refused_together_all_get_their_turn(openai: Client, gateway: Gateway) -> None:
    """Five requests at once, of which one fits every 150 ms; none is lost, and none is refused for good."""
    client = at(openai, gateway, gateway.key("Fast")).having(max_retries=40)
    retries = 0
    while not retries:
        outcomes = ask_often(client, 5, sleeps=True)
        assert all(outcome.success.value["usage"]["completion_tokens"] == 16 for outcome in outcomes)
        retries = sum(outcome.retries for outcome in outcomes)


def test_openai_unknown_key(openai: Client, gateway: Gateway) -> None:
    """AuthenticationError, at once, and no standing headers: there is nobody to have limits."""
    outcome = ask(at(openai, gateway, "sk-unknown"))
    assert (outcome.failure.name, outcome.failure.code) == ("AuthenticationError", "invalid_api_key")
    check_unknown_key(outcome, "x-ratelimit-")
    assert at(openai, gateway, "sk-unknown").call("models.list").failure.name == "AuthenticationError"


def test_anthropic_unknown_key(anthropic: Client, gateway: Gateway) -> None:
    """AuthenticationError, at once, and no standing headers: there is nobody to have limits."""
    client = at(anthropic, gateway, "sk-unknown")
    for outcome in (ask(client), client.call("models.list")):
        assert outcome.failure.name == "AuthenticationError"
        assert outcome.failure.body["error"]["type"] == "authentication_error"
        check_unknown_key(outcome, "anthropic-ratelimit-")


@pytest.mark.parametrize("most", [-1, 1.5, "many", 2**53 + 1, True])
def test_openai_impossible_limit(openai: Client, gateway: Gateway, most: Any) -> None:
    """BadRequestError with the field to blame, at once; nothing is charged."""
    key = gateway.anyone
    before = gateway.remaining(key)
    outcome = at(openai, gateway, key).call(
        "chat.completions.create", model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=most
    )
    assert (outcome.failure.name, outcome.failure.param) == ("BadRequestError", "max_tokens")
    assert outcome.failure.type == "invalid_request_error"
    assert outcome.retries == 0
    assert gateway.remaining(key) == (before[0] - 1, before[1])


@pytest.mark.parametrize("most", [-1, 1.5, "many", 2**53 + 1, True])
def test_anthropic_impossible_limit(anthropic: Client, gateway: Gateway, most: Any) -> None:
    """BadRequestError that names the field, at once; nothing is charged."""
    key = gateway.anyone
    before = gateway.remaining(key)
    # Streamed, or the SDK itself would work out how long that may take.
    outcome = at(anthropic, gateway, key).call(
        "messages.create", model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=most, stream=True
    )
    assert outcome.failure.name == "BadRequestError"
    assert outcome.failure.body["error"]["type"] == "invalid_request_error"
    assert "max_tokens" in outcome.failure.body["error"]["message"]
    assert outcome.retries == 0
    assert gateway.remaining(key) == (before[0] - 1, before[1])


def test_openai_model_that_the_upstream_does_not_have(openai: Client, gateway: Gateway) -> None:
    """The upstream's own error comes through; its tokens are given back, and the request stays counted."""
    key = gateway.key("Exact")
    outcome = ask(at(openai, gateway, key), model="gpt-none")
    assert (outcome.failure.name, outcome.failure.code) == ("NotFoundError", "model_not_found")
    assert outcome.headers["x-ratelimit-remaining-requests"] == "9999"
    gateway.spent(key, lambda tokens: tokens == 0)


def test_anthropic_model_that_the_upstream_does_not_have(anthropic: Client, gateway: Gateway) -> None:
    """The upstream's own error comes through; its tokens are given back, and the request stays counted."""
    key = gateway.key("Exact")
    outcome = ask(at(anthropic, gateway, key), model="claude-none")
    assert outcome.failure.name == "NotFoundError"
    assert outcome.failure.body["error"]["type"] == "not_found_error"
    assert outcome.headers["anthropic-ratelimit-requests-remaining"] == "9999"
    gateway.spent(key, lambda tokens: tokens == 0)


def test_endpoint_that_there_is_not(openai: Client, gateway: Gateway) -> None:
    """NotFoundError, at once."""
    outcome = at(openai, gateway, gateway.anyone).call("images.generate", prompt="a fox")
    assert (outcome.failure.name, outcome.failure.type) == ("NotFoundError", "invalid_request_error")
    assert outcome.retries == 0


def test_openai_backend_that_cannot_decide(openai: Client, lost_gateway: Gateway) -> None:
    """InternalServerError, 503, after three tries at the SDK's own pace: nobody knows a wait."""
    outcome = ask(at(openai, lost_gateway, lost_gateway.anyone))
    assert (outcome.failure.name, outcome.failure.status) == ("InternalServerError", 503)
    assert (outcome.failure.type, outcome.failure.code) == ("server_error", "server_is_overloaded")
    check_backoff(outcome)


def test_anthropic_backend_that_cannot_decide(anthropic: Client, lost_gateway: Gateway) -> None:
    """OverloadedError, 529, after three tries at the SDK's own pace: nobody knows a wait."""
    outcome = ask(at(anthropic, lost_gateway, lost_gateway.anyone))
    assert (outcome.failure.name, outcome.failure.status) == ("OverloadedError", 529)
    assert outcome.failure.body["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    check_backoff(outcome)


def test_backend_that_need_not_decide(openai: Client, open_gateway: Gateway) -> None:
    """With `--fail open` requests pass uncounted, and their responses say so."""
    outcome = ask(at(openai, open_gateway, open_gateway.key("Hourly"))).success
    assert outcome.headers["x-ratelimit-bypass"] == "backend-unavailable"
    assert "x-ratelimit-remaining-requests" not in outcome.headers
    assert outcome.retries == 0


def test_no_key_is_in_the_log(openai: Client, gateway: Gateway) -> None:
    """Requests are there by their ids, keys are not, whether they are known or not."""
    for key in (gateway.anyone, "sk-unknown"):
        request_id = ask(at(openai, gateway, key), max_tokens=1).headers["x-request-id"]
        eventually(partial(_is_logged, gateway, request_id))
        assert key not in gateway.log()


def using_up(plan: str) -> dict[str, Any]:
    """Of what a plan that recovers in a fraction of a second has enough for one request, but not for two."""
    return {} if plan == "Fast" else {"text": 100 * "four", "tokens": 100}


def check_wait(outcome: Outcome, least: float, most: float) -> None:
    """Assert that the wait is in this range of seconds, give or take up to 10 % of jitter, in both headers alike."""
    milliseconds = int(outcome.headers["retry-after-ms"])
    assert least <= milliseconds / 1_000 <= most * 1.1 + 0.001
    assert int(outcome.headers["retry-after"]) == -(-milliseconds // 1_000)


def check_recovery(outcome: Outcome) -> None:
    """Assert that it was refused once, waited a part of a second, and then was served."""
    assert outcome.success.retries == 1
    (nap,) = outcome.slept
    assert 0.001 <= nap <= 0.3 * 1.1 + 0.001
    # Milliseconds, as told, not a guess of the SDK's own.
    assert round(nap * 1_000, 6) == round(nap * 1_000)


def check_hurry(outcome: Outcome) -> None:
    """Assert that all tries were refused, and that each was told a wait that has not grown, jitter aside."""
    assert outcome.failure.name == "RateLimitError"
    assert outcome.retries == 2
    assert len(outcome.slept) == 2
    assert all(0.001 <= nap <= 0.15 * 1.1 + 0.001 for nap in outcome.slept)
    assert int(outcome.headers["retry-after-ms"]) <= 166


def check_backoff(outcome: Outcome) -> None:
    """Assert that the SDK tried three times, as it does when it is told nothing."""
    assert outcome.retries == 2
    assert all(least < nap <= 2 * least + 0.26 for nap, least in zip(outcome.slept, (0.37, 0.74), strict=True))
    assert "retry-after" not in outcome.headers


def check_unknown_key(outcome: Outcome, prefix: str) -> None:
    """Assert that it ended at the door."""
    assert (outcome.failure.status, outcome.retries) == (401, 0)
    assert not any(name.startswith(prefix) for name in outcome.headers)
    assert "sk-unknown" not in str(outcome)


def _is_logged(gateway: Gateway, request_id: str) -> bool:
    return request_id in gateway.log()
