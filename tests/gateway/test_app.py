"""Promises of `ratelimit.gateway.app`: the parts together, on memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette

from ratelimit import AsyncLimiter
from ratelimit.gateway.app import build_app
from ratelimit.gateway.config import GatewayConfig
from ratelimit.gateway.demo import DemoKeys
from tests.gateway.access import bearer
from tests.gateway.asgi import ask, living
from tests.gateway.loops import in_loop, until
from tests.gateway.serving import serving
from tests.gateway.upstream import OK, Peer, Request, upstream

CHAT, MESSAGES = "/v1/chat/completions", "/anthropic/v1/messages"
BODY = {"model": "minimax-m2.5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
KEY = "sk-upstream-canary"


class Made:
    """A gateway and what a test wants to look at."""

    def __init__(self, **options: Any) -> None:
        self.limiter = AsyncLimiter.from_url("memory://")
        self.demo = DemoKeys(self.limiter.plans)
        self.lines: list[str] = []
        write: Callable[[str], object] = self.lines.append
        self.app: Starlette = build_app(GatewayConfig(**options), self.limiter, self.demo, write=write)

    def key(self, plan: str = "Pro") -> list[tuple[bytes, bytes]]:
        """The header with the key of a plan."""
        return bearer(self.demo.keys[plan])

    async def remaining(self, plan: str = "Pro") -> list[int]:
        """What is left of each limit of the plan's key."""
        return [standing.remaining for standing in await self.limiter.peek(f"demo {plan}", plan=plan)]

    @property
    def log(self) -> list[dict[str, Any]]:
        """The access log."""
        return [orjson.loads(line) for line in self.lines]


@in_loop
async def test_both_dialects_are_served_and_charged() -> None:
    """By the mock, with the standing in each one's headers, and settled at what was really used."""
    made = Made()
    async with living(made.app):
        plain = await ask(made.app, "POST", CHAT, headers=made.key(), body=BODY)
        anthropic = await ask(made.app, "POST", MESSAGES, headers=made.key(), body=BODY)
    assert (plain.status, anthropic.status) == (200, 200)
    assert plain.header(b"x-ratelimit-limit-requests") == b"60"
    assert anthropic.header(b"anthropic-ratelimit-requests-limit") == b"60"
    usage = anthropic.json["usage"]
    used = plain.json["usage"]["total_tokens"] + usage["input_tokens"] + usage["output_tokens"]
    requests, tokens = await made.remaining()
    assert requests == 58
    # A little has drained already; a token takes 100 us to.
    assert 600_000 - used <= tokens <= 600_000


@in_loop
async def test_strangers_are_refused_in_their_dialect() -> None:
    """401 without a key, or with one that is not known; the log says why."""
    made = Made()
    async with living(made.app):
        plain = await ask(made.app, "POST", CHAT, headers=bearer("sk-wrong"), body=BODY)
        anthropic = await ask(made.app, "POST", MESSAGES, body=BODY)
    assert (plain.status, plain.json["error"]["code"]) == (401, "invalid_api_key")
    assert (anthropic.status, anthropic.json["error"]["type"]) == (401, "authentication_error")
    assert [line["reason"] for line in made.log] == ["invalid_api_key", "authentication_error"]


@in_loop
async def test_a_plan_that_is_used_up_is_a_429() -> None:
    """After its ten requests; models and health cost nothing."""
    made = Made()
    async with living(made.app):
        for _ in range(10):
            assert (await ask(made.app, "POST", CHAT, headers=made.key("Lite"), body=BODY)).status == 200
        refused = await ask(made.app, "POST", CHAT, headers=made.key("Lite"), body=BODY)
        assert (await ask(made.app, "GET", "/v1/models", headers=made.key("Lite"))).status == 200
        assert (await ask(made.app, "GET", "/healthz")).status == 200
    assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert [line["status"] for line in made.log] == [200] * 10 + [429, 200]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("POST", "/healthz"),
        ("GET", "/healthz/"),
        ("DELETE", "/v1/models/glm-5"),
        ("GET", "/v1/files"),
        ("POST", "/api/generate"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/V1/chat/completions"),
        ("POST", "/v1/models/../chat/completions"),
        ("GET", "/metrics"),
    ],
)
@in_loop
async def test_nobody_reaches_the_upstream_without_a_key(method: str, target: str) -> None:
    """By no path, known or not, and by no other spelling of one."""
    async with upstream() as server:
        made = Made(upstream=server.url, upstream_key=KEY)
        async with living(made.app):
            for headers in ([], bearer("sk-wrong")):
                call = await ask(made.app, method, target, headers=headers, body=BODY)
                assert call.status in (401, 404)
        assert server.requests == []


