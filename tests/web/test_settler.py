"""Promises of `ratelimit.web.settler`: no settlement is lost, done twice, waited for too long or dropped silently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from ratelimit import AsyncLimiter, BackendTimeout, BackendUnavailable
from ratelimit.web import settler as module
from ratelimit.web.exchange import Bill
from ratelimit.web.settler import Settler
from tests.web.asgi_gateway import Gateway, asking, run
from tests.web.asgi_server import Message, StoryApp
from tests.web.backends import LEDGER, HeldBackend, RecordingAsyncBackend, used
from tests.web.stories import INPUT, Story

STORY = Story("openai")
TOKENS = INPUT + STORY.tokens
DOWN = BackendUnavailable("nobody answers")
LOST = BackendTimeout("no answer")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(module, "_pause", lambda _: 0.0)


async def reserved(backend: HeldBackend | RecordingAsyncBackend, tokens: int = 100) -> Bill[Any]:
    """A bill of 30 tokens for a reservation of so many."""
    reservation = await AsyncLimiter(backend).acquire("alice", plan=LEDGER, tokens=tokens)
    return Bill(reservation, [{"requests": 1, "tokens": 30}])


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What an operator is told of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_in_this_process_it_is_done_at_once() -> None:
    """Without a task."""

    async def settle() -> None:
        backend = RecordingAsyncBackend()
        settler = Settler(10, in_process=True)
        assert settler.submit(await reserved(backend)) is None
        assert backend.books.settled == [{"requests": 1, "tokens": 30}]

    run(settle())


def test_no_bill_is_nothing_to_do() -> None:
    """As when the estimate stands."""

    async def settle() -> None:
        for in_process in (True, False):
            settler = Settler(10, in_process=in_process)
            assert settler.submit(None) is None
            await settler.drain()

    run(settle())


@pytest.mark.parametrize("faults", [[DOWN], [DOWN, DOWN, LOST, DOWN]])
@pytest.mark.parametrize("point", ["settle", "settled"])
def test_it_is_tried_until_the_backend_takes_it(
    faults: list[Exception], point: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, however many answers were lost."""

    async def settle() -> None:
        backend = HeldBackend()
        settler = Settler(10, in_process=False)
        bill = await reserved(backend)
        backend.fail(point, *faults)
        settler.submit(bill)
        assert len(settler) == 1
        await settler.drain()
        assert len(settler) == 0
        assert backend.calls["settle"] == len(faults) + 1
        assert backend.books.settled == [{"requests": 1, "tokens": 30}]

    run(settle())
    assert errors(caplog) == []


