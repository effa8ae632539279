"""A real server around an app, in the loop of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.types import ASGIApp

from tests.gateway.loops import until

__all__ = ("serving",)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """The port on which uvicorn serves the app, lifespan included."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        config = uvicorn.Config(app, access_log=False, lifespan="on", log_config=None, ws="none")
        server = uvicorn.Server(config)
        running = asyncio.ensure_future(server.serve([listener]))
        await until(lambda: server.started or running.done())
        try:
            yield port
        finally:
            server.should_exit = True
            await running
