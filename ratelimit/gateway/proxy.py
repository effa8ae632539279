"""The reverse proxy: one request to the upstream per request, and its response back as it arrives."""

from __future__ import annotations

import logging
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from starlette.types import Receive, Scope, Send
from yarl import URL

from ratelimit.gateway.config import KeyIn
from ratelimit.gateway.failure import bad_path, send_answer, unreachable, upstream_too_slow
from ratelimit.gateway.headers import request_headers, response_headers
from ratelimit.gateway.paths import upstream_path
from ratelimit.gateway.presence import Presence
from ratelimit.web.answer import Answer
from ratelimit.web.routes import DialectName, Kind, RouteTable, Unknown

__all__ = ("Proxy", "UpstreamBroken")

_log = logging.getLogger("ratelimit.gateway")

_CONNECT_SECONDS: Final = 5.0
# Below the 5 s after which uvicorn, and so vLLM, closes a connection that idles: a request on its way to a connection
# that is being closed is lost, and must not be sent twice.
_IDLE_SECONDS: Final = 4.0
_OWN_HEADERS: Final = ("accept", "accept-encoding", "content-type", "user-agent")


class UpstreamBroken(Exception):
    """The response ended before its end: what was sent of it cannot be taken back, so the connection must break too."""


class Proxy:
    """An ASGI app that forwards to another server, to be entered (`async with`) before its first request.

    Bytes go on as they arrive, in both directions, and wait where the other side does not take them. A client that
    goes away ends its request upstream. Nothing is sent twice.

    Args:
        upstream: where to, as `http://host:port`, with a path if the API has one in front of `/v1`.
        key: the upstream's own API key. The client's never goes there.
        key_in: the header that it goes in.
        unknown: what the middleware in front does with unknown paths. One that it lets pass without looking who asks
            goes without the key.
        timeout: longest silence of the upstream, in seconds: before its response, and within it.
    """

    def __init__(
        self,
        upstream: str,
        *,
        key: str | None = None,
        key_in: KeyIn = "auto",
        unknown: Unknown = "refuse",
        timeout: float = 600.0,
    ) -> None:
        url = URL(upstream, encoded=True)
        self._origin = str(url.origin())
        # Where OpenAI's clients are told ".../v1", people write it here too.
        base = self._origin + url.raw_path.rstrip("/").removesuffix("/v1")
        # Few paths are asked for often, and taking a URL apart costs as much as everything else here.
        self._url = lru_cache(maxsize=256)(lambda path: URL(base + path, encoded=True))
        self._key = key
        self._key_in = key_in
        self._routes = RouteTable(("",), unknown)
        self._timeout = ClientTimeout(total=None, sock_connect=min(_CONNECT_SECONDS, timeout), sock_read=timeout)
        self._session: ClientSession

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            auto_decompress=False,
            connector=TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=_OWN_HEADERS,
            timeout=self._timeout,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises UpstreamBroken if the upstream leaves its response unfinished."""
        if scope["type"] != "http":
            await _close(receive, send)
            return
        dialect, identified = self._about(scope)
        path = upstream_path(scope)
        if path is None:
            await send_answer(bad_path(dialect), send)
            return
        first = await receive()
        if first["type"] == "http.disconnect":
            return
        client = scope.get("client")
        headers = request_headers(
            scope["headers"], client[0] if client else None, self._credentials(dialect) if identified else ()
        )
        async with Presence(receive) as presence:
            response = await self._ask(scope, self._url(path), headers, presence.take(first), dialect)
            if isinstance(response, Answer):
                await send_answer(response, send)
            else:
                await self._return(response, send)

    def _about(self, scope: Scope) -> tuple[DialectName, bool]:
        """The dialect of a request, and whether the middleware has looked who asks."""
        route = self._routes.find(scope["method"], scope["path"])
        if route is None or route.kind is Kind.PREFLIGHT:
            return "openai", False
        if any(name == b"anthropic-version" for name, _ in scope["headers"]):
            return "anthropic", True
        return route.dialect, True

    def _credentials(self, dialect: DialectName) -> list[tuple[str, str]]:
        if self._key is None:
            return []
        if self._key_in == "x-api-key" or (self._key_in == "auto" and dialect == "anthropic"):
            return [("x-api-key", self._key)]
        return [("authorization", f"Bearer {self._key}")]

    async def _ask(
        self, scope: Scope, url: URL, headers: list[tuple[str, str]], body: Any, dialect: DialectName
    ) -> ClientResponse | Answer:
        """The head of the upstream's response, or what to say if there is none."""
        if not isinstance(body, bytes):
            headers += _length(scope)
        try:
            response = await self._session.request(
                scope["method"], url, headers=headers, data=body or None, allow_redirects=False
            )
        except TimeoutError as error:
            _report(error)
            return upstream_too_slow(dialect)
        except (ClientError, OSError, ValueError) as error:
            _report(error)
            return unreachable(dialect)
        if 200 <= response.status <= 599:
            return response
        # Nobody has asked it to switch protocols, and servers fail on a status that HTTP does not have.
        _log.warning("the upstream failed: status %d", response.status)
        response.close()
        return unreachable(dialect)

    async def _return(self, response: ClientResponse, send: Send) -> None:
        """Pass the response on. Its connection is closed unless it was read to its end."""
        content = response.content
        try:
            headers = response_headers(response.raw_headers, self._origin.encode())
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            more = True
            while more:
                try:
                    chunk = await content.readany()
                except (ClientError, OSError, TimeoutError) as error:
                    _report(error)
                    raise UpstreamBroken("the upstream left its response unfinished") from error
                more = not content.at_eof()
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
        except BaseException:
            response.close()
            raise
        response.release()


def _length(scope: Scope) -> list[tuple[str, str]]:
    """The client's Content-Length, so that a body which is passed on in parts need not be sent in chunks."""
    return [
        ("content-length", value.decode("latin-1")) for name, value in scope["headers"] if name == b"content-length"
    ]


def _report(error: Exception) -> None:
    # The class says what happened; the text may hold addresses, and what a broken server has sent.
    _log.warning("the upstream failed: %s", type(error).__name__)


async def _close(receive: Receive, send: Send) -> None:
    """Refuse what is not HTTP, a WebSocket: nothing of it can be metered."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})
