"""Event streams to meter: builders, splittings, strategies, and a reading by the plainest means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from ratelimit.web.lenient_json import parse
from ratelimit.web.meter import open_meter
from ratelimit.web.output_text import event_bytes
from ratelimit.web.routes import Kind
from ratelimit.web.stream_usage import StreamUsage
from ratelimit.web.usage import Reading

SSE = "text/event-stream; charset=utf-8"


def event(value: object) -> bytes:
    """One event in the OpenAI manner."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def chunk(text: str, finish: str | None = None, **more: Any) -> bytes:
    """A chat chunk with this text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more})


def usage_chunk(prompt: int, completion: int) -> bytes:
    """The chunk that `include_usage` adds."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage})


DONE = b"data: [DONE]\n\n"


def read(kind: Kind, chunks: Sequence[bytes], content_type: str = SSE, content_encoding: str = "") -> Reading:
    """What a meter reads from these chunks."""
    meter = open_meter(kind, content_type, content_encoding)
    for part in chunks:
        meter.feed(part)
    return meter.finish()


def read_plainly(kind: Kind, body: bytes) -> Reading:
    """What an event stream tells, read event by event from the start: no laziness, no templates, no limits."""
    usage, text_bytes = StreamUsage(kind), 0
    lines = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for value in _values(lines):
        text_bytes += event_bytes(value)
        usage.note(value)
    return Reading(usage.usage, usage.complete, 0 if usage.complete else text_bytes)


def _values(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    data: list[bytes] = []
    for line in [*lines, b""]:
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line:
            joined = b"\n".join(data)
            data = []
            value = {"type": "message_stop"} if joined == b"[DONE]" else parse(joined)
            if isinstance(value, dict):
                yield value


def cut_at(body: bytes, places: Sequence[int]) -> list[bytes]:
    """The body in parts that end at these places."""
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:stop] for start, stop in pairwise(bounds)]


def splittings() -> st.SearchStrategy[Callable[[bytes], list[bytes]]]:
    """Ways to cut a body into chunks: anywhere, or all of one size."""
    anywhere = st.lists(st.integers(0, 1 << 20), max_size=12).map(lambda places: lambda body: cut_at(body, places))
    sizes = st.integers(1, 40).map(lambda size: lambda body: cut_at(body, range(0, len(body), size)))
    return anywhere | sizes


_text = st.text(max_size=12) | st.sampled_from(['"usage"', "\\", "\n\n", "data: [DONE]", "message_stop", "\U0001f600"])
_count = st.integers(0, 5000) | st.sampled_from([-1, True, None, "7", 2**60, 1.5, float("nan")])
_chat_usage = st.fixed_dictionaries(
    {"prompt_tokens": _count, "completion_tokens": _count},
    optional={"total_tokens": _count, "prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": _count})},
)
_message_usage = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": _count,
        "output_tokens": _count,
        "cache_read_input_tokens": _count,
        "cache_creation_input_tokens": _count,
    },
)
_delta = st.fixed_dictionaries(
    {}, optional={"content": _text, "reasoning": _text, "reasoning_content": _text, "role": st.just("assistant")}
)
_choice = st.fixed_dictionaries({"delta": _delta, "finish_reason": st.sampled_from([None, "stop"])})
_chat = st.fixed_dictionaries(
    {"choices": st.lists(_choice, max_size=2)},
    optional={"usage": st.none() | _chat_usage, "x_groq": st.fixed_dictionaries({"usage": _chat_usage})},
)
_responses = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["response.created", "response.completed", "response.failed"]),
        "response": st.fixed_dictionaries({"usage": st.none() | _message_usage}),
    }
) | st.fixed_dictionaries({"type": st.just("response.output_text.delta"), "delta": _text})
_messages = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("message_start"), "message": st.fixed_dictionaries({"usage": _message_usage})}
    ),
    st.fixed_dictionaries(
        {"type": st.just("content_block_delta"), "delta": st.fixed_dictionaries({"text": _text})},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("message_delta"),
            "delta": st.fixed_dictionaries({"stop_reason": st.sampled_from([None, "end_turn"])}),
            "usage": _message_usage,
        }
    ),
    st.just({"type": "message_stop"}),
)
_line = (_chat | _responses | _messages).flatmap(
    lambda value: st.booleans().map(lambda ascii_only: "data: " + json.dumps(value, ensure_ascii=ascii_only))
)
_block = (
    _line
    | _line.map(lambda line: "event: x\n" + line)
    | _line.map(lambda line: line.replace('": ', '":\ndata:  '))
    | st.sampled_from(["data: [DONE]", ": ping", "event: ping\ndata: {}", "data: torn {", "data", "retry: 1", ""])
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Event streams of all dialects in one, in every manner that the format allows and some that it does not."""
    blocks = draw(st.lists(_block, max_size=12))
    alike = draw(st.integers(0, 40))
    place = draw(st.integers(0, len(blocks)))
    text = draw(_text)
    blocks[place:place] = [
        "data: " + json.dumps({"choices": [{"delta": {"content": text + str(number)}}], "usage": None})
        for number in range(alike)
    ]
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    body = "".join(block + "\n\n" for block in blocks).replace("\n", line_end).encode("utf-8", "surrogatepass")
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + body[: draw(st.integers(0, len(body)) | st.just(len(body)))]
