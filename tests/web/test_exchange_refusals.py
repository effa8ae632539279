"""Promises of `ratelimit.web.exchange`: what is refused, and what happens while the backend cannot decide."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ratelimit import BackendTimeout, BackendUnavailable, Limit, Plan, WireMismatch
from ratelimit.intake import Scope
from ratelimit.web.identity import Identity
from ratelimit.web.routes import DialectName
from tests.web.asgi_gateway import Gateway, asking, by_key, error_of, run, served
from tests.web.asgi_server import Connection, StoryApp, http_scope
from tests.web.backends import LEDGER, RecordingAsyncBackend
from tests.web.stories import INPUT, Story, ask

DIALECTS: tuple[DialectName, ...] = ("openai", "anthropic")
STORY = Story("openai")
STANDINGS = {"openai": b"x-ratelimit-remaining-tokens", "anthropic": b"anthropic-ratelimit-tokens-remaining"}
SMALL = Plan("Small", limits=[Limit("requests", 3, "day"), Limit("tokens", 1_000, "day")])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_does_not_fit_is_refused_and_costs_nothing(dialect: DialectName) -> None:
    """429 in shape, with the wait and the standings; the app is not called."""
    story = Story(dialect)

    async def serve() -> None:
        app = StoryApp(story.chunks)
        gateway = Gateway.of(app, RecordingAsyncBackend(), identify=by_key(SMALL), output="input_only")
        for _ in range(3):
            await gateway.serve(asking(story))
        before = gateway.books.charges[:]
        connection = asking(story)
        await gateway.serve(connection)
        assert (connection.status, app.calls, gateway.books.charges) == (429, 3, before)
        wanted = {"openai": "requests", "anthropic": "rate_limit_error"}
        assert error_of(connection)["type"] == wanted[dialect]
        assert int(connection.headers[b"retry-after"]) >= 28_800
        assert connection.headers[b"x-should-retry"] == b"false"
        assert STANDINGS[dialect] in connection.headers

    run(serve())


@pytest.mark.parametrize(("threshold", "told"), [(60.0, True), (86_400.0, False)])
def test_clients_are_told_not_to_retry_above_a_threshold(threshold: float, told: bool) -> None:
    """An option, because SDKs differ in what they make of a long wait."""

    async def serve() -> None:
        gateway = Gateway.of(
            StoryApp(STORY.chunks),
            RecordingAsyncBackend(),
            identify=by_key(SMALL),
            retry_threshold=threshold,
            output="input_only",
        )
        for _ in range(4):
            connection = asking(STORY)
            await gateway.serve(connection)
        assert connection.status == 429
        assert (b"x-should-retry" in connection.headers) == told

    run(serve())


def test_a_guess_does_not_shut_out_what_may_fit() -> None:
    """An output guessed larger than the bucket is not reserved; a cap that the client names is, and cannot fit."""
    tiny = Plan("Tiny", limits=[Limit("tokens", INPUT + 50, "day")])
    for output, max_tokens, status in (
        ("learned", 5_000, 200),
        ("max_tokens", 5_000, 429),
        ("max_tokens", 50, 200),
        ("input_only", 5_000, 200),
    ):
        connection = Connection(http_scope(), [ask(max_tokens=max_tokens)])
        gateway = served(connection, identify=by_key(tiny), output=output)
        assert connection.status == status
        if status == 429:
            assert gateway.books.charges == []
            assert connection.headers[b"x-should-retry"] == b"false"
            assert b"retry-after" not in connection.headers
        else:
            assert [charge.settled for charge in gateway.books.charges] == [[{"tokens": INPUT + STORY.tokens}]]


def test_an_input_that_can_never_fit_is_refused() -> None:
    """With whatever output policy; and is not to be tried again."""
    tiny = Plan("Tiny", limits=[Limit("tokens", INPUT - 1, "day")])
    for output in ("learned", "max_tokens", "input_only"):
        connection = asking(STORY)
        assert served(connection, identify=by_key(tiny), output=output).books.charges == []
        assert (connection.status, connection.headers[b"x-should-retry"]) == (429, b"false")


@pytest.mark.parametrize("ietf", [True, False])
def test_ietf_fields_are_sent_when_asked_for(ietf: bool) -> None:
    """With the answer of the app, and with a refusal."""

    async def serve() -> None:
        gateway = Gateway.of(
            StoryApp(STORY.chunks),
            RecordingAsyncBackend(),
            identify=by_key(SMALL),
            output="input_only",
            ietf=ietf,
        )
        for index in range(4):
            connection = asking(STORY)
            await gateway.serve(connection)
            assert connection.status == (200 if index < 3 else 429)
            assert (b"ratelimit" in connection.headers) == (b"ratelimit-policy" in connection.headers) == ietf

    run(serve())


@pytest.mark.parametrize("error", [BackendUnavailable, BackendTimeout, WireMismatch])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_closed_means_unavailable(
    error: type[Exception], dialect: DialectName, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """503 or 529 in shape without an invented wait, and the reason in the log. The app is not called."""
    backend = RecordingAsyncBackend()
    backend.backend.fail("reserve", error("redis.internal:6379 does not answer"))
    app = StoryApp(STORY.chunks)
    connection = asking(Story(dialect), stream=stream)
    served(connection, app, backend, fail="closed")
    assert (connection.status, app.calls) == ({"openai": 503, "anthropic": 529}[dialect], 0)
    wanted = {"openai": "server_error", "anthropic": "overloaded_error"}
    assert error_of(connection)["type"] == wanted[dialect]
    assert "redis" not in connection.text
    assert not {b"retry-after", b"retry-after-ms", STANDINGS[dialect]} & connection.headers.keys()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "redis.internal:6379" in caplog.text


@pytest.mark.parametrize("error", [BackendUnavailable, BackendTimeout, WireMismatch])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("failure", [None, 500, "raises"])
def test_open_means_uncounted_and_marked(
    error: type[Exception], dialect: DialectName, failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The response passes with a header that says so, and no standings; nothing is settled."""
    story = Story(dialect)
    backend = RecordingAsyncBackend()
    backend.backend.fail("reserve", error("redis.internal:6379 does not answer"))
    app = StoryApp(
        story.chunks, status=failure if failure == 500 else 200, fails_before=3 if failure == "raises" else None
    )
    connection = asking(story)
    gateway = served(connection, app, backend, fail="open")
    assert (connection.status, gateway.books.charges, gateway.used) == (app.status, [], (0, 0))
    assert connection.headers[b"x-ratelimit-bypass"] == b"backend-unavailable"
    assert STANDINGS[dialect] not in connection.headers
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "redis.internal:6379" in caplog.text
    if failure is None:
        assert connection.chunks[:-1] == list(story.chunks)


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_a_misconfigured_scope_is_refused_in_either_case(fail: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What can never be decided is not an outage: nobody passes."""
    scopes = (Scope("key-1", LEDGER), Scope("key-2", LEDGER))  # in two hash slots
    connection = asking(STORY)
    app = StoryApp(STORY.chunks)
    served(connection, app, identify=lambda _: Identity(scopes), fail=fail)
    assert (connection.status, app.calls) == (503, 0)
    assert "hash slots" in caplog.text
