"""Promises of `ratelimit.web.call`, `content`, `fields` and `media`."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from ratelimit.errors import ConfigError
from ratelimit.intake import AMOUNT_MAX
from ratelimit.web.body import BadBody
from ratelimit.web.call import MediaCosts
from ratelimit.web.fields import CALL_FIELDS, COSTLY_FIELDS, QUIET_FIELDS
from ratelimit.web.media import MEDIA_TYPES
from ratelimit.web.routes import Kind
from tests.web.model_calls import call_of, chat, texts, user

BASE64 = "QUJD" * 50_000
PNG = f"data:image/png;base64,{BASE64}"


# Text


def test_a_plain_chat() -> None:
    """Contents are text; what surrounds messages is 4 tokens each, and 3 for the answer."""
    call = chat({"role": "system", "content": "Be kind."}, user("Grüße"), user(""))
    assert texts(call) == ["", "Be kind.", "Grüße"]
    assert call.text_bytes == 8 + 7
    assert call.fixed_tokens == 3 * 4 + 3
    assert call.all_text
    assert (call.output_cap, call.choices, call.stream, call.wants_usage) == (None, 1, False, False)


def test_tools_schemas_and_tool_calls_are_text() -> None:
    """As JSON where they are JSON; arguments as the text that they are."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    made = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
    call = chat(
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        tools=[tool],
        functions=[{"name": "old"}],
        response_format=schema,
        prediction={"type": "content", "content": "as before"},
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )
    written = [orjson.dumps(value).decode() for value in ([tool], [{"name": "old"}], schema)]
    assert texts(call) == sorted([*written, "as before", "call_1", "rain", "weather", '{"city":"Ulm"}'])
    assert call.text_bytes == sum(map(len, call.texts()))


def test_a_field_that_nobody_knows_is_text() -> None:
    """A server may put it into the prompt: of a body, a message or a part, by the length of its JSON."""
    strange = {"deep": ["in", {"it": 1.5}]}
    length = len(orjson.dumps(strange))
    assert chat(documents=strange).text_bytes == length
    assert chat({"role": "user", "content": "a", "strange": strange}).text_bytes == 1 + length
    assert chat(user([{"type": "text", "text": "a", "strange": strange}])).text_bytes == 1 + length
    assert chat(user([{"type": "new", "strange": strange}])).text_bytes == length
    assert chat({"role": "wizard", "content": "a"}).text_bytes == 7
    assert chat({"role": "user", "Content": "abc"}).text_bytes == 3
    assert chat("a message that is none", 5).text_bytes == 23


def test_what_costs_nothing_counts_nothing() -> None:
    """Settings, however long; and null, which means that a field is not given."""
    call = chat(user("a"), **{field: {"long": "x" * 1_000} for field in QUIET_FIELDS}, tools=None, n=None)
    assert call.text_bytes == 1


def test_a_messages_call_of_anthropic() -> None:
    """Blocks of every kind, a system prompt in blocks, tools."""
    call = call_of(
        Kind.MESSAGES,
        max_tokens=1_024,
        system=[{"type": "text", "text": "system", "cache_control": {"type": "ephemeral"}}],
        messages=[
            user([{"type": "text", "text": "hello"}, {"type": "image", "source": {"type": "base64", "data": BASE64}}]),
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hmm", "signature": "S" * 500},
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "it"}},
                ],
            },
            user(
                [
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "seen"}]},
                    {"type": "tool_result", "tool_use_id": "t", "content": "plain"},
                ]
            ),
        ],
        tools=[{"name": "look"}],
        thinking={"type": "enabled", "budget_tokens": 1_000},
    )
    expected = ["system", "hello", "hmm", "look", '{"at":"it"}', "t", "seen", "t", "plain", '[{"name":"look"}]']
    assert texts(call) == sorted(expected)
    assert call.fixed_tokens == 3 * 4 + 3 + 1_000
    assert call.output_cap == 1_024


