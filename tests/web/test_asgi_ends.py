"""However a request ends, it is settled exactly once: at its input and what was really produced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.web.routes import DialectName
from tests.web.asgi_gateway import Gateway, asking, run
from tests.web.asgi_server import AppError, Connection, StoryApp
from tests.web.backends import HeldBackend, RecordingAsyncBackend
from tests.web.stories import INPUT, Story, produced

BACKENDS = ("memory", "express", "network")
DIALECTS: tuple[DialectName, ...] = ("openai", "anthropic")
GONE = OSError("the connection is closed")


def send_fails(connection: Connection, at: int) -> dict[str, Any]:
    """The server raises, as uvicorn's specification 2.4 says for a client that has gone."""

    def fail() -> None:
        raise GONE

    connection.script[at] = [fail]
    return {}


def client_goes(connection: Connection, at: int) -> dict[str, Any]:
    """The server drops what is sent from here on; the app does not listen, and goes on to its end."""
    connection.script[at] = [connection.gone.set]
    return {}


def client_goes_and_app_listens(connection: Connection, at: int) -> dict[str, Any]:
    """The app hears of it and ends by itself."""
    connection.script[at] = [connection.gone.set]
    return {"listens": True}


def task_is_cancelled(connection: Connection, at: int) -> dict[str, Any]:
    """As hypercorn and uvicorn do when they shut down."""
    connection.script[at] = [cancel_me]
    return {}


def task_is_cancelled_twice(connection: Connection, at: int) -> dict[str, Any]:
    """The second one hits whatever is done about the first."""
    connection.script[at] = [cancel_me, lambda: asyncio.get_running_loop().call_soon(cancel_me_of(connection))]
    connection.steps = 1
    return {}


def app_fails(_: Connection, at: int) -> dict[str, Any]:
    """An exception in place of a message."""
    return {"fails_before": at}


def nothing_happens(_: Connection, at: int) -> dict[str, Any]:
    """The response is sent to its end."""
    return {}


def cancel_me() -> None:
    """Cancel the task that runs."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def cancel_me_of(_: Connection) -> Callable[[], object]:
    """Cancels the present task from another one."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancel


ENDS = [
    send_fails,
    client_goes,
    client_goes_and_app_listens,
    task_is_cancelled,
    task_is_cancelled_twice,
    app_fails,
    nothing_happens,
]


def due(app: StoryApp) -> int:
    """What a request has to be settled at, once its app has begun to answer."""
    return INPUT + produced(app.stream)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ends_apart", [True, False])
def test_an_end_at_every_message_settles_once(
    end: Callable[[Connection, int], dict[str, Any]], dialect: DialectName, backend: str, ends_apart: bool
) -> None:
    """Before the first message, at each one and after the last."""
    story = Story(dialect)

    async def at(index: int) -> None:
        connection = asking(story)
        app = StoryApp(story.chunks, ends_apart=ends_apart, **end(connection, index))
        gateway = Gateway.on(backend, app)
        error = await gateway.serve(connection)
        if end is send_fails and index < len(story.chunks) + 1 + ends_apart:
            assert error is GONE
        if end is app_fails and index < len(story.chunks) + 1 + ends_apart:
            assert type(error) is AppError
        gateway.check(1, due(app) if app.handed else 0)  # nothing: the app failed before it began

    for index in range(len(story.chunks) + 3):
        run(at(index))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_that_goes_before_the_app_has_begun_pays_for_its_input(backend: str) -> None:
    """Of a stream, nothing can have been produced before its head."""
    story = Story("openai")

    async def before_the_head() -> None:
        connection = asking(story)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            connection.gone.set()
            while (await receive())["type"] != "http.disconnect":
                pass

        gateway = Gateway.on(backend, app)
        assert await gateway.serve(connection) is None
        gateway.check(1, INPUT)

    run(before_the_head())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_response_that_was_not_heard_keeps_its_estimate(dialect: DialectName) -> None:
    """The upstream may have produced all of it. An answer that was handed over is settled at its usage."""
    story = Story(dialect)

    async def at(index: int) -> None:
        connection = asking(story, stream=False)
        connection.script[index] = [cancel_me]
        app = StoryApp([story.whole], headers=[(b"content-type", b"application/json")], ends_apart=False, steps=1)
        gateway = Gateway.of(app, RecordingAsyncBackend())
        await gateway.serve(connection)
        (charge,) = gateway.books.charges
        if len(app.handed) == 2:
            assert charge.settled == [{"requests": 1, "tokens": INPUT + story.tokens}]
        else:
            assert not charge.settled
            assert gateway.used == (1, charge.reserved["tokens"])

    for index in range(3):
        run(at(index))


STEPS = st.dictionaries(st.integers(0, 12), st.lists(st.sampled_from(["gone", "fail", "cancel", "later"]), max_size=3))


