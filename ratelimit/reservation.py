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
from ratelimit.errors import BackendError, ConfigError
from ratelimit.intake import real_cost, real_costs, real_costs_each
from ratelimit.on_error import OnError, amounts_after_error

if TYPE_CHECKING:
    from ratelimit.aio import AsyncLimiter
    from ratelimit.limiter import Limiter

__all__ = ("AsyncReservation", "Held", "Reservation")

_log = logging.getLogger("ratelimit")


class Held:
    """What both kinds of reservation know."""

    __slots__ = ("_exported", "_holds", "_limiter", "_lock", "_on_error", "_op", "_settlement", "_wanted")

    def __init__(self, holds: Sequence[Hold], op: Op | None, on_error: OnError) -> None:
        self._holds = holds
        self._op = op
        self._on_error = on_error
        self._exported = False
        self._settlement: Settlement | None = None
        self._wanted: Sequence[Sequence[int]] | None = None
        """The real cost that a settle asked for: one that failed is repeated on leaving the block."""

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
            for hold in self._shown
            for standing in standings(hold.layout, hold.at, hold.lag, hold.levels, None)
        )

    @property
    def _shown(self) -> Sequence[Hold]:
        """The holds, with the levels to show."""
        return self._holds

    @property
    def settlement(self) -> Settlement | None:
        """What the settle did; None while open."""
        return self._settlement

    def _real(self, requests: int | None, tokens: int | None, meters: Mapping[str, int]) -> Sequence[Sequence[int]]:
        """The real cost in units. After amounts that cannot be right the estimate is kept: something was used."""
        try:
            return real_costs(self._holds, requests, tokens, meters)
        except ConfigError:
            self._on_error = "keep"
            raise

    def _real_each(self, amounts: Sequence[Mapping[str, int]]) -> Sequence[Sequence[int]]:
        """As :meth:`_real`, scope by scope."""
        try:
            return real_costs_each(self._holds, amounts)
        except ConfigError:
            self._on_error = "keep"
            raise

    def _on_leaving(self, error: BaseException | None) -> Sequence[Sequence[int]] | None:
        """What leaving the block settles to; None when there is nothing to do.

        Leaving at the estimate needs no call: it stays charged as it is. But a copy elsewhere has to be told.
        """
        if self._settlement is not None:
            return None
        if self._wanted is not None:
            return self._wanted
        amounts = {} if error is None else amounts_after_error(self._holds, self._on_error)
        if amounts or self._exported:
            return [real_cost(hold, amounts) for hold in self._holds]
        self._settlement = Settlement(self._holds, (), False)
        return None


class Reservation(Held):
    """Quota that is charged at an estimate until it is settled. Thread-safe; settles once.

    As a context manager, leaving the block unsettled keeps the estimate; by an exception, `on_error` decides. A settle
    that failed in the block is repeated on leaving it.
    """

    __slots__ = ()

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
        return self._settle(self._real(requests, tokens, meters))

    def settle_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement:
        """As :meth:`settle`, with amounts per scope, in the order in which the scopes were given.

        For scopes whose plans weigh the same usage differently. Raises as :meth:`settle`.
        """
        return self._settle(self._real_each(amounts))

    def _settle(self, real: Sequence[Sequence[int]]) -> Settlement:
        with self._lock:
            if self._settlement is None:
                self._wanted = real
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        real = self._on_leaving(error)
        if real is None:
            return
        try:
            self._settle(real)
        except BackendError as unsettled:
            if error is None:
                raise
            # The block's own exception matters more; the estimate stays charged and drains like any use.
            _log.warning("a reservation could not be settled, its estimate stays charged: %s", unsettled)


class AsyncReservation(Held):
    """:class:`Reservation`, awaited. Any task may settle it; it settles once."""

    __slots__ = ()

    def __init__(self, limiter: AsyncLimiter, holds: Sequence[Hold], op: Op | None, on_error: OnError) -> None:
        super().__init__(holds, op, on_error)
        self._limiter = limiter
        self._lock = asyncio.Lock()

    async def settle(self, *, requests: int | None = None, tokens: int | None = None, **meters: int) -> Settlement:
        """As :meth:`Reservation.settle`. Cancelled, the reservation is still open and may be settled again."""
        return await self._settle(self._real(requests, tokens, meters))

    async def settle_each(self, amounts: Sequence[Mapping[str, int]]) -> Settlement:
        """As :meth:`Reservation.settle_each`."""
        return await self._settle(self._real_each(amounts))

    async def _settle(self, real: Sequence[Sequence[int]]) -> Settlement:
        async with self._lock:
            if self._settlement is None:
                self._wanted = real
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
        real = self._on_leaving(error)
        if real is None:
            return
        try:
            await self._settle(real)
        except BackendError as unsettled:
            if error is None:
                raise
            _log.warning("a reservation could not be settled, its estimate stays charged: %s", unsettled)
