"""Promises of `ratelimit.gateway.proxy`, against an upstream that does what each test says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit.gateway.proxy import Proxy
from tests.gateway.asgi import Call, ask, scope_of
from tests.gateway.loops import in_loop, until
from tests.gateway.upstream import CHAT, CHUNKED, MESSAGES, OK, Peer, Request, upstream

KEY = "sk-upstream"


@in_loop
async def test_a_request_arrives_as_it_was_sent() -> None:
    """Method, path, query and body to the byte; Host is the upstream's; nothing is made up."""
    async with upstream() as server, Proxy(server.url) as proxy:
        headers = [(b"host", b"gateway"), (b"content-type", b"application/json"), (b"x-stainless-lang", b"python")]
        call = await ask(proxy, "POST", f"{CHAT}?a=%2F&b", headers=headers, body=b'{"a": 1}\n')
        (request,) = server.requests
    assert call.json == {}
    assert request.line == f"POST {CHAT}?a=%2F&b HTTP/1.1"
    assert request.body == b'{"a": 1}\n'
    assert dict(request.headers) == {
        "host": f"127.0.0.1:{server.port}",
        "content-type": "application/json",
        "x-stainless-lang": "python",
        "accept-encoding": "identity",
        "via": "1.1 ratelimit",
        "x-forwarded-for": "192.0.2.7",
        "content-length": "9",
    }


@in_loop
async def test_a_response_comes_back_as_it_was_sent() -> None:
    """Status, order of headers, and a coded body that nobody has opened."""
    body = b"\x1f\x8b not really gzip"
    head = b"HTTP/1.1 418 Teapot\r\nX-B: 1\r\nx-a: \xe9\r\nX-B: 2\r\ncontent-encoding: gzip\r\nkeep-alive: 5\r\n"
    async with upstream(head + b"content-length: %d\r\n\r\n" % len(body) + body) as server, Proxy(server.url) as proxy:
        call = await ask(proxy, "GET", "/v1/models")
    assert call.status == 418
    assert call.headers == [
        (b"x-b", b"1"),
        (b"x-a", b"\xe9"),
        (b"x-b", b"2"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"%d" % len(body)),
    ]
    assert call.body == body


@pytest.mark.parametrize(
    ("target", "key_in", "header", "value"),
    [
        (CHAT, "auto", "authorization", f"Bearer {KEY}"),
        (MESSAGES, "auto", "x-api-key", KEY),
        (MESSAGES, "authorization", "authorization", f"Bearer {KEY}"),
        (CHAT, "x-api-key", "x-api-key", KEY),
    ],
)
@in_loop
async def test_the_upstream_gets_its_own_key_and_never_the_clients(
    target: str, key_in: Any, header: str, value: str
) -> None:
    """In the header that the dialect uses, or that the operator names, and in no other."""
    client = [(b"authorization", b"Bearer sk-client"), (b"x-api-key", b"sk-client"), (b"api-key", b"sk-client")]
    async with upstream() as server, Proxy(server.url, key=KEY, key_in=key_in) as proxy:
        await ask(proxy, "POST", target, headers=client)
        (request,) = server.requests
    assert [pair for pair in request.headers if "sk-" in pair[1]] == [(header, value)]


@in_loop
async def test_anthropics_list_of_models_is_asked_for_in_its_manner() -> None:
    """The path is the same for both; the version header tells."""
    async with upstream() as server, Proxy(server.url, key=KEY) as proxy:
        await ask(proxy, "GET", "/v1/models")
        await ask(proxy, "GET", "/v1/models", headers=[(b"anthropic-version", b"2023-06-01")])
        plain, versioned = server.requests
    assert plain.header("authorization") == f"Bearer {KEY}"
    assert (versioned.header("x-api-key"), versioned.header("authorization")) == (KEY, None)


@pytest.mark.parametrize(
    ("unknown", "method", "target", "with_key"),
    [
        ("refuse", "OPTIONS", CHAT, False),
        ("pass", "POST", "/v1/files", False),
        ("pass", "POST", CHAT, True),
        ("charge", "POST", "/v1/files", True),
        ("charge", "OPTIONS", "/v1/files", False),
    ],
)
@in_loop
async def test_who_was_not_asked_who_he_is_gets_no_key(unknown: Any, method: str, target: str, with_key: bool) -> None:
    """What the middleware lets pass unseen reaches the upstream as a stranger's request, if at all."""
    async with upstream() as server, Proxy(server.url, key=KEY, unknown=unknown) as proxy:
        await ask(proxy, method, target, headers=[(b"anthropic-version", b"2023-06-01")])
        (request,) = server.requests
    assert any(KEY in value for _, value in request.headers) == with_key


@in_loop
async def test_a_path_with_two_readings_is_refused_here() -> None:
    """400 in the dialect's shape, and the upstream never hears of it."""
    async with upstream() as server, Proxy(server.url, key=KEY) as proxy:
        plain = await ask(proxy, "POST", "/v1/files/../chat/completions")
        anthropic = await ask(proxy, "POST", "/v1//messages")
        assert server.requests == []
    assert (plain.status, plain.json["error"]["type"]) == (400, "invalid_request_error")
    assert (anthropic.status, anthropic.json["type"]) == (400, "error")


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
@in_loop
async def test_the_url_may_be_the_one_that_openais_clients_are_told(base: str) -> None:
    """`http://host/v1` is the same upstream as `http://host`."""
    async with upstream() as server, Proxy(server.url + base) as proxy:
        await ask(proxy, "GET", "/v1/models")
        assert server.requests[0].line == "GET /v1/models HTTP/1.1"


