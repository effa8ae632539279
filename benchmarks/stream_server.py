"""The process that `benchmarks.streams` measures: uvicorn with one application, bare and behind the middleware.

`python -m benchmarks.stream_server FD KEYS_FILE SUBJECT` serves on an inherited, listening socket. The path of a
stream is /NAME/v1/…, and /bare/NAME/v1/… for the same past the middleware. GET /cpu is the CPU time that the process
has used, in nanoseconds.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from benchmarks.apps import App, Keys, limited
from benchmarks.protocol import Chunks, PlainApp, Receive, Scope, Send
from benchmarks.wire import anthropic_stream, openai_stream

__all__ = ("AT_ONCE", "STREAMS", "TURNS", "main", "streams")

TURNS: Final = "turns-"
AT_ONCE: Final = "at-once-"
"""Each chunk in a turn of the event loop, as from an upstream; or all of them as fast as the server takes them."""
STREAMS: Final = {
    "openai": ("/v1/chat/completions", openai_stream(usage=True)),
    "openai-silent": ("/v1/chat/completions", openai_stream(usage=False)),
    "anthropic": ("/v1/messages", anthropic_stream()),
}
"""Streams by name: where a client asks for it, and its chunks."""


def streams() -> dict[str, App]:
    """Every stream in both paces, by name."""
    return {
        pace + name: Chunks(chunks, turns=pace == TURNS)
        for name, (_, chunks) in STREAMS.items()
        for pace in (TURNS, AT_ONCE)
    }


class _Streams:
    """All streams as one application: the first part of the path says which."""

    def __init__(self) -> None:
        self._streams = streams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._streams[scope["path"].split("/", 2)[1]](scope, receive, send)


class _Server:
    """The paths of this process."""

    def __init__(self, bare: App, limited_app: App) -> None:
        self._bare = bare
        self._limited = limited_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/cpu":
            await PlainApp(str(time.process_time_ns()).encode())(scope, receive, send)
        elif path.startswith("/bare/"):
            await self._bare({**scope, "path": path[len("/bare") :]}, receive, send)
        else:
            await self._limited(scope, receive, send)


async def _serve(fd: int, keys: Keys) -> None:
    app = _Streams()
    behind = await limited(app, keys, "memory://", prefixes=[f"/{name}" for name in streams()])
    config = uvicorn.Config(
        _Server(app, behind), http="httptools", lifespan="off", access_log=False, log_level="warning"
    )
    await uvicorn.Server(config).serve([socket.socket(fileno=fd)])


def main(arguments: list[str]) -> None:
    """Serve until terminated."""
    fd, file, subject = arguments
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(fd), Keys(Path(file), (), (subject,))))


if __name__ == "__main__":
    main(sys.argv[1:])
