"""Where events end, and what their data is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.web.sse import EVENT_MAX_BYTES, EventCutter, payload
from tests.web.streams import splittings

Split = Callable[[bytes], list[bytes]]


def _events(chunks: list[bytes]) -> list[bytes]:
    """The events of a stream, without the empty ones."""
    cutter = EventCutter()
    events = [event for chunk in chunks for event in cutter.cut(chunk)] + cutter.last(b"")
    return [event.strip(b"\n") for event in events if event.strip(b"\n")]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_any_line_end_ends_a_line(line_end: bytes) -> None:
    """LF, CRLF and CR give the same events."""
    stream = b"event: a\ndata: 1\n\n: ping\n\ndata: 2\ndata: 3\n\n".replace(b"\n", line_end)
    assert _events([stream]) == [b"event: a\ndata: 1", b": ping", b"data: 2\ndata: 3"]


def test_line_ends_may_be_mixed() -> None:
    """A blank line is two line ends of any kind."""
    assert _events([b"data: 1\r\n\ndata: 2\n\rdata: 3\r\r\ndata: 4\n\n\n\n\ndata: 5"]) == [
        b"data: 1",
        b"data: 2",
        b"data: 3",
        b"data: 4",
        b"data: 5",
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    """At the start of a stream it is skipped, anywhere else it is not."""
    assert _events([b"\xef", b"\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n"]) == [b"data: 1", b"\xef\xbb\xbfdata: 2"]


def test_the_end_of_the_stream_ends_the_last_event() -> None:
    """No final blank line is needed."""
    assert _events([b"data: 1\n\ndata: 2\r"]) == [b"data: 1", b"data: 2"]


@settings(deadline=None)
@given(
    pieces=st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"data: 1", b": c", b"\xef\xbb\xbf"]), max_size=20),
    split=splittings(),
)
def test_events_do_not_depend_on_chunks(pieces: list[bytes], split: Split) -> None:
    """Every splitting of a stream gives the same events."""
    stream = b"".join(pieces)
    assert _events(split(stream)) == _events([stream])


@pytest.mark.parametrize("size", [1, 3, 4096, EVENT_MAX_BYTES, EVENT_MAX_BYTES * 2])
@pytest.mark.parametrize("excess", [-1, 0, 1, 2, 10, 100_000])
def test_an_event_that_is_too_large_is_skipped(size: int, excess: int) -> None:
    """However its chunks fall, an event above the limit is left out, and what is around it is not."""
    large = b"data: ".ljust(EVENT_MAX_BYTES + excess, b"x")
    stream = b"data: 1\n\n" + large + b"\r\n\r\ndata: 2\n\n"
    if size < 4096:  # one byte at a time where it matters
        middle = len(large) - 10
        chunks = [stream[:middle], *(stream[at : at + size] for at in range(middle, len(stream), size))]
    else:
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert _events(chunks) == [b"data: 1", *([large] if excess <= 0 else []), b"data: 2"]


def test_no_more_than_one_event_is_held() -> None:
    """An endless event is not kept."""
    cutter = EventCutter()
    for _ in range(100):
        cutter.cut(b"x" * 65_536)
        assert cutter.held <= EVENT_MAX_BYTES + 65_536


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}", b"{}"),
        (b"data:{}", b"{}"),
        (b"data:  {}", b" {}"),
        (b"event: x\ndata: {}\nid: 1", b"{}"),
        (b"data: [1,\ndata: 2]", b"[1,\n2]"),
        (b"\ndata: 1", b"1"),
        (b": data: 1", b""),
        (b"database: 1", b""),
        (b" data: 1", b""),
        (b"event: ping", b""),
        (b"", b""),
    ],
)
def test_data_is_what_the_data_lines_say(event: bytes, data: bytes) -> None:
    """One space after the colon is dropped, several lines are joined, everything else is ignored."""
    assert payload(event) == data
