"""Anthropic's SDKs against `ratelimit serve`: every endpoint, plain and streamed, charged exactly what was used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from .client import Client
from .gateway import Gateway

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Hello"}]
"""6 tokens: 4 of a message, and 2 for five letters."""
SAYS_40 = {"x-mock-output-tokens": "40"}
MESSAGE: dict[str, Any] = {"model": "glm-5", "messages": HELLO, "max_tokens": 100, "extra_headers": SAYS_40}
PREFIXES = ["", "/anthropic"]


def at(client: Client, gateway: Gateway, key: str, prefix: str = "/anthropic") -> Client:
    """The client, as configured for this gateway."""
    return client.having(base_url=f"{gateway.url}{prefix}", api_key=key)


def check_standing(headers: dict[str, str]) -> None:
    """Assert that the first request of an `Exact` key shows where its limits stand, and its id."""
    assert headers["request-id"].startswith("req_")
    assert headers["anthropic-ratelimit-requests-limit"] == "10000"
    assert headers["anthropic-ratelimit-requests-remaining"] == "9999"
    assert headers["anthropic-ratelimit-tokens-limit"] == "999"
    assert 0 <= int(headers["anthropic-ratelimit-tokens-remaining"]) < 999
    for name in ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-reset"):
        assert headers[name].endswith("Z")
        assert datetime.fromisoformat(headers[name]) > datetime.now(UTC)
    # Not those that the plan does not have.
    assert not any(name.startswith("anthropic-ratelimit-input") for name in headers)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_messages(anthropic: Client, gateway: Gateway, prefix: str) -> None:
    """An answer, its usage, the standing headers, and a charge of just that usage, under both prefixes."""
    key = gateway.key("Exact")
    outcome = at(anthropic, gateway, key, prefix).call("messages.create", **MESSAGE).success
    assert len(outcome.value["content"][0]["text"].split()) == 40
    assert (outcome.value["usage"]["input_tokens"], outcome.value["usage"]["output_tokens"]) == (6, 40)
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == 46)


def test_messages_streamed(anthropic: Client, gateway: Gateway) -> None:
    """Every event, from message_start to message_stop; the last of the totals is charged, not their sum."""
    key = gateway.key("Exact")
    outcome = at(anthropic, gateway, key).call("messages.create", stream=True, **MESSAGE).success
    kinds = [event["type"] for event in outcome.events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert kinds.count("content_block_delta") == 40
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == 46)


def test_the_helper_for_streamed_messages(anthropic: Client, gateway: Gateway) -> None:
    """It puts events together, which needs all of them, in order."""
    key = gateway.key("Exact")
    outcome = at(anthropic, gateway, key).call("messages.stream", helper="get_final_message", **MESSAGE).success
    assert len(outcome.value["content"][0]["text"].split()) == 40
    assert outcome.value["usage"]["output_tokens"] == 40
    gateway.spent(key, lambda tokens: tokens == 46)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_count_tokens(anthropic: Client, gateway: Gateway, prefix: str) -> None:
    """It costs a request, and no tokens."""
    key = gateway.key("Exact")
    client = at(anthropic, gateway, key, prefix)
    outcome = client.call("messages.count_tokens", model="glm-5", messages=HELLO).success
    assert outcome.value["input_tokens"] == 6
    assert outcome.headers["anthropic-ratelimit-requests-remaining"] == "9999"
    assert outcome.headers["anthropic-ratelimit-tokens-remaining"] == "999"
    assert gateway.remaining(key) == (9_998, 999)


def test_as_claude_code_does(anthropic: Client, gateway: Gateway) -> None:
    """A token as bearer, `/anthropic` as base, beta headers and `?beta=true`, a system prompt in blocks, and tools."""
    key = gateway.key("Exact")
    client = anthropic.having(base_url=f"{gateway.url}/anthropic", auth_token=key)
    tool = {"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object", "properties": {}}}
    asked: dict[str, Any] = {
        **MESSAGE,
        "betas": ["interleaved-thinking-2025-05-14"],
        "system": [{"type": "text", "text": "You are helpful.", "cache_control": {"type": "ephemeral"}}],
        "tools": [tool],
        "metadata": {"user_id": "user_1"},
    }
    outcome = client.call("beta.messages.create", stream=True, **asked).success
    started = outcome.events[0]["message"]["usage"]
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == started["input_tokens"] + 40)


def test_models(anthropic: Client, gateway: Gateway) -> None:
    """Listing them and looking one up costs nothing."""
    key = gateway.key("Exact")
    client = at(anthropic, gateway, key)
    listed = client.call("models.list").success.value["data"]
    assert [model["id"] for model in listed] == ["minimax-m2.5", "glm-5"]
    assert client.call("models.retrieve", model_id="glm-5").success.value["id"] == "glm-5"
    assert gateway.remaining(key) == (9_999, 999)


def test_documents_are_not_charged_by_their_base64(anthropic: Client, gateway: Gateway) -> None:
    """100 KB of it would be 30,000 tokens of text; the reserve is what a document costs, 10,000 unless set."""
    source = {"type": "base64", "media_type": "application/pdf", "data": "A" * 100_000}
    parts = [{"type": "text", "text": "What is it?"}, {"type": "document", "source": source}]
    key = gateway.key("Wide")
    asked = {**MESSAGE, "messages": [{"role": "user", "content": parts}]}
    outcome = at(anthropic, gateway, key).call("messages.create", **asked).success
    assert 100_000_000 - int(outcome.headers["anthropic-ratelimit-tokens-remaining"]) <= 11_000
    assert outcome.value["usage"]["input_tokens"] == 4 + 3 + 256
