"""Leases: a slice of a subject's buckets, paid ahead, and what may be handed out of it. Pure: time is an argument.

Theory of operation. A slice is an ordinary reserve of all buckets of one subject, so the server has charged it before
any of it is used. What is left of it may be handed out for one *term*, counted from the moment before the reserve was
sent. So whatever is admitted was charged at most a term earlier, and usage admitted in an interval t is at most
B + r * (t + term).

The *floor* keeps it tighter. With V0 the level right after the slice's reserve, V0 - drained is a lower bound of the
server's level L at every instant since, as long as nothing is given back there. What is left is kept at or below it
whenever something is handed out. Then L - left never touches zero, and that is the level of a world in which each part
was charged at the instant when it was handed out, not when the slice was: handing out is a refund under the safe rule
(docs/reservations.md) and a reserve at the same instant. In that world P1 holds without the term. A worker cannot see
what others give back (slices of theirs included), so among several the term stays in the bound.

Amounts that come back to a slice follow the same rule. `L - left` right after they were handed out is their mark; less
the drain and what has come back since, it bounds what may come back now. What is left at the end goes back to
the server by the settle of the slice's own reserve, that is by the safe rule itself.

Times are microseconds of a clock of the worker's own that only goes forwards, and as fast as the server's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout

__all__ = ("Demand", "Glimpse", "Slice", "slice_costs")

_WORTH: Final = 2
"""A slice that holds fewer of the costs asked for than this saves no call."""


class Glimpse:
    """Where a subject's buckets stood when the backend last spoke of them, seen from this worker's clock.

    `since` is a time at or before the answer, so what has drained since is never taken for less than it is.
    """

    __slots__ = ("hold", "since")

    def __init__(self, hold: Hold, since: int) -> None:
        self.hold = hold
        self.since = since

    def levels(self, now: int) -> list[int]:
        """Per bucket, what is left of that level if nothing was added; counted in ticks as the server counts them."""
        hold = self.hold
        at, then = hold.at, hold.at + now - self.since
        return [
            max(0, level - (then // spec.tick_us - at // spec.tick_us) * spec.rate)
            for level, spec in zip(hold.levels, hold.layout.specs, strict=True)
        ]


class Slice(Glimpse):
    """One lease. `hold` is its reserve as answered, `left` what may still be handed out, in units per bucket."""

    __slots__ = ("decisions", "ends", "left", "returned", "steady")

    def __init__(self, hold: Hold, since: int, term: int) -> None:
        super().__init__(hold, since)
        self.ends = since + term
        """Nothing is handed out from here on."""
        self.left: Sequence[int] = tuple(hold.costs)
        self.returned: Sequence[int] = (0,) * len(hold.costs)
        """The sum of what has come back, per bucket. Replaced, never changed: those who hold it keep what it was."""
        self.decisions = 0
        self._steady_from(since)

    steady: int
    """Until here the floor is above what is left, so that nobody need look at it. Never after `ends`."""

    def take(self, costs: Sequence[int], now: int) -> bool:
        """Hand this out, if all of it is there."""
        if now >= self.steady:
            if now >= self.ends:
                return False
            self._steady_from(now)
        if len(costs) == 2:  # nearly every plan: in a third of the time
            first, second = self.left
            cost, other = costs
            first -= cost
            second -= other
            if first < 0 or second < 0:
                return False
            self.left = (first, second)
        else:
            left = [have - cost for have, cost in zip(self.left, costs, strict=True)]
            if min(left) < 0:
                return False
            self.left = left
        self.decisions += 1
        return True

    def correct(self, debts: Sequence[int], left: Sequence[int], returned: Sequence[int], now: int) -> list[int] | None:
        """Settle what was handed out when `left` and `returned` were these, by `debts` (real less reserved, units).

        Returns what has come back, per bucket; None, with nothing changed, when an overrun does not fit or the lease
        has ended.
        """
        if now >= self.ends:
            return None
        floor = self.levels(now)
        after, given = [], []
        for i, debt in enumerate(debts):
            have = min(self.left[i], floor[i])
            credit = max(0, min(-debt, floor[i] - left[i] - (self.returned[i] - returned[i])))
            if debt > have:
                return None
            after.append(have - max(0, debt) + credit)
            given.append(credit)
        self.left = after
        self.returned = [before + credit for before, credit in zip(self.returned, given, strict=True)]
        self._steady_from(now)
        return given

    def standing(self, left: Sequence[int], now: int) -> list[int]:
        """The levels as this worker sees them with so much left: what is paid for and not handed out is not used."""
        return [max(0, level - part) for level, part in zip(self.levels(now), left, strict=True)]

    def spent(self) -> list[int]:
        """What to settle the slice at."""
        return [cost - left for cost, left in zip(self.hold.costs, self.left, strict=True)]

    def _steady_from(self, now: int) -> None:
        """Bring what is left down to the floor, and work out for how long the floor stays above it."""
        hold = self.hold
        left = [min(pair) for pair in zip(self.left, self.levels(now), strict=True)]
        steady = self.ends
        for have, level, spec in zip(left, hold.levels, hold.layout.specs, strict=True):
            ticks = hold.at // spec.tick_us + (level - have) // spec.rate + 1
            steady = min(steady, self.since + ticks * spec.tick_us - hold.at)
        self.left, self.steady = left, steady


class Demand:
    """What was asked for here over the last term: the need to expect of the next one.

    Two windows of a term's length, the older one counted by the share of it that is still in sight.
    """

    __slots__ = ("_before", "_began", "_now", "_term")

    def __init__(self, buckets: int, term: int) -> None:
        self._term = term
        self._began = 0
        self._before = self._now = (0,) * (buckets + 1)

    def add(self, now: int, decisions: int, units: Sequence[int]) -> None:
        """So many decisions have cost so much in all."""
        self._roll(now)
        self._now = tuple(a + b for a, b in zip(self._now, (decisions, *units), strict=True))

    def expected(self, now: int) -> tuple[int, list[int]]:
        """Decisions, and units per bucket, of the next term; the latter by the mean cost of those in both windows.

        So where all cost the same, what is expected is exactly so many times that, and a slice of it leaves no rest.
        """
        self._roll(now)
        rest = self._term - (now - self._began)
        sums = [a + b for a, b in zip(self._before, self._now, strict=True)]
        decisions = self._before[0] * rest // self._term + self._now[0]
        return decisions, [units * decisions // sums[0] if sums[0] else 0 for units in sums[1:]]

    def _roll(self, now: int) -> None:
        passed = (now - self._began) // self._term
        if passed > 0:  # what a slice has handed out may be told of late, when a new window has begun
            nothing = (0,) * len(self._now)
            self._before, self._now = (self._now, nothing) if passed == 1 else (nothing, nothing)
            self._began = self._began + self._term if passed == 1 else now


def slice_costs(
    layout: Layout,
    cost: Sequence[int],
    levels: Sequence[int],
    expected: tuple[int, Sequence[int]],
    *,
    most: int,
    workers: int,
) -> list[int] | None:
    """How large a slice to ask for by somebody who needs `cost` of it at once; None: it would not be worth it.

    The expected need, of at most `most` decisions; of what is free at most a share for each of twice as many workers as
    there are, so that slices become smaller as the limit comes near; in whole tokens.
    """
    decisions, need = expected
    if not decisions:
        return None
    costs = []
    for spec, asked, level, units in zip(layout.specs, cost, levels, need, strict=True):
        wanted = max(asked, units * min(decisions, most) // decisions)
        share = max(0, spec.capacity - level) // (2 * workers)
        size = min(wanted, share) // spec.units * spec.units
        if size < _WORTH * asked:
            return None
        costs.append(size)
    return costs
