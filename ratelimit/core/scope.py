"""What is stored for one subject, and the arithmetic on it. Pure: time and randomness are arguments.

Theory of operation. A scope holds one bucket per limit. A bucket has a *level* (how much is used, in units, see
`core.limit`) and the sum of refunds given so far. Time moves a level down, a reserve moves it up, a settle corrects
it. `lua/` says the same in Lua; `tests/promises` holds the two and an exact model against each other.

* Drain: level' = max(0, level - rate * ticks). Ticks are counted between whole ticks of the clock, so draining in
  many small steps is draining in one large one.
* Admission: every bucket with a cost must fit (level' + cost <= capacity), then all are charged, else none is and
  nothing is stored.
* Refund: with the level V0 right after the reserve, the refunds R0 given until then (their sum is the *mark*), the
  refunds R until now and the drain D since, V0 - D - (R - R0) is a lower bound of the level at every instant in
  between. No more than that is given back, so a refund never leaves a bucket looser than if the real cost
  had been charged at the start (promise P6). Design and proof: docs/reservations.md.
* Epoch: drawn anew whenever the numbers that a mark was taken in no longer hold (a bucket vanished, a plan changed,
  the clock was set back, the sum of refunds ran full). A mark of another epoch is worth nothing.
* Clock: stored time never moves back. A step back beyond the skew is believed, with no credit for any time, and
  stored even by a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ratelimit.core.limit import LEVEL_MAX, Layout

__all__ = ("ScopeState", "Terms", "convert_level", "open_scope", "settle_scope")

_EXACT = 2**53


class Terms(Protocol):
    """The numbers of a bucket that are stored beside its level."""

    @property
    def tag(self) -> bytes:
        """Which limit of the subject this is."""

    @property
    def units(self) -> int:
        """Units per token of the meter."""

    @property
    def rate(self) -> int:
        """Units that drain per tick."""

    @property
    def tick_us(self) -> int:
        """Length of a tick, microseconds."""


class ScopeState:
    """The buckets of one subject as stored: `at` (us) is the time that the levels are true of."""

    __slots__ = ("at", "epoch", "layout", "levels", "refunded", "specs")

    def __init__(
        self,
        *,
        epoch: int,
        at: int,
        layout: Layout | None,
        specs: Sequence[Terms],
        levels: Sequence[int],
        refunded: Sequence[int],
    ) -> None:
        self.epoch = epoch
        self.at = at
        self.layout = layout
        """The caller's layout when `specs` are exactly its buckets; spares the hot path a comparison."""
        self.specs = specs
        self.levels = levels
        self.refunded = refunded

    def drained(self, now: int) -> list[int]:
        """The levels at `now`, which must not lie before `at`."""
        at, layout = self.at, self.layout
        levels = []
        if layout is not None and layout.fine:
            elapsed = now - at
            for level, rate in zip(self.levels, layout.rates, strict=True):
                level -= elapsed * rate
                levels.append(max(0, level))
        else:
            for level, spec in zip(self.levels, self.specs, strict=True):
                level -= (now // spec.tick_us - at // spec.tick_us) * spec.rate
                levels.append(max(0, level))
        return levels

    def drained_at(self) -> int:
        """The time (us) at which every bucket is empty: from then on, storing nothing says the same."""
        longest = 0
        for level, spec in zip(self.levels, self.specs, strict=True):
            drain = -(-level // spec.rate) * spec.tick_us
            longest = max(longest, drain)
        return self.at + longest


def open_scope(stored: ScopeState | None, layout: Layout, now: int, skew: int, epoch: int) -> ScopeState:
    """A copy of what is stored, drained to `now` and arranged as `layout`'s buckets come first.

    `epoch` is the one to use should a new one be needed; `skew` (us) the largest step back of the clock that is
    waited out.
    """
    scope = None if stored is None else _at(stored, now, skew, epoch)
    if scope is None:
        zeros = [0] * len(layout.specs)
        return ScopeState(epoch=epoch, at=now, layout=layout, specs=layout.specs, levels=zeros, refunded=zeros.copy())
    if scope.layout is layout or _same(scope.specs, layout.specs):
        scope.layout = layout
        scope.specs = layout.specs
        return scope
    return _replan(scope, layout, epoch)


def _at(stored: ScopeState, now: int, skew: int, epoch: int) -> ScopeState | None:
    """A drained copy, under the clock rules of promise P7. One that has drained altogether is the same as none."""
    reanchored = now < stored.at - skew
    at = now if reanchored else max(now, stored.at)
    levels = list(stored.levels) if reanchored else stored.drained(at)
    if not any(levels):
        return None
    return ScopeState(
        epoch=epoch if reanchored else stored.epoch,
        at=at,
        layout=stored.layout,
        specs=stored.specs,
        levels=levels,
        refunded=[0] * len(stored.levels) if reanchored else list(stored.refunded),
    )


def _numbers(spec: Terms) -> tuple[bytes, int, int, int]:
    return spec.tag, spec.units, spec.rate, spec.tick_us


def _same(left: Sequence[Terms], right: Sequence[Terms]) -> bool:
    return len(left) == len(right) and all(_numbers(a) == _numbers(b) for a, b in zip(left, right, strict=True))


def _replan(scope: ScopeState, layout: Layout, epoch: int) -> ScopeState:
    """A plan changed under the subject: keep the use of every limit in tokens, and what the plan no longer names.

    A bucket that the plan does not name stays until it has drained. One that is dropped, or counted in other units,
    makes older marks worthless.
    """
    old = {spec.tag: i for i, spec in enumerate(scope.specs)}
    specs: list[Terms] = list(layout.specs)
    levels: list[int] = []
    refunded: list[int] = []
    kept = True
    for spec in layout.specs:
        i = old.pop(spec.tag, None)
        if i is None:
            levels.append(0)
            refunded.append(0)
        else:
            before = scope.specs[i]
            same = _numbers(before) == _numbers(spec)
            kept = kept and same
            levels.append(scope.levels[i] if same else convert_level(scope.levels[i], before.units, spec.units))
            refunded.append(scope.refunded[i])
    for i in old.values():
        if scope.levels[i] == 0:
            kept = False
        else:
            specs.append(scope.specs[i])
            levels.append(scope.levels[i])
            refunded.append(scope.refunded[i])
    return ScopeState(
        epoch=scope.epoch if kept else epoch,
        at=scope.at,
        layout=layout if len(specs) == len(layout.specs) else None,
        specs=specs,
        levels=levels,
        refunded=refunded if kept else [0] * len(refunded),
    )


def convert_level(level: int, from_units: int, to_units: int) -> int:
    """The same use of a limit in another plan's units, rounded up.

    Rounds up to a whole token where the exact product would pass 2**53, as the Lua must.
    """
    whole, rest = divmod(level, from_units)
    part = rest * to_units
    part = to_units if part >= _EXACT else -(-part // from_units)
    return min(whole * to_units + part, LEVEL_MAX)


def settle_scope(
    stored: ScopeState | None,
    layout: Layout,
    now: int,
    skew: int,
    *,
    epoch: int,
    mark_epoch: int,
    since: int,
    debts: Sequence[int],
    marks: Sequence[int],
) -> tuple[ScopeState | None, list[int], list[int]]:
    """Correct every bucket by `debts` (real less reserved cost, in units of `layout`).

    Returns the scope to store (None: nothing to store), and per bucket of `layout` its level and the credit given.
    The marks were taken at `since` (us) under `mark_epoch`; `epoch` is one that no mark was ever taken under.
    Settling under a plan that is no longer the stored one does not change it back: its buckets are found by tag.
    """
    existing = None if stored is None else _at(stored, now, skew, epoch)
    scope = existing or open_scope(None, layout, now, skew, epoch)
    by_tag = {spec.tag: i for i, spec in enumerate(scope.specs)}
    levels: list[int] = []
    given: list[int] = []
    owing = False
    for spec, debt, mark in zip(layout.specs, debts, marks, strict=True):
        i = by_tag.get(spec.tag)
        if i is None:
            i = _add_bucket(scope, spec)
        there = scope.specs[i]
        same = _numbers(there) == _numbers(spec)
        bound = 0
        if same and scope.epoch == mark_epoch:
            bound = mark - (scope.at // spec.tick_us - since // spec.tick_us) * spec.rate
        if not same:
            debt = max(0, debt) // spec.units * there.units
        owing = owing or debt > 0
        given.append(_settle_bucket(scope, i, debt, bound))
        levels.append(scope.levels[i] if same else convert_level(scope.levels[i], there.units, spec.units))
    if max(scope.refunded) > LEVEL_MAX:
        scope.epoch = epoch
        scope.refunded = [0] * len(scope.refunded)
    return (None if existing is None and not owing else scope), levels, given


def _add_bucket(scope: ScopeState, spec: Terms) -> int:
    scope.layout = None
    scope.specs = [*scope.specs, spec]
    scope.levels = [*scope.levels, 0]
    scope.refunded = [*scope.refunded, 0]
    return len(scope.levels) - 1


def _settle_bucket(scope: ScopeState, i: int, debt: int, bound: int) -> int:
    level = scope.levels[i]
    if debt >= 0:
        scope.levels = _with(scope.levels, i, min(level + debt, LEVEL_MAX))
        return 0
    credit = max(0, min(-debt, bound - scope.refunded[i], level))
    scope.levels = _with(scope.levels, i, level - credit)
    scope.refunded = _with(scope.refunded, i, scope.refunded[i] + credit)
    return credit


def _with(numbers: Sequence[int], i: int, number: int) -> Sequence[int]:
    return [*numbers[:i], number, *numbers[i + 1 :]]
