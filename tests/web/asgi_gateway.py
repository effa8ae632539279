"""The ASGI middleware around a test's app, on backends that keep books."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ratelimit import AsyncLimiter, Plan, PlanRegistry
from ratelimit.backends.memory import MemoryBackend
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.credentials import api_key
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from tests.web.asgi_server import App, Connection, StoryApp, http_scope
from tests.web.backends import LEDGER, SWIFT, Books, HeldBackend, RecordingAsyncBackend, used
from tests.web.stories import ByteTokens, Story, ask

__all__ = ("Gateway", "asking", "by_key", "error_of", "run", "served")

T = TypeVar("T")


def by_key(plan: Plan | str = LEDGER, known: Sequence[str] = ("alice",)) -> Any:
    """An identify callable: the key is the subject."""

    def identify(head: RequestHead) -> Identity | None:
        key = api_key(head, "openai")
        return Identity.of(key, plan) if key is not None and key in known else None

    return identify


@dataclass
class Gateway:
    """A middleware and what is behind it."""

    middleware: RateLimitMiddleware
    memory: MemoryBackend
    books: Books

    @classmethod
    def of(
        cls, app: App, backend: RecordingAsyncBackend | HeldBackend, plans: PlanRegistry | None = None, **options: Any
    ) -> Gateway:
        """Around this app, on this backend."""
        options = {"tokens": ByteTokens(), "identify": by_key(), **options}
        memory = backend.memory if isinstance(backend, HeldBackend) else backend.backend
        return cls(RateLimitMiddleware(app, AsyncLimiter(backend, plans=plans), **options), memory, backend.books)

    @classmethod
    def on(cls, backend: str, app: App, **options: Any) -> Gateway:
        """Around this app: on "memory", by its "express" lane, or on a "network" of the test's own."""
        if backend == "express":
            return cls.of(app, RecordingAsyncBackend(), identify=by_key(SWIFT), **options)
        return cls.of(app, HeldBackend() if backend == "network" else RecordingAsyncBackend(), **options)

    def check(self, requests: int, tokens: int) -> None:
        """One request was settled, once, at this."""
        assert self.used == (requests, tokens)
        if self.books.charges:
            assert self.books.settled == [{"requests": requests, "tokens": tokens}]

    @property
    def used(self) -> tuple[int, int]:
        """Requests and tokens that are charged."""
        total = used(self.memory)
        return total["requests"], total["tokens"]

    async def spend(self, tokens: int) -> None:
        """Let the key "alice" have used so many tokens, without a trace in the books.

        Refunds are bounded by what has been used since (promise P6): among many at the same time only a bucket that
        has something in it gives back everything.
        """
        await self.middleware._limiter.acquire("alice", plan=LEDGER, requests=0, tokens=tokens)
        self.books.charges.clear()

    async def serve(self, connection: Connection) -> BaseException | None:
        """Serve a request to its end, and wait for its settlement."""
        error = await connection.serve(self.middleware)
        await self.middleware.settler.drain()
        return error


def asking(story: Story, *, stream: bool = True, parts: int = 1, **options: Any) -> Connection:
    """A request for this story, its body in so many parts."""
    body = ask(stream=stream)
    size = -(-len(body) // parts)
    cut = [body[start : start + size] for start in range(0, len(body), size)]
    return Connection(http_scope(path=story.path), cut, **options)


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run in a new event loop, with a deadline that only a hang can reach."""

    async def limited() -> T:
        async with asyncio.timeout(30):
            return await job

    return asyncio.run(limited())


def served(connection: Connection, app: App | None = None, backend: Any = None, **options: Any) -> Gateway:
    """Serve one request through a gateway, on memory unless told otherwise."""

    async def serve() -> Gateway:
        inner = StoryApp(Story("openai").chunks) if app is None else app
        gateway = Gateway.of(inner, backend or RecordingAsyncBackend(), **options)
        await gateway.serve(connection)
        return gateway

    return run(serve())


def error_of(connection: Connection) -> dict[str, Any]:
    """The error that a client was told of."""
    error = json.loads(connection.text)["error"]
    assert isinstance(error, dict)
    return error