@given(
    script=STEPS,
    dialect=st.sampled_from(DIALECTS),
    usage=st.booleans(),
    backend=st.sampled_from(BACKENDS),
    listens=st.booleans(),
    ends_apart=st.booleans(),
    fails_before=st.none() | st.integers(0, 12),
    turns=st.lists(st.integers(0, 2), min_size=2, max_size=2),
)
def test_ends_in_any_order_settle_once(
    script: dict[int, list[str]],
    dialect: DialectName,
    usage: bool,
    backend: str,
    listens: bool,
    ends_apart: bool,
    fails_before: int | None,
    turns: Sequence[int],
) -> None:
    """Several of them in one request, early and late, together and one after another."""
    story = Story(dialect, usage=usage)

    async def all_of_it() -> None:
        connection = asking(story, steps=turns[0])

        def fail() -> None:
            raise GONE

        actions: dict[str, Callable[[], object]] = {
            "gone": connection.gone.set,
            "fail": fail,
            "cancel": cancel_me,
            "later": lambda: asyncio.get_running_loop().call_soon(cancel_me_of(connection)),
        }
        connection.script |= {index: [actions[name] for name in names] for index, names in script.items()}
        app = StoryApp(story.chunks, listens=listens, ends_apart=ends_apart, fails_before=fails_before, steps=turns[1])
        gateway = Gateway.on(backend, app)
        task = asyncio.ensure_future(connection.serve(gateway.middleware))
        await asyncio.wait([task])
        await gateway.middleware.settler.drain()
        gateway.check(1, due(app) if app.handed else 0)

    run(all_of_it())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("again", [None, 0, 1, 2, 5])
def test_cancelled_at_every_await_point(backend: str, again: int | None) -> None:
    """Once or twice, before the charge, during it, and after it: nothing is lost and nothing charged for nothing."""
    story = Story("openai", texts=("Once ", "more."))
    seen = set()

    async def after(turns: int) -> bool:
        connection = asking(story, parts=2, steps=1)
        app = StoryApp(story.chunks, steps=1)
        gateway = Gateway.on(backend, app)
        task = asyncio.ensure_future(gateway.middleware(connection.scope, connection.receive, connection.send))
        for _ in range(turns):
            await asyncio.sleep(0)
        was_done = task.done()
        task.cancel()
        if again is not None:
            for _ in range(again):
                await asyncio.sleep(0)
            task.cancel()
            for settlement in list(gateway.middleware.settler._tasks):
                settlement.cancel()
        await asyncio.wait([task])
        await gateway.middleware.settler.drain()
        tokens = due(app) if app.handed else INPUT if app.calls else 0
        assert gateway.used == (min(app.calls, 1), tokens)
        assert all(settled["tokens"] == tokens for settled in gateway.books.settled)
        assert was_done or task.cancelled()
        seen.add((len(gateway.books.charges), app.calls, bool(app.handed)))
        return was_done

    turns = 0
    while not run(after(turns)):
        turns += 1
    charges = 0 if backend == "express" else 1
    assert {(0, 0, False), (charges, 1, False), (charges, 1, True)} <= seen
    assert backend != "network" or (1, 0, False) in seen  # charged, and given back, without the app being called


def test_cancelling_all_tasks_of_a_loop_loses_nothing() -> None:
    """A loop that is closed cancels its tasks and waits for them: the settlements among them go on to their end."""
    story = Story("openai")
    backend = HeldBackend(steps=200)  # far more turns than a closing loop makes for other reasons

    async def stop_in_the_middle() -> None:
        connection = asking(story)
        connection.script[3] = [reached.set]
        serving = asyncio.ensure_future(connection.serve(gateway.middleware))
        await reached.wait()
        assert not serving.done()

    reached = asyncio.Event()
    app = StoryApp(story.chunks, steps=2)
    gateway = Gateway.of(app, backend)
    asyncio.run(stop_in_the_middle())
    assert 3 <= len(app.handed) < len(story.chunks)
    assert gateway.books.settled == [{"requests": 1, "tokens": due(app)}]


def test_a_bill_is_handed_out_once() -> None:
    """Also when the app goes on to send after its last message, and fails then."""
    story = Story("openai")

    async def twice() -> None:
        connection = asking(story)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            inner = StoryApp(story.chunks)
            await inner(scope, receive, send)
            await send({"type": "http.response.body", "body": story.chunks[2]})
            raise AppError

        gateway = Gateway.of(app, RecordingAsyncBackend())
        assert type(await gateway.serve(connection)) is AppError
        assert gateway.books.settled == [{"requests": 1, "tokens": INPUT + story.tokens}]

    run(twice())


@pytest.mark.parametrize("count", [1, 50])
def test_requests_at_the_same_time_are_settled_each_for_itself(count: int) -> None:
    """The middleware keeps nothing of a request on itself."""
    story = Story("anthropic")

    async def together() -> None:
        apps = {str(index): StoryApp(story.chunks, steps=index % 3) for index in range(count)}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await apps[scope["story"]](scope, receive, send)

        gateway = Gateway.of(app, HeldBackend(steps=2))
        await gateway.spend(1_000_000)
        connections = []
        for index in range(count):
            connection = asking(story, steps=index % 2)
            connection.scope["story"] = str(index)
            connection.script[index % 13] = [cancel_me if index % 2 else connection.gone.set]
            connections.append(connection)
        await asyncio.gather(*(connection.serve(gateway.middleware) for connection in connections))
        await gateway.middleware.settler.drain()
        assert sorted(settled["tokens"] for settled in gateway.books.settled) == sorted(map(due, apps.values()))
        assert gateway.used == (count, 1_000_000 + sum(map(due, apps.values())))

    run(together())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_response_is_settled_at_its_end_and_not_at_the_end_of_its_app(backend: str) -> None:
    """Background tasks come after it, and may take hours."""
    story = Story("openai")

    async def go_on() -> None:
        connection = asking(story)
        inner = StoryApp(story.chunks)
        sent = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await inner(scope, receive, send)
            sent.set()
            await asyncio.get_running_loop().create_future()

        gateway = Gateway.on(backend, app)
        serving = asyncio.ensure_future(connection.serve(gateway.middleware))
        await sent.wait()
        await gateway.middleware.settler.drain()
        gateway.check(1, due(inner))
        serving.cancel()
        await serving
        gateway.check(1, due(inner))

    run(go_on())
