"""A fresh prefix per test, on each backend of the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.conftest import Servers
from tests.contract.driver import Driver
from tests.contract.homes import KINDS, ON_REDIS, Home, enter

_NUMBERS = count(1)


def _home(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Home]:
    # Letters, so that no prefix is the start of another one.
    with enter(request.param, servers, f"t{next(_NUMBERS)}x") as home:
        yield home


@pytest.fixture(params=KINDS, ids=str)
def home(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Home]:
    """Every backend."""
    yield from _home(request, servers)


@pytest.fixture(params=ON_REDIS, ids=str)
def redis_home(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Home]:
    """Every backend on a real server."""
    yield from _home(request, servers)


@pytest.fixture
def driver(home: Home) -> Driver:
    """A limiter on every backend."""
    return home.open()
