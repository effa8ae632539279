"""Promises of `ratelimit.web.asgi`: what passes, what does not, and what is left as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from ratelimit import BackendUnavailable, ConfigError
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.routes import DialectName
from tests.web.asgi_gateway import Gateway, asking, by_key, run, served
from tests.web.asgi_server import Connection, Message, StoryApp, http_scope
from tests.web.backends import LEDGER, HeldBackend, RecordingAsyncBackend
from tests.web.stories import DIALECT_PATHS, INPUT, Story, ask

STORY = Story("openai")
JSON = [(b"content-type", b"application/json")]


def story_app(**options: Any) -> StoryApp:
    """An app that tells the story."""
    return StoryApp(STORY.chunks, **options)


@pytest.mark.parametrize("kind", ["websocket", "webtransport"])
def test_other_scopes_are_the_apps_own(kind: str) -> None:
    """The very same objects go through, so that whatever a server and an app agree on works."""
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.extend(args)

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        pass

    async def serve() -> None:
        gateway = Gateway.of(app, RecordingAsyncBackend())
        scope = {"type": kind, "path": "/v1/chat/completions"}
        await gateway.middleware(scope, receive, send)
        assert seen[0] is scope
        assert seen[1] is receive
        assert seen[2] is send

    run(serve())


def test_lifespan_messages_pass_as_they_are() -> None:
    """Start-up, its failure, shut-down, and whatever else may come to be."""
    received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told = [{"type": "lifespan.startup.failed", "message": "no"}, {"type": "lifespan.shutdown.complete", "x": 1}]
    sent: list[Message] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for incoming, outgoing in zip(received, told, strict=True):
            assert await receive() is incoming
            await send(outgoing)

    async def serve() -> None:
        incoming = iter(received)

        async def receive() -> Message:
            return next(incoming)

        async def send(message: Message) -> None:
            sent.append(message)

        await Gateway.of(app, RecordingAsyncBackend()).middleware({"type": "lifespan"}, receive, send)

    run(serve())
    assert [id(message) for message in sent] == list(map(id, told))


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_path_of_no_endpoint_passes_untouched(method: str) -> None:
    """By default: the very same scope, receive and send; nobody is asked who it is."""
    connection = Connection(http_scope(method, "/docs"))
    seen: list[Any] = []

    async def app(*args: Any) -> None:
        seen.extend(args)

    gateway = served(connection, app, identify=pytest.fail)
    assert seen[0] is connection.scope
    assert (seen[1], seen[2]) == (connection.receive, connection.send)
    assert not gateway.books.charges


def test_only_headers_are_added_to_a_response() -> None:
    """Messages without a change are the very same objects; of the head, status and order stay as they were."""
    extra = [(b"X-Twice", b"1"), (b"x-twice", b"2"), (b"content-type", b"text/event-stream"), (b"Date", b"today")]
    app = story_app(headers=extra, status=201)
    connection = asking(STORY)
    served(connection, app)
    start, *bodies = connection.sent
    assert [id(message) for message in bodies] == list(map(id, app.handed[1:]))
    assert start["status"] == 201
    assert start["headers"][:4] == extra
    added = {name for name, _ in start["headers"][4:]}
    assert added == {
        f"x-ratelimit-{word}-{meter}".encode()
        for word in ("limit", "remaining", "reset")
        for meter in ("requests", "tokens")
    }


def test_headers_of_the_same_name_are_replaced() -> None:
    """A gateway behind this one speaks of another limit; the client needs one truth."""
    headers = [(b"X-RateLimit-Limit-Requests", b"7"), (b"x-ratelimit-other", b"8"), *JSON]
    connection = asking(STORY, stream=False)
    served(connection, StoryApp([STORY.whole], headers=headers))
    assert connection.headers[b"x-ratelimit-limit-requests"] == b"1"
    assert connection.headers[b"x-ratelimit-other"] == b"8"
    assert b"X-RateLimit-Limit-Requests" not in connection.headers


def test_other_messages_of_a_response_pass_as_they_are() -> None:
    """Early hints, trailers, pushes: whatever an extension adds."""
    extra: list[Message] = [
        {"type": "http.response.early_hint", "links": []},
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
        {"type": "http.response.body", "body": b"{}"},
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in extra:
            await send(message)

    connection = asking(STORY)
    served(connection, app)
    assert [message["type"] for message in connection.sent] == [message["type"] for message in extra]
    assert connection.sent[1]["trailers"] is True
    for index in (0, 2, 3):
        assert connection.sent[index] is extra[index]


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("key", [None, "mallory", ""])
def test_who_is_not_known_leaves_no_trace(dialect: DialectName, key: str | None) -> None:
    """401 in the dialect's shape before the body is read, and no state on the backend."""
    scope = http_scope(path=DIALECT_PATHS[dialect])
    scope["headers"] = [(b"authorization", f"Bearer {key}".encode())] if key is not None else []
    connection = Connection(scope, [ask()])
    app = story_app()
    gateway = served(connection, app)
    assert connection.status == 401
    error = json.loads(connection.text)["error"]
    assert error["type"] == ("invalid_request_error" if dialect == "openai" else "authentication_error")
    assert (app.calls, len(gateway.memory), connection.received) == (0, 0, [])
    assert "mallory" not in connection.text


