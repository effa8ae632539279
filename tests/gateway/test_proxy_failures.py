"""Promises of `ratelimit.gateway.proxy` when somebody goes early, or the upstream fails."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from ratelimit.gateway.proxy import Proxy, UpstreamBroken
from tests.gateway.asgi import Call, ask, scope_of
from tests.gateway.loops import in_loop, until
from tests.gateway.upstream import CHAT, CHUNKED, MESSAGES, OK, Peer, Request, upstream


@in_loop
async def test_a_client_that_goes_before_the_response_ends_the_request_upstream() -> None:
    """The upstream sees its connection close, and can stop the model."""
    call = Call(scope_of("POST", CHAT), [b"{}"])
    closed = asyncio.Event()

    async def script(peer: Peer, request: Request) -> None:
        call.hang_up()
        await peer.closed()
        closed.set()

    async with upstream(script) as server, Proxy(server.url) as proxy:
        await call.run(proxy)
        await closed.wait()
    assert call.sent == []


@in_loop
async def test_a_client_that_goes_in_the_middle_ends_the_request_upstream() -> None:
    """What was sent was sent; the app returns without an end to it, and without an error."""
    call = Call(scope_of("POST", CHAT), [b"{}"])
    closed = asyncio.Event()

    async def script(peer: Peer, request: Request) -> None:
        peer.send(CHUNKED)
        peer.send_chunk(b"data: 1\n\n")
        await until(lambda: call.chunks == [b"data: 1\n\n"])
        call.hang_up()
        await peer.closed()
        closed.set()

    async with upstream(script) as server, Proxy(server.url) as proxy:
        await call.run(proxy)
        await closed.wait()
    assert not call.complete


@in_loop
async def test_a_client_that_goes_within_its_body_ends_the_request_upstream() -> None:
    """Half a body is never sent as a whole one."""
    call = Call(scope_of("POST", CHAT), [b"half", b"other"], more=asyncio.Event())
    async with upstream() as server, Proxy(server.url) as proxy:
        serving = asyncio.ensure_future(call.run(proxy))
        await until(lambda: server.connections == 1)
        call.hang_up()
        await serving
    assert server.requests == []
    assert call.sent == []


@in_loop
async def test_a_server_that_stops_ends_the_request_upstream() -> None:
    """Cancellation comes through."""
    asked, closed = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer, request: Request) -> None:
        asked.set()
        await peer.closed()
        closed.set()

    async with upstream(script) as server, Proxy(server.url) as proxy:
        serving = asyncio.ensure_future(ask(proxy, "POST", CHAT))
        await asked.wait()
        serving.cancel()
        await asyncio.wait([serving])
        await closed.wait()
    assert serving.cancelled()


@in_loop
async def test_a_connection_whose_response_was_not_read_to_its_end_is_not_used_again() -> None:
    """The next request would be answered with the rest of the last one's response."""
    call = Call(scope_of("POST", CHAT))

    async def script(peer: Peer, request: Request) -> None:
        if call.chunks:
            peer.send(OK)
            return
        peer.send(CHUNKED)
        peer.send_chunk(b"data: 1\n\n")
        await until(lambda: bool(call.chunks))
        call.hang_up()

    async with upstream(script) as server, Proxy(server.url) as proxy:
        await call.run(proxy)
        assert (await ask(proxy, "POST", CHAT)).json == {}
        assert server.connections == 2


# Upstreams that fail


def refused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@in_loop
async def test_an_upstream_that_is_not_there_is_a_502(caplog: pytest.LogCaptureFixture) -> None:
    """In the dialect's shape; neither the client nor the log is told the address."""
    url = refused_url()
    with caplog.at_level(logging.WARNING, "ratelimit.gateway"):
        async with Proxy(url) as proxy:
            plain = await ask(proxy, "POST", CHAT, body={})
            anthropic = await ask(proxy, "POST", MESSAGES, body={})
    assert (plain.status, anthropic.status) == (502, 502)
    assert plain.json["error"]["type"] == "server_error"
    assert plain.json["error"]["code"] == "upstream_unreachable"
    assert anthropic.json["type"] == "error"
    assert anthropic.json["error"]["type"] == "api_error"
    assert anthropic.header(b"request-id") == anthropic.json["request_id"].encode()
    assert [record.getMessage() for record in caplog.records] == ["the upstream failed: ClientConnectorError"] * 2
    assert url.rpartition(":")[2] not in (plain.body + anthropic.body).decode()


@in_loop
async def test_an_upstream_that_is_silent_is_a_504() -> None:
    """After the time set, in the dialect's shape, and its connection is closed."""
    closed = asyncio.Event()

    async def script(peer: Peer, request: Request) -> None:
        await peer.closed()
        closed.set()

    async with upstream(script) as server, Proxy(server.url, timeout=0.05) as proxy:
        plain = await ask(proxy, "POST", CHAT, body={})
        anthropic = await ask(proxy, "POST", MESSAGES, body={})
        await closed.wait()
    assert (plain.status, plain.json["error"]["code"]) == (504, "upstream_timeout")
    assert (anthropic.status, anthropic.json["error"]["type"]) == (504, "timeout_error")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n",
    ],
)
@in_loop
async def test_no_proper_response_is_a_502_and_nothing_is_sent_twice(answer: bytes) -> None:
    """Closing without a word, answering with something else or with a status that no client asked for or knows; a POST
    may have been carried out.
    """

    async def script(peer: Peer, request: Request) -> None:
        peer.send(answer)
        peer.writer.close()

    async with upstream(script) as server, Proxy(server.url) as proxy:
        call = await ask(proxy, "POST", CHAT, body={})
        assert len(server.requests) == 1
    assert call.status == 502


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n1234\r\n",
    ],
)
@in_loop
async def test_a_response_that_breaks_off_breaks_off_for_the_client_too(part: bytes) -> None:
    """What came is passed on, and the rest is not pretended to have come."""
    call = Call(scope_of("POST", CHAT))

    async def script(peer: Peer, request: Request) -> None:
        peer.send(part)
        await until(lambda: call.body == b"1234")
        peer.writer.close()

    async with upstream(script) as server, Proxy(server.url) as proxy:
        with pytest.raises(UpstreamBroken):
            await call.run(proxy)
    assert not call.complete


@in_loop
async def test_a_stream_that_falls_silent_breaks_off() -> None:
    """The same time is the longest silence within a response."""
    call = Call(scope_of("POST", CHAT))

    async def script(peer: Peer, request: Request) -> None:
        peer.send(CHUNKED)
        peer.send_chunk(b"data: 1\n\n")
        await peer.closed()

    async with upstream(script) as server, Proxy(server.url, timeout=0.2) as proxy:
        with pytest.raises(UpstreamBroken):
            await call.run(proxy)
    assert call.body == b"data: 1\n\n"
