"""On every server and framework: a client that leaves, at any moment in any way, costs exactly what was produced."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from tests.web_servers.frameworks import ASGI_APPS, WSGI_APPS
from tests.web_servers.matrix import all_cases, books, play_all
from tests.web_servers.processes import ASGI_SERVERS, QUICK, WSGI_SERVERS, WebServer

ALL = [
    *((server, app, "network") for server, app in product(ASGI_SERVERS, ASGI_APPS)),
    *((server, app, "memory") for server, app in product(WSGI_SERVERS, WSGI_APPS)),
]


def marked(server: str, app: str, backend: str) -> object:
    """All but the quick ones are slow, together."""
    marks = () if (server, app) in QUICK else pytest.mark.slow
    return pytest.param(server, app, backend, marks=marks, id=f"{server}-{app}")


@pytest.mark.parametrize(("server", "app", "backend"), [marked(*each) for each in ALL])
def test_every_end_of_every_response_is_settled_at_what_was_produced(server: str, app: str, backend: str) -> None:
    """Before the head, after each event, and after the last one."""
    cases = list(all_cases("case"))
    at_once = 1 if server == "gunicorn-sync" else 12

    with WebServer(server, app, backend) as running:
        expected = asyncio.run(play_all(running.port, cases, at_once))
        report = asyncio.run(books(running.port))
    assert report["used"] == expected
    assert report["unsettled"] == 0
