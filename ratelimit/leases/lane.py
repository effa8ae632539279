"""The way of one subject under one plan: its demand, what was last heard of its level, and the slice it lives on.

No I/O and no waiting in here, and no lock: whoever calls holds the one of the limiter's leasing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ratelimit.backends.base import Op
from ratelimit.core.hold import Hold
from ratelimit.core.lease import Demand, Glimpse, Slice, slice_costs
from ratelimit.core.limit import Layout
from ratelimit.intake import check_amounts, price
from ratelimit.leases.options import Leases

if TYPE_CHECKING:
    from ratelimit.leases.leasing import Leasing

__all__ = ("Lease", "LeaseLane")

_PRICES_MAX: Final = 1_024


class Lease(Slice):
    """A slice, with the operation that reserved it."""

    __slots__ = ("op",)

    def __init__(self, hold: Hold, op: Op, since: int, term: int) -> None:
        super().__init__(hold, since, term)
        self.op = op


class LeaseLane:
    """Made with the first call of a subject under a plan, kept while there is room."""

    __slots__ = (
        "_demand",
        "_glimpse",
        "_options",
        "failures",
        "key",
        "layout",
        "lease",
        "leasing",
        "prices",
        "renewing",
        "resets",
        "timer",
        "turn",
        "waiting",
    )

    def __init__(self, leasing: Leasing, key: str, layout: Layout, options: Leases) -> None:
        self.leasing = leasing
        self.key = key
        self.layout = layout
        self.lease: Lease | None = None
        self.resets = 0
        """How often the subject was reset: a slice that was asked for before is not to be used."""
        self.renewing = False
        """True while a thread renews; of the sync face."""
        self.failures = 0
        """How often a renewal has failed: who waited for one need not try another."""
        self.waiting: deque[Any] = deque()
        """Who stands before those that come now; of the asyncio face."""
        self.turn: Any = leasing.make_turn()
        self.timer: Any = None
        self._options = options
        self._demand = Demand(len(layout.specs), options.term_us)
        self._glimpse: Glimpse | None = None
        self.prices: dict[tuple[int, int], Sequence[int]] = {}
        """Costs by (requests, tokens). Whoever looks has made sure that both are of type int."""

    def price(self, requests: int, tokens: int) -> Sequence[int]:
        """The cost in units per bucket, for the first time.

        Raises:
            CostExceedsLimit, ConfigError: as `acquire`.
        """
        amounts = {"requests": requests, "tokens": tokens}
        check_amounts(amounts)
        costs = tuple(price(self.layout, amounts))
        if len(self.prices) >= _PRICES_MAX:
            self.prices.clear()
        self.prices[requests, tokens] = costs
        return costs

    def see(self, hold: Hold, since: int) -> None:
        """The backend has answered what was asked at `since`. Answers may overtake: the latest question counts."""
        if self._glimpse is None or since >= self._glimpse.since:
            self._glimpse = Glimpse(hold, since)

    def ask(self, costs: Sequence[int], now: int) -> None:
        """One more decision was wanted that no slice has paid for."""
        self._demand.add(now, 1, costs)

    def slice_for(self, costs: Sequence[int], ahead: Sequence[Sequence[int]], now: int) -> list[int] | None:
        """What to lease for a caller who needs this at once and others `ahead`; None: it is not worth it now."""
        decisions, units = self._demand.expected(now)
        if ahead and len(ahead) > decisions:
            decisions, units = len(ahead), [sum(parts) for parts in zip(*ahead, strict=True)]
        if self._glimpse is None or decisions < self._options.busy:
            return None
        levels = self._glimpse.levels(now)
        if self.lease is not None:
            levels = [max(0, level - left) for level, left in zip(levels, self.lease.left, strict=True)]
        options = self._options
        return slice_costs(self.layout, costs, levels, (decisions, units), most=options.most, workers=options.workers)

    def begin(self, hold: Hold, op: Op, since: int) -> None:
        """Live on this slice from now on."""
        self.lease = Lease(hold, op, since, self._options.term_us)

    def end(self, now: int) -> Lease | None:
        """Live on no slice any more; the one until now, if something of it is left to give back."""
        lease, self.lease = self.lease, None
        if lease is None:
            return None
        spent = lease.spent()
        self._demand.add(min(now, lease.ends), lease.decisions, spent)
        return lease if any(lease.left) else None
