"""One line of JSON per request, for machines: what was asked, how it ended, and nothing that is secret."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ratelimit.web.dialects.base import new_request_id
from ratelimit.web.routes import dialect_of

__all__ = ("AccessLog", "write_to_stderr")

_PATH_MAX: Final = 256
_KEY: Final = re.compile(r"sk-[\w-]{6,}")
"""What looks like an API key, should somebody put one into a path."""
_REASON: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ERROR_MAX: Final = 16 * 1024
_IDS: Final = (b"x-request-id", b"request-id")


def write_to_stderr(line: str) -> None:
    """Write one line, at once."""
    sys.stderr.write(line)


class AccessLog:
    """Writes a line when a request has ended, and gives a request id to responses that have none.

    Keys of a line: `time` (of the end), `method`, `path` (without its query), `status` (null if none was sent),
    `duration_ms`, `first_byte_ms`, `request_bytes`, `response_bytes`, `request_id`, `complete` (false if the response
    was cut short), and where they apply `reason` (the code or type of an error in the response) and `exception` (the
    class of what ended it). Neither headers nor addresses nor bodies.

    Args:
        app: the ASGI app.
        write: takes a line, with its newline.
        quiet: paths whose requests are written only when they fail, such as those of health checks.
        clock: seconds of any origin, which only go forwards.
    """

    def __init__(
        self,
        app: ASGIApp,
        write: Callable[[str], object] = write_to_stderr,
        *,
        quiet: tuple[str, ...] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._write = write
        self._quiet = quiet
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope; only requests are logged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = _Entry(scope, receive, send, self._clock)
        try:
            await self._app(scope, entry.receive, entry.send)
        except BaseException as error:
            entry.exception = type(error).__name__
            raise
        finally:
            if scope["path"] not in self._quiet or not entry.succeeded:
                self._write(entry.line())


class _Entry:
    """What is noted of one request while it passes."""

    __slots__ = (
        "_began",
        "_clock",
        "_complete",
        "_first",
        "_in",
        "_out",
        "_reason",
        "_receive",
        "_request_id",
        "_scope",
        "_send",
        "_status",
        "exception",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, clock: Callable[[], float]) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._clock = clock
        self._began = clock()
        self._first: float | None = None
        self._in = self._out = 0
        self._status: int | None = None
        self._complete = False
        self._request_id: str | None = None
        self._reason: str | None = None
        self.exception: str | None = None

    @property
    def succeeded(self) -> bool:
        """True for a response below 400 that was sent to its end."""
        return self._complete and self._status is not None and self._status < 400

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            if self._first is None:
                self._first = self._clock()
                if self._status is not None and self._status >= 400:
                    self._reason = _reason(body)
            self._out += len(body)
            await self._send(message)
            self._complete = not message.get("more_body", False)
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = self._identified(message)
        await self._send(message)

    def _identified(self, message: Message) -> Message:
        headers = list(message.get("headers", ()))
        for name, value in headers:
            if name.lower() in _IDS:
                self._request_id = value.decode("latin-1")
                return message
        self._request_id = new_request_id()
        # Each SDK looks for one of the two names, and shows what it finds with an error.
        name = b"request-id" if dialect_of(self._scope["path"]) == "anthropic" else b"x-request-id"
        return {**message, "headers": [*headers, (name, self._request_id.encode())]}

    def line(self) -> str:
        """The line of this request, with its newline."""
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": self._scope["method"],
            "path": _shown(self._scope["path"]),
            "status": self._status,
            "duration_ms": self._since_began(self._clock()),
            "first_byte_ms": None if self._first is None else self._since_began(self._first),
            "request_bytes": self._in,
            "response_bytes": self._out,
            "request_id": self._request_id,
            "complete": self._complete,
        }
        if self._reason is not None:
            line["reason"] = self._reason
        if self.exception is not None:
            line["exception"] = self.exception
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()

    def _since_began(self, moment: float) -> float:
        return round((moment - self._began) * 1_000, 3)


def _shown(path: str) -> str:
    shown = path[:_PATH_MAX]
    if not shown.isascii():
        shown = shown.encode("utf-8", "replace").decode()  # JSON carries no lone surrogates
    return _KEY.sub("sk-…", shown) if "sk-" in shown else shown


def _reason(body: bytes) -> str | None:
    """The code of an error, or else its type, in either dialect; None where there is none that is short and plain."""
    if len(body) > _ERROR_MAX:
        return None
    try:
        error = orjson.loads(body)["error"]
        found = error.get("code") or error.get("type")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) and _REASON.fullmatch(found) and not _KEY.search(found) else None