def test_a_responses_call() -> None:
    """Input as a string or as items, instructions, tools, the format of the text."""
    assert texts(call_of(Kind.RESPONSES, input="hello", instructions="be kind")) == ["be kind", "hello"]
    call = call_of(
        Kind.RESPONSES,
        max_output_tokens=50,
        text={"format": {"type": "text"}},
        input=[
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            user("plain"),
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "c", "output": "seen"},
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {"type": "computer_screenshot", "image_url": PNG},
            },
            {"type": "reasoning", "id": "rs_1", "summary": []},
        ],
    )
    assert texts(call) == sorted(
        ["hello", "plain", "c", "look", "{}", "c", "seen", "c", "[]", '{"format":{"type":"text"}}']
    )
    assert call.fixed_tokens == 6 * 4 + 3 + 1_000
    assert call.output_cap == 50


@pytest.mark.parametrize(
    "field", [{"previous_response_id": "resp_1"}, {"conversation": {"id": "conv_1"}}, {"prompt": {"id": "pmpt_1"}}]
)
def test_input_that_is_not_in_the_body_is_not_learned_from(field: dict[str, Any]) -> None:
    """What the server has kept cannot be counted, so the usage of such a call tells nothing about bytes."""
    assert not call_of(Kind.RESPONSES, input="go on", **field).all_text
    assert call_of(Kind.RESPONSES, input="go on", **dict.fromkeys(field)).all_text


@pytest.mark.parametrize(
    ("value", "text_bytes", "tokens"),
    [
        ("text", 4, 0),
        (["two", "texts"], 8, 0),
        ([1, 2, 3], 0, 3),
        ([[1, 2, 3], [4]], 0, 4),
        ([], 0, 0),
    ],
)
def test_forms_of_an_input(value: object, text_bytes: int, tokens: int) -> None:
    """Text, texts, token ids, lists of them, in embeddings and in completions."""
    embedding = call_of(Kind.EMBEDDINGS, input=value)
    assert (embedding.text_bytes, embedding.fixed_tokens, embedding.output_cap) == (text_bytes, tokens, 0)
    completion = call_of(Kind.COMPLETION, prompt=value)
    assert (completion.text_bytes, completion.fixed_tokens) == (text_bytes, tokens + 3)


@pytest.mark.parametrize("odd", [True, 1.0, "x", None, [1], {"a": 1}])
def test_a_list_of_token_ids_with_something_else_in_it_is_not_cheaper(odd: object) -> None:
    """Some servers take true or 1.0 for a token id: each item counts as one at least."""
    ids: list[object] = [7] * 1_000
    for call in (call_of(Kind.EMBEDDINGS, input=[*ids, odd]), call_of(Kind.EMBEDDINGS, input=[[*ids, odd]])):
        assert call.fixed_tokens >= 1_000


# Media


@pytest.mark.parametrize(
    ("part", "cost"),
    [
        ({"type": "image_url", "image_url": {"url": PNG}}, 1_000),
        ({"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}, 1_000),
        ({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}, 10),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 1_000),
        ({"type": "image_url", "image_url": "https://example.com/a.png"}, 1_000),
        ({"type": "input_image", "image_url": PNG, "detail": "low"}, 10),
        ({"type": "input_image", "file_id": "file_1"}, 1_000),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}}, 1_000),
        ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, 1_000),
        ({"type": "image_generation_call", "id": "ig_1", "result": BASE64}, 1_000),
        ({"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}, 200),
        ({"type": "audio_url", "audio_url": {"url": "https://example.com/a.mp3"}}, 200),
        ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, 3_000),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{BASE64}"}}, 5_000),
        ({"type": "input_file", "filename": "a.pdf", "file_data": BASE64}, 5_000),
        ({"type": "input_file", "file_url": "https://example.com/a.pdf"}, 5_000),
        ({"type": "document", "source": {"type": "base64", "data": BASE64}}, 5_000),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, 5_000),
    ],
)
def test_media_has_a_set_cost(part: dict[str, Any], cost: int) -> None:
    """Whatever its file is long, in the parts of both dialects, as a URL, an id or base64."""
    call = chat(user([part]))
    assert call.fixed_tokens == 3 + 4 + cost
    assert call.text_bytes == 0
    assert not call.all_text
    assert {"image", "audio", "video", "document"} == set(MEDIA_TYPES.values())


