"""What must hold for any body that a meter is fed with; Hypothesis and the fuzzer both bring bodies."""

from __future__ import annotations

from ratelimit.web import stream_meter
from ratelimit.web.include_usage import UsageStripper
from ratelimit.web.meter import open_meter
from ratelimit.web.routes import Kind
from tests.web.streams import SSE, read, read_plainly

KINDS = (Kind.CHAT, Kind.RESPONSES, Kind.MESSAGES, Kind.EMBEDDINGS)
CODINGS = ("gzip", "deflate", "br", "zstd", "gzip, br", "deflate, zstd")
HELD_MAX = 1024 * 1024


def check(data: bytes) -> None:
    """Read a body in several ways that must agree. The first two bytes choose the endpoint and the chunks."""
    kind, body = KINDS[data[0] % len(KINDS) if data else 0], data[2:]
    size = max((data[1] if data[1:] else 0) + 1, len(body) // 200)
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    plain = read_plainly(kind, body)
    assert read(kind, chunks) == read(kind, [body]) == plain
    assert _read_impatiently(kind, chunks) == plain
    for content_type in ("application/json", ""):
        assert read(kind, chunks, content_type) == read(kind, [body], content_type)
    meter = open_meter(kind, SSE, CODINGS[size % len(CODINGS)])
    for part in chunks:
        meter.feed(part)
        assert getattr(meter, "held", 0) <= HELD_MAX
    meter.finish()
    assert _stripped(chunks) == _stripped([body])


def _read_impatiently(kind: Kind, chunks: list[bytes]) -> object:
    """By a meter that reads and forgets at every chunk."""
    meter = stream_meter.StreamMeter(kind)
    for part in chunks:
        meter.feed(part)
        meter._digest()
    return meter.finish()


def _stripped(chunks: list[bytes]) -> bytes:
    stripper = UsageStripper()
    return b"".join([stripper.feed(part) for part in chunks]) + stripper.flush()
