"""A server in the test's own event loop, and links that need no connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

__all__ = ("LocalLink", "serving")


class LocalLink:
    """A link within the process."""

    def __init__(self) -> None:
        self._permits = asyncio.Semaphore(0)
        self._free = False
        self.size = 0
        self.over = asyncio.Event()

    async def permission(self) -> None:
        """Wait until the next step is allowed."""
        if self._free:
            await asyncio.sleep(0)
        else:
            await self._permits.acquire()

    def allow(self, steps: int) -> None:
        """Let the app make so many steps."""
        for _ in range(steps):
            self._permits.release()

    def free(self) -> None:
        """Let the app run to its end."""
        self._free = True
        self._permits.release()

    def handed(self, size: int) -> None:
        """Count what was handed over."""
        self.size += size

    def close(self) -> None:
        """The app has ended."""
        self.over.set()


@asynccontextmanager
async def serving(app: Any, http: Any) -> AsyncIterator[int]:
    """A uvicorn in this loop; its port."""
    server = uvicorn.Server(uvicorn.Config(app, http=http, ws="none", log_level="critical", date_header=False))
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listening:
        running = asyncio.create_task(server._serve([listening]))
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            await running
