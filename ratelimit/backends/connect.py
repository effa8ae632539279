"""From a URL or a redis-py client to connections that never repeat a command by themselves.

=====================================  =============================================================
`redis://`, `rediss://`, `unix://`     as redis-py reads them
`redis+sentinel://h1:p1,h2:p2/name/0`  the master `name`, found through these sentinels; database 0
`redis+cluster://h1:p1,h2:p2`          a Cluster, found through these nodes; `rediss+…` for TLS
=====================================  =============================================================

User and password go before an `@`, and options after a `?`, as in redis-py's own URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from ratelimit.backends.calls import RetryPolicy
from ratelimit.backends.redis import ClusterExecutor, Executor, PoolExecutor
from ratelimit.backends.redis_asyncio import AsyncClusterExecutor, AsyncExecutor, AsyncPoolExecutor
from ratelimit.errors import BackendUnavailable, ConfigError

__all__ = ("async_executor", "executor", "is_memory_url")

_SCHEMES: Final = (
    "memory",
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
# redis-py leaves these untyped.
_SENTINEL: Any = Sentinel
_ASYNC_SENTINEL: Any = AsyncSentinel
_CLUSTER_NODE: Any = ClusterNode
_IDENTITY: Final = ("username", "password", "credential_provider", "client_name", "db", "encoding")
_TLS: Final = "ssl"
_PLAIN: Final = {"protocol": 2}
"""RESP2 unless asked otherwise: a script's answer needs no more, and RESP3 has a longer handshake."""


def is_memory_url(url: str) -> bool:
    """True for `memory://`.

    Raises:
        ConfigError: a scheme that is not known. The URL itself is not shown: it may hold a password.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        raise ConfigError("cannot read the URL of the backend: check the brackets of an IPv6 address") from None
    if scheme not in _SCHEMES:
        raise ConfigError(
            f"no backend for URLs that start with {scheme!r}: use one of {', '.join(f'{s}://' for s in _SCHEMES)}"
        )
    return scheme == "memory"


def _own(policy: RetryPolicy) -> dict[str, Any]:
    """Settings that are ours, whatever URL or client say: redis-py's defaults repeat a debit up to 11 times."""
    return {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_timeout": policy.timeout,
        "socket_connect_timeout": policy.timeout,
        "health_check_interval": 0,
    }


def _own_async(policy: RetryPolicy) -> dict[str, Any]:
    # Asyncio attempts run under asyncio.timeout; a second timer inside redis-py would cost a task per command.
    return {**_own(policy), "retry": redis.asyncio.retry.Retry(NoBackoff(), 0), "socket_timeout": None}


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL with several hosts, taken apart."""

    hosts: tuple[tuple[str, int], ...]
    path: tuple[str, ...]
    options: dict[str, Any]

    @classmethod
    def parse(cls, url: str, default_port: int) -> _Address:
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        options: dict[str, Any] = dict(parse_qsl(parts.query))
        if user:
            options["username"] = unquote(user)
        if password:
            options["password"] = unquote(password)
        if parts.scheme.startswith("rediss"):
            options["ssl"] = True
        return cls(
            hosts=tuple(_host(host, default_port) for host in hosts.split(",") if host),
            path=tuple(part for part in parts.path.split("/") if part),
            options=options,
        )


def _host(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default_port)
    if not host or not port.isdecimal():
        # Not shown: after an unescaped slash in a password, what stands here is the password.
        raise ConfigError(
            "cannot read the hosts in the backend URL: write host:port, several with commas between, "
            "and / ? # @ in a password as %2F %3F %23 %40"
        )
    return host.strip("[]"), int(port)


def _sentinel(url: str) -> tuple[_Address, str, int]:
    address = _Address.parse(url, 26379)
    if not address.hosts or not address.path:
        raise ConfigError(
            "a Sentinel URL needs hosts and the master's name: redis+sentinel://host:26379,host:26379/mymaster"
        )
    db = address.path[1] if len(address.path) > 1 else "0"
    if not db.isdecimal():
        raise ConfigError(f"database {db!r} in the Sentinel URL must be a number")
    return address, address.path[0], int(db)


def _sentinel_login(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(options for the sentinels, options for the master)."""
    prefix = "sentinel_"
    sentinel = {name.removeprefix(prefix): value for name, value in options.items() if name.startswith(prefix)}
    return sentinel, {name: value for name, value in options.items() if not name.startswith(prefix)}


def executor(target: str | redis.Redis | redis.RedisCluster, policy: RetryPolicy, max_connections: int) -> Executor:
    """Connections for the sync backend, from a URL or from a client (which is read, and left alone).

    Raises:
        ConfigError: neither of these, or a URL that cannot be read.
    """
    own = _own(policy)
    if isinstance(target, redis.RedisCluster):
        cluster: Any = target
        login = _login(cluster.nodes_manager.connection_kwargs)
        return _cluster_executor([(node.host, node.port) for node in cluster.get_nodes()], {**login, **own})
    if isinstance(target, redis.Redis):
        return PoolExecutor(_copy_pool(target.connection_pool, own, SentinelConnectionPool), max_connections)
    if not isinstance(target, str):
        raise ConfigError(
            f"cannot connect through {type(target).__name__}: pass a URL, a redis.Redis or a redis.RedisCluster"
        )
    scheme = urlsplit(target).scheme
    if scheme.endswith("+sentinel"):
        address, service, db = _sentinel(target)
        login, options = _sentinel_login(address.options)
        sentinel = _SENTINEL(
            address.hosts, sentinel_kwargs={**_PLAIN, **own, **login}, db=db, **{**_PLAIN, **options, **own}
        )
        return PoolExecutor(sentinel.master_for(service).connection_pool, max_connections)
    if scheme.endswith("+cluster"):
        address = _Address.parse(target, 6379)
        return _cluster_executor(address.hosts, {**address.options, **own})
    return PoolExecutor(_pool(redis.ConnectionPool, target, own), max_connections)


