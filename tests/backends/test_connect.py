"""Promises of `ratelimit.backends.connect`: what a URL or a client becomes, without connecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

from ratelimit import AsyncLimiter, ConfigError, Limiter, RetryPolicy
from ratelimit.backends.connect import async_executor, executor, is_memory_url
from tests.conftest import Servers

POLICY = RetryPolicy(timeout=0.25)
STUBBORN: dict[str, Any] = {
    "retry": redis.retry.Retry(redis.backoff.ExponentialBackoff(), 9),
    "retry_on_error": [OSError],
    "socket_timeout": 77,
}
SENTINEL = "redis+sentinel://user:p%40ss@one:1,two:2/mymaster/3?sentinel_password=hidden"


def sync_pool(target: Any) -> Any:
    """The pool that a sync limiter would use."""
    made: Any = executor(target, POLICY, 8)
    return made._pool


def async_pool(target: Any) -> Any:
    """The pool that an asyncio limiter would use."""
    made: Any = async_executor(target, POLICY, 8)
    return made._make_pool()


def sync_client() -> redis.Redis:
    """A client with nine retries."""
    return redis.Redis(host="one", password="hidden", db=3, **STUBBORN)


def async_client() -> redis.asyncio.Redis:
    """The same for asyncio."""
    stubborn: dict[str, Any] = {**STUBBORN, "retry": redis.asyncio.retry.Retry(redis.backoff.ExponentialBackoff(), 9)}
    return redis.asyncio.Redis(host="one", password="hidden", db=3, **stubborn)


def sync_master() -> object:
    """A client that a Sentinel object made."""
    made: Any = Sentinel
    return made([("one", 1), ("two", 2)], **STUBBORN).master_for("mymaster", db=3)


def async_master() -> object:
    """The same for asyncio."""
    made: Any = AsyncSentinel
    return made([("one", 1), ("two", 2)], socket_timeout=77).master_for("mymaster", db=3)


TARGETS: dict[str, tuple[Callable[[Any], Any], Callable[[], object]]] = {
    "url": (sync_pool, lambda: "redis://one/3"),
    "unix": (sync_pool, lambda: "unix:///run/x.sock?db=3"),
    "tls": (sync_pool, lambda: "rediss://one/3"),
    "sentinel": (sync_pool, lambda: SENTINEL),
    "client": (sync_pool, sync_client),
    "sentinel-client": (sync_pool, sync_master),
    "url-asyncio": (async_pool, lambda: "redis://one/3"),
    "unix-asyncio": (async_pool, lambda: "unix:///run/x.sock?db=3"),
    "sentinel-asyncio": (async_pool, lambda: SENTINEL),
    "client-asyncio": (async_pool, async_client),
    "sentinel-client-asyncio": (async_pool, async_master),
}


@pytest.mark.parametrize("name", TARGETS)
def test_no_connection_repeats_a_command(name: str) -> None:
    """Whatever the URL or the client says, redis-py retries nothing below us, and the timeouts are ours."""
    pool_of, target = TARGETS[name]
    pool = pool_of(target())
    connection = pool.make_connection()
    assert connection.retry._retries == 0
    assert connection.retry_on_error == []
    assert connection.db == 3
    assert connection.socket_connect_timeout == 0.25
    assert connection.socket_timeout == (None if "asyncio" in name else 0.25)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        asked = sentinel.connection_pool.make_connection()
        assert asked.retry._retries == 0
        assert asked.socket_connect_timeout == 0.25


def test_a_cluster_repeats_nothing_either(servers: Servers) -> None:
    """From a URL and from a client; redirections are not repeats."""
    cluster = servers.cluster()
    for target in (cluster.url, cluster.client()):
        made: Any = executor(target, POLICY, 8)
        assert made._cluster.retry._retries == 0
        assert {
            node.redis_connection.connection_pool.connection_kwargs["retry"]._retries for node in _connected(made)
        } <= {0}
        made.close()
        if not isinstance(target, str):
            target.close()


def _connected(made: Any) -> list[Any]:
    return [node for node in made._cluster.get_nodes() if node.redis_connection is not None]


@pytest.mark.parametrize("pool_of", [sync_pool, async_pool])
def test_a_sentinel_url_is_taken_apart(pool_of: Callable[[Any], Any]) -> None:
    """Hosts, master, database, login of the master, and that of the sentinels."""
    pool = pool_of(SENTINEL)
    assert pool.service_name == "mymaster"
    master = pool.connection_kwargs
    assert (master["username"], master["password"], master["db"]) == ("user", "p@ss", 3)
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in asked] == [("one", 1), ("two", 2)]
    assert [each["password"] for each in asked] == ["hidden", "hidden"]


@pytest.mark.parametrize("pool_of", [sync_pool, async_pool])
@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis+sentinel://one/m", [("one", 26379)]),
        ("redis+sentinel://one,two:9/m", [("one", 26379), ("two", 9)]),
        ("redis+sentinel://[::1]:9/m", [("::1", 9)]),
        ("redis+sentinel://[::1]/m", [("::1", 26379)]),
    ],
)
def test_hosts_may_leave_out_the_port(pool_of: Callable[[Any], Any], url: str, hosts: list[tuple[str, int]]) -> None:
    """Also IPv6 addresses in brackets."""
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool_of(url).sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in asked] == hosts


@pytest.mark.parametrize("make", [sync_client, async_client, sync_master, async_master])
def test_a_client_is_left_alone(make: Callable[[], Any]) -> None:
    """Our pool is another one, and the client's settings are what they were."""
    client = make()
    before = dict(client.connection_pool.connection_kwargs)
    pool_of = async_pool if isinstance(client, redis.asyncio.Redis) else sync_pool
    assert pool_of(client) is not client.connection_pool
    assert client.connection_pool.connection_kwargs == before


