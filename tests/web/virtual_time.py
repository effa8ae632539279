"""An event loop whose time passes only when nothing is left to do: hours of traffic in a second, the same each time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, TypeVar

from ratelimit.testing import ManualClock

__all__ = ("Exchanged", "VirtualTimeLoop", "exchange", "run_virtually")

T = TypeVar("T")

_Message = MutableMapping[str, Any]
_App = Callable[..., Awaitable[None]]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Where others wait for the next timer, this loop advances the clock to it.

    `asyncio.sleep`, `asyncio.timeout` and everything else that goes by the loop's time goes by the clock, and so does
    a memory backend that was given the same one. Tasks that wait for sockets or threads are served as they come, at
    the time at which they began to wait.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._virtual_clock = clock
        super().__init__(_LeapingSelector(clock))
        # Timers that are due within it run at once. A finer one is lost in rounding, and the loop would stand still.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds by the clock."""
        return self._virtual_clock() / 1e6


class _LeapingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Never waits for time to pass."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; nothing, after a leap in time of `timeout` seconds, if that is nothing."""
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            # None: no timer is set, and only another thread can go on.
            return ready or super().select(timeout)
        self._clock.advance(us=ceil(timeout * 1e6))
        return []


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]], clock: ManualClock) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        return runner.run(main())


@dataclass(slots=True)
class Exchanged:
    """What a client got for a request: the status, headers by name, and the parts of the body with their times."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """Seconds of the loop's time at which each part was sent."""

    @property
    def body(self) -> bytes:
        """All parts together."""
        return b"".join(self.parts)


async def exchange(
    app: _App,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    leave_after: float | None = None,
    **scope: object,
) -> Exchanged:
    """Send one request to an ASGI application and follow it to its end, as a server does.

    `leave_after` seconds of the loop's time after the request the client disconnects. `scope` adds to the scope.
    """
    result = Exchanged()
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    requests = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> _Message:
        if requests:
            return requests.pop()
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    async def send(message: _Message) -> None:
        if message["type"] == "http.response.start":
            result.status = message["status"]
            result.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            return
        result.parts.append(message.get("body", b""))
        result.times.append(loop.time())
        if not message.get("more_body", False):
            leave()

    def leave() -> None:
        if not gone.done():
            gone.set_result(None)

    sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    timer = None if leave_after is None else loop.call_later(leave_after, leave)
    try:
        await app(_scope(method, path, sent, scope), receive, send)
    finally:
        leave()
        if timer is not None:
            timer.cancel()
    return result


def _scope(method: str, path: str, headers: list[tuple[bytes, bytes]], more: dict[str, object]) -> _Message:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 50_000),
        "server": ("192.0.2.2", 80),
        **more,
    }
