"""What `AsyncLimiter.acquire` returns: something to await, or to enter."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ratelimit.express import ExpressLane
from ratelimit.intake import Scope
from ratelimit.plans import Plan
from ratelimit.reservation import AsyncReservation

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter

__all__ = ("Acquisition", "ExpressAcquisition", "LeasedAcquisition")


class Acquisition:
    """An acquire that has not begun: `await` it for the reservation, or enter it with `async with`."""

    __slots__ = ("_begin", "_reservation")

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, AsyncReservation]]) -> None:
        self._begin = begin
        self._reservation: AsyncReservation

    def __await__(self) -> Generator[Any, Any, AsyncReservation]:
        return self._begin().__await__()

    async def __aenter__(self) -> AsyncReservation:
        self._reservation = await self
        return self._reservation

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reservation.__aexit__(kind, error, trace)


class ExpressAcquisition(Acquisition):
    """The same of a subject that has a lane: without a coroutine and a closure, which take as long as the rest."""

    __slots__ = ("_lane", "_requests", "_tokens")

    _lane: ExpressLane
    _requests: int
    _tokens: int

    __init__ = object.__init__

    def __await__(self) -> Generator[Any, Any, AsyncReservation]:
        lane = self._lane
        reservation: AsyncReservation | None = lane.reserve(self._requests, self._tokens)
        if reservation is None:
            general = lane.limiter._acquire(
                lane.subject, lane.plan, lane.group, self._requests, self._tokens, {}, None, "refund_tokens"
            )
            reservation = yield from general.__await__()
        return reservation


class LeasedAcquisition(Acquisition):
    """The same where there are leases: a coroutine is made only if the subject's slice does not have enough."""

    __slots__ = ("_arguments", "_limiter", "_take")

    _arguments: tuple[str | Sequence[Scope], str | Plan | None, str | None, int, int]
    _limiter: AsyncLimiter
    _take: Callable[..., AsyncReservation | None]

    __init__ = object.__init__

    def __await__(self) -> Generator[Any, Any, AsyncReservation]:
        leased: AsyncReservation | None = self._take(*self._arguments)
        if leased is None:
            leased = yield from self._limiter._acquire(*self._arguments, {}, None, "refund_tokens").__await__()
        return leased
