"""Each fault hits the command it is meant for: what the server executed, and what the client saw."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio

from tests.servers import (
    DELAY,
    DROP_REPLY,
    HOLD_REQUEST,
    PASS,
    RESET_AFTER,
    RESET_BEFORE,
    SLICE,
    Action,
    Command,
    FaultProxy,
    RedisServer,
    eventually,
)

SCRIPT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One server for all tests."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    """A proxy without faults in front of an empty server."""
    server.call("FLUSHALL")
    with FaultProxy("127.0.0.1", server.port) as started:
        yield started


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    """A client through the proxy."""
    with proxy.client() as connected:
        yield connected


@pytest.fixture
def hasty(proxy: FaultProxy) -> Iterator[redis.Redis]:
    """A client that loses patience quickly."""
    with proxy.client(socket_timeout=0.3) as connected:
        yield connected


def charge(client: redis.Redis) -> object:
    """Add one to the counter by script."""
    return client.eval(SCRIPT, 1, "counter", "1")


def charged(server: RedisServer) -> int:
    """The counter, asked of the server directly."""
    value = server.call("GET", "counter")
    return int(str(value)) if value is not None else 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_without_faults_everything_passes(server: RedisServer, proxy: FaultProxy, protocol: int) -> None:
    """Scripts, pipelines, transactions, maps, large values; in both protocols."""
    with proxy.client(protocol=protocol, decode_responses=True) as client:
        assert charge(client) == 1
        client.hset("hash", mapping={"a": "1", "b": "2"})
        assert client.hgetall("hash") == {"a": "1", "b": "2"}
        client.set("large", "x" * 300_000)
        assert client.get("large") == "x" * 300_000
        assert client.get("missing") is None
        assert client.mget("large", "missing") == ["x" * 300_000, None]
        pipeline = client.pipeline(transaction=True)
        for _ in range(100):
            pipeline.incr("counter")
        assert pipeline.execute()[-1] == 101
        with pytest.raises(redis.ResponseError):
            client.lpush("hash", "x")
    assert charged(server) == 101
    counters = proxy.counters
    assert counters.seen == counters.forwarded == counters.executed
    assert counters.seen["EVAL"] == 1
    assert counters.seen["INCRBY"] == 100
    assert counters.dropped.total() == 0


def test_a_dropped_reply_is_executed_and_the_client_times_out(
    server: RedisServer, proxy: FaultProxy, client: redis.Redis, hasty: redis.Redis
) -> None:
    """DROP_REPLY of the second script; the third, on a new connection, is unharmed."""
    proxy.next(PASS, DROP_REPLY)
    assert charge(client) == 1
    with pytest.raises(redis.TimeoutError):
        charge(hasty)
    assert charged(server) == 2
    assert proxy.queued == 0
    assert charge(client) == 3
    assert proxy.counters.dropped == {"EVAL": 1}
    assert proxy.counters.executed["EVAL"] == 3


def test_nothing_comes_through_behind_a_dropped_reply(
    server: RedisServer, proxy: FaultProxy, hasty: redis.Redis
) -> None:
    """In a pipeline the next reply would otherwise be taken for the dropped one."""
    proxy.next(DROP_REPLY)
    pipeline = hasty.pipeline(transaction=False)
    pipeline.eval(SCRIPT, 1, "counter", "1")
    pipeline.get("counter")
    with pytest.raises(redis.TimeoutError):
        pipeline.execute()
    assert charged(server) == 1
    assert proxy.counters.dropped == {"EVAL": 1, "GET": 1}


def test_a_reset_after_the_command_is_executed(server: RedisServer, proxy: FaultProxy, client: redis.Redis) -> None:
    """RESET_AFTER: the client fails at once, the server has counted."""
    proxy.next(RESET_AFTER)
    with pytest.raises(redis.ConnectionError, match="reset"):
        charge(client)
    assert charged(server) == 1
    assert charge(client) == 2
    assert proxy.counters.dropped == {"EVAL": 1}


def test_a_reset_before_the_command_is_not_executed(
    server: RedisServer, proxy: FaultProxy, client: redis.Redis
) -> None:
    """RESET_BEFORE: the same to the client, but the server never saw it."""
    proxy.next(RESET_BEFORE)
    with pytest.raises(redis.ConnectionError, match="reset"):
        charge(client)
    assert charged(server) == 0
    assert charge(client) == 1
    counters = proxy.counters
    assert (counters.seen["EVAL"], counters.forwarded["EVAL"], counters.executed["EVAL"]) == (2, 1, 1)


def test_a_delayed_reply_arrives_in_time_or_too_late(
    server: RedisServer, proxy: FaultProxy, client: redis.Redis, hasty: redis.Redis
) -> None:
    """DELAY: executed either way; only a client with enough patience learns of it."""
    proxy.next(DELAY(0.1), DELAY(30))
    before = time.monotonic()
    assert charge(client) == 1
    assert time.monotonic() - before >= 0.1
    with pytest.raises(redis.TimeoutError):
        charge(hasty)
    assert charged(server) == 2


def test_a_sliced_reply_is_the_same_reply(server: RedisServer, proxy: FaultProxy) -> None:
    """SLICE: one byte per packet."""
    server.call("SET", "counter", 123_456)
    proxy.next(SLICE)
    received: list[bytes] = []
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as raw:
        raw.sendall(f'EVAL "{SCRIPT}" 1 counter 1\r\n'.encode())
        while not b"".join(received).endswith(b"\n"):
            received.append(raw.recv(100))
    assert b"".join(received) == b":123457\r\n"
    assert len(received) > 1


def test_a_held_command_is_executed_on_release_although_the_client_has_gone(
    server: RedisServer, proxy: FaultProxy, client: redis.Redis, hasty: redis.Redis
) -> None:
    """HOLD_REQUEST, the delayed duplicate: the retry is executed first, the original afterwards."""
    proxy.next(HOLD_REQUEST)
    with pytest.raises(redis.TimeoutError):
        charge(hasty)
    eventually(lambda: proxy.held == 1)
    assert charge(client) == 1
    assert proxy.release() == 1
    assert charged(server) == 2
    assert (proxy.held, proxy.release()) == (0, 0)


def test_a_client_that_waits_gets_the_reply_of_its_held_command(server: RedisServer, proxy: FaultProxy) -> None:
    """Works with asyncio clients, and what was pipelined behind the held command keeps its place."""

    async def scenario() -> list[object]:
        async with redis.asyncio.Redis(host="127.0.0.1", port=proxy.port) as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.eval(SCRIPT, 1, "counter", "1")
            pipeline.get("counter")
            replies = asyncio.ensure_future(pipeline.execute())
            await asyncio.to_thread(eventually, lambda: proxy.held)
            assert charged(server) == 0
            await asyncio.to_thread(proxy.release)
            return list(await replies)

    proxy.next(HOLD_REQUEST)
    assert asyncio.run(scenario()) == [1, b"1"]


def test_a_rule_sees_the_words_of_matching_commands_only(
    server: RedisServer, proxy: FaultProxy, client: redis.Redis
) -> None:
    """A rule may look at keys and arguments; PING and the like never reach it."""
    asked: list[Command] = []

    def drop_charges_of_seven(command: Command) -> Action | None:
        asked.append(command)
        return RESET_AFTER if command[-1] == b"7" else None

    proxy.rule(drop_charges_of_seven)
    client.ping()
    assert charge(client) == 1
    with pytest.raises(redis.ConnectionError):
        client.eval(SCRIPT, 1, "counter", "7")
    assert [command[0] for command in asked] == [b"EVAL", b"EVAL"]
    proxy.clear()
    assert client.eval(SCRIPT, 1, "counter", "7") == 15
