"""Promises of the mock's OpenAI endpoints."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.gateway.mock.app import mock_app
from tests.gateway.asgi import ask
from tests.gateway.loops import in_loop
from tests.gateway.mock.streams import MODEL, USER, events, post, tokens_of

CHAT = "/v1/chat/completions"


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": USER, **fields}


@in_loop
async def test_a_chat_is_answered_in_full() -> None:
    """All that the API's documentation shows, with nothing random but the id."""
    call = await post(CHAT, chat())
    body = call.json
    choice = body["choices"][0]
    text = choice["message"]["content"]
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", MODEL)
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    usage = body["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (4 + 2, tokens_of(text))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    again = (await post(CHAT, chat())).json
    assert (again["choices"], again["usage"]) == (body["choices"], usage)


@given(
    content=st.text(min_size=1),
    most=st.none() | st.integers(1, 200),
    older=st.none() | st.integers(1, 200),
    n=st.integers(1, 3),
    wanted=st.none() | st.integers(0, 300),
    usage=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_stream_says_what_the_plain_answer_says(
    content: str, most: int | None, older: int | None, n: int, wanted: int | None, usage: bool
) -> None:
    """The same text, reasons to stop and usage, whatever is asked for, and all of it is counted right."""
    asked = chat(messages=[{"role": "user", "content": content}], max_completion_tokens=most, max_tokens=older, n=n)

    @in_loop
    async def check() -> None:
        plain = (await post(CHAT, asked, tokens=wanted)).json
        options = {"stream_options": {"include_usage": True}} if usage else {}
        *chunks, done = events(await post(CHAT, {**asked, "stream": True, **options}, tokens=wanted))
        assert done == (None, "[DONE]")
        texts, reasons = [""] * n, [None] * n
        for _, chunk in chunks[: len(chunks) - usage]:
            assert ("usage" in chunk) == usage
            (choice,) = chunk["choices"]
            texts[choice["index"]] += choice["delta"].get("content", "")
            reasons[choice["index"]] = reasons[choice["index"]] or choice["finish_reason"]
        assert texts == [choice["message"]["content"] for choice in plain["choices"]]
        assert reasons == [choice["finish_reason"] for choice in plain["choices"]]
        counted = sum(map(tokens_of, texts))
        assert plain["usage"]["completion_tokens"] == counted
        limit = older if most is None else most
        for text, reason in zip(texts, reasons, strict=True):
            assert limit is None or tokens_of(text) <= limit
            assert reason == "stop" or tokens_of(text) == limit
        if usage:
            assert (chunks[-1][1]["choices"], chunks[-1][1]["usage"]) == ([], plain["usage"])

    check()


@in_loop
async def test_parts_tools_and_attachments_are_counted() -> None:
    """An image costs what an image costs, not what its base64 weighs; tools are read and never called."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    parts = [{"role": "user", "content": [{"type": "text", "text": "12345678"}, image]}]
    assert (await post(CHAT, chat(messages=parts))).json["usage"]["prompt_tokens"] == 4 + 2 + 256
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    answer = (await post(CHAT, chat(tools=tools, tool_choice="required"))).json
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] > 6


@in_loop
async def test_completions_take_every_form_of_prompt() -> None:
    """Text, texts, tokens, and lists of tokens; one choice for each, times n; 16 tokens unless told otherwise."""
    for prompt, tokens, choices in (("abcde", 2, 1), (["abcd", "x"], 2, 2), ([1, 2, 3], 3, 1), ([[1], [2, 3]], 3, 2)):
        asked = {"model": MODEL, "prompt": prompt, "n": 2}
        body = (await post("/v1/completions", asked)).json
        texts = [choice["text"] for choice in body["choices"]]
        assert (len(texts), body["usage"]["prompt_tokens"]) == (2 * choices, tokens)
        assert body["usage"]["completion_tokens"] == sum(map(tokens_of, texts))
        assert max(map(tokens_of, texts)) <= 16
        streamed = {**asked, "stream": True, "stream_options": {"include_usage": True}}
        *chunks, (_, last), _ = events(await post("/v1/completions", streamed))
        heard = [""] * len(texts)
        for _, chunk in chunks:
            heard[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
        assert (heard, last["usage"]) == (texts, body["usage"])


@pytest.mark.parametrize("cut", [False, True])
@in_loop
async def test_a_response_streams_its_whole_sequence(cut: bool) -> None:
    """Every kind of event in its order and numbered; the last one is the plain response, usage and all."""
    asked = {"model": MODEL, "input": "Hello", "instructions": "abcd", **({"max_output_tokens": 3} if cut else {})}
    plain = (await post("/v1/responses", asked)).json
    found = events(await post("/v1/responses", {**asked, "stream": True}))
    outcome = "incomplete" if cut else "completed"
    text = plain["output"][0]["content"][0]["text"]
    kinds = [name for name, _ in found]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * tokens_of(text),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        f"response.{outcome}",
    ]
    assert [data["type"] for _, data in found] == kinds
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert "".join(data["delta"] for name, data in found if name == "response.output_text.delta") == text
    assert [data["response"]["usage"] for _, data in found[:2]] == [None, None]
    last = found[-1][1]["response"]
    assert last["output"][0].pop("id") != plain["output"][0].pop("id")
    for response in (last, plain):
        assert response.pop("id").startswith("resp_")
        del response["created_at"]
    assert last == plain
    assert plain["status"] == outcome
    assert plain["incomplete_details"] == ({"reason": "max_output_tokens"} if cut else None)
    usage = plain["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (4 + 2 + 1, tokens_of(text))
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@in_loop
async def test_a_response_takes_items() -> None:
    """Messages, calls of tools and their results."""
    items = [{"role": "user", "content": "abcd"}, {"type": "function_call_output", "call_id": "1", "output": "x"}]
    body = (await post("/v1/responses", {"model": MODEL, "input": items})).json
    assert body["usage"]["input_tokens"] > 4 + 1 + 4


@in_loop
async def test_embeddings_take_every_form_of_input() -> None:
    """One vector of length 1 per input, the same for the same input, and tokens counted."""
    for given_input, tokens, count in (("abcde", 2, 1), (["ab", "ab"], 2, 2), ([7, 8, 9], 3, 1), ([[1], [2, 3]], 3, 2)):
        body = (await post("/v1/embeddings", {"model": MODEL, "input": given_input})).json
        assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
        assert [item["index"] for item in body["data"]] == list(range(count))
        for item in body["data"]:
            assert len(item["embedding"]) == 256
            assert sum(number * number for number in item["embedding"]) == pytest.approx(1, abs=1e-5)
    same = (await post("/v1/embeddings", {"model": MODEL, "input": ["ab", "ab", "ba"]})).json["data"]
    assert same[0]["embedding"] == same[1]["embedding"] != same[2]["embedding"]


@in_loop
async def test_base64_holds_the_same_numbers() -> None:
    """32-bit floats, little-endian, as many as asked for."""
    asked = {"model": MODEL, "input": "Hello", "dimensions": 8}
    (plain,) = (await post("/v1/embeddings", {**asked, "encoding_format": "float"})).json["data"]
    (coded,) = (await post("/v1/embeddings", {**asked, "encoding_format": "base64"})).json["data"]
    assert list(struct.unpack("<8f", base64.b64decode(coded["embedding"]))) == plain["embedding"]


@in_loop
async def test_the_models_are_listed() -> None:
    """Both of them, and each by its name."""
    app = mock_app()
    listed = (await ask(app, "GET", "/v1/models")).json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["minimax-m2.5", "glm-5"]
    for model in listed["data"]:
        assert (await ask(app, "GET", f"/v1/models/{model['id']}")).json == model


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, b"{", None),
        (CHAT, b"[]", None),
        (CHAT, {"messages": USER}, "model"),
        (CHAT, {"model": 5, "messages": USER}, "model"),
        (CHAT, {"model": MODEL}, "messages"),
        (CHAT, {"model": MODEL, "messages": []}, "messages"),
        (CHAT, {"model": MODEL, "messages": ["Hello"]}, "messages"),
        (CHAT, chat(n=0), "n"),
        (CHAT, chat(n=True), "n"),
        (CHAT, chat(max_tokens="5"), "max_tokens"),
        (CHAT, chat(max_completion_tokens=1.5), "max_completion_tokens"),
        (CHAT, chat(stream=1), "stream"),
        (CHAT, chat(stream_options={"include_usage": True}), "stream_options"),
        (CHAT, chat(stream=True, stream_options={"include_usage": 1}), "stream_options"),
        ("/v1/completions", {"model": MODEL, "prompt": []}, "prompt"),
        ("/v1/completions", {"model": MODEL, "prompt": [["a"]]}, "prompt"),
        ("/v1/embeddings", {"model": MODEL, "input": ""}, "input"),
        ("/v1/embeddings", {"model": MODEL, "input": ["x"] * 2_049}, "input"),
        ("/v1/embeddings", {"model": MODEL, "input": "x", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/responses", {"model": MODEL}, "input"),
        ("/v1/responses", {"model": MODEL, "input": []}, "input"),
        ("/v1/responses", {"model": MODEL, "input": "x", "max_output_tokens": 0}, "max_output_tokens"),
    ],
)
@in_loop
async def test_a_wrong_body_is_a_400_that_names_the_field(path: str, body: object, param: str | None) -> None:
    """In OpenAI's shape."""
    call = await post(path, body)
    assert call.status == 400
    error = call.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "1000001", ""])
@in_loop
async def test_the_length_header_is_checked(text: str) -> None:
    """A whole number up to a million."""
    call = await ask(mock_app(), "POST", CHAT, headers=[(b"x-mock-output-tokens", text.encode())], body=chat())
    assert call.status == 400


@in_loop
async def test_what_is_not_here_is_a_404() -> None:
    """A model, a path, and a path with another method (405)."""
    unknown = await post(CHAT, chat(model="gpt-x"))
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
    app = mock_app()
    assert (await ask(app, "GET", "/v1/models/gpt-x")).status == 404
    missing = await ask(app, "POST", "/v1/files")
    assert (missing.status, missing.json["error"]["type"]) == (404, "invalid_request_error")
    assert (await ask(app, "GET", CHAT)).status == 405
