"""With the middleware and without it: the same bytes in the same chunks in the same order, but for added headers."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.web.asgi_gateway import Gateway, run
from tests.web.asgi_server import Connection, Message, StoryApp, http_scope
from tests.web.backends import HeldBackend, RecordingAsyncBackend
from tests.web.random_responses import PREFIXES, RandomResponse, random_response
from tests.web.stories import DIALECT_PATHS, ask
from tests.web.wsgi_gateway import Gateway as WsgiGateway
from tests.web.wsgi_server import WsgiCall, environ_of

COUNT = 1_000
BATCH = 100


def is_added(name: str, value: str, response: RandomResponse) -> bool:
    """True for a standing header that the app did not send."""
    return name.startswith(PREFIXES[response.dialect]) and (name, value) not in response.headers


def replaced(response: RandomResponse, added: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The app's headers without those that the added ones take the place of."""
    names = {name for name, _ in added}
    return [(name, value) for name, value in response.headers if name.lower() not in names]


async def over_asgi(response: RandomResponse, seed: int) -> None:
    """Serve one response with and without the middleware."""
    rng = random.Random(seed)
    headers = [(name.encode(), value.encode()) for name, value in response.headers]
    stream = rng.random() < 0.5
    app = StoryApp(
        response.chunks, status=response.status, headers=headers, ends_apart=rng.random() < 0.5, steps=rng.randrange(2)
    )
    sent: list[list[Message]] = []
    backend = rng.choice((RecordingAsyncBackend, HeldBackend))()
    for served in (app, Gateway.of(app, backend, ietf=False).middleware):
        app.handed = []
        connection = Connection(http_scope(path=DIALECT_PATHS[response.dialect]), [ask(stream=stream)])
        assert await connection.serve(served) is None
        sent.append(connection.sent)
        bodies = [message for message in app.handed if message["type"] == "http.response.body"]
        assert [id(message) for message in connection.sent[1:]] == list(map(id, bodies))
    bare, limited = sent
    assert limited[1:] == bare[1:]
    told = [(name.decode(), value.decode()) for name, value in limited[0].pop("headers")]
    added = [pair for pair in told if is_added(*pair, response)]
    assert [pair for pair in told if pair not in added] == replaced(response, added)
    assert len(added) == 6
    del bare[0]["headers"]
    assert limited[0] == bare[0]


def over_wsgi(response: RandomResponse, seed: int) -> None:
    """The same for WSGI."""
    rng = random.Random(seed)
    as_what: Any = rng.choice((list, tuple, iter, generator))
    stream = rng.random() < 0.5

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(f"{response.status} Word", list(response.headers))
        parts: Iterable[bytes] = as_what(response.chunks)
        return parts

    gateway = WsgiGateway(app)
    calls = []
    for served in (app, gateway.middleware):
        call = WsgiCall(environ_of(ask(stream=stream), path=DIALECT_PATHS[response.dialect]))
        assert call.serve(served) is None
        calls.append(call)
    bare, limited = calls
    assert limited.parts == bare.parts == response.chunks
    assert all(one is other for one, other in zip(limited.parts, bare.parts, strict=True))
    assert limited.statuses == bare.statuses
    added = [pair for pair in limited.headers if is_added(*pair, response)]
    assert [pair for pair in limited.headers if pair not in added] == replaced(response, added)
    assert len(added) == 6


def generator(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One by one."""
    yield from chunks


@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
def test_a_thousand_responses_are_the_same_over_asgi(first: int) -> None:
    """Streams and documents, compressed, broken, binary, of any status; even the objects are the same."""

    async def all_of_them() -> None:
        for seed in range(first, first + BATCH):
            await over_asgi(random_response(seed), seed)

    run(all_of_them())


@pytest.mark.parametrize("first", range(0, COUNT, BATCH))
def test_a_thousand_responses_are_the_same_over_wsgi(first: int) -> None:
    """And as many parts as before, whatever the app returns."""
    for seed in range(first, first + BATCH):
        over_wsgi(random_response(seed), seed)


def test_the_responses_are_of_all_kinds() -> None:
    """So that the two above mean something."""
    responses = [random_response(seed) for seed in range(COUNT)]
    headers = [{name.lower(): value for name, value in response.headers} for response in responses]
    assert {response.status for response in responses} >= {200, 302, 429, 500}
    assert {each.get("content-encoding") for each in headers} == {None, "gzip", "deflate", "br", "zstd", "unknown"}
    streamed = [r for r, h in zip(responses, headers, strict=True) if "event-stream" in h.get("content-type", "")]
    assert len(streamed) > 200
    assert sum(b"" in response.chunks for response in responses) > 200
    assert max(len(response.chunks) for response in responses) > 500