@in_loop
async def test_an_upstream_can_have_a_path_of_its_own() -> None:
    """It stands in front of `/v1`."""
    async with upstream() as server, Proxy(f"{server.url}/openai/v1") as proxy:
        await ask(proxy, "GET", "/v1/models?limit=2")
        assert server.requests[0].line == "GET /openai/v1/models?limit=2 HTTP/1.1"


@in_loop
async def test_bytes_go_on_as_they_arrive() -> None:
    """Each event is with the client before the upstream sends the next one, and keeps its bytes."""
    events = [b"data: %d\n\n" % number for number in range(20)] + [b": ping\n\n", b"data: [DONE]\n\n"]
    call = Call(scope_of("POST", CHAT))

    async def script(peer: Peer, request: Request) -> None:
        peer.send(CHUNKED)
        for number, event in enumerate(events, start=1):
            peer.send_chunk(event)
            await until(lambda number=number: len(call.chunks) == number)  # type: ignore[misc]
        peer.send_chunk(b"")

    async with upstream(script) as server, Proxy(server.url) as proxy:
        await call.run(proxy)
    assert [chunk for chunk in call.chunks if chunk] == events
    assert call.complete
    assert call.header(b"transfer-encoding") is None


@in_loop
async def test_a_slow_client_holds_the_upstream_back() -> None:
    """Of a large response only what fits into buffers has left the upstream while nobody takes it."""
    total, piece = 64 * 1024 * 1024, b"x" * 65_536
    written = 0
    stuck, go_on = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer, request: Request) -> None:
        nonlocal written
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // len(piece)):
            peer.send(piece)
            try:
                await asyncio.wait_for(peer.writer.drain(), 0.5)
            except TimeoutError:
                stuck.set()
                await peer.writer.drain()
            written += len(piece)

    async def take() -> None:
        if len(call.sent) == 1:  # the head has been taken
            await go_on.wait()

    call = Call(scope_of("POST", CHAT), take=take)
    async with upstream(script) as server, Proxy(server.url) as proxy:
        serving = asyncio.ensure_future(call.run(proxy))
        await stuck.wait()
        held = written
        go_on.set()
        await serving
    assert held < total // 4
    assert len(call.body) == total


@in_loop
async def test_a_body_in_parts_goes_on_as_it_arrives() -> None:
    """In chunks where its length is not known, with its length where the client has told it."""
    more = asyncio.Event()
    got: list[bytes] = []

    async def script(peer: Peer, request: Request) -> None:
        got.append(request.body)
        peer.send(OK)

    async with upstream(script) as server, Proxy(server.url) as proxy:
        more.set()
        await Call(scope_of("POST", CHAT), [b"ab", b"", b"c"], more).run(proxy)
        await Call(scope_of("POST", CHAT, [(b"content-length", b"3")]), [b"ab", b"c"], more).run(proxy)
        first, second = server.requests
    assert got == [b"abc", b"abc"]
    assert (first.header("transfer-encoding"), first.header("content-length")) == ("chunked", None)
    assert (second.header("transfer-encoding"), second.header("content-length")) == (None, "3")


@in_loop
async def test_connections_are_kept_and_cookies_are_not() -> None:
    """One connection serves many clients; what the upstream sets for one of them is not sent for another."""
    answer = OK.replace(b"content-type", b"set-cookie: session=1\r\ncontent-type")
    # By name: of an address aiohttp's own jar would not keep any either.
    async with upstream(answer) as server, Proxy(f"http://localhost:{server.port}") as proxy:
        for _ in range(3):
            call = await ask(proxy, "POST", CHAT, body={})
            assert call.header(b"set-cookie") is None
        assert server.connections == 1
        assert all("cookie" not in dict(request.headers) for request in server.requests)


@in_loop
async def test_redirects_are_passed_on_and_not_followed() -> None:
    """The client decides; an address of the upstream's is made the gateway's."""
    async with upstream() as server, Proxy(server.url) as proxy:

        async def script(peer: Peer, request: Request) -> None:
            location = f"{server.url}/v1/models".encode()
            peer.send(b"HTTP/1.1 307 Moved\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % location)

        server.script = script
        call = await ask(proxy, "GET", "/v1/models/")
        assert len(server.requests) == 1
    assert (call.status, call.header(b"location"), call.body) == (307, b"/v1/models", b"")


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not")])
@in_loop
async def test_responses_without_a_body_end_at_once(method: str, status: bytes) -> None:
    """Whatever length they speak of."""
    length = b"content-length: 512\r\n" if method == "HEAD" else b""
    async with upstream(b"HTTP/1.1 %b\r\n%b\r\n" % (status, length)) as server, Proxy(server.url) as proxy:
        call = await ask(proxy, method, "/v1/models")
    assert (call.body, call.complete) == (b"", True)


# Clients that go away


@in_loop
async def test_an_upstream_may_answer_before_it_has_the_whole_body() -> None:
    """A refusal of a body that is too large reaches the client, though the rest never comes."""
    call = Call(scope_of("POST", CHAT), [b"x" * 1_000, b"y"], more=asyncio.Event())

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server, Proxy(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as proxy:
        await call.run(proxy)
    assert (call.status, call.body) == (413, b"big")


@in_loop
async def test_websockets_go_nowhere() -> None:
    """Nothing of them could be metered: they are refused before the handshake."""
    messages = [{"type": "websocket.connect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    async with upstream() as server, Proxy(server.url, key=KEY) as proxy:
        await proxy({**scope_of("GET", "/v1/realtime"), "type": "websocket"}, receive, send)
        assert server.connections == 0
    assert [message["type"] for message in sent] == ["websocket.close"]
