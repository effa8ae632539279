"""Whatever a stream holds and however it is cut, a meter reads the same, holds little, and never raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ratelimit.web import body_meter, stream_meter
from ratelimit.web.body_meter import JsonMeter
from ratelimit.web.meter import open_meter
from ratelimit.web.routes import Kind
from ratelimit.web.stream_meter import StreamMeter
from tests.web.meter_checks import check
from tests.web.streams import SSE, read, read_plainly, splittings, streams

Split = Callable[[bytes], list[bytes]]
KINDS = st.sampled_from([Kind.CHAT, Kind.COMPLETION, Kind.RESPONSES, Kind.MESSAGES])
HELD_MAX = 1024 * 1024


@contextmanager
def _held_at_most(size: int) -> Iterator[None]:
    """Meters that read and forget after so few bytes."""
    with (
        mock.patch.object(stream_meter, "_HELD_MAX", size),
        mock.patch.object(stream_meter, "_PIECE", max(size // 2, 1)),
    ):
        yield


@settings(max_examples=300, deadline=None)
@given(stream=streams(), kind=KINDS, split=splittings(), size=st.sampled_from([1, 60, 200, 1000, 100_000]))
def test_streams_read_the_same_however_they_are_cut(stream: bytes, kind: Kind, split: Split, size: int) -> None:
    """Any splitting, and any moment at which the meter stops waiting for the end, gives the plain reading."""
    with _held_at_most(size):
        assert read(kind, split(stream)) == read_plainly(kind, stream)


@settings(deadline=None)
@given(data=st.binary(max_size=300), kind=st.sampled_from(Kind), split=splittings())
@example(data=b"\xef\xbb\xbfdata: [1", kind=Kind.CHAT, split=lambda body: [body])
def test_no_bytes_break_a_meter(data: bytes, kind: Kind, split: Split) -> None:
    """Under any content type and coding: no error, one reading for every splitting of a body that is not coded."""
    for content_type in (SSE, "application/json", "text/html", ""):
        assert read(kind, split(data), content_type) == read(kind, [data], content_type)
        for coding in ("gzip", "deflate", "br", "zstd", "x"):
            read(kind, split(data), content_type, coding)


@settings(deadline=None)
@given(data=st.binary(max_size=400))
def test_the_fuzzer_finds_nothing(data: bytes) -> None:
    """The harness of `python -m tests.web.fuzz_sse`, on Hypothesis' inputs."""
    check(data)


@given(
    block=st.sampled_from(
        [b"x", b"\n", b"\r", b"\n\n", b": ping\n\n", b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n']
    )
    | st.binary(min_size=1, max_size=20),
    size=st.sampled_from([1, 7, 1000, 65_536, 1_000_000, 3_000_000]),
    content_type=st.sampled_from([SSE, "application/json", "", "text/plain"]),
)
@settings(max_examples=60, deadline=None)
def test_memory_is_bounded(block: bytes, size: int, content_type: str) -> None:
    """Never more than 1 MiB is held, whatever comes, in whichever chunks; one-byte chunks are no way around it."""
    meter = open_meter(Kind.CHAT, content_type, "")
    part = (block * (size // len(block) + 1))[:size]
    for _ in range(min(2_000_000 // size + 1, 30_000)):
        meter.feed(part)
        assert _held(meter) <= HELD_MAX
    meter.finish()


def _held(meter: object) -> int:
    held = getattr(meter, "held", 0)
    assert isinstance(held, int)
    return held


def test_what_is_said_to_be_held_is_held() -> None:
    """The figure covers the chunks that are kept, one by one."""
    for meter in (StreamMeter(Kind.CHAT), JsonMeter(Kind.CHAT)):
        for _ in range(1000):
            meter.feed(b"data: ")
        assert meter.held >= sum(map(len, meter._chunks)) >= 6000
        meter.finish()
        assert meter.held <= 6100


def test_kept_chunks_are_joined_before_they_weigh_too_much() -> None:
    """A JSON answer in tiny chunks is kept whole all the same, up to what is kept of any answer."""
    body = b'{"usage":{"prompt_tokens":1,"completion_tokens":2},"x":"%b"}' % (b"y" * (body_meter._WHOLE_MAX - 60))
    meter = JsonMeter(Kind.CHAT)
    for at in range(0, len(body), 10):
        meter.feed(body[at : at + 10])
    assert meter.finish().complete
