"""GET /healthz: whether this gateway can do its work, for load balancers and supervisors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Literal

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from ratelimit.aio import AsyncLimiter
from ratelimit.errors import RateLimitError
from ratelimit.gateway.failure import send_answer
from ratelimit.web.answer import Answer

__all__ = ("HEALTH_PATH", "HealthCheck")

HEALTH_PATH: Final = "/healthz"

_log = logging.getLogger("ratelimit.gateway")

_SUBJECT: Final = "healthz"
"""Looked at, never charged: nothing is stored for it."""


class HealthCheck:
    """Answers GET and HEAD of `/healthz` itself, without a key and without a limit, and passes everything else on.

    | backend | `fail` | status | `status` in the body |
    |---|---|---|---|
    | decides | | 200 | `ok` |
    | does not | `open` | 200 | `degraded`: requests pass uncounted |
    | does not | `closed` | 503 | `unavailable`: requests are refused |

    Args:
        app: the ASGI app.
        limiter: whose backend is asked.
        fail: as in `Policy`.
        deadline: seconds that the backend gets for an answer.
        fresh: seconds for which an answer of the backend stands, so that health checks put no load on it.
        clock: seconds of any origin, which only go forwards.
    """

    def __init__(
        self,
        app: ASGIApp,
        limiter: AsyncLimiter,
        *,
        fail: Literal["closed", "open"] = "closed",
        deadline: float = 1.0,
        fresh: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._plan = next(iter(limiter.plans))
        self._fail = fail
        self._deadline = deadline
        self._fresh = fresh
        self._clock = clock
        self._lock = asyncio.Lock()
        self._decides = False
        self._until = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http" and scope["path"] == HEALTH_PATH and scope["method"] in ("GET", "HEAD"):
            await send_answer(self._answer(await self._backend_decides()), send)
        else:
            await self._app(scope, receive, send)

    async def _backend_decides(self) -> bool:
        async with self._lock:
            if self._clock() >= self._until:
                self._decides = await self._peek()
                self._until = self._clock() + self._fresh
            return self._decides

    async def _peek(self) -> bool:
        try:
            async with asyncio.timeout(self._deadline):
                await self._limiter.peek(_SUBJECT, plan=self._plan)
        except (RateLimitError, TimeoutError) as error:
            _log.warning("health check: the backend does not decide: %s", type(error).__name__)
            return False
        return True

    def _answer(self, decides: bool) -> Answer:
        status = "ok" if decides else "degraded" if self._fail == "open" else "unavailable"
        body = orjson.dumps(
            {
                "status": status,
                "backend": {"kind": "memory" if self._limiter.in_process else "redis", "decides": decides},
            }
        )
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        return Answer(503 if status == "unavailable" else 200, headers, body)