def test_a_document_of_text_is_text() -> None:
    """Anthropic's documents may hold plain text or content parts; their titles are text as well."""
    plain = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}}
    parts = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "part"}]}}
    call = chat(user([plain, parts]))
    assert texts(call) == ["T", "part", "plain"]
    assert call.fixed_tokens == 3 + 4


def test_text_beside_media_counts() -> None:
    """Also in fields of a part that it is not expected in."""
    call = chat(user([{"type": "image_url", "image_url": {"url": PNG}, "text": "more", "extra": [1]}]))
    assert texts(call) == ["[1]", "more"]


def test_data_urls_are_media_in_what_nobody_knows() -> None:
    """By the type that they name; the rest of such a part is text."""
    call = chat(user([{"type": "new", "sound": "data:audio/wav;base64,AAAA", "clip": ["data:video/mp4,A", "word", 1]}]))
    assert call.fixed_tokens == 3 + 4 + 200 + 3_000
    assert texts(call) == ["1", "word"]
    call = chat(documents=[{"page": {"scan": PNG}, "number": 7}])
    assert call.fixed_tokens == 3 + 1_000
    assert texts(call) == ["7", "number", "page", "scan"]


def test_a_data_url_in_a_text_is_text() -> None:
    """The model reads it as the characters that it is."""
    call = chat(user(PNG), user([{"type": "text", "text": PNG}]), {"role": "user", "content": "", "thought": PNG})
    assert call.text_bytes == 3 * len(PNG)
    assert call.all_text


@pytest.mark.parametrize("cost", [-1, 1.5, True, "85", 10**10])
def test_a_cost_is_a_number_of_tokens(cost: Any) -> None:
    """The error names the medium, the value and the rule."""
    with pytest.raises(ConfigError, match=r"^audio = .*: must be a whole number of tokens from 0 to 1,000,000,000$"):
        MediaCosts(audio=cost)


# Output


@pytest.mark.parametrize(
    ("caps", "cap"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 100}, 100),
        ({"max_tokens": 100, "max_completion_tokens": 1}, 100),
        ({"max_tokens": 1, "max_completion_tokens": 100}, 100),
        ({"max_tokens": None, "max_completion_tokens": 100}, 100),
        ({"max_tokens": 0}, None),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "n": 0}, 100),
        ({"max_tokens": 100, "n": 2, "best_of": 5}, 500),
        ({"max_tokens": AMOUNT_MAX, "n": AMOUNT_MAX}, AMOUNT_MAX),
        ({"max_output_tokens": 7}, None),
    ],
)
def test_the_cap_of_a_chat(caps: dict[str, Any], cap: int | None) -> None:
    """The larger one, times the choices. 0 is no cap, because to some servers it means "not given"."""
    assert chat(**caps).output_cap == cap


