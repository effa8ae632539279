"""The matrix: every way to a backend, each as a home in which the limiters of one test keep their state together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import fakeredis
import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

from ratelimit import AsyncLimiter, Leases, Limiter
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from tests.conftest import Servers
from tests.contract.driver import AsyncDriver, Driver, SyncDriver
from tests.contract.fake_struct import server_with_struct
from tests.servers import RedisBinary, redis_binaries

__all__ = ("KINDS", "ON_REDIS", "Home", "Kind", "enter")

Open = Callable[..., Limiter | AsyncLimiter]
Admin = Callable[..., list[redis.Redis]]


class Home:
    """Limiters opened here share state under one prefix."""

    def __init__(self, kind: Kind, prefix: str, open_limiter: Open, nodes: list[redis.Redis], stack: ExitStack) -> None:
        self.kind = kind
        self.prefix = prefix
        self.nodes = nodes
        """A client of every master, to look behind the scenes; none in memory."""
        self._open = open_limiter
        self._stack = stack

    def open(self, **options: Any) -> Driver:
        """A new limiter, closed at the end of the test."""
        limiter = self._open(**{"prefix": self.prefix, **options})
        driver: Driver = SyncDriver(limiter) if isinstance(limiter, Limiter) else AsyncDriver(limiter)
        self._stack.callback(driver.close)
        return driver

    def keys(self) -> dict[str, redis.Redis]:
        """The keys that limiters of this home have made, and a client of the server that holds each."""
        found = {key: node for node in self.nodes for key in node.scan_iter(f"{self.prefix}*", count=1000)}
        return {key.decode(): node for key, node in found.items()}

    def calls(self, command: str) -> int:
        """How often the servers were given a command since they started."""
        stats = [node.info("commandstats").get(f"cmdstat_{command}", {"calls": 0}) for node in self.nodes]
        return sum(stat["calls"] for stat in stats)


@dataclass(frozen=True)
class Kind:
    """One way to a backend, by the name that test ids show."""

    name: str
    is_async: bool
    enter: Callable[[Servers, ExitStack, bool], tuple[Open, list[redis.Redis]]]

    def __str__(self) -> str:
        return f"{self.name}-asyncio" if self.is_async else self.name


@contextmanager
def enter(kind: Kind, servers: Servers, prefix: str) -> Iterator[Home]:
    """A home of this kind, for as long as the block lasts."""
    with ExitStack() as stack:
        open_limiter, nodes = kind.enter(servers, stack, kind.is_async)
        for node in nodes:
            stack.callback(node.close)
        yield Home(kind, prefix, open_limiter, nodes, stack)


def _from_url(url: str, is_async: bool) -> Open:
    face = AsyncLimiter if is_async else Limiter
    return lambda **options: face.from_url(url, **options)


def _memory(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    backend = MemoryBackend()
    if is_async:
        return lambda **options: AsyncLimiter(AsyncMemoryBackend(backend), **options), []
    return lambda **options: Limiter(backend, **options), []


def _plain(binary: RedisBinary) -> Kind_enter:
    def entered(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
        server = servers.plain(binary)
        return _from_url(server.url, is_async), [server.client()]

    return entered


def _together(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    """Even who is alone goes by the scripts for several: so the whole contract holds for them too."""
    open_limiter, nodes = _plain(redis_binaries()[0])(servers, stack, is_async)

    def opened(**options: Any) -> Limiter | AsyncLimiter:
        limiter = open_limiter(**options)
        coalescer = getattr(limiter._backend, "_coalescer", None)
        if coalescer is not None:
            coalescer._send = coalescer._carry
        return limiter

    return opened, nodes


def _leased(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    """With leases, which subjects that ask more than a few times a second get."""
    server = servers.plain()
    open_limiter = _from_url(server.url, is_async)
    return lambda **options: open_limiter(**{"leases": Leases(workers=2), **options}), [server.client()]


def _unix(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    server = servers.plain()
    return _from_url(server.unix_url, is_async), [server.client()]


def _sentinel(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    watched = servers.watched()
    return _from_url(watched.url, is_async), [watched.master.client()]


def _cluster(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    cluster = servers.cluster()
    return _from_url(cluster.url, is_async), [node.client() for node in cluster.nodes]


def _client(**settings: Any) -> Kind_enter:
    """From a client object of redis-py, whatever its settings."""

    def entered(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
        server = servers.plain()
        if is_async:
            return (
                lambda **options: AsyncLimiter.from_client(redis.asyncio.from_url(server.url, **settings), **options)
            ), [server.client()]
        given = stack.enter_context(redis.from_url(server.url, **settings))
        return lambda **options: Limiter.from_client(given, **options), [server.client()]

    return entered


def _sentinel_client(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    watched = servers.watched()
    hosts = [("127.0.0.1", port) for port in watched.sentinel_ports]
    nodes = [watched.master.client()]
    made: Any = AsyncSentinel if is_async else Sentinel
    given = made(hosts).master_for(watched.service)
    if is_async:
        return lambda **options: AsyncLimiter.from_client(given, **options), nodes
    stack.callback(given.close)
    return lambda **options: Limiter.from_client(given, **options), nodes


def _cluster_client(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    cluster = servers.cluster()
    nodes, first = [node.client() for node in cluster.nodes], cluster.nodes[0]
    if is_async:
        made: Any = redis.asyncio.RedisCluster
        return lambda **options: AsyncLimiter.from_client(made(host="127.0.0.1", port=first.port), **options), nodes
    given = cluster.client()
    stack.callback(given.close)
    return lambda **options: Limiter.from_client(given, **options), nodes


def _fake(servers: Servers, stack: ExitStack, is_async: bool) -> tuple[Open, list[redis.Redis]]:
    server = server_with_struct()
    nodes: list[redis.Redis] = [fakeredis.FakeRedis(server=server)]
    if is_async:
        return lambda **options: AsyncLimiter.from_client(fakeredis.FakeAsyncRedis(server=server), **options), nodes
    return lambda **options: Limiter.from_client(fakeredis.FakeRedis(server=server), **options), nodes


Kind_enter = Callable[[Servers, ExitStack, bool], tuple[Open, list[redis.Redis]]]

_WAYS: dict[str, Kind_enter] = {
    "memory": _memory,
    **{binary.name: _plain(binary) for binary in redis_binaries()},
    "together": _together,
    "leases": _leased,
    "unix": _unix,
    "client": _client(),
    "decoding-client": _client(decode_responses=True),
    "sentinel": _sentinel,
    "sentinel-client": _sentinel_client,
    "cluster": _cluster,
    "cluster-client": _cluster_client,
    "fake": _fake,
}
_ASYNCIO_ONLY = {"together"}
KINDS = [
    Kind(name, is_async, way)
    for name, way in _WAYS.items()
    for is_async in (False, True)
    if is_async or name not in _ASYNCIO_ONLY
]
ON_REDIS = [kind for kind in KINDS if kind.name not in ("memory", "fake")]
