"""One way to drive both faces of the engine, from any thread, and to read what a subject has used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeAlias, TypeVar

import pytest

from ratelimit import (
    AsyncLimiter,
    AsyncReservation,
    Limit,
    Limiter,
    Plan,
    Reservation,
    RetryPolicy,
    Settlement,
    Standing,
)

__all__ = ("FACES", "LEDGER", "QUICK", "Face", "FaceMaker", "Held", "asyncio_face", "each_face", "sync_face", "used")

T = TypeVar("T")

#: A plan whose buckets are books: they hold a million, and the 1/86,400 that drains in a second never shows.
LEDGER = Plan(
    "Ledger",
    limits=[
        Limit("requests", amount=1, period="day", burst=1_000_000),
        Limit("tokens", amount=1, period="day", burst=100_000_000),
    ],
)

#: Gives up soon enough for a test, and late enough for a machine that is busy with something else.
QUICK = RetryPolicy(timeout=0.15, deadline=1.5, attempts=4)

Held: TypeAlias = "Reservation | AsyncReservation"


class Face(Protocol):
    """The verbs of a limiter, blocking, for any thread."""

    def acquire(self, subject: str, *, tokens: int = 0, plan: Plan = LEDGER) -> Held: ...
    def settle(self, held: Held, *, tokens: int) -> Settlement: ...
    def peek(self, subject: str, *, plan: Plan = LEDGER) -> tuple[Standing, ...]: ...
    def reset(self, subject: str) -> bool: ...


FaceMaker: TypeAlias = Callable[..., AbstractContextManager[Face]]


def used(standings: Iterable[Standing]) -> dict[str, int]:
    """What of each meter's bucket is taken."""
    return {standing.meter: standing.burst - standing.remaining for standing in standings}


class _SyncFace:
    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def acquire(self, subject: str, *, tokens: int = 0, plan: Plan = LEDGER) -> Held:
        return self._limiter.acquire(subject, plan=plan, tokens=tokens)

    def settle(self, held: Held, *, tokens: int) -> Settlement:
        assert isinstance(held, Reservation)
        return held.settle(tokens=tokens)

    def peek(self, subject: str, *, plan: Plan = LEDGER) -> tuple[Standing, ...]:
        return self._limiter.peek(subject, plan=plan)

    def reset(self, subject: str) -> bool:
        return self._limiter.reset(subject)


class _AsyncFace:
    """Runs the asyncio face in a loop of its own, in a thread of its own."""

    def __init__(self, limiter: AsyncLimiter, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self._loop = loop

    def _run(self, job: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result()

    def acquire(self, subject: str, *, tokens: int = 0, plan: Plan = LEDGER) -> Held:
        async def acquire() -> AsyncReservation:
            return await self._limiter.acquire(subject, plan=plan, tokens=tokens)

        return self._run(acquire())

    def settle(self, held: Held, *, tokens: int) -> Settlement:
        assert isinstance(held, AsyncReservation)
        return self._run(held.settle(tokens=tokens))

    def peek(self, subject: str, *, plan: Plan = LEDGER) -> tuple[Standing, ...]:
        return self._run(self._limiter.peek(subject, plan=plan))

    def reset(self, subject: str) -> bool:
        return self._run(self._limiter.reset(subject))

    def close(self) -> None:
        self._run(self._limiter.close())


@contextmanager
def sync_face(url: str, **options: Any) -> Iterator[Face]:
    """The sync face."""
    with Limiter.from_url(url, **{"policy": QUICK, **options}) as limiter:
        yield _SyncFace(limiter)


@contextmanager
def asyncio_face(url: str, **options: Any) -> Iterator[Face]:
    """The asyncio face."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="asyncio-face", daemon=True)
    thread.start()
    face = _AsyncFace(AsyncLimiter.from_url(url, **{"policy": QUICK, **options}), loop)
    try:
        yield face
    finally:
        face.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


FACES: tuple[FaceMaker, ...] = (sync_face, asyncio_face)
each_face = pytest.mark.parametrize("face_of", FACES, ids=["sync", "asyncio"])
