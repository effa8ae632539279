"""A server per module, emptied for each test, and a proxy in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ratelimit.backends.scripts import SCRIPT_NAMES, load_script
from tests.faults.tally import Tally
from tests.servers import FaultProxy, RedisServer


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """One server for all tests of a module."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """The module's server: running and empty, but for the scripts."""
    shared_server.start()
    shared_server.call("FLUSHALL")
    for name in SCRIPT_NAMES:
        shared_server.call("SCRIPT", "LOAD", load_script(name).text)
    return shared_server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    """A proxy in front of the module's server."""
    with FaultProxy("127.0.0.1", server.port) as started:
        yield started


@pytest.fixture
def tally(proxy: FaultProxy) -> Tally:
    """Counts what passes the proxy."""
    counting = Tally()
    proxy.rule(counting)
    return counting
