"""The Redis that the web servers of this package share."""

from __future__ import annotations

import pytest

from tests.conftest import Servers
from tests.servers import RedisServer


@pytest.fixture
def redis(servers: Servers) -> RedisServer:
    """A single server."""
    return servers.plain()
