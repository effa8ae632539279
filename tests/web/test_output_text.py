"""Which bytes of an answer the model wrote."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.web.output_text import answer_bytes, event_bytes, utf8_size


def _delta(**members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("event", "size"),
    [
        (_delta(content="é"), 2),
        (_delta(role="assistant", content="", id="chatcmpl-1"), 0),
        (_delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "ab"}]}, {"text": "c"}]), 3),
        (_delta(reasoning="ab", reasoning_content="ab"), 2),
        (_delta(reasoning="ab", reasoning_details=[{"text": "ab"}]), 2),
        (_delta(reasoning_content="ab", content="c", refusal="d"), 4),
        (_delta(tool_calls=[{"id": "call_1", "function": {"name": "f", "arguments": "{}"}}]), 2),
        (_delta(tool_calls=[{"custom": {"name": "f", "input": "ls"}}]), 2),
        (_delta(function_call={"name": "f", "arguments": "{}"}), 2),
        (_delta(audio={"id": "a", "data": "AAAA", "transcript": "la"}), 2),
        ({"choices": [{"text": "ab"}, {"text": "c"}], "obfuscation": "xyz"}, 3),
        ({"choices": [{"delta": {}, "message": {"content": "told before"}}]}, 0),
        ({"choices": [None, 7, [], {"delta": None, "text": 7}]}, 0),
        ({"type": "content_block_start", "content_block": {"type": "text", "text": "ab"}}, 2),
        ({"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f", "input": {}}}, 0),
        ({"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "EqQB"}}, 0),
        ({"type": "content_block_delta", "delta": {"type": "citations_delta", "citation": {"cited_text": "x"}}}, 0),
        ({"type": "response.code_interpreter_call_code.delta", "delta": "x=1"}, 3),
        ({"type": "response.mcp_call_arguments.delta", "delta": "{}"}, 2),
        ({"type": "response.output_audio.delta", "delta": "AAAA"}, 0),
        ({"type": "response.output_text.done", "text": "told before"}, 0),
        ({"type": ["response.output_text.delta"], "delta": "no"}, 0),
        ({"type": "ping"}, 0),
        ({}, 0),
    ],
)
def test_text_of_an_event(event: dict[str, Any], size: int) -> None:
    """Text, reasoning, refusals, transcripts and arguments count once; ids, roles, names and repetitions do not."""
    assert event_bytes(event) == size


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        ({"content": "ab"}, 2),
        ({"output": [{"type": "function_call_output", "output": "no", "content": "no"}]}, 0),
        ({"output": [{"type": "mcp_call", "arguments": "{}", "output": "no"}]}, 2),
        ({"content": [{"type": "tool_use", "input": {"a": [1, 2.5, None, True, "é"], "b": {}, "c": []}}]}, 42),
        ({"choices": [{"message": {"content": "ab"}}], "content": "no"}, 2),
        ({"error": {"message": "no"}}, 0),
    ],
)
def test_text_of_an_answer(answer: dict[str, Any], size: int) -> None:
    """Results of tools are input, their arguments output, as the model wrote them."""
    assert answer_bytes(answer) == size


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=[])))
def test_size_is_that_of_utf8(text: str) -> None:
    """Halves of surrogate pairs included."""
    assert utf8_size(text) == len(text.encode("utf-8", "surrogatepass"))
