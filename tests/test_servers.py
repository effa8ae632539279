"""The harness starts, breaks and cleans up real servers as it says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.servers import (
    PortTakenError,
    RedisBinary,
    RedisCluster,
    RedisServer,
    SentinelSet,
    ServerFailedError,
    eventually,
    free_port,
    redis_binaries,
)

each_binary = pytest.mark.parametrize("binary", redis_binaries(), ids=str)


@pytest.fixture
def running() -> Iterator[RedisServer]:
    """A server of the first binary."""
    with RedisServer() as started:
        yield started


@each_binary
def test_a_server_answers_over_tcp_and_unix_socket(binary: RedisBinary) -> None:
    """Both addresses lead to the same, fresh server, with DEBUG allowed."""
    with RedisServer(binary) as started:
        with redis.from_url(started.url) as tcp, redis.from_url(started.unix_url) as unix:
            tcp.set("key", "value")
            assert unix.get("key") == b"value"
        assert started.call("DEBUG", "SET-ACTIVE-EXPIRE", "1") == "OK"
        assert started.info("server")["process_id"] == str(started.pid)
        assert started.info("persistence")["aof_enabled"] == "0"
        directory = started.directory
    assert not directory.exists()
    assert not started.running


def test_a_restarted_server_keeps_its_port_and_forgets_its_data(running: RedisServer) -> None:
    """`restart` is a new process at the old address."""
    port, pid = running.port, running.pid
    with running.client() as client:
        client.set("key", "value")
    running.restart()
    assert running.port == port
    assert running.pid != pid
    with running.client() as client:
        assert client.get("key") is None


def test_configuration_lines_replace_the_defaults() -> None:
    """With the append-only file on, data survives SIGKILL."""
    with RedisServer(config={"appendonly": "yes", "appendfsync": "always"}) as durable:
        durable.call("SET", "key", "value")
        durable.kill()
        durable.start()
        assert durable.call("GET", "key") == "value"
        durable.configure(appendonly="no", maxmemory_policy="volatile-ttl")
        durable.restart()
        assert durable.call("CONFIG", "GET", "maxmemory-policy") == ["maxmemory-policy", "volatile-ttl"]


def test_a_killed_server_refuses_connections_until_it_is_started(running: RedisServer) -> None:
    """`kill` takes effect before it returns."""
    running.kill()
    assert not running.running
    with running.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()
    running.start()
    assert running.call("PING") == "PONG"


def test_a_paused_server_is_silent_until_it_is_resumed(running: RedisServer) -> None:
    """A frozen server takes connections, as the kernel does that, and answers late."""
    with running.client(socket_timeout=0.3) as client:
        client.ping()
        running.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        running.resume()
        assert eventually(client.ping)
    running.pause()
    running.stop()  # not stuck either


def test_a_server_that_does_not_start_shows_its_log() -> None:
    """The reason is in the error."""
    broken = RedisServer(config={"maxmemory-policy": "nonsense"})
    with pytest.raises(ServerFailedError, match=r"(?s)exited with status 1.*maxmemory-policy"):
        broken.__enter__()
    assert not broken.running


def test_a_taken_port_is_replaced_unless_it_was_asked_for(
    running: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever chose the port can choose another one."""
    with pytest.raises(PortTakenError):
        RedisServer(port=running.port).__enter__()
    ports = iter([running.port, free_port()])

    def next_port(*, bus: bool = False) -> int:
        return next(ports)

    monkeypatch.setattr("tests.servers.server.free_port", next_port)
    with RedisServer() as other:
        assert other.port != running.port
        assert other.info("server")["tcp_port"] == str(other.port)


def test_servers_do_not_outlive_killed_tests() -> None:
    """Process and directory go even after SIGKILL, when no handler of the test process can run."""
    script = """
from tests.servers import RedisServer
server = RedisServer().start()
print(server.pid, server.directory, flush=True)
input()
"""
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as tests:
        assert tests.stdout is not None
        pid, directory = tests.stdout.readline().split()
        assert Path(directory, "redis.sock").exists()
        tests.send_signal(signal.SIGKILL)
    eventually(lambda: not Path(directory).exists(), what="the directory is gone")
    eventually(lambda: _is_gone(int(pid)), what="the server is gone")


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # dead, and waiting for an init that does not collect


def discovered(watched: SentinelSet) -> object:
    """The master's address as a client learns it."""
    untyped: Any = redis.Sentinel
    return untyped([("127.0.0.1", port) for port in watched.sentinel_ports]).discover_master(watched.service)


@each_binary
def test_sentinels_announce_the_promoted_replica(binary: RedisBinary) -> None:
    """Clients of the Sentinels reach the old data at the new master."""
    with SentinelSet(binary) as watched:
        first, second, third = (f"127.0.0.1:{port}" for port in watched.sentinel_ports)
        assert watched.url == f"redis+sentinel://{first},{second},{third}/mymaster"
        old = watched.master
        assert discovered(watched) == ("127.0.0.1", old.port)
        old.call("SET", "key", "value")
        assert old.call("WAIT", 1, 5_000) == 1
        new = watched.failover()
        assert not old.running
        assert discovered(watched) == ("127.0.0.1", new.port)
        assert new.call("GET", "key") == "value"
        assert new.call("SET", "key", "other") == "OK"


def test_a_dead_master_can_rejoin_as_replica_and_take_over_again() -> None:
    """Failover there and back; what was written in between is not lost."""
    with SentinelSet() as watched:
        first = watched.master
        watched.failover()
        watched.master.call("SET", "key", "value")
        watched.rejoin()
        assert watched.failover() is first
        assert first.call("GET", "key") == "value"


@each_binary
def test_a_cluster_serves_keys_of_all_ranges_and_moves_slots(binary: RedisBinary) -> None:
    """Keys in the first, middle and last slots; after the move the client is redirected to the same data."""
    with RedisCluster(binary) as cluster, cluster.client() as client:
        keys = {cluster.owner(cluster.slot(key)): key for key in map(str, range(100))}
        assert sorted(keys) == [0, 1, 2]
        for node, key in keys.items():
            client.set(key, f"at {node}")
            assert cluster.nodes[node].call("GET", key) == f"at {node}"
        slot = cluster.slot(keys[0])
        cluster.move_slot(slot, 2)
        assert cluster.owner(slot) == 2
        assert cluster.nodes[2].call("GET", keys[0]) == "at 0"
        assert client.get(keys[0]) == b"at 0"
        with pytest.raises(Exception, match=f"MOVED {slot} 127.0.0.1:{cluster.nodes[2].port}"):
            cluster.nodes[0].call("GET", keys[0])


def test_an_open_slot_redirects_with_ask_for_missing_keys() -> None:
    """Between `begin_move` and `finish_move` both nodes have a part of the slot."""
    with RedisCluster() as cluster, cluster.client() as client:
        slot = cluster.slot("{tag}")
        target = (cluster.owner(slot) + 1) % 3
        client.set("{tag}old", "old")
        cluster.begin_move(slot, target)
        client.set("{tag}new", "new")
        assert cluster.nodes[target].call("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        assert client.get("{tag}old") == b"old"
        cluster.migrate_keys(slot, target)
        cluster.finish_move(slot, target)
        assert cluster.nodes[target].call("CLUSTER", "COUNTKEYSINSLOT", slot) == 2
        assert client.get("{tag}old") == b"old"