@in_loop
async def test_no_key_is_shown_to_anybody(caplog: pytest.LogCaptureFixture) -> None:
    """The client's goes neither to the upstream nor to a log, the upstream's neither to the client nor to a log."""
    answers = [OK, b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", b"nonsense\r\n\r\n"]

    async def script(peer: Peer, request: Request) -> None:
        peer.send(answers.pop(0))

    with caplog.at_level(logging.DEBUG):
        async with upstream(script) as server:
            made = Made(upstream=server.url, upstream_key=KEY)
            async with living(made.app):
                responses = [await ask(made.app, "POST", CHAT, headers=made.key(), body=BODY) for _ in range(3)]
    client = made.demo.keys["Pro"]
    assert [response.status for response in responses] == [200, 500, 502]
    assert [client in repr(request) for request in server.requests] == [False] * 3
    assert [KEY in repr(request) for request in server.requests] == [True] * 3
    shown = repr([response.sent for response in responses]) + "".join(made.lines) + caplog.text
    assert KEY not in shown
    assert client not in shown


@in_loop
async def test_a_bug_is_a_500_in_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an error for the server to report."""
    monkeypatch.setattr("ratelimit.gateway.app.mock_app", lambda _: broken)
    made = Made()
    async with living(made.app):
        with pytest.raises(ZeroDivisionError):
            await ask(made.app, "POST", CHAT, headers=made.key(), body=BODY)
    assert made.log[0]["exception"] == "ZeroDivisionError"


async def broken(scope: object, receive: object, send: object) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(("option", "lines"), [(True, 1), (False, 0)])
@in_loop
async def test_the_access_log_can_be_left_out(option: bool, lines: int) -> None:
    """Then nothing is written, and the rest is the same."""
    made = Made(access_log=option)
    async with living(made.app):
        assert (await ask(made.app, "GET", "/v1/models", headers=made.key())).status == 200
    assert len(made.lines) == lines


@in_loop
async def test_options_reach_the_middleware() -> None:
    """IETF fields, reserving by max_tokens, and unknown paths that are charged."""
    async with upstream() as server:
        made = Made(upstream=server.url, ietf=True, unknown="charge", output="max_tokens")
        async with living(made.app):
            call = await ask(made.app, "POST", "/v1/files", headers=made.key())
            assert (call.status, call.header(b"ratelimit") is None) == (200, False)
            too_large = await ask(made.app, "POST", CHAT, headers=made.key(), body={**BODY, "max_tokens": 600_001})
    assert await made.remaining() == [59, 600_000]
    assert too_large.status == 429


@in_loop
async def test_on_a_real_server_a_client_that_hangs_up_is_settled_and_ends_its_request() -> None:
    """In the middle of a stream: the upstream sees it, and what was streamed is charged, no more and no less."""
    closed = asyncio.Event()
    event = b'data: {"choices":[{"index":0,"delta":{"content":"abcdefgh"}}]}\n\n'

    async def script(peer: Peer, request: Request) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        peer.send_chunk(event)
        await peer.closed()
        closed.set()

    async with upstream(script) as server:
        made = Made(upstream=server.url)
        async with serving(made.app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = orjson.dumps({**BODY, "stream": True, "max_tokens": 100_000})
            (name, value), *_ = made.key()
            writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\n%b: %b\r\n" % (CHAT.encode(), name, value))
            writer.write(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await reader.readuntil(event)
            writer.close()
            await closed.wait()
            await until(lambda: bool(made.log))
    requests, tokens = await made.remaining()
    assert requests == 59
    assert 599_900 <= tokens <= 600_000
    assert (made.log[0]["status"], made.log[0]["complete"]) == (200, False)