WRONG = [
    ("mysql://u:hidden@h", r"^no backend for URLs that start with 'mysql': use one of memory://, "),
    ("hidden", r"^no backend for URLs that start with ''"),
    ("redis+sentinel://u:hidden@/m", r"^a Sentinel URL needs hosts and the master's name"),
    ("redis+sentinel://u:hidden@one", r"^a Sentinel URL needs hosts and the master's name"),
    ("redis+sentinel://u:hidden@one/m/x", r"^database 'x' in the Sentinel URL must be a number"),
    ("redis+sentinel://u:hidden@one:port/m", r"^cannot read the hosts in the backend URL: write host:port"),
    ("redis+cluster://u:hidden@", r"^a Cluster URL needs at least one node"),
    # A slash or other mark in the password that was not written as %2F: what follows is no host, and must not be shown.
    ("redis+sentinel://u:hidden/x@one/m", r"^cannot read the "),
    ("redis+cluster://u:hidden/x@one", r"^cannot read the "),
    ("redis://u:hidden/x@one", r"^cannot read the "),
    ("redis://u:hidden#x@one:1", r"^cannot read the "),
]


@pytest.mark.parametrize("face", [Limiter, AsyncLimiter])
@pytest.mark.parametrize(("url", "message"), WRONG)
def test_a_wrong_url_is_a_config_error_without_secrets(
    face: type[Limiter | AsyncLimiter], url: str, message: str
) -> None:
    """When the limiter is made, not at the first request; the text never shows what might be a password."""
    with pytest.raises(ConfigError, match=message) as caught:
        face.from_url(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("target", [None, 7, object(), redis.Redis])
def test_what_is_neither_url_nor_client_is_refused(target: object) -> None:
    """With the type that came."""
    for face in (Limiter, AsyncLimiter):
        with pytest.raises(ConfigError, match=r"^cannot connect through \w+: pass a URL"):
            face.from_client(target)  # type: ignore[arg-type]  # that is the point


def test_clients_of_the_other_kind_are_refused() -> None:
    """A sync client cannot be awaited, nor the other way round."""
    with pytest.raises(ConfigError, match=r"^cannot connect through Redis: "):
        Limiter.from_client(redis.asyncio.Redis())  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ConfigError, match=r"^cannot connect through Redis: "):
        AsyncLimiter.from_client(redis.Redis())  # type: ignore[arg-type]  # that is the point


def test_only_memory_urls_stay_in_the_process() -> None:
    """All other known schemes are Redis."""
    assert is_memory_url("memory://")
    assert not is_memory_url("redis://")


@pytest.mark.parametrize("url", ["redis://u:hidden@one", SENTINEL, "memory://"])
def test_a_limiter_shows_no_password(url: str) -> None:
    """In its repr, which ends up in logs."""
    for face in (Limiter, AsyncLimiter):
        assert "hidden" not in repr(face.from_url(url, secret="hidden"))
