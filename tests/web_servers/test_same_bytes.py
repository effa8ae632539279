"""Over a real socket, with the middleware and without it: the same bytes, framing included, but for added headers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.web.asgi_gateway import Gateway
from tests.web.asgi_server import StoryApp
from tests.web.backends import HeldBackend
from tests.web.random_responses import PREFIXES, RandomResponse, random_response
from tests.web.stories import DIALECT_PATHS, ask
from tests.web_servers.client import Client
from tests.web_servers.here import serving

COUNT = 100
FIRST = 5_000
CHUNK = 65_536


def app_of(responses: dict[int, RandomResponse]) -> Any:
    """Sends the response that a header asks for."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        response = responses[int(dict(scope["headers"])[b"x-seed"])]
        headers = [(name.encode(), value.encode()) for name, value in response.headers]
        await StoryApp(response.chunks, status=response.status, headers=headers)(scope, receive, send)

    return app


async def raw(port: int, seed: int, response: RandomResponse) -> tuple[list[bytes], bytes]:
    """The lines of the head, and the body as it was framed."""
    client = await Client.connect(port)
    headers = {"Authorization": "Bearer alice", "Connection": "close", "x-seed": str(seed)}
    client.ask(DIALECT_PATHS[response.dialect], ask(), headers=headers)
    head, _, body = (await client.to_the_end()).partition(b"\r\n\r\n")
    await client.leave("close")
    return head.split(b"\r\n"), body


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_the_bytes_on_the_wire_are_the_same(http: str) -> None:
    """Chunk by chunk, in HTTP's own framing."""
    responses = {seed: random_response(seed) for seed in range(FIRST, FIRST + COUNT)}
    app = app_of(responses)

    async def compare() -> None:
        gateway = Gateway.of(app, HeldBackend())
        async with asyncio.timeout(60), serving(app, http) as bare, serving(gateway.middleware, http) as limited:
            for seed, response in responses.items():
                (wanted, body), (told, same) = await asyncio.gather(
                    raw(bare, seed, response), raw(limited, seed, response)
                )
                assert same == body
                prefix = PREFIXES[response.dialect].encode()
                # Of a name that both have, the middleware's counts; the app's own takes its place on the bare side.
                own = [line for line in told if line.lower().startswith(prefix)]
                names = {line.partition(b":")[0].lower() for line in own}
                assert len(own) == len(names) == 6
                assert [line for line in told if line not in own] == [
                    line for line in wanted if line.partition(b":")[0].lower() not in names
                ]

    asyncio.run(compare())


def test_a_client_that_does_not_read_makes_the_app_wait() -> None:
    """Nothing piles up in the middleware: the app has handed over what the sockets hold, and no more."""
    handed = 0
    total = 1_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal handed
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(total):
            handed += 1
            await send({"type": "http.response.body", "body": bytes(CHUNK), "more_body": True})
        await send({"type": "http.response.body"})

    async def settled() -> int:
        before = -1
        while handed != before:
            before = handed
            for _ in range(500):
                await asyncio.sleep(0)
        return before

    async def do_not_read() -> None:
        gateway = Gateway.of(app, HeldBackend())
        async with asyncio.timeout(60), serving(gateway.middleware, "httptools") as port:
            client = await Client.connect(port)
            client.ask(DIALECT_PATHS["openai"], ask(), headers={"Authorization": "Bearer alice", "Connection": "close"})
            waiting_at = await settled()
            while not waiting_at:
                waiting_at = await settled()
            assert waiting_at < total / 2
            assert await client.skipped() > total * CHUNK
            assert handed == total
            await client.leave("close")

    asyncio.run(do_not_read())
