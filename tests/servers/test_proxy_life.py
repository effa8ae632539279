"""The proxy as a whole: chance, dead servers, new targets, mistakes in rules; and the protocol parser."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.servers import (
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
    free_port,
)
from tests.servers.faults import FaultPlan
from tests.servers.resp import frame_end, pack, parse_command

SCRIPT = "return redis.call('INCR', KEYS[1])"
CHANCES = {RESET_AFTER: 0.2, RESET_BEFORE: 0.2, SLICE: 0.1}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that a test may kill."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    """A proxy in front of it."""
    with FaultProxy("127.0.0.1", server.port) as started:
        yield started


def attempts(proxy: FaultProxy, count: int) -> int:
    """Make *count* calls of the script and return how many were answered."""
    answered = 0
    with proxy.client() as client:
        for _ in range(count):
            try:
                client.eval(SCRIPT, 1, "counter")
                answered += 1
            except redis.ConnectionError:
                continue
    return answered


def test_chance_loses_about_as_much_as_it_was_told(server: RedisServer, proxy: FaultProxy) -> None:
    """With 4 threads: every executed call was either answered or is in the counter of dropped replies."""
    proxy.random(seed=7, p=CHANCES)
    with ThreadPoolExecutor(4) as threads:
        answered = sum(threads.map(lambda _: attempts(proxy, 100), range(4)))
    counters = proxy.counters
    assert server.call("GET", "counter") == str(counters.executed["EVAL"])
    assert counters.executed["EVAL"] == answered + counters.dropped["EVAL"]
    assert counters.seen["EVAL"] == 400
    assert 40 <= counters.dropped["EVAL"] <= 120
    assert 40 <= counters.seen["EVAL"] - counters.forwarded["EVAL"] <= 120


def test_chance_depends_on_the_seed_alone() -> None:
    """The same seed gives the same faults; the rest passes."""

    def drawn(seed: int) -> list[Action]:
        plan = FaultPlan(None)
        plan.set_random(seed, CHANCES)
        return [plan.decide((b"EVAL",)) for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert {*CHANCES, PASS} == set(drawn(1))


@pytest.mark.parametrize("chances", [{DROP_REPLY: 1.1}, {DROP_REPLY: -0.1}, {DROP_REPLY: 0.6, SLICE: 0.6}])
def test_chances_beyond_certainty_are_refused(proxy: FaultProxy, chances: dict[Action, float]) -> None:
    """A typing error would otherwise shift the whole distribution."""
    with pytest.raises(ValueError, match="not probabilities"):
        proxy.random(1, chances)


def test_faults_apply_to_the_names_that_were_asked_for(server: RedisServer) -> None:
    """Other commands than scripts on request; None means all of them, the handshake too."""
    with FaultProxy("127.0.0.1", server.port, names=["get"]) as proxy, proxy.client() as client:
        proxy.next(RESET_BEFORE)
        assert client.set("key", "value")
        with pytest.raises(redis.ConnectionError):
            client.get("key")
    with FaultProxy("127.0.0.1", server.port, names=None) as proxy, proxy.client() as client:
        proxy.rule(lambda _command: RESET_BEFORE)
        with pytest.raises(redis.ConnectionError):
            client.ping()


def test_all_held_commands_are_released_together(server: RedisServer, proxy: FaultProxy) -> None:
    """Also when they came over several connections, and before `release` returns."""
    proxy.next(*[HOLD_REQUEST] * 5)
    for _ in range(5):
        with proxy.client(socket_timeout=0.2) as client, pytest.raises(redis.TimeoutError):
            client.eval(SCRIPT, 1, "counter")
    assert server.call("GET", "counter") is None
    assert proxy.release() == 5
    assert server.call("GET", "counter") == "5"


def test_a_dead_server_looks_dead_through_the_proxy(server: RedisServer, proxy: FaultProxy) -> None:
    """Open connections break, new ones fail, and all is well when it is back."""
    with proxy.client() as client:
        client.ping()
        server.kill()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.ping()
        server.start()
        assert client.ping()


def test_new_connections_follow_a_new_target(server: RedisServer, proxy: FaultProxy) -> None:
    """Old ones stay where they are, like pooled connections after a failover."""
    with RedisServer() as other, proxy.client() as old:
        server.call("SET", "who", "server")
        other.call("SET", "who", "other")
        assert old.get("who") == b"server"
        proxy.retarget("127.0.0.1", other.port)
        with proxy.client() as new:
            assert new.get("who") == b"other"
            assert old.get("who") == b"server"
    assert proxy.counters.connections == 2


def test_a_mistake_in_a_rule_is_not_lost(server: RedisServer) -> None:
    """It ends the connection at once and is raised when the proxy is closed."""

    def mistaken(command: Command) -> Action:
        raise LookupError("no such thing")

    proxy = FaultProxy("127.0.0.1", server.port).start()
    proxy.rule(mistaken)
    with proxy.client() as client, pytest.raises(redis.ConnectionError):
        client.eval(SCRIPT, 1, "counter")
    with pytest.raises(LookupError, match="no such thing"):
        proxy.close()


def test_closing_frees_port_and_thread(server: RedisServer) -> None:
    """Even with connections open and a command held; and a proxy may stand in front of nothing."""
    with FaultProxy("127.0.0.1", server.port) as proxy, proxy.client(socket_timeout=0.2) as client:
        proxy.next(HOLD_REQUEST)
        with pytest.raises(redis.TimeoutError):
            client.eval(SCRIPT, 1, "counter")
        eventually(lambda: proxy.held)
        proxy.close()
        with pytest.raises(redis.ConnectionError):
            client.ping()
    with (
        FaultProxy("127.0.0.1", free_port()) as proxy,
        proxy.client() as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.ping()


@pytest.mark.parametrize(
    "frame",
    [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":1\r\n",
        b"$3\r\na\r\n\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
        b"_\r\n",
        b",1.5\r\n",
        b"#t\r\n",
        b"(123\r\n",
        b"!5\r\nERR x\r\n",
        b"=5\r\ntxt:a\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b">2\r\n+a\r\n:1\r\n",
        b"|1\r\n+ttl\r\n:1\r\n*1\r\n:1\r\n",
        b'EVAL "return 1" 0\r\n',
    ],
)
def test_a_frame_ends_where_it_ends(frame: bytes) -> None:
    """RESP2, RESP3 and inline commands: complete only with the last byte, and not a byte further."""
    assert [frame_end(frame[:length]) for length in range(len(frame))] == [0] * len(frame)
    assert frame_end(frame) == frame_end(frame + b"+OK\r\n") == len(frame)


def test_a_request_is_split_into_its_words() -> None:
    """Binary-safe when it comes as an array; split at blanks when it is a line."""
    assert parse_command(pack(["SET", "a b\r\n*1", 5])) == (b"SET", b"a b\r\n*1", b"5")
    assert parse_command(b"PING  x\r\n") == (b"PING", b"x")
    assert parse_command(b"\r\n") == ()
