"""The WSGI middleware around a test's app, on a backend that keeps books."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ratelimit import Limiter
from ratelimit.web.wsgi import RateLimitWSGIMiddleware
from tests.web.asgi_gateway import by_key
from tests.web.backends import RecordingBackend, used
from tests.web.stories import INPUT, ByteTokens, Story, ask, produced
from tests.web.wsgi_server import WsgiCall, WsgiStory, environ_of

__all__ = ("Gateway", "asking", "due")

STORY = Story("openai")
App = Callable[..., Iterable[bytes]]


class Gateway:
    """A middleware around this app, on a backend that keeps books."""

    def __init__(self, app: App, **options: Any) -> None:
        self.backend = RecordingBackend()
        self.books = self.backend.books
        options = {"tokens": ByteTokens(), "identify": by_key(), **options}
        self.middleware = RateLimitWSGIMiddleware(app, Limiter(self.backend), **options)

    @property
    def used(self) -> tuple[int, int]:
        """Requests and tokens that are charged."""
        total = used(self.backend)
        return total["requests"], total["tokens"]

    def serve(self, call: WsgiCall) -> BaseException | None:
        """Serve a request to its end, and wait for its settlement."""
        error = call.serve(self.middleware)
        self.middleware.settler.drain()
        return error


def asking(story: Story = STORY, *, stream: bool = True, take: int | None = None, part: int = 1_000_000) -> WsgiCall:
    """A request for this story."""
    return WsgiCall(environ_of(ask(stream=stream), path=story.path, part=part), take)


def due(app: WsgiStory) -> int:
    """What a request has to be settled at, once its app has begun to answer."""
    return INPUT + produced(b"".join(app.handed))
