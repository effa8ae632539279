"""A server that is down, frozen or unwilling: an error of ours within the deadline, and recovery without help."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from ratelimit import BackendTimeout, BackendUnavailable, Retention, RetryPolicy, WireMismatch
from tests.faults.faces import QUICK, Face, FaceMaker, each_face, used
from tests.servers import FaultProxy, RedisServer, eventually, free_port, redis_binaries

BINARIES = redis_binaries()

#: For a machine that is busy with something else.
SLACK = 1.0


@pytest.fixture(scope="module", params=BINARIES, ids=str)
def shared_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Servers of different ages say the same things in different words."""
    with RedisServer(request.param) as started:
        yield started


@contextmanager
def setting(server: RedisServer, name: str, value: str | int) -> Iterator[None]:
    """A configuration value, for a while."""
    before = server.call("CONFIG", "GET", name)
    assert isinstance(before, list)
    server.call("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        server.call("CONFIG", "SET", name, str(before[1]))


def dump(server: RedisServer) -> dict[str, object]:
    """Every key with what it holds."""
    keys = server.call("KEYS", "*")
    assert isinstance(keys, list)
    return {str(key): server.call("DUMP", str(key)) for key in keys}


@each_face
def test_a_dead_server_is_unavailable_until_it_is_back(face_of: FaceMaker, server: RedisServer) -> None:
    """The error comes at once, for every verb, and the same limiter goes on after the restart."""
    with face_of(server.url) as face:
        held = face.acquire("alice", tokens=70)
        server.kill()
        started = time.monotonic()
        with pytest.raises(BackendUnavailable, match=r"cannot reach a server"):
            face.acquire("alice", tokens=70)
        with pytest.raises(BackendUnavailable):
            face.settle(held, tokens=20)
        with pytest.raises(BackendUnavailable):
            face.peek("alice")
        with pytest.raises(BackendUnavailable):
            face.reset("alice")
        assert time.monotonic() - started < 4 * QUICK.deadline + SLACK
        server.start()
        assert used(face.acquire("alice", tokens=70).standings) == {"requests": 1, "tokens": 70}


@each_face
def test_nobody_there_from_the_start_is_no_reason_to_fail_before_the_first_call(face_of: FaceMaker) -> None:
    """A limiter is made without its server, and works when that has come up."""
    late = RedisServer(BINARIES[0], port=free_port())
    with face_of(f"redis://127.0.0.1:{late.port}") as face:
        with pytest.raises(BackendUnavailable):
            face.acquire("alice")
        with late:
            assert used(face.acquire("alice").standings) == {"requests": 1, "tokens": 0}


@each_face
@pytest.mark.parametrize("known", [True, False], ids=["connected", "connecting"])
def test_a_frozen_server_costs_no_more_than_the_deadline(face_of: FaceMaker, known: bool, server: RedisServer) -> None:
    """Silence ends in BackendTimeout, on old connections and on new ones."""
    policy = RetryPolicy(timeout=0.2, deadline=0.5, attempts=20)
    with face_of(server.url, policy=policy) as face:
        if known:
            face.acquire("alice", tokens=70)
        server.pause()
        try:
            started = time.monotonic()
            with pytest.raises(BackendTimeout, match="may have happened"):
                face.acquire("alice", tokens=70)
            took = time.monotonic() - started
        finally:
            server.resume()
        assert took < policy.deadline + policy.timeout + SLACK
        charged = eventually(lambda: used(face.peek("alice")))
        assert charged["requests"] <= known + 1
        assert charged["tokens"] == 70 * charged["requests"]


@each_face
def test_a_replica_is_unavailable_until_it_is_promoted(face_of: FaceMaker, server: RedisServer) -> None:
    """The error says what is wrong, nothing was charged, and after the promotion the same limiter works."""
    with face_of(server.url) as face:
        held = face.acquire("alice", tokens=70)
        server.call("REPLICAOF", "127.0.0.1", free_port())
        try:
            with pytest.raises(BackendUnavailable, match="read only replica"):
                face.acquire("alice", tokens=70)
            with pytest.raises(BackendUnavailable, match="read only replica"):
                face.settle(held, tokens=20)
            assert used(face.peek("alice")) == {"requests": 1, "tokens": 70}
        finally:
            server.call("REPLICAOF", "NO", "ONE")
        face.settle(held, tokens=20)
        assert used(face.acquire("alice").standings) == {"requests": 2, "tokens": 20}


@each_face
def test_connections_to_a_demoted_server_are_dropped(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy
) -> None:
    """When the address leads to another server by now, a read-only answer is enough to go there."""
    with RedisServer(server.binary) as promoted, face_of(proxy.url) as face:
        face.acquire("alice", tokens=70)
        server.call("REPLICAOF", "127.0.0.1", promoted.port)
        try:
            eventually(lambda: server.info("replication")["master_link_status"] == "up")
            proxy.retarget("127.0.0.1", promoted.port)
            assert used(face.acquire("alice", tokens=30).standings) == {"requests": 1, "tokens": 30}
        finally:
            server.call("REPLICAOF", "NO", "ONE")


@each_face
def test_a_replica_that_lost_its_master_is_unavailable(face_of: FaceMaker, server: RedisServer) -> None:
    """MASTERDOWN is a reason to ask again later."""
    with face_of(server.url) as face, setting(server, "replica-serve-stale-data", "no"):
        server.call("REPLICAOF", "127.0.0.1", free_port())
        try:
            with pytest.raises(BackendUnavailable, match=r"cannot reach a server that serves.*MASTER"):
                face.acquire("alice", tokens=70)
        finally:
            server.call("REPLICAOF", "NO", "ONE")
        assert used(face.acquire("alice").standings) == {"requests": 1, "tokens": 0}


def _too_busy_to_say(face: Face) -> None:
    """Ask a server that loads; between two looks at its clients it may not answer in time."""
    with suppress(BackendTimeout):
        face.acquire("bob", tokens=30)


@each_face
def test_a_server_that_loads_is_unavailable_until_it_has_loaded(face_of: FaceMaker, server: RedisServer) -> None:
    """LOADING is a reason to ask again later."""
    policy = RetryPolicy(timeout=4, deadline=10)
    with face_of(server.url, policy=policy) as face, setting(server, "rdbcompression", "no"):
        face.acquire("alice", tokens=70)
        # It looks at its clients once per key of this size, and takes its time for each.
        server.call("DEBUG", "POPULATE", 12, "filler", 2_200_000)
        server.call("CONFIG", "SET", "key-load-delay", 60_000)
        reload = threading.Thread(target=lambda: server.call("DEBUG", "RELOAD"))
        reload.start()
        try:
            with pytest.raises(BackendUnavailable, match="loading the dataset"):
                eventually(lambda: _too_busy_to_say(face))
        finally:
            reload.join()
            server.call("CONFIG", "SET", "key-load-delay", 0)
        assert used(face.peek("alice")) == {"requests": 1, "tokens": 70}


@each_face
def test_a_server_without_memory_is_unavailable_and_keeps_its_numbers(face_of: FaceMaker, server: RedisServer) -> None:
    """Under noeviction a write is refused before the first byte of it."""
    with face_of(server.url) as face:
        held = face.acquire("alice", tokens=70)
        before = dump(server)
        with setting(server, "maxmemory", 1):
            with pytest.raises(BackendUnavailable, match="maxmemory"):
                face.acquire("alice", tokens=70)
            with pytest.raises(BackendUnavailable, match="maxmemory"):
                face.acquire("bob", tokens=70)
            with pytest.raises(BackendUnavailable, match="maxmemory"):
                face.settle(held, tokens=20)
        assert dump(server) == before
        face.settle(held, tokens=20)
        assert used(face.peek("alice")) == {"requests": 1, "tokens": 20}


@each_face
def test_a_server_in_the_grip_of_another_script_is_unavailable(face_of: FaceMaker, server: RedisServer) -> None:
    """BUSY is told from an answer, and passes."""

    def loop_forever() -> None:
        with server.client(socket_timeout=30) as client, pytest.raises(Exception, match=r"(?i)script"):
            client.eval("while true do end", 0)

    def busy() -> bool:
        with server.client(socket_timeout=5) as client:
            try:
                client.ping()
            except Exception as error:
                return "BUSY" in str(error)
        return False

    with face_of(server.url) as face, setting(server, "lua-time-limit", 20):
        other = threading.Thread(target=loop_forever)
        other.start()
        try:
            eventually(busy)
            with pytest.raises(BackendUnavailable, match="another script blocks the server"):
                face.acquire("alice", tokens=70)
        finally:
            server.call("SCRIPT", "KILL")
            other.join()
        assert used(face.acquire("alice", tokens=70).standings) == {"requests": 1, "tokens": 70}


@each_face
@pytest.mark.parametrize("which", ["state", "page"])
def test_somebody_elses_key_is_a_mismatch_and_nothing_is_half_written(
    face_of: FaceMaker, which: str, server: RedisServer
) -> None:
    """A key of the wrong type is found before the first write, for reserve and settle alike."""
    long_pages = Retention(retry_window=300)
    with face_of(server.url, retention=long_pages) as face:
        held = face.acquire("alice", tokens=70)
        state, page = sorted(dump(server), key=len)
        ours = {"state": state, "page": page}[which]
        server.call("DEL", ours)
        server.call("RPUSH", ours, "somebody else's")
        before = dump(server)
        with pytest.raises(WireMismatch, match="somebody else's data"):
            face.acquire("alice", tokens=70)
        with pytest.raises(WireMismatch, match="somebody else's data"):
            face.settle(held, tokens=20)
        assert dump(server) == before