def async_executor(
    target: str | redis.asyncio.Redis | redis.asyncio.RedisCluster, policy: RetryPolicy, max_connections: int
) -> AsyncExecutor:
    """Connections for the asyncio backend, from a URL or from a client (which is read, and left alone).

    Raises:
        ConfigError: neither of these, or a URL that cannot be read.
    """
    own = _own_async(policy)
    if isinstance(target, redis.asyncio.RedisCluster):
        nodes = [(node.host, int(node.port)) for node in target.nodes_manager.startup_nodes.values()]
        return AsyncClusterExecutor(_async_cluster(nodes, {**_login(target.connection_kwargs), **own}))
    if isinstance(target, redis.asyncio.Redis):
        pool = target.connection_pool
        return AsyncPoolExecutor(lambda: _copy_pool(pool, own, AsyncSentinelPool), max_connections)
    if not isinstance(target, str):
        raise ConfigError(f"cannot connect through {type(target).__name__}: pass a URL or a client of redis.asyncio")
    scheme = urlsplit(target).scheme
    if scheme.endswith("+sentinel"):
        address, service, db = _sentinel(target)
        login, options = _sentinel_login(address.options)

        def sentinel_pool() -> Any:
            sentinel = _ASYNC_SENTINEL(
                address.hosts, sentinel_kwargs={**_PLAIN, **own, **login}, db=db, **{**_PLAIN, **options, **own}
            )
            return sentinel.master_for(service).connection_pool

        return AsyncPoolExecutor(sentinel_pool, max_connections)
    if scheme.endswith("+cluster"):
        address = _Address.parse(target, 6379)
        return AsyncClusterExecutor(_async_cluster(address.hosts, {**address.options, **own}))
    _pool(redis.asyncio.ConnectionPool, target, own)  # read now, so that a URL is refused where it is given
    return AsyncPoolExecutor(lambda: _pool(redis.asyncio.ConnectionPool, target, own), max_connections)


def _pool(pool_class: type[Any], url: str, own: Mapping[str, Any]) -> Any:
    """A pool from a URL of one server. The message of an error holds no part of the URL: it may be a password."""
    try:
        pool = pool_class.from_url(url, **{**_PLAIN, **own})
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"cannot read the {urlsplit(url).scheme}:// URL of the backend ({type(error).__name__}): "
            "write redis://user:password@host:6379/0, with options that redis-py knows after a ?"
        ) from None
    return pool


def _copy_pool(pool: Any, own: Mapping[str, Any], sentinel_class: type[Any]) -> Any:
    """A pool of our own that connects like the client's. Hooks that belong to the client's pool stay with it."""
    hooks = ("maint_notifications", "oss_cluster", "orig_", "connection_pool", "event_dispatcher")
    settings = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith(hooks)}
    settings = {**settings, **own, "retry_on_timeout": False, "connection_class": pool.connection_class}
    settings["protocol"] = settings.get("protocol") or 2
    if isinstance(pool, sentinel_class):
        return sentinel_class(pool.service_name, _copy_sentinel(pool.sentinel_manager, own), **settings)
    base = redis.asyncio.ConnectionPool if sentinel_class is AsyncSentinelPool else redis.ConnectionPool
    return base(**settings)


def _copy_sentinel(manager: Any, own: Mapping[str, Any]) -> Any:
    """A Sentinel of our own at the same addresses: the client's asks with retries and timeouts that are not ours."""
    addresses = [sentinel.connection_pool.connection_kwargs for sentinel in manager.sentinels]
    made: Any = AsyncSentinel if isinstance(manager, AsyncSentinel) else _SENTINEL
    return made(
        [(address["host"], address["port"]) for address in addresses],
        min_other_sentinels=manager.min_other_sentinels,
        sentinel_kwargs={**_PLAIN, **manager.sentinel_kwargs, **own},
    )


def _login(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in settings.items()
        if value is not None and (name in _IDENTITY or name.startswith(_TLS))
    }


def _cluster_executor(hosts: Any, settings: dict[str, Any]) -> Executor:
    nodes = [_CLUSTER_NODE(host, port) for host, port in hosts]
    if not nodes:
        raise ConfigError("a Cluster URL needs at least one node: redis+cluster://host:6379,host:6379")
    try:
        return ClusterExecutor(redis.RedisCluster(startup_nodes=nodes, **{**_PLAIN, **settings}))
    except (redis.RedisError, RedisClusterException, OSError) as error:  # the second one is not a RedisError
        raise BackendUnavailable(f"cannot reach the Cluster: {error}") from error


def _async_cluster(hosts: Any, settings: dict[str, Any]) -> Callable[[], redis.asyncio.RedisCluster]:
    if not hosts:
        raise ConfigError("a Cluster URL needs at least one node: redis+cluster://host:6379,host:6379")
    return lambda: redis.asyncio.RedisCluster(
        startup_nodes=[AsyncClusterNode(host, port) for host, port in hosts], **{**_PLAIN, **settings}
    )
