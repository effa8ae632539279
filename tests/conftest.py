"""Servers that many tests share: started when first asked for, stopped when the session ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import RedisBinary, RedisCluster, RedisServer, SentinelSet, redis_binaries

# Tests do not time: a busy machine is no failure.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


class Servers:
    """One server per binary, one Sentinel set and one Cluster. Shared: each test keeps to a prefix of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._plain: dict[str, RedisServer] = {}
        self._watched: SentinelSet | None = None
        self._cluster: RedisCluster | None = None

    def plain(self, binary: RedisBinary | None = None) -> RedisServer:
        """A single server; of the first binary unless told otherwise."""
        binary = binary or redis_binaries()[0]
        if binary.name not in self._plain:
            self._plain[binary.name] = self._stack.enter_context(RedisServer(binary))
        return self._plain[binary.name]

    def watched(self) -> SentinelSet:
        """A master that three Sentinels watch."""
        if self._watched is None:
            self._watched = self._stack.enter_context(SentinelSet())
        return self._watched

    def cluster(self) -> RedisCluster:
        """Three masters."""
        if self._cluster is None:
            self._cluster = self._stack.enter_context(RedisCluster())
        return self._cluster


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The servers of this session."""
    with ExitStack() as stack:
        yield Servers(stack)
