"""One face for both limiters, so that a test body is written once: sync calls, whatever is behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

from ratelimit import (
    AsyncLimiter,
    AsyncReservation,
    Decision,
    Limiter,
    Scope,
    Settlement,
    Standing,
)
from ratelimit.waiting import Lines
from tests.servers import eventually

__all__ = ("AsyncDriver", "Call", "Driver", "Held", "SyncDriver", "lines_of")

T = TypeVar("T")
Who = str | Sequence[Scope]
Call = Mapping[str, Any]
"""Arguments of `acquire`, by name."""


class Held(Protocol):
    """A reservation, sync to the caller."""

    @property
    def estimate(self) -> Mapping[str, int]: ...
    @property
    def standings(self) -> tuple[Standing, ...]: ...
    @property
    def settlement(self) -> Settlement | None: ...
    def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement: ...
    def settle_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement: ...
    def cancel(self) -> Settlement: ...
    def to_token(self) -> str: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Driver(Protocol):
    """The verbs of a limiter, and two ways to call one of them many times."""

    def acquire(self, subject: Who, **options: Any) -> Held: ...
    def try_acquire(self, subject: Who, **options: Any) -> Decision[Held]: ...
    def peek(self, subject: Who, **options: Any) -> tuple[Standing, ...]: ...
    def reset(self, subject: str, **options: Any) -> bool: ...
    def resume(self, token: str, **options: Any) -> Held: ...
    def close(self) -> None: ...
    def at_once(self, calls: Sequence[Call]) -> list[bool]:
        """Acquire all at once, in threads or tasks; which of them were allowed."""

    def in_turn(self, calls: Sequence[Call]) -> list[int]:
        """Acquire in threads or tasks that come one after the other; numbers of the calls in the order of answers.

        A call that was refused counts from -1 downwards.
        """


def _answer(number: int, allowed: bool) -> int:
    return number if allowed else -1 - number


def lines_of(limiter: Limiter | AsyncLimiter) -> Lines:
    """Who waits in this process; true while anybody does."""
    inside: Any = limiter
    lines: Lines = inside.lines if hasattr(inside, "lines") else inside._lines
    return lines


def _waiting(lines: Lines) -> int:
    return sum(len(line.tickets) for line in list(lines.values()))


class SyncDriver:
    """A Limiter; many calls are many threads."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter

    def acquire(self, subject: Who, **options: Any) -> Held:
        return self.limiter.acquire(subject, **options)

    def try_acquire(self, subject: Who, **options: Any) -> Decision[Held]:
        return cast("Decision[Held]", self.limiter.try_acquire(subject, **options))

    def peek(self, subject: Who, **options: Any) -> tuple[Standing, ...]:
        return self.limiter.peek(subject, **options)

    def reset(self, subject: str, **options: Any) -> bool:
        return self.limiter.reset(subject, **options)

    def resume(self, token: str, **options: Any) -> Held:
        return self.limiter.resume(token, **options)

    def close(self) -> None:
        self.limiter.close()

    def at_once(self, calls: Sequence[Call]) -> list[bool]:
        with ThreadPoolExecutor(len(calls)) as threads:
            return list(threads.map(lambda call: self.limiter.try_acquire(**call).allowed, calls))

    def in_turn(self, calls: Sequence[Call]) -> list[int]:
        answers: list[int] = []

        def ask(number: int, call: Call) -> None:
            answers.append(_answer(number, self.limiter.try_acquire(**call).allowed))

        with ThreadPoolExecutor(len(calls)) as threads:
            asked = []
            for number, call in enumerate(calls):
                asked.append(threads.submit(ask, number, call))
                eventually(
                    lambda: _waiting(lines_of(self.limiter)) + len(answers) >= len(asked), what="it stands in line"
                )
            for future in asked:
                future.result()
        return answers


class AsyncHeld:
    """An AsyncReservation on its driver's event loop."""

    def __init__(self, driver: AsyncDriver, held: AsyncReservation) -> None:
        self._run = driver.run
        self._held = held

    @property
    def estimate(self) -> Mapping[str, int]:
        return self._held.estimate

    @property
    def standings(self) -> tuple[Standing, ...]:
        return self._held.standings

    @property
    def settlement(self) -> Settlement | None:
        return self._held.settlement

    def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement:
        return self._run(self._held.settle(requests=requests, tokens=tokens, **meters))

    def settle_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement:
        return self._run(self._held.settle_each(amounts))

    def cancel(self) -> Settlement:
        return self._run(self._held.cancel())

    def to_token(self) -> str:
        return self._held.to_token()

    def __enter__(self) -> Self:
        self._run(self._held.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._held.__aexit__(kind, error, trace))


class AsyncDriver:
    """An AsyncLimiter on an event loop that lives as long as the driver; many calls are many tasks."""

    def __init__(self, limiter: AsyncLimiter) -> None:
        self.limiter = limiter
        self._runner = asyncio.Runner()

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        """Run to completion on the driver's loop."""
        return self._runner.run(job)

    def acquire(self, subject: Who, **options: Any) -> Held:
        async def acquired() -> AsyncReservation:
            return await self.limiter.acquire(subject, **options)

        return AsyncHeld(self, self.run(acquired()))

    def try_acquire(self, subject: Who, **options: Any) -> Decision[Held]:
        decision: Decision[Any] = self.run(self.limiter.try_acquire(subject, **options))
        held = decision.reservation
        if held is None:
            return decision
        return Decision(allowed=True, standings=decision.standings, reservation=AsyncHeld(self, held))

    def peek(self, subject: Who, **options: Any) -> tuple[Standing, ...]:
        return self.run(self.limiter.peek(subject, **options))

    def reset(self, subject: str, **options: Any) -> bool:
        return self.run(self.limiter.reset(subject, **options))

    def resume(self, token: str, **options: Any) -> Held:
        return AsyncHeld(self, self.limiter.resume(token, **options))

    def close(self) -> None:
        with self._runner:
            self.run(self.limiter.close())

    def at_once(self, calls: Sequence[Call]) -> list[bool]:
        async def all_of_them() -> list[bool]:
            decisions = await asyncio.gather(*[self.limiter.try_acquire(**call) for call in calls])
            return [decision.allowed for decision in decisions]

        return self.run(all_of_them())

    def in_turn(self, calls: Sequence[Call]) -> list[int]:
        answers: list[int] = []

        async def ask(number: int, call: Call) -> None:
            answers.append(_answer(number, (await self.limiter.try_acquire(**call)).allowed))

        async def all_of_them() -> None:
            # Tasks begin in the order of their creation, and nothing is awaited before the place in line is taken.
            await asyncio.gather(*[ask(number, call) for number, call in enumerate(calls)])

        self.run(all_of_them())
        return answers
