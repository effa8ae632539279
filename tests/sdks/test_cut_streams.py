"""Streams that a program reads in part and closes: what was streamed until then is charged, and no estimate stays."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client
from .gateway import Gateway

pytestmark = pytest.mark.slow

# None of them ever ends, so that the gateway learns nothing about this model, and reserves all 400 tokens each time.
MODEL = "minimax-m2.5"
HELLO = [{"role": "user", "content": "Hello"}]
SAYS_400 = {"x-mock-output-tokens": "400"}
RESERVED = 400
# What an endpoint is asked, and how many events its streams have before the first token.
ENDPOINTS: dict[str, tuple[dict[str, Any], int]] = {
    "chat.completions.create": ({"messages": HELLO, "max_tokens": RESERVED}, 1),
    "completions.create": ({"prompt": "Hello", "max_tokens": RESERVED}, 0),
    "responses.create": ({"input": "Hello", "max_output_tokens": RESERVED}, 4),
}


@pytest.mark.parametrize("taken", [0, 1, 5])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_openai_stream_that_is_closed(openai: Client, slow_gateway: Gateway, endpoint: str, taken: int) -> None:
    """After so many events of a stream of 10 seconds, at the first, in the middle, or before any."""
    asked, before_text = ENDPOINTS[endpoint]
    key = slow_gateway.key("Exact")
    client = openai.having(base_url=f"{slow_gateway.url}/v1", api_key=key)
    outcome = client.call(endpoint, model=MODEL, stream=True, take=taken, extra_headers=SAYS_400, **asked).success
    assert len(outcome.events) == taken
    assert int(outcome.headers["x-ratelimit-remaining-tokens"]) <= 999 - RESERVED
    # At least the input, and what the program has read.
    slow_gateway.spent(key, lambda tokens: 1 + max(0, taken - before_text) <= tokens < RESERVED)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_anthropic_stream_that_is_closed(anthropic: Client, slow_gateway: Gateway, taken: int) -> None:
    """After so many events of a stream of 10 seconds, as Claude Code closes those that it speculates on."""
    key = slow_gateway.key("Exact")
    client = anthropic.having(base_url=f"{slow_gateway.url}/anthropic", auth_token=key)
    asked: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": RESERVED, "extra_headers": SAYS_400}
    outcome = client.call("messages.create", stream=True, take=taken, **asked).success
    assert len(outcome.events) == taken
    assert int(outcome.headers["anthropic-ratelimit-tokens-remaining"]) <= 999 - RESERVED
    # The stream began with the input, exactly 6 tokens.
    slow_gateway.spent(key, lambda tokens: 6 <= tokens < RESERVED)


def test_a_subject_can_go_on_after_its_cut_streams(openai: Client, slow_gateway: Gateway) -> None:
    """Four in a row would have used up the plan at their estimates; they do not, so the next request is served."""
    key = slow_gateway.key("Exact")
    client = openai.having(base_url=f"{slow_gateway.url}/v1", api_key=key)
    asked: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": RESERVED, "extra_headers": SAYS_400}
    for _ in range(4):
        client.call("chat.completions.create", stream=True, take=1, **asked)
        slow_gateway.spent(key, lambda tokens: tokens < RESERVED)
    few = {**asked, "max_tokens": 2}
    assert client.call("chat.completions.create", **few).success.value["usage"]["completion_tokens"] == 2
