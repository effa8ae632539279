"""OpenAI's SDKs against `ratelimit serve`: every endpoint, plain and streamed, charged exactly what was used."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from .client import Client
from .gateway import Gateway

pytestmark = pytest.mark.slow

MODEL = "glm-5"
HELLO = [{"role": "user", "content": "Hello"}]
"""6 tokens: 4 of a message, and 2 for five letters."""
SAYS_40 = {"x-mock-output-tokens": "40"}
CHAT: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 100, "extra_headers": SAYS_40}
COMPLETION: dict[str, Any] = {"model": MODEL, "prompt": "Hello", "max_tokens": 100, "extra_headers": SAYS_40}
RESPONSE: dict[str, Any] = {"model": MODEL, "input": "Hello", "max_output_tokens": 100, "extra_headers": SAYS_40}
WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
INPUTS: list[tuple[Any, int]] = [("Hello", 2), (["Hello", "World"], 4), ([1, 2, 3], 3), ([[1, 2], [3]], 3)]


def at(client: Client, gateway: Gateway, key: str) -> Client:
    """The client, as configured for this gateway."""
    return client.having(base_url=f"{gateway.url}/v1", api_key=key)


def check_standing(headers: dict[str, str]) -> None:
    """Assert that the first request of an `Exact` key shows where its limits stand, and its id."""
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-ratelimit-limit-requests"] == "10000"
    assert headers["x-ratelimit-remaining-requests"] == "9999"
    assert headers["x-ratelimit-limit-tokens"] == "999"
    assert 0 <= int(headers["x-ratelimit-remaining-tokens"]) < 999
    for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"):
        assert headers[name].endswith("s")


def test_chat(openai: Client, gateway: Gateway) -> None:
    """An answer, its usage, the standing headers, and a charge of just that usage."""
    key = gateway.key("Exact")
    outcome = at(openai, gateway, key).call("chat.completions.create", **CHAT).success
    assert len(outcome.value["choices"][0]["message"]["content"].split()) == 40
    assert outcome.value["usage"]["total_tokens"] == 46
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == 46)


def test_chat_with_several_answers(openai: Client, gateway: Gateway) -> None:
    """`n` answers count `n` times."""
    key = gateway.key("Exact")
    outcome = at(openai, gateway, key).call("chat.completions.create", n=3, **CHAT).success
    assert len(outcome.value["choices"]) == 3
    gateway.spent(key, lambda tokens: tokens == 6 + 3 * 40)


def test_chat_streamed_with_its_usage(openai: Client, gateway: Gateway) -> None:
    """The last chunk has the usage, which is charged; headers stand on streams too."""
    key = gateway.key("Exact")
    outcome = at(openai, gateway, key).call("chat.completions.create", **WITH_USAGE, **CHAT).success
    *chunks, last = outcome.events
    assert len(_said(chunks).split()) == 40
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 46
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == 46)


def test_chat_streamed_without_its_usage(openai: Client, gateway: Gateway) -> None:
    """Nothing is added to the stream, and what was streamed is counted: 40 tokens in 160 bytes, at 0.3 a byte."""
    key = gateway.key("Exact")
    outcome = at(openai, gateway, key).call("chat.completions.create", stream=True, **CHAT).success
    assert len(_said(outcome.events).split()) == 40
    assert all(chunk["choices"] for chunk in outcome.events)
    assert not any(chunk.get("usage") for chunk in outcome.events)
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: 35 <= tokens <= 70)


def test_usage_that_only_the_gateway_asked_for(openai: Client, slow_gateway: Gateway) -> None:
    """With `--ask-usage` the charge is exact, and the client sees no more than it asked for."""
    key = slow_gateway.key("Exact")
    few = {**CHAT, "extra_headers": {"x-mock-output-tokens": "8"}}
    outcome = at(openai, slow_gateway, key).call("chat.completions.create", stream=True, **few).success
    assert len(_said(outcome.events).split()) == 8
    assert all(chunk["choices"] for chunk in outcome.events)
    assert not any(chunk.get("usage") for chunk in outcome.events)
    slow_gateway.spent(key, lambda tokens: tokens == 14)


def test_the_helper_for_streamed_chats(openai: Client, gateway: Gateway) -> None:
    """It puts chunks together, which needs all of them, in order."""
    outcome = at(openai, gateway, gateway.anyone).call("chat.completions.stream", helper="get_final_completion", **CHAT)
    assert len(outcome.success.value["choices"][0]["message"]["content"].split()) == 40


@pytest.mark.parametrize("streamed", [False, True])
def test_completions(openai: Client, gateway: Gateway, streamed: bool) -> None:
    """The older endpoint, whose messages cost nothing besides their text."""
    key = gateway.key("Exact")
    options = WITH_USAGE if streamed else {}
    outcome = at(openai, gateway, key).call("completions.create", **options, **COMPLETION).success
    whole = outcome.events[-1] if streamed else outcome.value
    assert whole["usage"]["total_tokens"] == 42
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == 42)


def test_responses(openai: Client, gateway: Gateway) -> None:
    """An answer of the Responses API."""
    key = gateway.key("Exact")
    outcome = at(openai, gateway, key).call("responses.create", **RESPONSE).success
    assert outcome.value["status"] == "completed"
    assert outcome.value["usage"]["total_tokens"] == 46
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == 46)


def test_responses_streamed(openai: Client, gateway: Gateway) -> None:
    """Its stream needs no option to say its usage: the last event has it."""
    key = gateway.key("Exact")
    outcome = at(openai, gateway, key).call("responses.create", stream=True, **RESPONSE).success
    assert outcome.events[0]["type"] == "response.created"
    assert outcome.events[-1]["type"] == "response.completed"
    assert outcome.events[-1]["response"]["usage"]["total_tokens"] == 46
    check_standing(outcome.headers)
    gateway.spent(key, lambda tokens: tokens == 46)


def test_the_helper_for_streamed_responses(openai: Client, gateway: Gateway) -> None:
    """It puts events together, which needs all of them, in order."""
    outcome = at(openai, gateway, gateway.anyone).call("responses.stream", helper="get_final_response", **RESPONSE)
    assert outcome.success.value["usage"]["output_tokens"] == 40


@pytest.mark.parametrize(("given", "tokens"), INPUTS, ids=["text", "texts", "tokens", "lists of tokens"])
def test_embeddings(openai: Client, gateway: Gateway, given: Any, tokens: int) -> None:
    """Every form of input. The SDK asks for base64, unless told otherwise, and gives out numbers."""
    key = gateway.key("Exact")
    outcome = at(openai, gateway, key).call("embeddings.create", model=MODEL, input=given, dimensions=8).success
    assert outcome.value["usage"]["total_tokens"] == tokens
    assert all(len(found["embedding"]) == 8 for found in outcome.value["data"])
    check_standing(outcome.headers)
    gateway.spent(key, lambda spent: spent == tokens)


def test_embeddings_in_both_encodings(openai: Client, gateway: Gateway) -> None:
    """Asked for base64, the SDK leaves it as it is: four bytes a number, the same ones as in JSON."""
    client = at(openai, gateway, gateway.anyone)
    found = {}
    for encoding in ("float", "base64"):
        asked: dict[str, Any] = {"input": "Hello", "dimensions": 8, "encoding_format": encoding}
        outcome = client.call("embeddings.create", model=MODEL, **asked).success
        found[encoding] = outcome.value["data"][0]["embedding"]
    assert len(found["float"]) == 8
    assert len(base64.b64decode(found["base64"])) == 4 * 8


def test_models(openai: Client, gateway: Gateway) -> None:
    """Listing them and looking one up costs nothing."""
    key = gateway.key("Exact")
    client = at(openai, gateway, key)
    listed = client.call("models.list").success.value["data"]
    assert [model["id"] for model in listed] == ["minimax-m2.5", "glm-5"]
    assert client.call("models.retrieve", model="glm-5").success.value == listed[1]
    assert gateway.remaining(key) == (9_999, 999)


def test_an_image_is_not_charged_by_its_base64(openai: Client, gateway: Gateway) -> None:
    """100 KB of it would be 30,000 tokens of text; the reserve is far below that."""
    image = "data:image/png;base64," + "A" * 100_000
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": image}}]
    asked = {**CHAT, "messages": [{"role": "user", "content": parts}]}
    outcome = at(openai, gateway, gateway.key("Wide")).call("chat.completions.create", **asked).success
    assert 100_000_000 - int(outcome.headers["x-ratelimit-remaining-tokens"]) < 5_000
    assert outcome.value["usage"]["prompt_tokens"] == 4 + 3 + 256


def _said(chunks: list[Any]) -> str:
    """The text of a stream of chunks."""
    return "".join(choice["delta"]["content"] or "" for chunk in chunks for choice in chunk["choices"])
