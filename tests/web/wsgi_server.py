"""A WSGI server without sockets, whose every move a test decides, and an app that keeps what it has handed over."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from wsgiref.util import setup_testing_defaults

__all__ = ("AppError", "StoryParts", "WsgiCall", "WsgiStory", "environ_of")

Environ = dict[str, Any]


class Input(io.BytesIO):
    """A body that comes in small parts, and that must not be asked for more than the server knows to be there."""

    def __init__(self, body: bytes, part: int = 1_000_000) -> None:
        super().__init__(body)
        self._part = part

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `part` bytes."""
        return super().read(self._part if size is None or size < 0 else min(size, self._part))


def environ_of(
    body: bytes = b"", method: str = "POST", path: str = "/v1/chat/completions", part: int = 1_000_000, **more: Any
) -> Environ:
    """The environ of one request, from a client with the key "alice"."""
    environ: Environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": "Bearer alice",
        "REMOTE_ADDR": "192.0.2.9",
        "QUERY_STRING": "",
        "wsgi.input": Input(body, part),
        "wsgi.input_terminated": True,
        **more,
    }
    setup_testing_defaults(environ)
    return {name: value for name, value in environ.items() if value is not None}


@dataclass
class WsgiCall:
    """One request on the wire: takes `take` parts of the response (None: all of them), and closes it."""

    environ: Environ
    take: int | None = None
    statuses: list[str] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    again: list[Any] = field(default_factory=list)
    """The exc_info of every start_response that had one."""

    def serve(self, app: Callable[..., Iterable[bytes]]) -> BaseException | None:
        """Run the app as a server does; what it raised, if anything."""
        try:
            response = app(self.environ, self.start_response)
            try:
                self._take(iter(response))
            finally:
                close = getattr(response, "close", None)
                if close is not None:
                    close()
        except BaseException as error:
            return error
        return None

    def _take(self, response: Iterator[bytes]) -> None:
        while self.take is None or len(self.parts) < self.take:
            try:
                self.parts.append(next(response))
            except StopIteration:
                return

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """As PEP 3333 has it."""
        if exc_info is not None:
            self.again.append(exc_info)
        assert exc_info is not None or not self.statuses
        self.statuses.append(status)
        self.headers = headers
        return self.written.append

    @property
    def status(self) -> int:
        """The last status; 0 while there is none."""
        return int(self.statuses[-1][:3]) if self.statuses else 0

    @property
    def header(self) -> dict[str, str]:
        """The headers by name in lower case."""
        return {name.lower(): value for name, value in self.headers}

    @property
    def text(self) -> str:
        """The body that came."""
        return b"".join(self.written + self.parts).decode()


class StoryParts:
    """The parts of a response, one by one; notes when it is begun and closed."""

    def __init__(self, story: WsgiStory) -> None:
        self._story = story
        self._index = 0

    def __iter__(self) -> Iterator[bytes]:
        self._story.begun += 1
        return self

    def __next__(self) -> bytes:
        story = self._story
        if story.fails_before == self._index:
            raise AppError("the app failed")
        if self._index == len(story.chunks):
            raise StopIteration
        part = story.chunks[self._index]
        self._index += 1
        story.handed.append(part)
        return part

    def close(self) -> None:
        """Count how often."""
        self._story.closed += 1
        if self._story.fails_in_close:
            raise AppError("close failed")


class WsgiStory:
    """Sends these chunks. `fails_before`: raises in place of that part; -1: before the head."""

    def __init__(
        self,
        chunks: Sequence[bytes],
        *,
        status: str = "200 OK",
        headers: Sequence[tuple[str, str]] = (("Content-Type", "text/event-stream"),),
        fails_before: int | None = None,
        fails_in_close: bool = False,
    ) -> None:
        self.chunks = chunks
        self.status = status
        self.headers = headers
        self.fails_before = fails_before
        self.fails_in_close = fails_in_close
        self.handed: list[bytes] = []
        self.body = b""
        self.environ: Environ = {}
        self.calls = self.begun = self.closed = 0

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        self.calls += 1
        self.environ = environ
        self.body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if self.fails_before == -1:
            raise AppError("the app failed")
        start_response(self.status, list(self.headers))
        return StoryParts(self)


class AppError(Exception):
    """Raised by an app that was told to fail."""