@pytest.mark.parametrize("stuck", [True, False])
def test_it_has_a_deadline_of_its_own(stuck: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whether one call hangs or all of them fail; the estimate stays charged, and the log says so."""

    async def settle() -> None:
        backend = HeldBackend()
        settler = Settler(0.05, in_process=False)
        bill = await reserved(backend)
        if stuck:
            backend.hold("settle")
        else:
            backend.closed = True
        settler.submit(bill)
        await settler.drain()
        assert used(backend.memory) == {"requests": 1, "tokens": 100}

    run(settle())
    assert errors(caplog) == ["no settlement within 0.05 s, the estimate stays charged"]


@pytest.mark.parametrize("in_process", [True, False])
def test_amounts_that_cannot_be_right_are_not_tried_again(in_process: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The caller hears nothing of it: the log does."""

    async def settle() -> None:
        backend = RecordingAsyncBackend() if in_process else HeldBackend()
        settler = Settler(10, in_process=in_process)
        bill = await reserved(backend)
        settler.submit(Bill(bill.reservation, [{"tokens": -1}]))
        await settler.drain()

    run(settle())
    (message,) = errors(caplog)
    assert message.startswith("a settlement cannot be right, its estimate stays charged: tokens is -1")


def test_whatever_else_goes_wrong_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A supervisor that dies in silence is none."""

    async def settle() -> None:
        backend = HeldBackend()
        bill = await reserved(backend)
        backend.fail("settle", ZeroDivisionError("a bug"))
        settler = Settler(10, in_process=False)
        settler.submit(bill)
        await settler.drain()

    run(settle())
    assert errors(caplog) == ["a settlement failed, its estimate stays charged"]
    assert "ZeroDivisionError: a bug" in caplog.text


def test_too_many_at_once_are_dropped_loudly(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Their estimates stay charged, and their requests are served all the same; there is room again afterwards."""
    monkeypatch.setattr(module, "QUEUE_MAX", 3)

    async def settle() -> None:
        backend = HeldBackend()
        gateway = Gateway.of(StoryApp(STORY.chunks), backend)
        await gateway.spend(1_000_000)
        backend.hold("settle")
        connections = [asking(STORY) for _ in range(5)]
        for connection in connections:
            assert await connection.serve(gateway.middleware) is None
            assert connection.chunks[:-1] == list(STORY.chunks)
        assert len(gateway.middleware.settler) == 3
        assert len(errors(caplog)) == 2
        backend.release("settle")
        await gateway.middleware.settler.drain()
        await gateway.serve(asking(STORY))
        settled = [charge.settled for charge in gateway.books.charges]
        assert [len(each) for each in settled] == [1, 1, 1, 0, 0, 1]

    run(settle())
    assert errors(caplog) == ["3 settlements are under way: one more is dropped, its estimate stays charged"] * 2


@pytest.mark.parametrize("point", ["reserve", "reserved"])
def test_what_was_charged_for_a_request_that_is_gone_is_given_back(point: str) -> None:
    """Cancelled before the backend has charged, or when only its answer was missing."""

    async def cancel() -> None:
        backend = HeldBackend()
        app = StoryApp(STORY.chunks)
        gateway = Gateway.of(app, backend)
        backend.hold(point)
        backend.fail("settle", DOWN)
        serving = asyncio.ensure_future(asking(STORY).serve(gateway.middleware))
        await backend.arrived(point)
        serving.cancel()
        await asyncio.sleep(0)
        backend.release(point)
        assert isinstance(await serving, asyncio.CancelledError)
        await gateway.middleware.settler.drain()
        assert app.calls == 0
        assert backend.books.settled == [{"requests": 0, "tokens": 0}]
        assert gateway.used == (0, 0)

    run(cancel())


@pytest.mark.parametrize("error", [DOWN, LOST])
def test_an_acquire_that_fails_after_its_request_is_gone_leaves_nothing_to_do(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was charged, or nobody knows and it drains."""

    async def cancel() -> None:
        backend = HeldBackend()
        gateway = Gateway.of(StoryApp(STORY.chunks), backend)
        backend.hold("reserve")
        backend.fail("reserve", error)
        serving = asyncio.ensure_future(asking(STORY).serve(gateway.middleware))
        await backend.arrived("reserve")
        serving.cancel()
        backend.release("reserve")
        await serving
        await gateway.middleware.settler.drain()
        assert backend.calls["settle"] == 0

    run(cancel())
    assert errors(caplog) == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_cancelling_the_request_while_it_settles_changes_nothing(times: int) -> None:
    """Also twice: the settlement is not the request's."""

    async def cancel() -> None:
        backend = HeldBackend()
        gateway = Gateway.of(StoryApp(STORY.chunks, steps=1), backend)
        backend.hold("settle")
        connection = asking(STORY)
        serving = asyncio.ensure_future(connection.serve(gateway.middleware))
        await backend.arrived("settle")
        for _ in range(times):
            serving.cancel()
            await asyncio.sleep(0)
        backend.release("settle")
        await serving
        await gateway.middleware.settler.drain()
        assert backend.books.settled == [{"requests": 1, "tokens": TOKENS}]

    run(cancel())


@pytest.mark.parametrize("closes", ["limiter", "nothing"])
def test_a_shutdown_waits_for_what_is_under_way(closes: str) -> None:
    """The app hears of the shutdown once all is settled, so that it may close its limiter; no message is changed."""

    async def shut_down() -> None:
        backend = HeldBackend()
        story = StoryApp(STORY.chunks)
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        outgoing: list[Message] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await story(scope, receive, send)
                return
            while True:
                message = await receive()
                if message["type"] == "lifespan.shutdown":
                    if closes == "limiter":
                        await backend.close()
                    await send({"type": "lifespan.shutdown.complete"})
                    return
                await send({"type": "lifespan.startup.complete"})

        async def sent(message: Message) -> None:
            outgoing.append(message)

        gateway = Gateway.of(app, backend)
        lifespan = asyncio.ensure_future(gateway.middleware({"type": "lifespan"}, incoming.get, sent))
        incoming.put_nowait({"type": "lifespan.startup"})
        backend.hold("settle")
        await asking(STORY).serve(gateway.middleware)
        await backend.arrived("settle")
        incoming.put_nowait({"type": "lifespan.shutdown"})
        for _ in range(20):
            await asyncio.sleep(0)
        assert outgoing == [{"type": "lifespan.startup.complete"}]
        backend.release("settle")
        await lifespan
        assert outgoing[1:] == [{"type": "lifespan.shutdown.complete"}]
        assert backend.books.settled == [{"requests": 1, "tokens": TOKENS}]

    run(shut_down())


def test_requests_that_are_given_up_during_the_shutdown_are_settled_before_its_end() -> None:
    """Servers cancel what does not end in time, and do not wait for that."""

    async def shut_down() -> None:
        backend = HeldBackend()
        messages: Iterator[Message] = iter([{"type": "lifespan.shutdown"}])
        done: list[Message] = []
        connection = asking(STORY)
        reached = asyncio.Event()

        async def receive() -> Message:
            return next(messages)

        async def sent(message: Message) -> None:
            done.append(message)
            assert backend.books.settled == [{"requests": 1, "tokens": INPUT + len(STORY.texts[0])}]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                for message in StoryApp(STORY.chunks)._messages()[:3]:
                    await send(message)
                reached.set()
                await asyncio.get_running_loop().create_future()
            await receive()
            serving.cancel()
            await asyncio.sleep(0)
            await send({"type": "lifespan.shutdown.complete"})

        gateway = Gateway.of(app, backend)
        serving = asyncio.ensure_future(connection.serve(gateway.middleware))
        await reached.wait()
        await gateway.middleware({"type": "lifespan"}, receive, sent)
        assert len(done) == 1

    run(shut_down())


def test_one_middleware_may_serve_several_loops() -> None:
    """One after another: what a closed loop left behind neither blocks a drain nor fills the queue."""
    backend = HeldBackend()
    gateway = Gateway.of(StoryApp(STORY.chunks), backend)
    for _ in range(3):
        run(gateway.serve(asking(STORY)))
    assert [len(charge.settled) for charge in backend.books.charges] == [1, 1, 1]


@pytest.mark.parametrize("without", ["raises", "returns"])
def test_a_shutdown_is_waited_for_where_the_app_has_no_lifespan(without: str) -> None:
    """Django raises, others just return: the middleware answers in their place, once all is settled."""

    async def shut_down() -> None:
        backend = HeldBackend()
        story = StoryApp(STORY.chunks)
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        outgoing: list[Message] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await story(scope, receive, send)
            elif without == "raises":
                raise ValueError("only HTTP is handled here")

        async def sent(message: Message) -> None:
            outgoing.append(message)

        gateway = Gateway.of(app, backend)
        lifespan = asyncio.ensure_future(gateway.middleware({"type": "lifespan"}, incoming.get, sent))
        incoming.put_nowait({"type": "lifespan.startup"})
        backend.hold("settle")
        await asking(STORY).serve(gateway.middleware)
        await backend.arrived("settle")
        incoming.put_nowait({"type": "lifespan.shutdown"})
        for _ in range(20):
            await asyncio.sleep(0)
        assert outgoing == [{"type": "lifespan.startup.complete"}]
        backend.release("settle")
        await lifespan
        assert outgoing[1:] == [{"type": "lifespan.shutdown.complete"}]
        assert backend.books.settled == [{"requests": 1, "tokens": TOKENS}]

    run(shut_down())


@pytest.mark.parametrize("lifespan", ["startup", "shutdown"])
def test_what_an_apps_lifespan_raises_is_the_servers_to_hear(lifespan: str) -> None:
    """An app that has begun to listen has a lifespan: its failure is not covered up."""

    async def fail() -> None:
        messages: Iterator[Message] = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["type"] != f"lifespan.{lifespan}":
                pass
            raise ValueError("the app failed")

        async def receive() -> Message:
            return next(messages)

        async def sent(message: Message) -> None:
            pytest.fail(f"nobody sent {message}")

        with pytest.raises(ValueError, match=r"^the app failed$"):
            await Gateway.of(app, HeldBackend()).middleware({"type": "lifespan"}, receive, sent)

    run(fail())
