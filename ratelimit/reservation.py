"""What a caller holds between reserve and settle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ratelimit.backends.base import Op
from ratelimit.core.decision import Standing, standings
from ratelimit.core.hold import Hold
from ratelimit.core.settlement import Settlement
from ratelimit.errors import BackendError
from ratelimit.intake import real_costs
from ratelimit.on_error import OnError, amounts_after_error

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter
    from ratelimit.limiter import Limiter

__all__ = ("AsyncReservation", "Reservation")

_log = logging.getLogger("ratelimit")


class _Held:
    """What both kinds of reservation know."""

    __slots__ = ("_exported", "_holds", "_on_error", "_op", "_settlement")

    def __init__(self, holds: Sequence[Hold], op: Op | None, on_error: OnError) -> None:
        self._holds = holds
        self._op = op
        self._on_error = on_error
        self._exported = False
        self._settlement: Settlement | None = None

    def __repr__(self) -> str:
        state = "open" if self._settlement is None else "settled"
        return f"<{type(self).__name__} {state}: {', '.join(f'{n} {m}' for m, n in self.estimate.items())}>"

    @property
    def estimate(self) -> Mapping[str, int]:
        """The amounts reserved, per meter that a plan limits."""
        return {
            spec.meter: cost // spec.units
            for hold in self._holds
            for spec, cost in zip(hold.layout.specs, hold.costs, strict=True)
        }

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where every limit stood right after this was reserved."""
        return tuple(
            standing
            for hold in self._holds
            for standing in standings(hold.layout, hold.at, hold.lag, hold.levels, None)
        )

    @property
    def settlement(self) -> Settlement | None:
        """What the settle did; None while open."""
        return self._settlement

    def _changes_nothing(self, amounts: Mapping[str, int]) -> bool:
        """Leaving at the estimate needs no call: it stays charged as it is. A copy elsewhere may differ, so tell it."""
        return not amounts and not self._exported


class Reservation(_Held):
    """Quota that is charged at an estimate until it is settled. Thread-safe; settles once.

    As a context manager, leaving the block normally keeps the estimate; by an exception, `on_error` decides.
    """

    __slots__ = ("_limiter", "_lock")

    def __init__(self, limiter: Limiter, holds: Sequence[Hold], op: Op | None, on_error: OnError) -> None:
        super().__init__(holds, op, on_error)
        self._limiter = limiter
        self._lock: AbstractContextManager[object] = Lock()

    def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement:
        """Replace the estimate by the real amounts; meters that are not named stay at the estimate.

        Settling again is harmless and returns the first settlement. After a :class:`BackendError` it may be repeated:
        the backend recognises it within the retry window.

        Raises:
            ConfigError: an amount that is not a whole number from 0 to 2**53, or a meter that no plan here limits.
            BackendError: the backend did not answer; the reservation is still open.
        """
        real = real_costs(self._holds, requests, tokens, meters)
        with self._lock:
            if self._settlement is None:
                self._settlement = self._limiter._settle(self._holds, real, self._op)
            return self._settlement

    def cancel(self) -> Settlement:
        """Give everything back, the request included. Raises as :meth:`settle`."""
        return self.settle(**amounts_after_error(self._holds, "refund"))

    def to_token(self) -> str:
        """This reservation as text: any worker with the same secret can `resume` and settle it."""
        with self._lock:
            self._exported = True
            if self._op is None:
                self._op = self._limiter._name()
            return self._limiter._seal(self._op, self._holds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._settlement is not None:
            return
        amounts = {} if error is None else amounts_after_error(self._holds, self._on_error)
        if self._changes_nothing(amounts):
            self._settlement = Settlement(self._holds, (), False)
            return
        try:
            self.settle(**amounts)
        except BackendError as unsettled:
            if error is None:
                raise
            # The block's own exception matters more; the estimate stays charged and drains like any use.
            _log.warning("a reservation could not be given back, its estimate stays charged: %s", unsettled)


class AsyncReservation(_Held):
    """:class:`Reservation`, awaited. Any task may settle it; it settles once."""

    __slots__ = ("_limiter", "_lock")

    def __init__(self, limiter: AsyncLimiter, holds: Sequence[Hold], op: Op | None, on_error: OnError) -> None:
        super().__init__(holds, op, on_error)
        self._limiter = limiter
        self._lock = asyncio.Lock()

    async def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement:
        """As :meth:`Reservation.settle`. Cancelled, the reservation is still open and may be settled again."""
        real = real_costs(self._holds, requests, tokens, meters)
        async with self._lock:
            if self._settlement is None:
                self._settlement = await self._limiter._settle(self._holds, real, self._op)
            return self._settlement

    async def cancel(self) -> Settlement:
        """As :meth:`Reservation.cancel`."""
        return await self.settle(**amounts_after_error(self._holds, "refund"))

    def to_token(self) -> str:
        """As :meth:`Reservation.to_token`."""
        self._exported = True
        if self._op is None:
            self._op = self._limiter._name()
        return self._limiter._seal(self._op, self._holds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._settlement is not None:
            return
        amounts = {} if error is None else amounts_after_error(self._holds, self._on_error)
        if self._changes_nothing(amounts):
            self._settlement = Settlement(self._holds, (), False)
            return
        try:
            await self.settle(**amounts)
        except BackendError as unsettled:
            if error is None:
                raise
            _log.warning("a reservation could not be given back, its estimate stays charged: %s", unsettled)


