"""Promises of `ratelimit.web.wsgi`."""

from __future__ import annotations

import json
import wsgiref.validate
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ratelimit import BackendTimeout, BackendUnavailable
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.routes import DialectName
from tests.web.backends import LEDGER
from tests.web.stories import DIALECT_PATHS, INPUT, Story, ask
from tests.web.wsgi_gateway import Gateway, asking
from tests.web.wsgi_server import WsgiCall, WsgiStory, environ_of

STORY = Story("openai")
JSON = [("Content-Type", "application/json")]
DIALECTS: tuple[DialectName, ...] = ("openai", "anthropic")
App = Callable[..., Iterable[bytes]]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("chunked", [False, True])
def test_both_sides_see_valid_wsgi(dialect: DialectName, chunked: bool) -> None:
    """By the validator of the standard library, around the middleware and around the app."""
    story = Story(dialect)
    app = WsgiStory(story.chunks)
    body = ask()
    gateway = Gateway(wsgiref.validate.validator(app))
    more: dict[str, Any] = {"CONTENT_LENGTH": None} if chunked else {}
    call = WsgiCall(environ_of(body, path=story.path, **more))
    assert call.serve(wsgiref.validate.validator(gateway.middleware)) is None
    assert call.parts == list(story.chunks)
    assert (app.body, app.closed) == (body, 1)
    assert gateway.used == (1, INPUT + story.tokens)


@pytest.mark.parametrize("ask_usage", [False, True])
def test_a_list_says_how_many_parts_it_has(ask_usage: bool) -> None:
    """Servers send Content-Length for one part; not where the parts may become others."""
    call = asking()
    gateway = Gateway(
        lambda _, start: (start("200 OK", [("Content-Type", "text/event-stream")]), [STORY.chunks[1]])[1],
        ask_usage=ask_usage,
    )
    parts: Any = gateway.middleware(call.environ, call.start_response)
    assert hasattr(parts, "__len__") == (not ask_usage)
    assert ask_usage or len(parts) == 1
    generator = Gateway(WsgiStory(STORY.chunks)).middleware(asking().environ, asking().start_response)
    assert not hasattr(generator, "__len__")


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, True),
        ({"CONTENT_LENGTH": None}, True),
        ({"CONTENT_LENGTH": ""}, True),
        ({"CONTENT_LENGTH": None, "wsgi.input_terminated": None}, False),
        ({"wsgi.input_terminated": None}, True),
        ({"CONTENT_LENGTH": "\u00b2"}, True),
        ({"CONTENT_LENGTH": "-5"}, True),
        ({"CONTENT_LENGTH": "\u00b2", "wsgi.input_terminated": None}, False),
    ],
)
@pytest.mark.parametrize("part", [7, 1_000_000])
def test_the_body_is_read_once_and_replayed(more: dict[str, Any], wanted: bool, part: int) -> None:
    """As long as its Content-Length, or to its end where the server marks it; no further than the server allows."""
    body = ask()
    app = WsgiStory(STORY.chunks)
    gateway = Gateway(app)
    call = WsgiCall(environ_of(body, part=part, **more))
    assert gateway.serve(call) is None
    assert (call.status, app.body) == ((200, body) if wanted else (400, b""))
    if wanted:
        assert app.environ["CONTENT_LENGTH"] == str(len(body))
        assert app.environ["wsgi.input"].read() == b""


def test_more_than_the_content_length_is_not_read() -> None:
    """What follows on the connection is the next request."""
    body = ask()
    app = WsgiStory(STORY.chunks)
    call = WsgiCall(environ_of(body + b"POST /next", CONTENT_LENGTH=str(len(body))))
    source = call.environ["wsgi.input"]
    assert Gateway(app).serve(call) is None
    assert app.body == body
    assert source.read() == b"POST /next"


@pytest.mark.parametrize("length", [True, False])
def test_a_body_that_is_too_large_is_not_read_to_its_end(length: bool) -> None:
    """With exactly as many bytes as allowed it passes."""
    body = ask()
    more: dict[str, Any] = {} if length else {"CONTENT_LENGTH": None}
    app = WsgiStory(STORY.chunks)
    call = WsgiCall(environ_of(body, part=10, **more))
    assert Gateway(app, body_bytes=len(body) - 1).serve(call) is None
    assert (call.status, app.calls) == (413, 0)
    call = WsgiCall(environ_of(body, part=10, **more))
    Gateway(app, body_bytes=len(body)).serve(call)
    assert call.status == 200


def test_a_body_that_comes_too_slowly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as a part shows that the time is over."""
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr("ratelimit.web.wsgi.time.monotonic", lambda: float(next(now)))
    app = WsgiStory(STORY.chunks)
    call = WsgiCall(environ_of(ask(), part=10))
    assert call.serve(Gateway(app, body_seconds=35).middleware) is None
    assert (call.status, app.calls) == (408, 0)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_who_is_not_known_leaves_no_trace(dialect: DialectName, method: str) -> None:
    """401 in the dialect's shape; HEAD without a body, which servers would send."""
    path = DIALECT_PATHS[dialect] if method == "POST" else "/v1/models"
    app = WsgiStory(STORY.chunks)
    gateway = Gateway(app)
    call = WsgiCall(environ_of(ask(), method, path, HTTP_AUTHORIZATION="Bearer mallory"))
    assert gateway.serve(call) is None
    assert call.statuses == ["401 Unauthorized"]
    assert (app.calls, len(gateway.backend)) == (0, 0)
    if method == "HEAD":
        assert call.parts == []
    else:
        assert int(call.header["content-length"]) == len(call.text)
        wanted = "invalid_request_error" if dialect == "openai" else "authentication_error"
        assert json.loads(call.text)["error"]["type"] == wanted


