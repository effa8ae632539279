"""What the SDKs make of every refusal that our dialects know: the table of retries, with the SDKs' own sleeps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ratelimit.web.answer import Answer
from ratelimit.web.dialects import DIALECTS

from .canned import Canned, CannedServer
from .client import Client, Outcome, SdkProcess
from .refusals import REFUSALS, Refusal, limited
from .versions import VERSIONS, Version

pytestmark = pytest.mark.slow

MESSAGES = [{"role": "user", "content": "Hello"}]


def ask(client: Client, canned: Canned) -> Outcome:
    """One request in the manner of the client's SDK."""
    if client.sdk.name == "openai":
        client = client.having(api_key="sk-test", base_url=f"{canned.url}/v1")
        return client.call("chat.completions.create", model="glm-5", messages=MESSAGES)
    client = client.having(api_key="sk-test", base_url=canned.url)
    return client.call("messages.create", model="glm-5", messages=MESSAGES, max_tokens=64)


def sent(refusal: Refusal) -> dict[str, Any]:
    """The error object of the body."""
    error: dict[str, Any] = json.loads(refusal.answer.body)["error"]
    return error


def check_retries(outcome: Outcome, canned: Canned, refusal: Refusal) -> None:
    """Assert that the SDK retried as often and slept as long as the refusal says."""
    if refusal.waits is None:
        first, second = outcome.slept
        assert 0.37 < first <= 0.5
        assert 0.74 < second <= 1.0
    else:
        assert outcome.slept == list(refusal.waits)
    assert outcome.retries == len(outcome.slept)
    assert [request["x-stainless-retry-count"] for request in canned.requests] == [
        str(number) for number in range(outcome.retries + 1)
    ]


def check_exception(outcome: Outcome, refusal: Refusal) -> None:
    """Assert that the exception is of the class that programs catch, and carries every header of the answer."""
    failure = outcome.failure
    assert failure.status == refusal.answer.status
    assert not {failure.name, *failure.parents}.isdisjoint(refusal.exceptions), failure
    assert {**outcome.headers, **{name.decode(): value.decode() for name, value in refusal.answer.headers}} == (
        outcome.headers
    )


@pytest.mark.parametrize("refusal", REFUSALS["openai"], ids=str)
def test_openai_sdks_retry_a_refusal_as_they_are_told(openai: Client, canned: CannedServer, refusal: Refusal) -> None:
    """A wait of up to a minute to the millisecond; longer ones, and what cannot be helped, not at all."""
    given = canned.give(refusal.answer)
    outcome = ask(openai, given)
    check_retries(outcome, given, refusal)
    check_exception(outcome, refusal)


@pytest.mark.parametrize("refusal", REFUSALS["openai"], ids=str)
def test_openai_sdks_read_the_error(openai: Client, canned: CannedServer, refusal: Refusal) -> None:
    """Type, code, param, the error object and the request id are attributes of the exception."""
    outcome = ask(openai.having(max_retries=0), canned.give(refusal.answer))
    failure, error = outcome.failure, sent(refusal)
    assert failure.body == error
    assert (failure.type, failure.code, failure.param) == (error["type"], error["code"], error["param"])
    assert failure.request_id == outcome.headers["x-request-id"]
    assert error["message"] in failure.message


@pytest.mark.parametrize("refusal", REFUSALS["anthropic"], ids=str)
def test_anthropic_sdks_retry_a_refusal_as_they_are_told(
    anthropic: Client, canned: CannedServer, refusal: Refusal
) -> None:
    """A wait of up to a minute to the millisecond; longer ones, and what cannot be helped, not at all."""
    given = canned.give(refusal.answer)
    outcome = ask(anthropic, given)
    check_retries(outcome, given, refusal)
    check_exception(outcome, refusal)


@pytest.mark.parametrize("refusal", REFUSALS["anthropic"], ids=str)
def test_anthropic_sdks_read_the_error(anthropic: Client, canned: CannedServer, refusal: Refusal) -> None:
    """The whole body and the request id are attributes of the exception; the type too, in the new SDK."""
    outcome = ask(anthropic.having(max_retries=0), canned.give(refusal.answer))
    failure, error = outcome.failure, sent(refusal)
    assert failure.body == json.loads(refusal.answer.body)
    assert failure.type == (None if anthropic.sdk.version == "0.86.0" else error["type"])
    assert failure.request_id == outcome.headers["request-id"] == failure.body["request_id"]
    assert error["message"] in failure.message


def test_it_is_that_version(sdks: dict[Version, SdkProcess], canned: CannedServer) -> None:
    """Each SDK says so in every request, and nothing of this environment comes between."""
    for version, sdk in sdks.items():
        given = canned.give(REFUSALS[version.name][0].answer)
        ask(Client(sdk, is_async=False), given)
        assert given.requests[0]["x-stainless-package-version"] == version.number
        assert given.requests[0]["user-agent"].lower() == f"{version.name}/python {version.number}"


def test_the_key_arrives_where_we_look_for_it(anthropic: Client, canned: CannedServer) -> None:
    """The old SDK sends `x-api-key`, the new one a bearer; so both are read on every route."""
    given = canned.give(REFUSALS["anthropic"][0].answer)
    ask(anthropic, given)
    headers = given.requests[0]
    if anthropic.sdk.version == "0.86.0":
        assert headers["x-api-key"] == "sk-test"
        assert "authorization" not in headers
    else:
        assert headers["authorization"] == "Bearer sk-test"
        assert "x-api-key" not in headers


# Why `x-should-retry: false` is sent above 60 s. What each SDK does without it: None for a backoff of its own, as if
# nothing had been said; else the naps that it takes.
UNTOLD = {
    ("openai-2.30.0", 61): None,
    ("openai-2.30.0", 121): None,
    ("openai-2.30.0", 3_600): None,
    ("openai-3.57.0", 61): [61.0, 61.0],
    ("openai-3.57.0", 121): [],
    ("openai-3.57.0", 3_600): [],
    ("anthropic-0.86.0", 61): None,
    ("anthropic-0.86.0", 121): None,
    ("anthropic-0.86.0", 3_600): None,
    ("anthropic-2.13.0", 61): [61.0, 61.0],
    ("anthropic-2.13.0", 121): [121.0, 121.0],
    ("anthropic-2.13.0", 3_600): [3_600.0, 3_600.0],
}


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("seconds", [61, 121, 3_600])
def test_without_our_header_no_two_sdks_agree_on_a_long_wait(
    sdks: dict[Version, SdkProcess], canned: CannedServer, version: Version, seconds: int
) -> None:
    """Old ones come back within a second, new ones sleep for as long as they are told, or give up."""
    answer = limited(DIALECTS[version.name], seconds)
    untold = Answer(answer.status, [pair for pair in answer.headers if pair[0] != b"x-should-retry"], answer.body)
    outcome = ask(Client(sdks[version], is_async=False), canned.give(untold))
    expected = UNTOLD[str(version), seconds]
    if expected is None:
        assert len(outcome.slept) == 2
        assert max(outcome.slept) <= 1.0
    else:
        assert outcome.slept == expected
