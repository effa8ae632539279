"""Promises of `ratelimit.web.asgi`: the bodies of requests and responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from ratelimit.web.routes import DialectName
from tests.web.asgi_gateway import Gateway, asking, run, served
from tests.web.asgi_server import Connection, Message, StoryApp, http_scope
from tests.web.backends import RecordingAsyncBackend
from tests.web.stories import DIALECT_PATHS, INPUT, Story, ask

STORY = Story("openai")
JSON = [(b"content-type", b"application/json")]


def story_app(**options: Any) -> StoryApp:
    """An app that tells the story."""
    return StoryApp(STORY.chunks, **options)


def test_the_body_is_replayed_message_by_message() -> None:
    """The very same messages in the same order, and then what the server says."""
    connection = asking(STORY, parts=5)
    received: list[Message] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.extend([await receive() for _ in range(5)])
        connection.gone.set()
        received.append(await receive())

    served(connection, app)
    assert [id(message) for message in received] == list(map(id, connection.received))
    assert [message["type"] for message in received] == ["http.request"] * 5 + ["http.disconnect"]


def test_an_empty_message_in_a_body_is_replayed_too() -> None:
    """Messages are no bytes: an app may count them."""
    body = ask()
    connection = Connection(http_scope(), [b"", body[:9], b"", body[9:], b""])
    app = story_app()
    served(connection, app)
    assert app.body == body
    assert len(connection.received) == 5


def test_a_send_that_waits_makes_the_app_wait() -> None:
    """Backpressure goes through: nothing is taken from the app before the client has taken the one before."""

    async def serve() -> None:
        app = story_app()
        connection = asking(STORY)
        gateway = Gateway.of(app, RecordingAsyncBackend())
        turnstile = asyncio.Semaphore(0)

        async def send(message: Message) -> None:
            await connection.send(message)
            await turnstile.acquire()

        serving = asyncio.ensure_future(gateway.middleware(connection.scope, connection.receive, send))
        for sent in range(1, len(STORY.chunks) + 3):
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(app.handed) == len(connection.sent) == sent
            turnstile.release()
        await serving

    run(serve())


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"", None), (b"[]", None), (b'{"model":"m"}', "messages"), (ask(max_tokens=-1), "max_tokens")],
)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_body_that_cannot_be_right_costs_nothing(dialect: DialectName, body: bytes, param: str | None) -> None:
    """400 in the dialect's shape, before anything is charged."""
    connection = Connection(http_scope(path=DIALECT_PATHS[dialect]), [body])
    app = story_app()
    gateway = served(connection, app)
    error = json.loads(connection.text)["error"]
    assert (connection.status, error["type"], app.calls) == (400, "invalid_request_error", 0)
    assert not gateway.books.charges
    if dialect == "openai":
        assert error["param"] == param


@pytest.mark.parametrize("headers", [{}, {"content_length": "10"}, {"content_length": "10000000"}])
def test_a_body_that_is_too_large_is_not_read_to_its_end(headers: dict[str, str]) -> None:
    """By the bytes that come, whatever its Content-Length says; with exactly as many as allowed it passes."""
    body = ask()
    parts = [body[i : i + 40] for i in range(0, len(body), 40)]
    connection = Connection(http_scope(**headers), parts)
    app = story_app()
    gateway = served(connection, app, body_bytes=len(body) - 1 - len(parts[-1]))
    assert connection.status == 413
    assert len(connection.received) <= len(parts) - 1
    assert (app.calls, gateway.books.charges) == (0, [])
    connection = Connection(http_scope(), parts)
    served(connection, body_bytes=len(body))
    assert connection.status == 200


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """408 after the time that is allowed for all of it, however many parts have come."""
    connection = Connection(http_scope())
    parts = count()

    async def receive() -> Message:
        if next(parts) == 3:
            await asyncio.get_running_loop().create_future()
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def serve() -> None:
        gateway = Gateway.of(story_app(), RecordingAsyncBackend(), body_seconds=0.01)
        await gateway.middleware(connection.scope, receive, connection.send)
        assert not gateway.books.charges

    run(serve())
    assert connection.status == 408


def test_a_client_that_goes_while_it_sends_is_not_answered() -> None:
    """Nor charged, nor is the app called."""
    connection = Connection(http_scope())
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    async def serve() -> None:
        app = story_app()
        gateway = Gateway.of(app, RecordingAsyncBackend())
        await gateway.middleware(connection.scope, receive, connection.send)
        assert (app.calls, connection.sent, gateway.books.charges) == (0, [], [])

    run(serve())


@pytest.mark.parametrize("chunk_type", [bytearray, memoryview])
@pytest.mark.parametrize("ask_usage", [False, True])
def test_bodies_may_be_any_bytes(chunk_type: Any, ask_usage: bool) -> None:
    """Starlette passes memoryviews on. A buffer that the app uses again is metered as it was when it was sent."""
    connection = asking(STORY)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": story_app().headers})
        buffer = bytearray(max(map(len, STORY.chunks)))
        for chunk in STORY.chunks[:4]:
            buffer[: len(chunk)] = chunk
            view = memoryview(buffer)[: len(chunk)]
            await send({"type": "http.response.body", "body": chunk_type(view), "more_body": True})
        buffer[:] = bytes(len(buffer))

    gateway = served(connection, app, ask_usage=ask_usage)
    assert gateway.used == (1, INPUT + sum(len(text.encode()) for text in STORY.texts[:3]))