@pytest.mark.parametrize("is_async", [False, True])
def test_identify_may_wait(is_async: bool) -> None:
    """A plain callable or one that returns an awaitable; it sees head and native scope."""
    seen: list[RequestHead] = []

    def plain(head: RequestHead) -> Identity:
        seen.append(head)
        return Identity.of("bob", LEDGER)

    async def waiting(head: RequestHead) -> Identity:
        await asyncio.sleep(0)
        return plain(head)

    connection = asking(STORY)
    gateway = served(connection, identify=waiting if is_async else plain)
    assert gateway.used == (1, INPUT + STORY.tokens)
    assert seen[0].native is connection.scope
    assert (seen[0].method, seen[0].path, seen[0].client) == ("POST", "/v1/chat/completions", "192.0.2.9")


@pytest.mark.parametrize(("dialect", "status"), [("openai", 503), ("anthropic", 529)])
@pytest.mark.parametrize("wrong", ["raises", "text", "no scopes", "empty list", "unknown plan", "number"])
def test_an_identify_that_is_wrong_lets_nobody_pass(
    dialect: DialectName, status: int, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it returns or raises: unavailable, with the reason in the log and nothing of it in the answer."""
    answers: dict[str, Any] = {
        "text": "alice",
        "no scopes": Identity(()),
        "empty list": [],
        "unknown plan": Identity.of("alice", "Platinum"),
        "number": 7,
    }

    def identify(_: RequestHead) -> Any:
        if wrong == "raises":
            raise KeyError("alice's secret")
        return answers[wrong]

    connection = asking(Story(dialect))
    app = story_app()
    gateway = served(connection, app, identify=identify, fail="open")
    assert (connection.status, app.calls, len(gateway.memory)) == (status, 0, 0)
    assert "secret" not in connection.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_the_client_may_be_unknown_to_the_server() -> None:
    """As on a Unix socket."""
    connection = asking(STORY)
    connection.scope["client"] = None
    assert served(connection).used == (1, INPUT + STORY.tokens)


@pytest.mark.parametrize(
    ("root_path", "path"),
    [
        ("/api", "/api/v1/chat/completions"),
        ("/api/", "/api/v1/chat/completions"),
        ("/api", "/v1/chat/completions"),
        ("/anthropic", "/anthropic/v1/messages"),
    ],
)
def test_a_root_path_is_not_part_of_the_route(root_path: str, path: str) -> None:
    """The app behind routes on what comes after it (`uvicorn --root-path`, a Starlette `Mount`), so that counts."""
    connection = asking(STORY)
    connection.scope |= {"root_path": root_path, "path": path}
    assert served(connection).used == (1, INPUT + STORY.tokens)


def test_what_an_app_raises_comes_out_unchanged() -> None:
    """Before, in and after its response, whatever settling does meanwhile."""

    async def at(index: int) -> None:
        gateway = Gateway.of(story_app(fails_before=index), HeldBackend())
        gateway.middleware.settler._seconds = 0.0
        error = await asking(STORY).serve(gateway.middleware)
        assert str(error) == "the app failed"
        await gateway.middleware.settler.drain()

    for index in (0, 1, 4):
        run(at(index))


@pytest.mark.parametrize("options", [{"identify": None}, {"fail": "ajar"}, {"body_bytes": 0}, {"trusted_hops": -1}])
def test_options_are_checked_when_it_is_made(options: dict[str, Any]) -> None:
    """Not when the first request comes."""
    with pytest.raises(ConfigError):
        Gateway.of(story_app(), RecordingAsyncBackend(), **options)


def test_it_keeps_nothing_of_a_request() -> None:
    """Its attributes are the same objects after it as before."""

    async def serve() -> None:
        gateway = Gateway.of(story_app(), RecordingAsyncBackend())
        before = dict(vars(gateway.middleware))
        await gateway.serve(asking(STORY))
        assert vars(gateway.middleware) == before
        assert len(gateway.middleware.settler) == 0

    run(serve())


def statuses(calls: Sequence[Connection]) -> list[int]:
    """What the clients got."""
    return [connection.status for connection in calls]


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_nothing_of_a_failing_backend_reaches_an_app(fail: Any) -> None:
    """Requests before and after a failure are served and counted as if it had not been."""

    async def serve() -> None:
        backend = RecordingAsyncBackend()
        gateway = Gateway.of(story_app(), backend, fail=fail)
        calls = [asking(STORY) for _ in range(3)]
        for index, connection in enumerate(calls):
            if index == 1:
                backend.backend.fail("reserve", BackendUnavailable("nobody answers"))
            assert await gateway.serve(connection) is None
        assert statuses(calls) == [200, 503 if fail == "closed" else 200, 200]
        assert gateway.used == (2, 2 * (INPUT + STORY.tokens))

    run(serve())


def test_it_is_made_as_a_middleware_of_starlette() -> None:
    """`app.add_middleware(RateLimitMiddleware, limiter=..., identify=...)` passes the app by position or by name."""
    from ratelimit import AsyncLimiter

    limiter = AsyncLimiter(RecordingAsyncBackend())
    app = story_app()
    for made in (
        RateLimitMiddleware(app, limiter=limiter, identify=by_key()),
        RateLimitMiddleware(app=app, limiter=limiter, identify=by_key()),
    ):
        assert made.app is app
