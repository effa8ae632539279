"""A framework's app behind the middleware, with a witness of what it hands over, and the books at `GET /books`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ratelimit import AsyncLimiter, Limiter, Plan
from ratelimit.backends.memory import MemoryBackend
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.credentials import api_key
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.wsgi import RateLimitWSGIMiddleware
from tests.web.backends import LEDGER, SWIFT, Books, HeldBackend, RecordingAsyncBackend, RecordingBackend
from tests.web.stories import ByteTokens
from tests.web_servers.links import GATE, LINKS, STORY, AsyncLink, BlockingLink

__all__ = ("AsgiDesk", "WsgiDesk", "asgi_desk", "wsgi_desk")


class Customers:
    """Everybody is known, by the key; and remembered, to be looked up."""

    def __init__(self, plan: Plan = LEDGER) -> None:
        self.plan = plan
        self.names: list[str] = []

    def __call__(self, head: RequestHead) -> Identity:
        name = api_key(head, "openai") or "nobody"
        self.names.append(name)
        return Identity.of(name, self.plan)


def _report(limiter: Any, memory: MemoryBackend, books: Books, customers: Customers, under_way: int) -> bytes:
    used = {}
    for name in customers.names:
        scope = memory.scopes.get(limiter._intake.key(name, None))
        levels = (0, 0) if scope is None else scope.levels
        used[name] = [level / spec.units for level, spec in zip(levels, customers.plan.layout.specs, strict=True)]
    unsettled = sum(len(charge.settled) != 1 for charge in books.charges)
    return json.dumps({"used": used, "unsettled": unsettled, "under_way": under_way}).encode()


class AsgiDesk:
    """An ASGI app: the middleware, and the books beside it."""

    def __init__(
        self, middleware: RateLimitMiddleware, memory: MemoryBackend | None, books: Books, who: Customers
    ) -> None:
        self.middleware = middleware
        self.memory = memory
        self.books = books
        self.customers = who

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] != "/books":
            await self.middleware(scope, receive, send)
            return
        assert self.memory is not None
        settler = self.middleware.settler
        report = _report(self.middleware._limiter, self.memory, self.books, self.customers, len(settler))
        headers = [(b"content-length", b"%d" % len(report))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": report})


class _Witness:
    """Tells the test what an ASGI app hands over, before it goes on to the middleware."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        name = headers[STORY]
        link: Any = LINKS.get(name) or await AsyncLink.open(int(headers[GATE]), name)
        LINKS[name] = link

        async def witnessed(message: Any) -> None:
            if message["type"] in ("http.response.start", "http.response.body"):
                link.handed(len(message.get("body", b"")))
            await send(message)

        try:
            await self._app(scope, receive, witnessed)
        finally:
            del LINKS[name]
            link.close()


def asgi_desk(app: Any, backend: str) -> AsgiDesk:
    """Around this app: on "memory", by its "express" lane, on a "network" of the test's own, or at a URL."""
    customers = Customers(SWIFT if backend == "express" else LEDGER)
    options: dict[str, Any] = {"identify": customers, "tokens": ByteTokens()}
    if "://" in backend:
        middleware = RateLimitMiddleware(_Witness(app), AsyncLimiter.from_url(backend), **options)
        return AsgiDesk(middleware, None, Books(), customers)
    held = HeldBackend(steps=3)
    recording = RecordingAsyncBackend()
    chosen = held if backend == "network" else recording
    memory = held.memory if backend == "network" else recording.backend
    middleware = RateLimitMiddleware(_Witness(app), AsyncLimiter(chosen), **options)
    return AsgiDesk(middleware, memory, chosen.books, customers)


class WsgiDesk:
    """A WSGI app: the middleware, and the books beside it."""

    def __init__(self, middleware: RateLimitWSGIMiddleware, memory: RecordingBackend | None, who: Customers) -> None:
        self.middleware = middleware
        self._memory = memory
        self._customers = who

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Serve a request."""
        if environ["PATH_INFO"] != "/books":
            return self.middleware(environ, start_response)
        assert self._memory is not None
        settler, limiter = self.middleware.settler, self.middleware._limiter
        report = _report(limiter, self._memory, self._memory.books, self._customers, len(settler))
        start_response("200 OK", [("Content-Length", str(len(report)))])
        return [report]


class _WitnessParts:
    def __init__(self, parts: Any, link: BlockingLink, name: str) -> None:
        self._parts = parts
        self._iterator = iter(parts)
        self._link = link
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part: bytes = next(self._iterator)
        self._link.handed(len(part))
        return part

    def close(self) -> None:
        if hasattr(self._parts, "close"):
            self._parts.close()
        LINKS.pop(self._name, None)
        self._link.close()


def wsgi_desk(app: Any, backend: str) -> WsgiDesk:
    """Around this app: on "memory", or at a URL."""

    def witness(environ: Any, start_response: Any) -> Any:
        name = environ["HTTP_X_STORY"]
        link = BlockingLink(int(environ["HTTP_X_GATE"]), name)
        LINKS[name] = link

        def started(*args: Any) -> Any:
            link.handed(0)
            return start_response(*args)

        return _WitnessParts(app(environ, started), link, name)

    customers = Customers()
    recording = RecordingBackend() if backend == "memory" else None
    limiter = Limiter.from_url(backend) if recording is None else Limiter(recording)
    middleware = RateLimitWSGIMiddleware(witness, limiter, customers, tokens=ByteTokens())
    return WsgiDesk(middleware, recording, customers)
