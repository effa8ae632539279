"""Responses of all kinds, drawn at random: what an app may send, whether or not it makes sense."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from dataclasses import dataclass
from functools import cache

import brotli
import zstandard

from ratelimit.web.routes import DialectName
from tests.web.stories import Story

__all__ = ("PREFIXES", "RandomResponse", "random_response")

PREFIXES: dict[DialectName, str] = {"openai": "x-ratelimit-", "anthropic": "anthropic-ratelimit-"}
"""What the names of standing headers begin with."""

STATUSES = [200] * 12 + [201, 202, 206, 302, 400, 401, 404, 429, 500, 503]
CONTENT_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "text/event-stream",
    "text/event-stream; charset=utf-8",
    "Text/Event-Stream",
    "application/octet-stream",
    "text/plain",
    "",
]
EXTRA = [
    ("X-RateLimit-Limit-Tokens", "5"),
    ("anthropic-ratelimit-requests-limit", "5"),
    ("Set-Cookie", "a=1"),
    ("Set-Cookie", "b=2"),
    ("X-Request-Id", "r-1"),
    ("Cache-Control", "no-cache"),
    ("vary", "Origin"),
]


@dataclass(frozen=True)
class RandomResponse:
    """One of them: its head, and its body in the chunks in which it is sent."""

    dialect: DialectName
    status: int
    headers: list[tuple[str, str]]
    chunks: list[bytes]


@cache
def random_response(seed: int) -> RandomResponse:
    """The one of this seed."""
    rng = random.Random(seed)
    dialect: DialectName = rng.choice(("openai", "anthropic"))
    body = _body(rng, dialect)
    headers = rng.sample(EXTRA, rng.randrange(len(EXTRA)))
    content_type = rng.choice(CONTENT_TYPES)
    if content_type:
        headers.append((rng.choice(("Content-Type", "content-type")), content_type))
    coding = rng.choice(["", "", "", "gzip", "deflate", "br", "zstd", "unknown"])
    if coding:
        headers.append(("Content-Encoding", coding))
        body = _coded(rng, coding, body)
    return RandomResponse(dialect, rng.choice(STATUSES), headers, _cut(rng, body))


def _body(rng: random.Random, dialect: DialectName) -> bytes:
    alphabet = 'abc \n"\\{}[]:\u00e9\u2744\U0001f600'
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(40))) for _ in range(rng.randrange(20))]
    story = Story(dialect, tuple(texts), usage=rng.random() < 0.7)
    stream = b"".join(story.chunks)
    kind = rng.randrange(8)
    if kind < 3:
        return stream if kind else stream.replace(b"\n", rng.choice((b"\r\n", b"\r")))
    if kind < 5:
        return story.whole
    if kind == 5:
        return rng.randbytes(rng.randrange(5_000))
    if kind == 6:
        return json.dumps({"usage": rng.choice(["x", None, -1, {"prompt_tokens": 1e300}, [[]]])}).encode()
    return rng.choice((b"", stream[: rng.randrange(len(stream))], b"data: {broken\n\n" + stream, bytes(300_000)))


def _coded(rng: random.Random, coding: str, body: bytes) -> bytes:
    if rng.random() < 0.1:
        return body  # not what the header says
    coders = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": brotli.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }
    return bytes(coders[coding](body)) if coding in coders else body


def _cut(rng: random.Random, body: bytes) -> list[bytes]:
    """Into chunks of any size, empty ones among them."""
    most = rng.choice((1, 7, 60, 1_000, 1_000_000)) if len(body) < 5_000 else 50_000
    chunks = []
    while body:
        size = rng.randint(0, most)
        chunks.append(body[:size])
        body = body[size:]
    return chunks or [b""]
