"""Through real servers and routers: what an app takes for one of its endpoints, however it is spelled, is charged."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from tests.web.stories import ask
from tests.web_servers.client import Client
from tests.web_servers.keeper import Keeper
from tests.web_servers.matrix import PATIENCE, books, headers_of
from tests.web_servers.processes import WebServer

PATH = "/v1/chat/completions"
SPELLED = [
    PATH,
    f"{PATH}?stream=1",
    f"http://api.example{PATH}",
    f"/{PATH}",
    f"{PATH}/",
    f"{PATH}%0A",
    f"{PATH}%0D%0A",
    f"{PATH}%20",
    f"{PATH}%00",
    f"{PATH};x=1",
    f"{PATH}/.",
    "/v1//chat/completions",
    "/v1/./chat/completions",
    "/x/../v1/chat/completions",
    "/v1/chat%2Fcompletions",
    "/%76%31/chat/completions",
    "/v1%2Fchat%2Fcompletions%2F",
    "/V1/Chat/Completions",
    "/v1\\chat\\completions",
    "/%2Fv1/chat/completions",
    "/v1/chat/completions%E2%80%A8",
    "/v1/chat/completions%C2%85",
]
METHODS = ["POST", "post", "Post"]
PAIRS = [
    ("uvicorn-h11", "starlette"),
    ("uvicorn-h11", "django"),
    ("uvicorn-httptools", "fastapi"),
    ("hypercorn", "quart"),
    ("granian", "starlette"),
    ("gunicorn-gthread", "flask"),
    ("waitress", "django"),
]


async def status_of(port: int, keeper: Keeper, name: str, method: str, path: str) -> int:
    """What the server answers; 0 where it refuses to."""
    keeper.line(name).free_at_once = True
    client = await Client.connect(port)
    client.ask(path, ask(), method=method, headers={**headers_of(name, keeper), "Connection": "close"})
    received = await client.to_the_end()
    await client.leave("close")
    return int(received.split()[1]) if received else 0


async def told(port: int) -> dict[str, int]:
    """The status of every spelling."""
    async with asyncio.timeout(PATIENCE), Keeper() as keeper:
        return {
            f"{method}-{index}": await status_of(port, keeper, f"{method}-{index}", method, path)
            for method, (index, path) in product(METHODS, enumerate(SPELLED))
        }


@pytest.mark.parametrize(("server", "app"), PAIRS)
def test_nothing_is_served_unseen(server: str, app: str) -> None:
    """Some pair of server and framework takes each of these for the endpoint; whoever is served pays."""
    with WebServer(server, app) as running:
        statuses = asyncio.run(told(running.port))
        used = asyncio.run(books(running.port))["used"]
    served = [name for name, status in statuses.items() if status == 200]
    assert served
    assert [name for name in served if used.get(name, [0, 0])[1] <= 0] == []
