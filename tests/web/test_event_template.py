"""Counting alike events without parsing them gives what parsing them gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.web.event_template import EventTemplate, count_alike
from ratelimit.web.lenient_json import parse
from ratelimit.web.output_text import event_bytes
from ratelimit.web.sse import payload

USUAL: list[dict[str, Any]] = [
    {"id": "x", "choices": [{"index": 0, "delta": {"content": "GAP"}, "finish_reason": None}], "usage": None},
    {"id": "x", "choices": [{"index": 0, "delta": {"reasoning_content": "GAP", "content": None}}]},
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "GAP"}}]}}]},
    {"choices": [{"text": "GAP", "index": 0}]},
    {"choices": [{"delta": {"content": "first"}}, {"delta": {"content": "GAP"}}]},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "GAP"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "GAP"}},
    {"type": "response.output_text.delta", "item_id": "m", "delta": "GAP"},
    {"choices": [{"delta": {"input": {"text": "GAP"}}}]},
]
OTHER: list[dict[str, Any]] = [
    {"choices": [{"delta": {"reasoning": "GAP", "reasoning_content": "abc"}}]},
    {"type": "content_block_delta", "delta": {"type": "x_result", "text": "GAP"}},
    {"type": "response.output_text.done", "item_id": "m", "text": "GAP"},
    {"choices": [{"delta": {"content": "GAP"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
    {"type": "message_stop", "choices": [{"delta": {"content": "GAP"}}]},
    {"note": "GAP", "text": "GAP"},
]
SHAPES = USUAL + OTHER
_gaps = st.one_of(
    st.text(max_size=6).map(lambda text: json.dumps(text)[1:-1].encode()),
    st.text(max_size=6).map(lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [rb"\\", rb"\ud83d", rb"\u00e9", b"\\", b'"', b"\n", b"\t", b"\xff", b"\xe4\xbd", rb"\x", rb"\u12"]
    ),
    st.just(b'","usage":{"prompt_tokens":1,"completion_tokens":1},"text":"'),
    st.binary(max_size=4),
)


def _events(shape: dict[str, Any], gaps: list[bytes]) -> list[bytes]:
    return [b"data: " + json.dumps(shape).encode().replace(b"GAP", gap) for gap in gaps]


def _parsed_bytes(events: list[bytes]) -> int:
    values = [parse(payload(event)) for event in events]
    return sum(event_bytes(value) for value in values if isinstance(value, dict))


@settings(deadline=None)
@given(shape=st.sampled_from(SHAPES), gaps=st.lists(_gaps, max_size=40), few=st.booleans())
def test_templates_count_what_parsing_counts(shape: dict[str, Any], gaps: list[bytes], few: bool) -> None:
    """For any bytes in the gap; what is left is the same events in their order."""
    events = _events(shape, gaps if few else gaps * 3)
    counted, rest = count_alike(events)
    assert counted + _parsed_bytes(rest) == _parsed_bytes(events)
    left = iter(events)
    assert all(event in left for event in rest)


@settings(deadline=None)
@given(
    shapes=st.tuples(st.sampled_from(SHAPES), st.sampled_from(SHAPES)),
    gaps=st.lists(st.tuples(st.booleans(), _gaps), max_size=60),
)
def test_streams_of_several_shapes_are_counted(
    shapes: tuple[dict[str, Any], dict[str, Any]], gaps: list[tuple[bool, bytes]]
) -> None:
    """Thinking and then text, say, or two choices in turn."""
    events = [event for second, gap in gaps for event in _events(shapes[second], [gap])]
    counted, rest = count_alike(events)
    assert counted + _parsed_bytes(rest) == _parsed_bytes(events)


@pytest.mark.parametrize("shape", USUAL)
def test_usual_events_need_no_parsing(shape: dict[str, Any]) -> None:
    """All events of a usual shape are counted by one template."""
    counted, rest = count_alike(_events(shape, [b"word"] * 100))
    assert [event for event in rest if event] == []
    assert counted >= 400


@pytest.mark.parametrize("shape", OTHER)
def test_other_events_are_left_to_the_parser(shape: dict[str, Any]) -> None:
    """An event that tells usage, or in which more than the string or not even that counts, is no template."""
    assert EventTemplate.of(_events(shape, [b"word"])[0]) is None
