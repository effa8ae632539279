"""A client and a server in one: calls ASGI applications as a server does, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

__all__ = ("Chunks", "Message", "PlainApp", "Receive", "Request", "Scope", "Send", "call", "parts")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_PART: Final = 65_536
"""Bytes of a request body in one message: what uvicorn hands over at most."""

_SDK_HEADERS: Final = (
    (b"host", b"api.example.com"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"connection", b"keep-alive"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"AsyncOpenAI/Python 2.30.0"),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-package-version", b"2.30.0"),
    (b"x-stainless-os", b"Linux"),
    (b"x-stainless-arch", b"x64"),
    (b"x-stainless-runtime", b"CPython"),
    (b"x-stainless-runtime-version", b"3.11.7"),
    (b"x-stainless-async", b"async:asyncio"),
    (b"x-stainless-retry-count", b"0"),
    (b"x-stainless-read-timeout", b"600"),
)
"""What the openai SDK sends with every request, besides key and length."""


def parts(body: bytes) -> list[bytes]:
    """A body as it comes from a socket."""
    return [body[at : at + _PART] for at in range(0, len(body), _PART)] or [b""]


class Request:
    """What one client sends, again and again."""

    def __init__(self, path: str, key: str, body: bytes) -> None:
        self._path = path
        self._headers = [
            *_SDK_HEADERS,
            (b"authorization", f"Bearer {key}".encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        self.parts = parts(body)

    def scope(self) -> Scope:
        """A fresh scope, as uvicorn makes it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50_000),
            "scheme": "http",
            "method": "POST",
            "root_path": "",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "headers": list(self._headers),
            "state": {},
        }


class _Connection:
    """The server's side of one request."""

    __slots__ = ("_at", "_gone", "_parts", "status")

    def __init__(self, request: Request) -> None:
        self._parts = request.parts
        self._at = 0
        self._gone: asyncio.Future[None] | None = None
        self.status = 0

    async def receive(self) -> Message:
        at = self._at
        if at < len(self._parts):
            self._at = at + 1
            return {"type": "http.request", "body": self._parts[at], "more_body": at + 1 < len(self._parts)}
        # A server says that the client has gone, or that all is sent.
        self._gone = asyncio.get_running_loop().create_future()
        await self._gone
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False) and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)


async def call(app: Callable[..., Awaitable[None]], request: Request) -> None:
    """One request to an application.

    Raises:
        AssertionError: the answer is not 200: there would be nothing to compare.
    """
    connection = _Connection(request)
    await app(request.scope(), connection.receive, connection.send)
    if connection.status != 200:
        raise AssertionError(f"{request!r} was answered {connection.status}")


class PlainApp:
    """Reads the body, and answers with the same bytes each time. As little as an ASGI application can do."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        while (await receive()).get("more_body", False):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self._answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._answer})


class Chunks:
    """Reads the body, and answers with a stream: as fast as it can, or each chunk in a turn of the event loop."""

    def __init__(self, chunks: Sequence[bytes], *, turns: bool) -> None:
        self._chunks = chunks
        self._turns = turns

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        while (await receive()).get("more_body", False):
            pass
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in self._chunks:
            if self._turns:
                await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
