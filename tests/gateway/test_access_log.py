"""Promises of `ratelimit.gateway.access_log`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import count
from typing import Any

import orjson
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ratelimit.gateway.access_log import AccessLog
from tests.gateway.asgi import Call, ask, scope_of
from tests.gateway.loops import in_loop


def responding(status: int, *parts: bytes, headers: Any = (), whole: bool = True) -> ASGIApp:
    """An app that reads its body and answers so."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            await send({"type": "http.response.body", "body": part, "more_body": bool(left) or not whole})

    return app


def ticking() -> Iterator[float]:
    """A clock that goes on by 1.5 ms each time it is looked at."""
    return (number * 0.0015 for number in count())


class Log:
    """Collects the lines."""

    def __init__(self) -> None:
        self.text: list[str] = []

    @property
    def lines(self) -> list[dict[str, Any]]:
        """As objects, without their times."""
        found = [orjson.loads(text) for text in self.text]
        for line in found:
            assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
        return found


@in_loop
async def test_a_request_is_one_line() -> None:
    """What was asked, how it ended, how long it took, and how much went both ways; the query is left out."""
    log, clock = Log(), ticking()
    app = AccessLog(responding(200, b"ab", b"cde"), log.text.append, clock=lambda: next(clock))
    call = await Call(scope_of("POST", "/v1/chat/completions?key=sk-canary-1"), [b"12", b"345"]).run(app)
    (text,) = log.text
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    request_id = call.header(b"x-request-id")
    assert request_id is not None
    assert log.lines == [
        {
            "method": "POST",
            "path": "/v1/chat/completions",
            "status": 200,
            "duration_ms": 3.0,
            "first_byte_ms": 1.5,
            "request_bytes": 5,
            "response_bytes": 5,
            "request_id": request_id.decode(),
            "complete": True,
        }
    ]


@pytest.mark.parametrize("name", [b"x-request-id", b"Request-Id"])
@in_loop
async def test_an_id_that_is_there_is_kept(name: bytes) -> None:
    """The upstream's, or that of a refusal; the response is not changed."""
    log = Log()
    call = await ask(AccessLog(responding(200, b"", headers=[(name, b"req_1")]), log.text.append), "GET", "/")
    assert call.headers == [(name, b"req_1")]
    assert log.lines[0]["request_id"] == "req_1"


@in_loop
async def test_an_id_goes_by_the_name_that_the_sdk_reads() -> None:
    """`request-id` for Anthropic's clients, `x-request-id` for all others."""
    app = AccessLog(responding(200, b""), Log().text.append)
    assert (await ask(app, "POST", "/anthropic/v1/messages")).header(b"request-id") is not None
    assert (await ask(app, "POST", "/v1/embeddings")).header(b"x-request-id") is not None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error":{"type":"tokens","code":"rate_limit_exceeded"}}', "rate_limit_exceeded"),
        (b'{"error":{"type":"invalid_request_error","code":null}}', "invalid_request_error"),
        (b'{"type":"error","error":{"type":"overloaded_error"}}', "overloaded_error"),
        (b'{"error":"broken"}', None),
        (b'{"error":{"code":"sk-canary-123"}}', None),
        (b'{"error":{"code":"two words"}}', None),
        (b'{"error":{"code":7}}', None),
        (b"[1]", None),
        (b"Internal Server Error", None),
        (b'{"error":{"code":"' + b"x" * 20_000, None),
    ],
)
@in_loop
async def test_a_refusal_says_why(body: bytes, reason: str | None) -> None:
    """The code, or else the type, of an error in either dialect; nothing that could be text of a client's."""
    log = Log()
    await ask(AccessLog(responding(429, body), log.text.append), "POST", "/v1/messages")
    assert log.lines[0].get("reason") == reason


@in_loop
async def test_success_has_no_reason() -> None:
    """A body that speaks of errors is not read unless the status does."""
    log = Log()
    await ask(AccessLog(responding(200, b'{"error":{"code":"x"}}'), log.text.append), "GET", "/")
    assert "reason" not in log.lines[0]


@in_loop
async def test_a_response_that_was_cut_is_not_complete() -> None:
    """By an app that returns early, by one that fails, and before anything was sent."""
    log = Log()

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("sk-canary-123")

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    await ask(AccessLog(responding(200, b"ab", whole=False), log.text.append), "GET", "/")
    with pytest.raises(KeyError):
        await ask(AccessLog(failing, log.text.append), "GET", "/")
    await ask(AccessLog(silent, log.text.append), "GET", "/")
    assert [(line["status"], line["complete"], line.get("exception")) for line in log.lines] == [
        (200, False, None),
        (None, False, "KeyError"),
        (None, False, None),
    ]
    assert "canary" not in "".join(log.text)


@in_loop
async def test_nothing_secret_is_written() -> None:
    """No header, no body, no query, and no key that somebody has put into a path; control characters are escaped."""
    log = Log()
    headers = [(b"authorization", b"Bearer sk-canary-1"), (b"x-api-key", b"sk-canary-2")]
    app = AccessLog(responding(200, b"sk-canary-3", headers=[(b"x-y", b"sk-canary-4")]), log.text.append)
    await ask(app, "POST", "/v1/models/sk-canary-55?api_key=sk-canary-6", headers=headers, body=b"sk-canary-7")
    await ask(app, "GET", "/" + "%0a%22%ff" * 2 + "x" * 1_000)
    assert "canary" not in "".join(log.text)
    first, second = log.lines
    assert first["path"] == "/v1/models/sk-…"
    assert len(second["path"]) == 256


@in_loop
async def test_quiet_paths_are_written_when_they_fail() -> None:
    """Health checks come every second; one that fails is news."""
    log = Log()
    for status in (200, 503):
        await ask(AccessLog(responding(status, b"{}"), log.text.append, quiet=("/healthz",)), "GET", "/healthz")
    assert [line["status"] for line in log.lines] == [503]


@in_loop
async def test_other_scopes_pass() -> None:
    """Untouched and unwritten."""
    log, seen = Log(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    call = Call({"type": "lifespan"})
    receive, send = call.receive, call.send
    await AccessLog(app, log.text.append)(call.scope, receive, send)
    assert seen == [(call.scope, receive, send)]
    assert log.text == []
