"""Promises of `ratelimit.web.wsgi`: however a response ends, it is settled once, at what was really produced."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ratelimit import BackendUnavailable
from ratelimit.web.routes import DialectName
from tests.web.backends import LEDGER
from tests.web.stories import INPUT, Story
from tests.web.wsgi_gateway import Gateway, asking, due
from tests.web.wsgi_server import AppError, WsgiStory

STORY = Story("openai")
JSON = [("Content-Type", "application/json")]
DIALECTS: tuple[DialectName, ...] = ("openai", "anthropic")
App = Callable[..., Iterable[bytes]]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("end", ["closed", "app fails", "close fails", "normal"])
def test_an_end_at_every_part_settles_once(dialect: DialectName, end: str) -> None:
    """Never begun, in the middle, and after the last; the app's own close is called once."""
    story = Story(dialect)
    for index in range(-1, len(story.chunks) + 2):
        app = WsgiStory(
            story.chunks,
            fails_before=index if end == "app fails" else None,
            fails_in_close=end == "close fails",
        )
        gateway = Gateway(app)
        call = asking(story, take=max(0, index) if end in ("closed", "close fails") else None)
        error = gateway.serve(call)
        assert call.parts == app.handed == list(story.chunks[: len(app.handed)])
        if app.closed or call.statuses:
            assert app.closed == 1
        if end == "app fails":
            assert (type(error) is AppError) == (index <= len(story.chunks))
        if end == "app fails" and index == -1:
            assert gateway.books.settled == [{"requests": 1, "tokens": 0}]
        else:
            assert gateway.books.settled == [{"requests": 1, "tokens": due(app)}]
            assert gateway.used == (1, due(app))


def test_a_generator_that_was_never_begun_is_settled_too() -> None:
    """Its own code never ran, nor did it start a response: a stream that was not begun has cost its input."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield from STORY.chunks

    gateway = Gateway(app)
    assert gateway.serve(asking(take=0)) is None
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT}]
    gateway = Gateway(app)
    assert gateway.serve(asking(take=3)) is None
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + sum(map(len, STORY.texts[:2]))}]


def test_a_whole_answer_that_was_not_taken_keeps_its_estimate() -> None:
    """It may have been produced; one that was taken is settled at its usage, whether or not its end is asked for."""
    for take, settled in ((0, None), (1, INPUT + STORY.tokens), (None, INPUT + STORY.tokens)):
        gateway = Gateway(WsgiStory([STORY.whole], headers=JSON))
        gateway.serve(asking(stream=False, take=take))
        (charge,) = gateway.books.charges
        assert charge.settled == ([] if settled is None else [{"requests": 1, "tokens": settled}])


def test_closing_twice_settles_once() -> None:
    """Some servers do, and some after the end."""
    app = WsgiStory(STORY.chunks)
    gateway = Gateway(app)
    call = asking()
    parts: Any = gateway.middleware(call.environ, call.start_response)
    assert list(parts) == list(STORY.chunks)
    parts.close()
    parts.close()
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + STORY.tokens}]


def test_the_end_may_be_asked_for_again() -> None:
    """An iterator that is at its end stays there."""
    gateway = Gateway(WsgiStory(STORY.chunks), ask_usage=True)
    call = asking()
    parts: Any = gateway.middleware(call.environ, call.start_response)
    list(parts)
    assert (list(parts), next(parts, None)) == ([], None)
    assert len(gateway.books.settled) == 1


def test_an_iterable_without_close_or_length_will_do() -> None:
    """Lists, tuples, generators, anything."""
    for parts in (list(STORY.chunks), tuple(STORY.chunks), iter(STORY.chunks), dict.fromkeys(STORY.chunks)):

        def app(environ: Any, start_response: Any, parts: Any = parts) -> Iterable[bytes]:
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            result: Iterable[bytes] = parts
            return result

        call = asking()
        gateway = Gateway(app)
        assert gateway.serve(call) is None
        assert call.parts == list(STORY.chunks)
        assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + STORY.tokens}]


def test_work_done_in_iter_may_fail() -> None:
    """Before any part: the upstream has failed, and the exception is the server's."""

    class Parts:
        def __iter__(self) -> Iterator[bytes]:
            raise AppError("in iter")

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        return Parts()

    gateway = Gateway(app)
    assert str(gateway.serve(asking())) == "in iter"
    assert gateway.books.settled == [{"requests": 1, "tokens": 0}]


@pytest.mark.parametrize("sent_before", [False, True])
def test_a_response_may_be_begun_anew_after_an_error(sent_before: bool) -> None:
    """The app passes on exc_info; the server knows whether it is too late. The last status decides the cost."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        try:
            if sent_before:
                yield STORY.chunks[1]
            raise ValueError("in the middle")
        except ValueError:
            start_response("500 Oh", [("Content-Type", "text/plain")], sys.exc_info())
            yield b"sorry"

    gateway = Gateway(app)
    call = asking()
    assert gateway.serve(call) is None
    assert call.statuses == ["200 OK", "500 Oh"]
    assert call.again[0][0] is ValueError
    assert call.header["x-ratelimit-limit-requests"] == "1"
    assert gateway.books.settled == [{"requests": 1, "tokens": 0}]


def test_what_is_written_is_metered_too() -> None:
    """By the `write` callable of old; together with parts."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/event-stream")])
        for chunk in STORY.chunks[:3]:
            write(chunk)
        return [b"".join(STORY.chunks[3:])]

    gateway = Gateway(app)
    call = asking()
    assert gateway.serve(call) is None
    assert call.written == list(STORY.chunks[:3])
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + STORY.tokens}]


def test_threads_are_settled_each_for_itself() -> None:
    """The middleware keeps nothing of a request on itself."""
    apps = {str(index): WsgiStory(STORY.chunks) for index in range(64)}
    gateway = Gateway(lambda environ, start: apps[environ["story"]](environ, start))
    gateway.middleware._limiter.acquire("alice", plan=LEDGER, requests=0, tokens=10_000_000)
    barrier = threading.Barrier(8)

    def serve(index: int) -> None:
        call = asking(take=index % 11)
        call.environ["story"] = str(index)
        barrier.wait()
        assert call.serve(gateway.middleware) is None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(serve, range(64)))
    assert gateway.used == (64, 10_000_000 + sum(map(due, apps.values())))


def test_settling_later_does_not_hold_up_a_response() -> None:
    """What the backend does not take now is settled by a thread of the settler."""
    gateway = Gateway(WsgiStory(STORY.chunks))
    gateway.backend.fail("settle", BackendUnavailable("down"))
    call = asking()
    assert call.serve(gateway.middleware) is None
    assert call.parts == list(STORY.chunks)
    gateway.middleware.settler.drain()
    assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + STORY.tokens}]
