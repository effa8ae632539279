"""More callers than connections: some wait, some give up, and none is told that it is over a limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ratelimit import BackendError, BackendTimeout, RetryPolicy
from tests.faults.faces import Face, FaceMaker, asyncio_face, each_face, sync_face, used
from tests.servers import HOLD_REQUEST, FaultProxy, RedisServer, eventually


@each_face
def test_a_pool_is_as_large_as_it_was_asked_to_be(face_of: FaceMaker, proxy: FaultProxy) -> None:
    """The limit of redis-py, by default or in the URL, is not another one beside ours."""
    policy = RetryPolicy(timeout=20, deadline=20)
    with face_of(f"{proxy.url}?max_connections=2", policy=policy, max_connections=6) as face:
        threads = [threading.Thread(target=face.acquire, args=["alice"]) for _ in range(6)]
        with proxy_holding(proxy):
            start_in_turn(threads, proxy)
        for thread in threads:
            thread.join()
        assert used(face.peek("alice")) == {"requests": 6, "tokens": 0}


def start_in_turn(threads: list[threading.Thread], proxy: FaultProxy) -> None:
    """Each when the one before has sent its call: what asyncio wants in the same moment travels on one connection."""
    for number, thread in enumerate(threads, start=1):
        thread.start()
        eventually(lambda number=number: proxy.held == number)  # type: ignore[misc]  # bound now


def open_connections(face: Face, proxy: FaultProxy, count: int) -> None:
    """Leave so many idle connections behind."""
    threads = [threading.Thread(target=face.acquire, args=["warm"]) for _ in range(count)]
    with proxy_holding(proxy):
        start_in_turn(threads, proxy)
    for thread in threads:
        thread.join()


@each_face
def test_many_idle_connections_do_not_outlive_their_server(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy
) -> None:
    """After a restart one call is enough to find out that all of them are dead."""
    with face_of(proxy.url, policy=RetryPolicy(timeout=5, deadline=10, attempts=2)) as face:
        open_connections(face, proxy, 6)
        server.restart()
        assert used(face.acquire("alice").standings) == {"requests": 1, "tokens": 0}


@each_face
def test_many_idle_connections_do_not_hold_on_to_a_demoted_server(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy
) -> None:
    """After a failover one read-only answer is enough to leave all of them."""
    policy = RetryPolicy(timeout=5, deadline=10, attempts=2)
    with RedisServer(server.binary) as promoted, face_of(proxy.url, policy=policy) as face:
        open_connections(face, proxy, 6)
        server.call("REPLICAOF", "127.0.0.1", promoted.port)
        try:
            eventually(lambda: server.info("replication")["master_link_status"] == "up")
            proxy.retarget("127.0.0.1", promoted.port)
            assert used(face.acquire("alice").standings) == {"requests": 1, "tokens": 0}
        finally:
            server.call("REPLICAOF", "NO", "ONE")


def test_a_pool_that_is_used_up_times_out_and_never_refuses(proxy: FaultProxy) -> None:
    """Who finds no free connection in time is told so: it says nothing about the limits, and nothing was charged."""
    policy = RetryPolicy(timeout=0.2, deadline=0.2, attempts=1)
    errors: list[Exception] = []
    with sync_face(proxy.url, policy=policy, max_connections=1) as face:
        face.acquire("alice")

        def acquire() -> None:
            try:
                face.acquire("alice")
            except Exception as error:
                errors.append(error)

        with proxy_holding(proxy):
            threads = [threading.Thread(target=acquire) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [type(error) for error in errors] == [BackendTimeout] * 6
        exhausted = [error for error in errors if "no free connection" in str(error)]
        assert 0 < len(exhausted) < 6
        assert eventually(lambda: used(face.peek("alice")))["requests"] <= 1 + 6 - len(exhausted)


def test_an_asyncio_pool_that_is_used_up_times_out_and_never_refuses(proxy: FaultProxy) -> None:
    """Waiting in line for a connection counts as waiting for the answer."""
    policy = RetryPolicy(timeout=0.2, deadline=0.2, attempts=1)
    errors: list[BackendError] = []
    with asyncio_face(proxy.url, policy=policy, max_connections=1) as face:
        face.acquire("alice")

        def acquire() -> None:
            with pytest.raises(BackendTimeout) as failure:
                face.acquire("alice")
            errors.append(failure.value)

        with proxy_holding(proxy):
            threads = [threading.Thread(target=acquire) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(errors) == 6
        assert proxy.counters.seen["EVALSHA"] < 1 + 6  # some were never sent


@contextmanager
def proxy_holding(proxy: FaultProxy) -> Iterator[None]:
    """Nothing gets through for a while."""
    proxy.random(1, {HOLD_REQUEST: 1.0})
    try:
        yield
    finally:
        proxy.clear()
        proxy.release()
