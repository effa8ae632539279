"""An ASGI server without sockets, whose every move a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ("App", "AppError", "Connection", "Message", "StoryApp", "http_scope")

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]
Step = Callable[[], object]


def http_scope(method: str = "POST", path: str = "/v1/chat/completions", **headers: str) -> dict[str, Any]:
    """The scope of one request, from a client with the key "alice"."""
    pairs = {"host": "api.example", "authorization": "Bearer alice", "content-type": "application/json"}
    pairs |= {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()],
        "client": ("192.0.2.9", 5_000),
        "server": ("127.0.0.1", 80),
        "extensions": {},
    }


@dataclass
class Connection:
    """One request on the wire. `script` says what happens when a message is sent, by its number."""

    scope: dict[str, Any] = field(default_factory=http_scope)
    body: Iterable[bytes] = (b"",)
    script: dict[int, Sequence[Step]] = field(default_factory=dict)
    sent: list[Message] = field(default_factory=list)
    tried: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        parts = list(self.body)
        self._incoming: list[Message] = [
            {"type": "http.request", "body": part, "more_body": i + 1 < len(parts)} for i, part in enumerate(parts)
        ]
        self.gone = asyncio.Event()
        self.received: list[Message] = []

    async def receive(self) -> Message:
        """The next part of the body, and then whether the client has gone."""
        for _ in range(self.steps):
            await asyncio.sleep(0)
        if self._incoming and not self.gone.is_set():
            message = self._incoming.pop(0)
        else:
            await self.gone.wait()
            message = {"type": "http.disconnect"}
        self.received.append(message)
        return message

    async def send(self, message: Message) -> None:
        """Do what the script says, and put the message on the wire unless that failed."""
        number, self.tried = self.tried, self.tried + 1
        for _ in range(self.steps):
            await asyncio.sleep(0)
        for step in self.script.get(number, ()):
            step()
        await asyncio.sleep(0)
        if not self.gone.is_set():
            self.sent.append(message)

    async def serve(self, app: App) -> BaseException | None:
        """Run the app on this request; what it raised, if anything."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            return error
        return None

    @property
    def status(self) -> int:
        """The status on the wire; 0 while there is none."""
        return next((m["status"] for m in self.sent if m["type"] == "http.response.start"), 0)

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers on the wire."""
        start = next(m for m in self.sent if m["type"] == "http.response.start")
        headers = dict(start["headers"])
        assert len(headers) == len(start["headers"])
        return headers

    @property
    def chunks(self) -> list[bytes]:
        """The parts of the body on the wire."""
        return [m.get("body", b"") for m in self.sent if m["type"] == "http.response.body"]

    @property
    def text(self) -> str:
        """The body on the wire."""
        return b"".join(self.chunks).decode()


class StoryApp:
    """Sends these chunks, and keeps what it has handed over: what was produced, whatever becomes of it.

    `listens`: ends by itself when it hears that the client has gone. `fails_before`: raises before that message.
    """

    def __init__(
        self,
        chunks: Sequence[bytes],
        *,
        status: int = 200,
        headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"text/event-stream"),),
        listens: bool = False,
        fails_before: int | None = None,
        steps: int = 0,
        ends_apart: bool = True,
    ) -> None:
        self.chunks = chunks
        self.status = status
        self.headers = headers
        self.listens = listens
        self.fails_before = fails_before
        self.steps = steps
        self.ends_apart = ends_apart
        self.handed: list[Message] = []
        self.body = b""
        self.scope: MutableMapping[str, Any] = {}
        self.calls = 0

    @property
    def stream(self) -> bytes:
        """The body as far as it was handed over."""
        return b"".join(message.get("body", b"") for message in self.handed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        self.calls += 1
        self.scope = scope
        if not await self._read(receive):
            return
        listening = asyncio.ensure_future(receive()) if self.listens else None
        try:
            for message in self._messages():
                if listening is not None and listening.done():
                    return
                await self._send(message, send)
        finally:
            if listening is not None:
                listening.cancel()

    async def _read(self, receive: Any) -> bool:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                return True

    def _messages(self) -> list[Message]:
        messages: list[Message] = [
            {"type": "http.response.start", "status": self.status, "headers": list(self.headers)},
            *({"type": "http.response.body", "body": chunk, "more_body": True} for chunk in self.chunks),
        ]
        if self.ends_apart or not self.chunks:
            messages.append({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            messages[-1]["more_body"] = False
        return messages

    async def _send(self, message: Message, send: Any) -> None:
        for _ in range(self.steps):
            await asyncio.sleep(0)
        if self.fails_before == len(self.handed):
            raise AppError("the app failed")
        self.handed.append(message)
        await send(message)


class AppError(Exception):
    """Raised by an app that was told to fail."""
