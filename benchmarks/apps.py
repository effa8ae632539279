"""Applications behind our middleware, and behind slowapi, beside the same ones with nothing in front."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Unpack

from slowapi import Limiter as SlowLimiter
from slowapi import _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.plans import LIVE, PLANS, PRELOAD_REQUESTS, PRELOAD_TOKENS
from ratelimit import AsyncLimiter
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.keys.api_keys import ApiKeys
from ratelimit.web.keys.store import KeyStore
from ratelimit.web.policy import Options

__all__ = ("PATH", "App", "Keys", "limited", "make_keys", "slowapi_decorated", "slowapi_middleware", "starlette")

App = Callable[..., Awaitable[None]]

PATH: Final = "/v1/chat/completions"
_LIMITS: Final = ("1000000000/minute", "2000000000/hour")
"""Two limits that are never reached, in slowapi's notation."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A keys file with one subject per key."""

    file: Path
    keys: Sequence[str]
    subjects: Sequence[str]


def make_keys(folder: Path, count: int) -> Keys:
    """Make keys under the plan LIVE."""
    file = folder / "keys.toml"
    store = KeyStore(file, plans=PLANS)
    issued = [store.add(LIVE.name) for _ in range(count)]
    return Keys(file, [one.key for one in issued], [one.entry.subject for one in issued])


async def limited(app: App, keys: Keys, url: str, **options: Unpack[Options]) -> RateLimitMiddleware:
    """An application behind our middleware, whose subjects are busy."""
    limiter = AsyncLimiter.from_url(url, plans=PLANS)
    for subject in keys.subjects:
        await limiter.acquire(subject, plan=LIVE, requests=PRELOAD_REQUESTS, tokens=PRELOAD_TOKENS)
    return RateLimitMiddleware(app, limiter, ApiKeys(keys.file, plans=PLANS), **options)


def starlette(answer: bytes) -> Starlette:
    """The plain application as a Starlette endpoint, which is what slowapi can limit."""

    async def chat(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    return Starlette(routes=[Route(PATH, chat, methods=["POST"])])


def slowapi_decorated(answer: bytes) -> Starlette:
    """With two string limits by slowapi's decorator, in memory, as its quick start says."""
    limiter = SlowLimiter(key_func=_key)

    @limiter.limit(_LIMITS[0])
    @limiter.limit(_LIMITS[1])
    async def chat(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    return _with_slowapi(limiter, chat)


def slowapi_middleware(answer: bytes) -> Starlette:
    """With two string limits for all routes by slowapi's middleware, in memory."""

    async def chat(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    app = _with_slowapi(SlowLimiter(key_func=_key, default_limits=list(_LIMITS)), chat)
    app.add_middleware(SlowAPIMiddleware)
    return app


def _with_slowapi(limiter: SlowLimiter, endpoint: Callable[[Request], Awaitable[Response]]) -> Starlette:
    app = Starlette(routes=[Route(PATH, endpoint, methods=["POST"])])
    app.state.limiter = limiter
    handler: Any = _rate_limit_exceeded_handler
    app.add_exception_handler(RateLimitExceeded, handler)
    return app


def _key(request: Request) -> str:
    return request.headers["authorization"]
