"""More callers than connections: some wait, some give up, and none is told that it is over a limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ratelimit import BackendError, BackendTimeout, RetryPolicy
from tests.faults.faces import FaceMaker, asyncio_face, each_face, sync_face, used
from tests.servers import HOLD_REQUEST, FaultProxy, eventually


@each_face
def test_a_pool_is_as_large_as_it_was_asked_to_be(face_of: FaceMaker, proxy: FaultProxy) -> None:
    """The limit of redis-py, by default or in the URL, is not another one beside ours."""
    policy = RetryPolicy(timeout=20, deadline=20)
    with face_of(f"{proxy.url}?max_connections=2", policy=policy, max_connections=6) as face:
        threads = [threading.Thread(target=face.acquire, args=["alice"]) for _ in range(6)]
        with proxy_holding(proxy):
            for thread in threads:
                thread.start()
            eventually(lambda: proxy.held == 6)
        for thread in threads:
            thread.join()
        assert used(face.peek("alice")) == {"requests": 6, "tokens": 0}


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
