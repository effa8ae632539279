"""Drives an ASGI app without a server: every message is the test's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Scope

__all__ = ("Call", "ask", "living", "scope_of")

Pairs = Sequence[tuple[bytes, bytes]]
_DISCONNECT: Message = {"type": "http.disconnect"}


def scope_of(
    method: str, target: str, headers: Pairs = (), client: tuple[str, int] | None = ("192.0.2.7", 4711)
) -> Scope:
    """The scope that a server makes of a request line and headers."""
    from urllib.parse import unquote

    raw, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": list(headers),
        "client": client,
        "server": ("127.0.0.1", 80),
    }


@dataclass
class Call:
    """One request: what the app is given, and what it has sent."""

    scope: Scope
    parts: list[bytes] = field(default_factory=lambda: [b""])
    """The body, in parts; the app gets one per receive."""
    more: asyncio.Event | None = None
    """Holds back all parts but the first, until set."""
    take: Callable[[], Any] | None = None
    """Awaited before a message is taken: a client that is slow."""
    sent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._gone = asyncio.Event()
        self._given = 0

    def hang_up(self) -> None:
        """The client goes away."""
        self._gone.set()

    async def receive(self) -> Message:
        if self._gone.is_set():
            return _DISCONNECT
        if self._given < len(self.parts):
            if self._given and self.more is not None:
                await self._held_back(self.more)
                if self._gone.is_set():
                    return _DISCONNECT
            part = self.parts[self._given]
            self._given += 1
            return {"type": "http.request", "body": part, "more_body": self._given < len(self.parts)}
        await self._gone.wait()
        return _DISCONNECT

    async def _held_back(self, more: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (more, self._gone)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def send(self, message: Message) -> None:
        if self.take is not None:
            await self.take()
        self.sent.append(message)

    async def run(self, app: ASGIApp) -> Call:
        """Let the app serve it."""
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        """Of the response."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of the response."""
        return list(self.sent[0]["headers"])

    def header(self, name: bytes) -> bytes | None:
        """The value of a header of the response."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def chunks(self) -> list[bytes]:
        """The body of the response, in the pieces in which it was sent."""
        return [message.get("body", b"") for message in self.sent if message["type"] == "http.response.body"]

    @property
    def body(self) -> bytes:
        """The whole body of the response."""
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def complete(self) -> bool:
        """True once the last part has been sent."""
        return bool(self.sent) and self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")


async def ask(app: ASGIApp, method: str, target: str, *, headers: Pairs = (), body: bytes | object = b"") -> Call:
    """One request with a body in one part, bytes or something to send as JSON."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return await Call(scope_of(method, target, headers), [raw]).run(app)


@contextlib.asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[None]:
    """The lifespan of an app."""
    told: asyncio.Queue[Message] = asyncio.Queue()
    said: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await told.put({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await life