def test_each_prompt_of_a_completion_is_answered() -> None:
    """The cap holds for each of them, and for each choice."""
    for prompt, prompts in (("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2], [3]], 3), (None, 1), ([], 1)):
        call = call_of(Kind.COMPLETION, prompt=prompt, max_tokens=10, n=2)
        assert (call.output_cap, call.choices) == (20 * prompts, 2 * prompts)


def test_choices_belong_to_chat_and_completions() -> None:
    """The other endpoints give one answer, whatever n says."""
    assert call_of(Kind.RESPONSES, input="a", n=9, max_output_tokens=5).output_cap == 5
    assert call_of(Kind.MESSAGES, n=9, max_tokens=5).output_cap == 5
    assert call_of(Kind.EMBEDDINGS, input="a", n=9).output_cap == 0


# What is refused


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        (Kind.CHAT, {}, "messages"),
        (Kind.CHAT, {"messages": None}, "messages"),
        (Kind.CHAT, {"messages": "hello"}, "messages"),
        (Kind.CHAT, {"messages": {"role": "user"}}, "messages"),
        (Kind.MESSAGES, {"max_tokens": 1, "messages": None}, "messages"),
        (Kind.MESSAGES, {"max_tokens": None}, "max_tokens"),
        (Kind.EMBEDDINGS, {}, "input"),
        (Kind.EMBEDDINGS, {"input": None}, "input"),
        (Kind.EMBEDDINGS, {"input": 5}, "input"),
        (Kind.RESPONSES, {"input": True}, "input"),
        (Kind.COMPLETION, {"prompt": 1.5}, "prompt"),
        (Kind.CHAT, {"messages": [], "model": None}, "model"),
        (Kind.CHAT, {"messages": [], "model": ""}, "model"),
        (Kind.CHAT, {"messages": [], "model": 4}, "model"),
        (Kind.CHAT, {"messages": [], "model": ["glm-5"]}, "model"),
        (Kind.CHAT, {"messages": [], "model": "m" * 257}, "model"),
        (Kind.CHAT, {"messages": [], "model": "glm\r\n5"}, "model"),
        (Kind.CHAT, {"messages": [], "stream": "true"}, "stream"),
        (Kind.CHAT, {"messages": [], "stream": 1}, "stream"),
        (Kind.CHAT, {"messages": [], "stream_options": True}, "stream_options"),
        (Kind.CHAT, {"messages": [], "stream_options": {"include_usage": 1}}, "stream_options"),
        (Kind.CHAT, {"messages": [], "stream_options": {"Include_Usage": True}}, "stream_options"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(kind: Kind, body: dict[str, Any], param: str) -> None:
    """The error names the field, and shows little of its value."""
    with pytest.raises(BadBody) as caught:
        call_of(kind, **body)
    assert caught.value.param == param
    assert param in caught.value.message
    assert len(caught.value.message) < 200


def test_a_stream_that_asks_for_usage() -> None:
    """`stream` and `stream_options.include_usage`, as they are."""
    call = chat(stream=True, stream_options={"include_usage": True, "include_obfuscation": False})
    assert (call.stream, call.wants_usage) == (True, True)
    assert not chat(stream=True, stream_options={}).wants_usage


# The value


def test_texts_can_be_let_go() -> None:
    """A call lives as long as its response; its texts, which may be megabytes, need not. Nor are they ever shown."""
    call = chat(user("confidential"))
    assert "confidential" not in repr(call)
    call.release()
    with pytest.raises(RuntimeError, match="have been released"):
        call.texts()
    assert call.text_bytes == 12


def test_every_field_is_read_or_known_to_cost_nothing() -> None:
    """No field is in two sets, and the fields of every endpoint are among those with one spelling."""
    assert not COSTLY_FIELDS & QUIET_FIELDS
    for fields in CALL_FIELDS.values():
        assert {*fields.caps, *fields.choices, fields.input} - {None} <= COSTLY_FIELDS


@pytest.mark.parametrize("kind", list(CALL_FIELDS))
def test_wrong_shapes_are_never_free(kind: Kind) -> None:
    """A long text counts, whatever is built around it."""
    word = "x" * 10_000
    for shape in (word, [word], [[word]], {"a": word}, [{"content": {"text": word}}], [{"content": [[{"b": word}]]}]):
        for field in ("messages", "input", "prompt", "system", "instructions", "tools", "text", "unheard_of"):
            try:
                call = call_of(kind, **{"messages": [], "input": "", field: json.loads(json.dumps(shape))})
            except BadBody:
                continue
            assert call.text_bytes >= 10_000