@pytest.mark.parametrize("error", [BackendUnavailable, BackendTimeout])
@pytest.mark.parametrize("fail", ["closed", "open"])
@pytest.mark.parametrize(
    ("dialect", "status"), [("openai", "503 Service Unavailable"), ("anthropic", "529 Overloaded")]
)
def test_while_the_backend_cannot_decide(error: type[Exception], fail: Any, dialect: DialectName, status: str) -> None:
    """Unavailable in shape, or through with a mark."""
    story = Story(dialect)
    app = WsgiStory(story.chunks)
    gateway = Gateway(app, fail=fail)
    gateway.backend.fail("reserve", error("no answer"))
    call = asking(story)
    assert gateway.serve(call) is None
    if fail == "closed":
        assert (call.statuses, app.calls) == ([status], 0)
    else:
        assert (call.statuses, call.parts) == (["200 OK"], list(story.chunks))
        assert call.header["x-ratelimit-bypass"] == "backend-unavailable"
    assert gateway.books.charges == []


def test_a_coroutine_function_cannot_identify(caplog: pytest.LogCaptureFixture) -> None:
    """There is no loop to run it on: nobody passes, and the log says what to do."""

    async def identify(head: RequestHead) -> Identity:
        return Identity.of("alice", LEDGER)

    app = WsgiStory(STORY.chunks)
    call = asking()
    assert Gateway(app, identify=identify).serve(call) is None
    assert (call.status, app.calls) == (503, 0)
    assert "identify is a coroutine function: under WSGI it must be a plain one" in caplog.text


def test_a_path_of_no_endpoint_passes_untouched() -> None:
    """The very same environ and start_response, and the app's own response."""
    seen: list[Any] = []
    response = [b"docs"]

    def app(*args: Any) -> list[bytes]:
        seen.extend(args)
        return response

    call = WsgiCall(environ_of(method="GET", path="/docs"))
    start_response = call.start_response
    assert Gateway(app).middleware(call.environ, start_response) is response
    assert seen[0] is call.environ
    assert seen[1] is start_response


@pytest.mark.parametrize(
    ("script_name", "path"),
    [("/api", "/v1/chat/completions"), ("/anthropic", "/v1/messages"), ("", "//v1/chat/completions/")],
)
def test_the_mount_point_is_not_part_of_the_route(script_name: str, path: str) -> None:
    """The app behind routes on PATH_INFO."""
    gateway = Gateway(WsgiStory(STORY.chunks))
    gateway.serve(WsgiCall(environ_of(ask(), path=path, SCRIPT_NAME=script_name)))
    assert gateway.used == (1, INPUT + STORY.tokens)


def test_paths_are_read_as_utf_8() -> None:
    """WSGI hands over their bytes as Latin-1; the 404 shows them as they were meant."""
    call = WsgiCall(environ_of(method="GET", path="/caf\u00c3\u00a9"))
    assert Gateway(WsgiStory([]), unknown="refuse").serve(call) is None
    assert "/caf\u00e9" in json.loads(call.text)["error"]["message"]


def test_only_headers_are_added_to_a_response() -> None:
    """In order, in their case, and those of the same name replaced."""
    headers = [("X-Twice", "1"), ("x-twice", "2"), *JSON, ("X-RateLimit-Limit-Requests", "7"), ("Date", "caf\u00e9")]
    call = asking(stream=False)
    Gateway(WsgiStory([STORY.whole], status="201 Made", headers=headers)).serve(call)
    assert call.statuses == ["201 Made"]
    assert call.headers[:4] == [*headers[:3], headers[4]]
    assert {name for name, _ in call.headers[4:]} == {
        f"x-ratelimit-{word}-{meter}" for word in ("limit", "remaining", "reset") for meter in ("requests", "tokens")
    }


@pytest.mark.parametrize("form", ["parts", "list", "written"])
def test_usage_is_asked_for_and_taken_out(form: str) -> None:
    """However the app hands its stream over."""
    usage = next(chunk for chunk in STORY.chunks if b"prompt_tokens" in chunk)
    stream = b"".join(STORY.chunks)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        seen.update(environ)
        write = start_response("200 OK", [("Content-Type", "text/event-stream"), ("Content-Length", "99")])
        if form == "written":
            write(stream)
            return []
        return [stream[:-1]] if form == "list" else WsgiStory(STORY.chunks)(environ, lambda *_: None)

    seen: dict[str, Any] = {}
    gateway = Gateway(app, ask_usage=True)
    call = asking()
    call.environ["HTTP_ACCEPT_ENCODING"] = "gzip"
    assert gateway.serve(call) is None
    expected = stream.replace(usage, b"").decode()
    assert call.text == (expected[:-1] if form == "list" else expected)
    assert "content-length" not in call.header
    assert "HTTP_ACCEPT_ENCODING" not in seen
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + STORY.tokens}]
