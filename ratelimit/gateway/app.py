"""The parts of the gateway put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp

from ratelimit.aio import AsyncLimiter
from ratelimit.gateway.access_log import AccessLog, write_to_stderr
from ratelimit.gateway.config import GatewayConfig
from ratelimit.gateway.failure import internal_error
from ratelimit.gateway.health import HEALTH_PATH, HealthCheck
from ratelimit.gateway.mock.app import mock_app
from ratelimit.gateway.mock.events import Pace
from ratelimit.gateway.paths import PREFIXES, Unprefixed
from ratelimit.gateway.proxy import Proxy
from ratelimit.web.asgi import RateLimitMiddleware
from ratelimit.web.identity import Identify
from ratelimit.web.routes import dialect_of

__all__ = ("build_app",)


def build_app(
    config: GatewayConfig,
    limiter: AsyncLimiter,
    identify: Identify,
    *,
    write: Callable[[str], object] = write_to_stderr,
) -> Starlette:
    """The gateway as an ASGI app, from the outside in: access log, health check, limits, upstream.

    Args:
        config: what the operator decided. Where it listens, and where keys and plans come from, is not looked at.
        limiter: decides and settles. Its owner closes it, after the app's shutdown has drained the settlements.
        identify: who a request is charged to.
        write: takes the lines of the access log.
    """
    proxy = None if config.is_mock else _proxy(config)
    pace = Pace(config.mock_tokens_per_second, config.mock_first_token)
    upstream: ASGIApp = proxy or mock_app(pace)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if proxy is None:
            yield
            return
        async with proxy:
            yield

    middleware = [
        Middleware(HealthCheck, limiter, fail=config.fail),
        Middleware(
            RateLimitMiddleware,
            limiter,
            identify,
            unknown=config.unknown,
            prefixes=("", *PREFIXES),
            fail=config.fail,
            on_upstream_error=config.on_upstream_error,
            anonymous=config.anonymous,
            trusted_hops=config.trusted_hops,
            output=config.output,
            ask_usage=config.ask_usage,
            ietf=config.ietf,
        ),
    ]
    if config.access_log:
        middleware.insert(0, Middleware(AccessLog, write, quiet=(HEALTH_PATH,)))
    return Starlette(
        routes=[Mount("/", app=Unprefixed(upstream))],
        middleware=middleware,
        exception_handlers={Exception: _failed},
        lifespan=lifespan,
    )


def _proxy(config: GatewayConfig) -> Proxy:
    key = config.upstream_key
    return Proxy(
        config.upstream,
        key=None if key is None else key.get_secret_value(),
        key_in=config.upstream_key_in,
        unknown=config.unknown,
        timeout=config.upstream_timeout,
    )


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001 - the server logs it
    answer = internal_error(dialect_of(request.url.path))
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer.headers)
    return response
