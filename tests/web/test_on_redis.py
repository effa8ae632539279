"""The middleware on a real server: round trips, a server that fails, and what it must never be told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ratelimit import AsyncLimiter, RetryPolicy, Standing
from ratelimit.web.asgi import RateLimitMiddleware
from tests.conftest import Servers
from tests.servers import DROP_REPLY, FaultProxy, RedisServer
from tests.web.asgi_gateway import by_key
from tests.web.asgi_server import Connection, StoryApp, http_scope
from tests.web.backends import LEDGER
from tests.web.stories import INPUT, ByteTokens, Story, ask

POLICY = RetryPolicy(timeout=0.2, deadline=0.6, attempts=2)
STORY = Story("openai")
Behind = Callable[[AsyncLimiter, RateLimitMiddleware], Coroutine[Any, Any, None]]


def behind(url: str, work: Behind, *, app: Any = None, key: str = "alice", prefix: str = "web", **options: Any) -> None:
    """Do this with a middleware on this server."""

    async def main() -> None:
        async with AsyncLimiter.from_url(url, prefix=prefix, policy=POLICY) as limiter:
            inner = app or StoryApp(STORY.chunks)
            given: dict[str, Any] = {"tokens": ByteTokens(), **options}
            await work(limiter, RateLimitMiddleware(inner, limiter, by_key(LEDGER, (key,)), **given))

    asyncio.run(main())


def request(key: str = "alice", path: str = STORY.path) -> Connection:
    """A streamed request."""
    return Connection(http_scope(path=path, authorization=f"Bearer {key}"), [ask()])


def used(standings: tuple[Standing, ...]) -> tuple[int, int]:
    """Requests and tokens charged."""
    requests, tokens = standings
    return requests.burst - requests.remaining, tokens.burst - tokens.remaining


def commands(server: RedisServer) -> dict[str, int]:
    """How often each command was called."""
    return {
        name.removeprefix("cmdstat_"): int(values.split("calls=")[1].split(",")[0])
        for name, values in server.info("commandstats").items()
    }


def test_a_request_is_one_decision_and_one_settlement(servers: Servers) -> None:
    """Two EVALSHA; and none for a client that nobody knows, who leaves no key behind either (P11)."""
    server = servers.plain()

    async def work(limiter: AsyncLimiter, middleware: RateLimitMiddleware) -> None:
        await request().serve(middleware)  # loads the scripts
        await middleware.settler.drain()
        before, keys = commands(server), server.call("DBSIZE")
        stranger = request("mallory")
        await stranger.serve(middleware)
        assert stranger.status == 401
        assert commands(server).get("evalsha") == before.get("evalsha")
        assert server.call("DBSIZE") == keys
        for _ in range(5):
            await request().serve(middleware)
            await middleware.settler.drain()  # or this settlement shares a call with the next decision
        after = commands(server)
        assert after["evalsha"] - before["evalsha"] == 10
        assert after.get("eval", 0) == before.get("eval", 0)
        assert used(await limiter.peek("alice", plan=LEDGER)) == (6, 6 * (INPUT + STORY.tokens))

    behind(server.url, work, prefix="trips")


def test_a_settlement_whose_reply_is_lost_counts_once(servers: Servers) -> None:
    """It is tried again under the same name until somebody answers."""
    server = servers.plain()
    with FaultProxy("127.0.0.1", server.port) as proxy:

        async def work(limiter: AsyncLimiter, middleware: RateLimitMiddleware) -> None:
            await limiter.peek("alice", plan=LEDGER)

            class LosesReplies(StoryApp):
                async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                    proxy.next(DROP_REPLY, DROP_REPLY, DROP_REPLY)
                    await super().__call__(scope, receive, send)

            middleware.app = LosesReplies(STORY.chunks)
            connection = request()
            assert await connection.serve(middleware) is None
            assert connection.status == 200
            await middleware.settler.drain()
            assert proxy.queued == 0
            assert used(await limiter.peek("alice", plan=LEDGER)) == (1, INPUT + STORY.tokens)

        behind(proxy.url, work, prefix="lost", settle_seconds=20)


@pytest.mark.parametrize(("path", "status"), [("/v1/chat/completions", 503), ("/v1/messages", 529)])
def test_without_a_backend_requests_are_refused_or_marked(path: str, status: int) -> None:
    """As the operator chose: in the dialect's shape and without a made-up wait, or passed with a mark."""
    with RedisServer() as server:

        async def closed(limiter: AsyncLimiter, middleware: RateLimitMiddleware) -> None:
            server.kill()
            connection = request(path=path)
            await connection.serve(middleware)
            assert connection.status == status
            assert b"retry-after" not in connection.headers

        async def opened(limiter: AsyncLimiter, middleware: RateLimitMiddleware) -> None:
            connection = request(path=path)
            await connection.serve(middleware)
            assert connection.status == 200
            assert connection.headers[b"x-ratelimit-bypass"] == b"backend-unavailable"
            assert connection.text == b"".join(STORY.chunks).decode()

        behind(server.url, closed)
        behind(server.url, opened, fail="open")


def test_an_api_key_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Not on the server, in no log and in no response, served or refused, with a backend or without (P10)."""
    canary = "sk-" + "CANARY-web-" + "81c2"
    said: list[str] = []
    with RedisServer() as server, caplog.at_level(logging.DEBUG):

        async def work(limiter: AsyncLimiter, middleware: RateLimitMiddleware) -> None:
            wrong = [request(canary + "x"), Connection(http_scope(authorization=f"Bearer {canary}"), [b"{}"])]
            for connection in (request(canary), *wrong):
                await connection.serve(middleware)
                said.extend((repr(connection.sent), repr(middleware), repr(middleware.policy)))
            await middleware.settler.drain()
            stored = [server.call("KEYS", "*"), *(server.call("DUMP", key) for key in _keys(server))]
            said.append(repr(stored))
            assert len(stored) > 1
            server.kill()
            down = request(canary)
            await down.serve(middleware)
            assert down.status == 503
            said.append(repr(down.sent))

        behind(server.url, work, key=canary)
    said.append(caplog.text)
    assert "the backend cannot decide" in caplog.text
    assert [text for text in said if canary in text] == []


def _keys(server: RedisServer) -> list[str]:
    keys = server.call("KEYS", "*")
    assert isinstance(keys, list)
    return [str(key) for key in keys]
