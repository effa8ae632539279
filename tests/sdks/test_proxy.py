"""The SDKs through `ratelimit serve --upstream URL`: what reaches them is the upstream's, but for keys and limits."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client
from .gateway import Gateway

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Hello"}]
ASKED: dict[str, Any] = {"model": "glm-5", "messages": HELLO, "max_tokens": 100}
SAYS_4 = {"x-mock-output-tokens": "4"}
SAYS_400 = {"x-mock-output-tokens": "400"}
RESERVED = 400


def at(client: Client, proxy: Gateway, key: str) -> Client:
    """The client, as configured for this gateway."""
    prefix = "/v1" if client.sdk.name == "openai" else "/anthropic"
    return client.having(base_url=f"{proxy.url}{prefix}", api_key=key)


def test_openai_endpoints(openai: Client, proxy: Gateway) -> None:
    """Chat, plain and streamed, embeddings and models; standing headers are those of the key that the client has."""
    key = proxy.key("Exact")
    client = at(openai, proxy, key)
    plain = client.call("chat.completions.create", extra_headers=SAYS_4, **ASKED).success
    assert plain.value["usage"]["total_tokens"] == 10
    assert plain.headers["x-ratelimit-limit-tokens"] == "999"
    options = {"include_usage": True}
    streamed = client.call(
        "chat.completions.create", extra_headers=SAYS_4, stream=True, stream_options=options, **ASKED
    ).success
    assert streamed.events[-1]["usage"]["total_tokens"] == 10
    assert streamed.headers["x-ratelimit-limit-tokens"] == "999"
    embedded = client.call("embeddings.create", model="glm-5", input="Hello").success
    assert len(embedded.value["data"][0]["embedding"]) == 256
    assert len(client.call("models.list").success.value["data"]) == 2
    proxy.spent(key, lambda tokens: tokens == 10 + 10 + 2)


def test_anthropic_endpoints(anthropic: Client, proxy: Gateway) -> None:
    """Messages, plain and streamed, counted ones and models; standing headers are those of the client's key."""
    key = proxy.key("Exact")
    client = at(anthropic, proxy, key)
    plain = client.call("messages.create", extra_headers=SAYS_4, **ASKED).success
    assert plain.value["usage"]["output_tokens"] == 4
    assert plain.headers["anthropic-ratelimit-tokens-limit"] == "999"
    streamed = client.call("messages.create", extra_headers=SAYS_4, stream=True, **ASKED).success
    assert streamed.events[-1]["type"] == "message_stop"
    assert streamed.headers["anthropic-ratelimit-tokens-limit"] == "999"
    assert client.call("messages.count_tokens", model="glm-5", messages=HELLO).success.value["input_tokens"] == 6
    assert len(client.call("models.list").success.value["data"]) == 2
    proxy.spent(key, lambda tokens: tokens == 10 + 10)


def test_openai_error_of_the_upstream(openai: Client, proxy: Gateway) -> None:
    """Exception, type, code and param are the upstream's; tokens are given back."""
    key = proxy.key("Exact")
    outcome = at(openai, proxy, key).call("chat.completions.create", **{**ASKED, "model": "gpt-none"})
    failure = outcome.failure
    assert (failure.name, failure.code, failure.param) == ("NotFoundError", "model_not_found", "model")
    proxy.spent(key, lambda tokens: tokens == 0)


def test_anthropic_error_of_the_upstream(anthropic: Client, proxy: Gateway) -> None:
    """Exception and type are the upstream's; tokens are given back."""
    key = proxy.key("Exact")
    outcome = at(anthropic, proxy, key).call("messages.create", **{**ASKED, "model": "claude-none"})
    assert (outcome.failure.name, outcome.failure.body["error"]["type"]) == ("NotFoundError", "not_found_error")
    proxy.spent(key, lambda tokens: tokens == 0)


@pytest.mark.parametrize("taken", [0, 3])
def test_openai_stream_that_is_closed(openai: Client, proxy: Gateway, taken: int) -> None:
    """The charge is what was streamed until then, of an answer of 10 seconds."""
    check_cut(at(openai, proxy, key := proxy.key("Exact")), "chat.completions.create", taken, key, proxy)


@pytest.mark.parametrize("taken", [0, 3])
def test_anthropic_stream_that_is_closed(anthropic: Client, proxy: Gateway, taken: int) -> None:
    """The charge is what was streamed until then, of an answer of 10 seconds."""
    check_cut(at(anthropic, proxy, key := proxy.key("Exact")), "messages.create", taken, key, proxy)


def check_cut(client: Client, method: str, taken: int, key: str, proxy: Gateway) -> None:
    """Assert that a stream which is closed after so many events leaves no estimate behind."""
    asked: dict[str, Any] = {"model": "minimax-m2.5", "messages": HELLO, "max_tokens": RESERVED}
    outcome = client.call(method, stream=True, take=taken, extra_headers=SAYS_400, **asked).success
    assert len(outcome.events) == taken
    proxy.spent(key, lambda tokens: 1 <= tokens < RESERVED)
