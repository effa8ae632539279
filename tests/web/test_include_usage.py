"""Usage is asked for without changing a request otherwise, and the chunk it brings is taken out again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.web.include_usage import UsageStripper, ask_for_usage
from tests.web.streams import DONE, chunk, event, splittings, streams, usage_chunk

Split = Callable[[bytes], list[bytes]]


def _ask(raw: bytes) -> bytes:
    return ask_for_usage(raw, orjson.loads(raw))


def _strip(chunks: list[bytes]) -> bytes:
    stripper = UsageStripper()
    return b"".join([stripper.feed(part) for part in chunks]) + stripper.flush()


@pytest.mark.parametrize(
    ("raw", "asked"),
    [
        ('{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'),
        (' \n{ "stream" : true }\n', ' \n{"stream_options":{"include_usage":true}, "stream" : true }\n'),
        (
            '{"stream":true,"stream_options":null,"n":1}',
            '{"stream":true,"stream_options":{"include_usage":true},"n":1}',
        ),
        ('{"stream":true,"stream_options": { } }', '{"stream":true,"stream_options": {"include_usage":true} }'),
        (
            '{"stream_options":{ "include_obfuscation": false},"stream":true}',
            '{"stream_options":{"include_usage":true, "include_obfuscation": false},"stream":true}',
        ),
        (
            '{"stream_options":{"a":1,"include_usage": false,"b":2},"stream":true}',
            '{"stream_options":{"a":1,"include_usage":true,"b":2},"stream":true}',
        ),
        (
            '{"stream_options":{"include_usage":null},"stream":true}',
            '{"stream_options":{"include_usage":true},"stream":true}',
        ),
        (
            '{"x":{"stream_options":null},"stream":true,"stream_options":null}',
            '{"x":{"stream_options":null},"stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            r'{"stream_\u006fptions":null,"stream":true}',
            '{"stream_options":{"include_usage":true},"stream":true}',
        ),
        (
            '{"stream_options":null,"stream":true,"stream_options":null}',
            '{"stream_options":null,"stream":true,"stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_usage_is_asked_for(raw: str, asked: str) -> None:
    """Only the options change; every other byte stays."""
    assert _ask(raw.encode()).decode() == asked


@pytest.mark.parametrize(
    "raw",
    [
        "{}",
        '{"stream":false}',
        '{"stream":1}',
        '{"stream":"true"}',
        '{"stream":true,"stream_options":{"include_usage":true}}',
        '{"stream":true,"stream_options":{"include_usage":"yes"}}',
        '{"stream":true,"stream_options":[]}',
        '{"stream":true,"stream_options":false}',
        '{"stream_options":null}',
    ],
)
def test_other_requests_stay_as_they_are(raw: str) -> None:
    """What does not stream, has asked, or is refused upstream anyway: the very same bytes."""
    body = raw.encode()
    assert _ask(body) is body


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_options = st.none() | st.dictionaries(
    st.sampled_from(["include_usage", "include_obfuscation", "x"]), st.booleans() | st.none() | _values, max_size=3
)


@settings(deadline=None)
@given(
    rest=st.dictionaries(
        st.text(max_size=8) | st.just("x"), _values | st.fixed_dictionaries({"stream_options": _options})
    ),
    options=_options,
    has_options=st.booleans(),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_a_request_means_the_same_but_asks(
    rest: dict[str, Any], options: dict[str, Any] | None, has_options: bool, indent: int | None, ascii_only: bool
) -> None:
    """For any body: the same members, and `include_usage` unless something else was said."""
    body = {**rest, "stream": True, **({"stream_options": options} if has_options else {})}
    raw = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode()
    changed = orjson.loads(_ask(raw))
    wanted = (options or {}) if has_options else rest.get("stream_options", {}) or {}
    if isinstance(wanted, dict) and wanted.get("include_usage") in (None, False):
        body["stream_options"] = {**wanted, "include_usage": True}
    assert changed == body


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_the_usage_chunk_is_taken_out(line_end: bytes) -> None:
    """At any splitting in two, and byte by byte, the client gets what it would have got unasked."""
    before, after = chunk("Hi") + b": ping\n\n" + chunk("!", "stop"), DONE
    plain = (before + after).replace(b"\n", line_end)
    stream = (before + usage_chunk(3, 4) + after).replace(b"\n", line_end)
    for place in range(len(stream)):
        assert _strip([stream[:place], stream[place:]]) == plain
    assert _strip([stream[at : at + 1] for at in range(len(stream))]) == plain


@pytest.mark.parametrize(
    "other",
    [
        event({"choices": []}),
        event({"choices": [], "usage": None}),
        event({"choices": [], "prompt_filter_results": []}),
        event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}),
        event({"choices": None, "usage": {"prompt_tokens": 1}}),
        event({"error": {"message": "choices: []"}}),
        event([]),
        b"data: [ ]\n\n",
        b"data: torn [] {\n\n",
        b": []\n\n",
        b"\n\n\n[]\n\n",
    ],
)
def test_other_events_go_through(other: bytes) -> None:
    """Only an event without choices that tells usage is ours to take."""
    stream = chunk("Hi") + other + DONE
    assert _strip([stream]) == stream
    assert _strip([stream[at : at + 1] for at in range(len(stream))]) == stream


@pytest.mark.parametrize(
    "spaced", [b'data:{"choices": [ ], "usage": {"prompt_tokens": 1}}', b'data: {"choices":[\ndata: ],"usage":{}}']
)
@pytest.mark.parametrize("end", [b"\n\n", b""])
def test_the_usage_chunk_is_known_in_any_writing(spaced: bytes, end: bytes) -> None:
    """Spaces, several data lines, and no blank line at the end of the stream."""
    assert _strip([chunk("Hi"), spaced + end]) == chunk("Hi")
    assert _strip([chunk("Hi") + b"\n", b"event: x\n" + spaced + end]) == chunk("Hi") + b"\n"


_others = st.sampled_from(
    [DONE, b": ping\n\n", b"\n", b"event: x\ndata: {}\n\n", event({"choices": []}), event({"error": {}}), b"data\n\n"]
) | st.text(max_size=20).map(chunk)


@settings(deadline=None)
@given(
    events=st.lists(_others | st.just(usage_chunk(3, 4)), max_size=10),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    split=splittings(),
)
def test_nothing_else_is_changed(events: list[bytes], line_end: bytes, split: Split) -> None:
    """Whatever the stream around usage chunks, its other bytes come out as they were, in their order."""
    stream = b"".join(events).replace(b"\n", line_end)
    plain = b"".join(other for other in events if other != usage_chunk(3, 4)).replace(b"\n", line_end)
    assert _strip(split(stream)) == plain


@settings(deadline=None)
@given(stream=streams(), split=splittings())
def test_no_more_than_an_unfinished_event_is_held_back(stream: bytes, split: Split) -> None:
    """Everything up to the last blank line has been sent on."""
    stripper, fed, sent = UsageStripper(), b"", b""
    stream = stream.replace(b'"choices"', b'"others"')
    for part in split(stream):
        fed += part
        sent += stripper.feed(part)
        assert fed.startswith(sent)
        assert b"\n\n" not in fed[len(sent) :]
        assert b"\r\n\r\n" not in fed[len(sent) :]
    assert sent + stripper.flush() == stream


def test_whole_events_go_through_untouched() -> None:
    """A chunk of whole events is not even copied."""
    stripper = UsageStripper()
    for part in (chunk("Hi"), chunk("a") + chunk("b"), chunk("c").replace(b"\n", b"\r\n"), DONE):
        assert stripper.feed(part) is part


def test_a_large_event_is_not_held() -> None:
    """Beyond 64 KiB an event is let through as it comes, to its end and no further."""
    large = event({"choices": [], "usage": {"x": "y" * 200_000}})
    stream = chunk("Hi") + large + usage_chunk(3, 4) + large + DONE
    stripper, fed, sent = UsageStripper(), 0, b""
    for at in range(0, len(stream), 1000):
        part = stream[at : at + 1000]
        fed += len(part)
        sent += stripper.feed(part)
        assert fed - len(sent) <= 64 * 1024 + 1000 + len(usage_chunk(3, 4))
    assert sent + stripper.flush() == chunk("Hi") + large + large + DONE
    assert _strip([stream]) == chunk("Hi") + large + large + DONE
