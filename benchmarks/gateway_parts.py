"""The processes that `benchmarks.gateway_stack` measures: an upstream that costs nothing, and bare reverse proxies.

`python -m benchmarks.gateway_parts upstream PORT` answers GET and POST with 1 KB of JSON, and with ?sse/COUNT/MS
behind the path with COUNT chunks of SSE, one every MS milliseconds. `... proxy SERVER CLIENT PORT UPSTREAM_PORT` is a
reverse proxy of one server and one client, as plain as the client allows; its GET /cpu is the CPU time that its
process has used, in nanoseconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, cast

import uvloop

__all__ = ("CHUNK", "CLIENTS", "GATEWAY", "SERVERS", "app", "main")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

GATEWAY = "all of ratelimit serve"
"""In place of a client: the gateway as it is, on the client that it has."""

CHUNK = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"delta":{"content":" token"}}]}\n\n'
_JSON = b'{"id":"chatcmpl-1","object":"chat.completion","filler":"' + b"x" * 940 + b'"}'
_HEAD = b"HTTP/1.1 200 OK\r\n"
_DROPPED = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding"})
_CLIENT, _UPSTREAM = "BENCH_CLIENT", "BENCH_UPSTREAM"


class Upstream(asyncio.Protocol):
    """Reads requests with a content-length or none, and answers them from constants."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, after = head.lower().partition(b"content-length:")
        length = int(after.split(b"\r\n", 1)[0] or 0)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        write = self._transport.write
        _, found, wanted = path.partition(b"?sse/")
        if not found:
            write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_JSON) + _JSON
            )
            return
        count, pace = wanted.split(b"/")
        write(_HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self._stream(int(count), int(pace) / 1_000)

    def _stream(self, left: int, pace: float) -> None:
        if not left:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))
        asyncio.get_running_loop().call_later(pace, self._stream, left - 1, pace)


class Forward(Protocol):
    """Sends one request to the upstream, and its response on as it comes."""

    async def open(self) -> None:
        """Make the client."""

    async def close(self) -> None:
        """Close it."""

    async def forward(self, method: str, url: str, headers: list[tuple[bytes, bytes]], body: bytes, send: Send) -> None:
        """One exchange."""


class Aiohttp:
    """aiohttp's client, with everything off that a proxy does not want."""

    async def open(self) -> None:
        import aiohttp

        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=600),
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
        )

    async def close(self) -> None:
        await self._session.close()

    async def forward(self, method: str, url: str, headers: list[tuple[bytes, bytes]], body: bytes, send: Send) -> None:
        named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        async with self._session.request(method, url, headers=named, data=body, allow_redirects=False) as response:
            await send({"type": "http.response.start", "status": response.status, "headers": response.raw_headers})
            while chunk := await response.content.readany():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Httpx:
    """httpx, or httpx2, which has the same face."""

    def __init__(self, package: str) -> None:
        self._package = package

    async def open(self) -> None:
        httpx = __import__(self._package)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(600, connect=5), limits=limits, trust_env=False)
        self._client.headers.clear()

    async def close(self) -> None:
        await self._client.aclose()

    async def forward(self, method: str, url: str, headers: list[tuple[bytes, bytes]], body: bytes, send: Send) -> None:
        request = self._client.build_request(method, url, headers=headers, content=body)
        response = await self._client.send(request, stream=True)
        try:
            start = {"type": "http.response.start", "status": response.status_code, "headers": response.headers.raw}
            await send(start)
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            await response.aclose()
        await send({"type": "http.response.body", "body": b""})


class Pyreqwest:
    """pyreqwest: reqwest, in Rust, on threads of its own."""

    async def open(self) -> None:
        # In no extra: it was compared once, and is left out where it is not installed.
        from pyreqwest.client import ClientBuilder  # type: ignore[import-not-found, unused-ignore]

        builder = ClientBuilder().no_proxy().follow_redirects(False).gzip(False).brotli(False)
        self._client = builder.zstd(False).deflate(False).http1_only().build()

    async def close(self) -> None:
        await self._client.close()

    async def forward(self, method: str, url: str, headers: list[tuple[bytes, bytes]], body: bytes, send: Send) -> None:
        named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        request = self._client.request(method, url).headers(named).body_bytes(body).build_streamed()
        async with request as response:
            pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
            await send({"type": "http.response.start", "status": response.status, "headers": pairs})
            while (chunk := await response.body_reader.read_chunk()) is not None:
                await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


CLIENTS: dict[str, Callable[[], Forward]] = {
    "aiohttp": Aiohttp,
    "httpx": lambda: Httpx("httpx"),
    "httpx2": lambda: Httpx("httpx2"),
    "pyreqwest": Pyreqwest,
}
"""By the name of the package. Only those that are installed take part."""


class Bare:
    """The proxy of one client, as an ASGI app."""

    def __init__(self, client: Forward, upstream: str) -> None:
        self._client = client
        self._upstream = upstream

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        headers = [(name, value) for name, value in scope["headers"] if name not in _DROPPED]
        target = f"{scope['path']}?{scope['query_string'].decode()}".rstrip("?")
        await self._client.forward(scope["method"], self._upstream + target, headers, body, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._client.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._client.close()
        await send({"type": "lifespan.shutdown.complete"})


class Measured:
    """Any app, which also says how much CPU time its process has used."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/cpu":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(time.process_time_ns()).encode()})
        else:
            await self._app(scope, receive, send)


def _gateway(upstream: str) -> App:
    """Ours with all its parts, its limits never reached; the log goes nowhere."""
    from ratelimit import AsyncLimiter, Plan
    from ratelimit.gateway.app import build_app
    from ratelimit.gateway.config import GatewayConfig
    from ratelimit.web.identity import Identity

    who = Identity.of("benchmark", Plan("Benchmark", rpm=1_000_000_000, tpm=1_000_000_000))
    config = GatewayConfig(upstream=upstream, unknown="charge")
    return build_app(config, AsyncLimiter.from_url("memory://"), lambda _: who, write=lambda _: None)


def app() -> App:
    """The app of this process, by its environment: granian makes it in a process of its own."""
    client, upstream = os.environ[_CLIENT], os.environ[_UPSTREAM]
    return Measured(_gateway(upstream) if client == GATEWAY else Bare(CLIENTS[client](), upstream))


def _uvicorn(port: int, http: str = "httptools") -> None:
    import uvicorn

    uvicorn.run(app(), port=port, http=http, loop="uvloop", access_log=False, log_level="error")


def _hypercorn(port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.accesslog, config.errorlog = [f"127.0.0.1:{port}"], None, None
    uvloop.run(serve(app(), config))  # type: ignore[arg-type]  # its stub has ASGI types of its own


def _granian(port: int) -> None:
    from granian import Granian
    from granian.constants import Interfaces, Loops

    Granian(
        "benchmarks.gateway_parts:app",
        port=port,
        factory=True,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        log_enabled=False,
    ).serve()


SERVERS: dict[str, Callable[[int], None]] = {
    "uvicorn": _uvicorn,
    "uvicorn, h11": lambda port: _uvicorn(port, "h11"),
    "granian": _granian,
    "hypercorn": _hypercorn,
}


async def _upstream(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


def main(arguments: list[str]) -> None:
    """Be one of the processes until killed."""
    if arguments[0] == "upstream":
        uvloop.run(_upstream(int(arguments[1])))
        return
    _, server, client, port, upstream = arguments
    os.environ[_CLIENT], os.environ[_UPSTREAM] = client, f"http://127.0.0.1:{upstream}"
    SERVERS[server](int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
