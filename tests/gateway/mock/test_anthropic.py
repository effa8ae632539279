"""Promises of the mock's Anthropic endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimit.gateway.mock.app import mock_app
from tests.gateway.asgi import ask
from tests.gateway.loops import in_loop
from tests.gateway.mock.streams import MODEL, USER, events, post, tokens_of

MESSAGES = "/v1/messages"
VERSION = [(b"anthropic-version", b"2023-06-01")]


def message(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 1_000, "messages": USER, **fields}


@pytest.mark.parametrize(("most", "reason"), [(1_000, "end_turn"), (5, "max_tokens")])
@in_loop
async def test_a_stream_says_what_the_plain_message_says(most: int, reason: str) -> None:
    """Every kind of event in its order; usage is a total that grows, and ends as in the plain message."""
    plain = (await post(MESSAGES, message(max_tokens=most))).json
    text = plain["content"][0]["text"]
    assert (plain["type"], plain["role"], plain["stop_reason"]) == ("message", "assistant", reason)
    assert (plain["usage"]["input_tokens"], plain["usage"]["output_tokens"]) == (4 + 2, tokens_of(text))
    found = events(await post(MESSAGES, message(max_tokens=most, stream=True)))
    kinds = [name for name, _ in found]
    assert kinds == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * tokens_of(text),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [data["type"] for _, data in found] == kinds
    assert "".join(data["delta"]["text"] for name, data in found if name == "content_block_delta") == text
    start, end = found[0][1]["message"], found[-2][1]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert (start["usage"]["input_tokens"], start["usage"]["output_tokens"]) == (4 + 2, 1)
    assert end["delta"] == {"stop_reason": reason, "stop_sequence": None}
    assert {**end["usage"], "service_tier": "standard"} == plain["usage"]


@in_loop
async def test_tokens_are_counted_before_as_they_are_after() -> None:
    """count_tokens says what the message will say, with system, tools and blocks."""
    blocks = [
        {"type": "text", "text": "abcd"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 10_000}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "abcdefgh"}]},
    ]
    asked = message(
        system=[{"type": "text", "text": "abcd"}],
        messages=[{"role": "user", "content": blocks}],
        tools=[{"name": "f", "input_schema": {"type": "object"}}],
    )
    counted = (await post(f"{MESSAGES}/count_tokens", asked)).json
    assert counted == {"input_tokens": (await post(MESSAGES, asked)).json["usage"]["input_tokens"]}
    without = {**asked, "tools": None}
    assert (await post(f"{MESSAGES}/count_tokens", without)).json == {"input_tokens": 1 + 4 + 1 + 256 + 2}


@in_loop
async def test_no_answer_at_all_can_be_asked_for() -> None:
    """Nothing is counted that was not said."""
    found = events(await post(MESSAGES, message(stream=True), tokens=0))
    assert found[0][1]["message"]["usage"]["output_tokens"] == 0
    assert found[-2][1]["usage"]["output_tokens"] == 0


@in_loop
async def test_the_models_are_listed_in_its_shape() -> None:
    """To whoever sends the version header."""
    app = mock_app()
    listed = (await ask(app, "GET", "/v1/models", headers=VERSION)).json
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "minimax-m2.5", "glm-5")
    for model in listed["data"]:
        assert model["type"] == "model"
        assert (await ask(app, "GET", f"/v1/models/{model['id']}", headers=VERSION)).json == model


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        (MESSAGES, b"{", 400, "invalid_request_error"),
        (MESSAGES, {"model": MODEL, "messages": USER}, 400, "invalid_request_error"),
        (MESSAGES, message(max_tokens=0), 400, "invalid_request_error"),
        (MESSAGES, message(messages=[]), 400, "invalid_request_error"),
        (MESSAGES, message(model="claude-x"), 404, "not_found_error"),
        (f"{MESSAGES}/count_tokens", {"model": MODEL}, 400, "invalid_request_error"),
        (f"{MESSAGES}/batches", message(), 404, "not_found_error"),
    ],
)
@in_loop
async def test_errors_are_in_its_shape(path: str, body: object, status: int, kind: str) -> None:
    """With the request id in the body and in a header."""
    call = await post(path, body)
    document = call.json
    assert (call.status, document["type"], document["error"]["type"]) == (status, "error", kind)
    assert call.header(b"request-id") == document["request_id"].encode()
