"""Promises of `ratelimit.gateway.presence`."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit.gateway.presence import Presence
from tests.gateway.asgi import Call, scope_of
from tests.gateway.loops import in_loop, until


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@in_loop
async def test_a_departure_ends_the_block_and_not_the_task() -> None:
    """The block is left quietly, the task goes on, and can be cancelled as before."""
    call = Call(scope_of("GET", "/"))
    async with Presence(call.receive) as presence:
        assert presence.take(await call.receive()) == b""
        call.hang_up()
        await forever()
    assert presence.gone
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@in_loop
async def test_a_block_that_ends_by_itself_leaves_nothing_running() -> None:
    """The watcher ends with it."""
    call = Call(scope_of("GET", "/"))
    before = asyncio.all_tasks()
    async with Presence(call.receive) as presence:
        presence.take(await call.receive())
    assert not presence.gone
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@in_loop
async def test_errors_of_the_block_come_out() -> None:
    """While the client is there, an error is nobody else's business."""
    call = Call(scope_of("GET", "/"))
    presence = Presence(call.receive)

    async def fail() -> None:
        async with presence:
            presence.take(await call.receive())
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert not presence.gone


@in_loop
async def test_what_a_departure_breaks_stays_inside() -> None:
    """A library that turns the cancellation into an error of its own does not make it an error of ours."""
    call = Call(scope_of("GET", "/"))
    async with Presence(call.receive) as presence:
        presence.take(await call.receive())
        call.hang_up()
        try:
            await forever()
        except asyncio.CancelledError:
            raise OSError("connection lost") from None
    assert presence.gone


@in_loop
async def test_a_cancelled_task_stays_cancelled() -> None:
    """A server that stops is not mistaken for a client that goes, also when both happen at once."""
    for hangs_up in (False, True):
        call = Call(scope_of("GET", "/"))
        inside = asyncio.Event()

        async def serve(call: Call = call, inside: asyncio.Event = inside) -> None:
            async with Presence(call.receive) as presence:
                presence.take(await call.receive())
                inside.set()
                await forever()

        task = asyncio.ensure_future(serve())
        await inside.wait()
        if hangs_up:
            call.hang_up()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@in_loop
async def test_a_body_comes_in_its_parts_and_then_the_watch_begins() -> None:
    """Empty parts are left out; a departure after the last one is noticed."""
    call = Call(scope_of("POST", "/"), [b"a", b"", b"bc"])
    async with Presence(call.receive) as presence:
        body = presence.take(await call.receive())
        assert not isinstance(body, bytes)
        assert [part async for part in body] == [b"a", b"bc"]
        call.hang_up()
        await forever()
    assert presence.gone


@in_loop
async def test_half_a_body_never_looks_like_a_whole_one() -> None:
    """A client that goes in the middle ends the block; whoever reads the body does not see an end of it."""
    call = Call(scope_of("POST", "/"), [b"a", b"b"], more=asyncio.Event())
    ended = False
    async with Presence(call.receive) as presence:
        body = presence.take(await call.receive())
        assert not isinstance(body, bytes)

        async def read() -> None:
            nonlocal ended
            async for _ in body:
                call.hang_up()
            ended = True

        reader = asyncio.ensure_future(read())
        await forever()
    assert presence.gone
    assert not ended
    reader.cancel()
    await until(reader.done)
