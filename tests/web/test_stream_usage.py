"""When a stream's word on usage is the last one, and when it is only a lower bound."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ratelimit.web.routes import Kind
from ratelimit.web.usage import Reading, Usage
from tests.web.streams import DONE, chunk, cut_at, event, read

SAID = {"input_tokens": 50, "output_tokens": 20_000, "output_tokens_details": {"reasoning_tokens": 19_990}}
LIE = {"usage": {"input_tokens": 1, "output_tokens": 1}}


def terminal(kind: str = "response.completed", **more: Any) -> bytes:
    """The last event of a response, which repeats instructions and tools of any length."""
    response = {"id": "r", "instructions": "x" * 300_000, "tools": [{"parameters": LIE}], "usage": SAID, "user": None}
    data = json.dumps({"type": kind, "response": response, **more}).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


@pytest.mark.parametrize("pieces", [1, 7, 65_536, 300_000])
def test_the_usage_at_the_end_of_a_huge_last_event_is_read(pieces: int) -> None:
    """However long the instructions that it repeats, and however it is cut: reasoning that nobody saw is charged."""
    stream = event({"type": "response.output_text.delta", "delta": "Hi"}) + terminal(sequence_number=9)
    parts = [stream] if pieces == 1 else cut_at(stream, range(0, len(stream), pieces))
    if pieces == 7:
        parts = cut_at(stream, [*range(0, 700, 7), *range(len(stream) - 700, len(stream), 7)])
    told = Usage(input=50, output=20_000, reasoning=19_990)
    assert read(Kind.RESPONSES, parts) == Reading(told, complete=True, text_bytes=0)


@pytest.mark.parametrize(
    "huge",
    [
        terminal("response.in_progress"),
        terminal().replace(json.dumps(SAID).encode(), b"null"),
        event({"type": "response.completed", "response": {"text": "x" * 300_000, "tools": LIE}}),
        event({"type": "response.completed", "text": "x" * 300_000, "usage": SAID, "more": {"usage": SAID}})[:-9]
        + b"\n\n",
    ],
)
def test_nothing_else_in_a_huge_event_is_believed(huge: bytes) -> None:
    """Not an event that does not end the response, nor a schema that looks like usage, nor broken JSON."""
    said = event({"type": "response.output_text.delta", "delta": "Hi"})
    for parts in ([said, huge], [said + huge[:200_000], huge[200_000:]], cut_at(said + huge, range(0, 310_000, 999))):
        assert read(Kind.RESPONSES, parts) == Reading(None, complete=False, text_bytes=2)


def test_usage_with_text_after_it_is_a_lower_bound() -> None:
    """A first chunk that tells the prompt is no word on what follows, whatever ends the stream."""
    first = chunk("", usage={"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10})
    stream = [first, *[chunk("abc")] * 500, chunk("", "stop"), DONE]
    assert read(Kind.CHAT, stream) == Reading(Usage(input=10), complete=False, text_bytes=1_500)


@pytest.mark.parametrize("count", [10**8 + 1, 2**53])
def test_a_count_that_cannot_be_true_is_no_usage(count: int) -> None:
    """As debt it would lock its subject out for years: what was streamed is counted instead."""
    broken = event(
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}}
    )
    assert read(Kind.CHAT, [chunk("abc", "stop"), broken, DONE]) == Reading(None, complete=False, text_bytes=3)
