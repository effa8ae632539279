"""Promises of the virtual time that other tests run in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ratelimit import AsyncLimiter
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from ratelimit.testing import ManualClock
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.identity import Identity
from tests.web.virtual_time import Exchanged, exchange, run_virtually

BODY = b'{"model":"glm-5","messages":[{"role":"user","content":"hi"}],"max_tokens":50000}'
Message = MutableMapping[str, Any]


async def app(_scope: Message, _receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
    """Streams a part after a second, and another after an hour."""
    await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await asyncio.sleep(3_600.0)
    await send({"type": "http.response.body", "body": b"two"})


def test_hours_pass_at_once_and_in_order() -> None:
    """Parts of concurrent responses come at their times, to the microsecond, whatever the machine does."""
    clock = ManualClock()
    began = clock() / 1e6

    async def traffic() -> tuple[Exchanged, Exchanged]:
        return await asyncio.gather(exchange(app, "/a"), exchange(app, "/b"))

    for got in run_virtually(traffic, clock):
        assert (got.status, got.body) == (200, b"onetwo")
        assert [round(time - began, 4) for time in got.times] == [1.0, 3_601.0]


def test_the_plan_recovers_by_the_same_clock() -> None:
    """A refused client that waits as told gets through, without anybody waiting for real."""
    clock = ManualClock()
    limiter = AsyncLimiter(AsyncMemoryBackend(MemoryBackend(clock=clock)))
    limited = RateLimitMiddleware(app, limiter, lambda _: Identity.of("ann", "Lite"), output="max_tokens")

    async def traffic() -> list[int]:
        first = asyncio.create_task(exchange(limited, "/v1/chat/completions", BODY))
        await asyncio.sleep(0.5)
        refused = await exchange(limited, "/v1/chat/completions", BODY)
        await asyncio.sleep(int(refused.headers["retry-after"]))
        again = await exchange(limited, "/v1/chat/completions", BODY)
        return [refused.status, again.status, (await first).status]

    assert run_virtually(traffic, clock) == [429, 200, 200]


def test_a_client_that_leaves_is_heard_of() -> None:
    """By whoever waits for what it sends next."""
    heard = []

    async def listening(_scope: Message, receive: Callable[[], Awaitable[Message]], _send: object) -> None:
        heard.extend([await receive(), await receive()])

    run_virtually(lambda: exchange(listening, "/", b"x", leave_after=5.0), ManualClock())
    assert heard == [{"type": "http.request", "body": b"x", "more_body": False}, {"type": "http.disconnect"}]
