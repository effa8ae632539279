"""The engine once more, in exact fractions of tokens and with no thought of speed: what the tests believe.

It knows nothing of units, of layouts or of bytes. A bucket is a level in tokens; time drains it by amount / period.
The one thing it takes from the implementation is its resolution: time is counted in whole ticks, and a level that
changes plan is rounded up to the new plan's unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil

from ratelimit.core.limit import LEVEL_MAX, BucketSpec

Name = tuple[str, int]


@dataclass
class Bucket:
    """One limit of one subject."""

    spec: BucketSpec
    level: Fraction = Fraction(0)
    refunded: Fraction = Fraction(0)

    @property
    def unit(self) -> Fraction:
        return Fraction(1, self.spec.units)

    def drain(self, since: int, until: int) -> Fraction:
        ticks = until // self.spec.tick_us - since // self.spec.tick_us
        return Fraction(self.spec.amount * ticks * self.spec.tick_us, self.spec.period_us)

    def same(self, other: BucketSpec) -> bool:
        return (self.spec.amount, self.spec.tick_us) == (other.amount, other.tick_us)


@dataclass
class Subject:
    """What is known of one subject."""

    at: int
    epoch: object
    buckets: dict[Name, Bucket] = field(default_factory=dict)


@dataclass(frozen=True)
class Mark:
    """What a reservation remembers of one subject."""

    subject: str
    epoch: object
    at: int
    cost: dict[Name, Fraction]
    levels: dict[Name, Fraction]
    refunded: dict[Name, Fraction]
    specs: tuple[BucketSpec, ...]


def name(spec: BucketSpec) -> Name:
    return spec.meter, spec.period_us


class Model:
    """All subjects, and everything that has been done to them."""

    def __init__(self, skew_us: int) -> None:
        self.skew_us = skew_us
        self.subjects: dict[str, Subject] = {}
        self.reserved: dict[bytes, list[Mark]] = {}
        self.settled: set[bytes] = set()

    def _now(self, subject: str, now: int) -> Subject | None:
        """A subject as of now; None when nothing of it is left."""
        stored = self.subjects.get(subject)
        if stored is None:
            return None
        back = now < stored.at - self.skew_us
        at = now if back else max(now, stored.at)
        buckets = {
            key: replace(
                bucket,
                level=bucket.level if back else max(Fraction(0), bucket.level - bucket.drain(stored.at, at)),
                refunded=Fraction(0) if back else bucket.refunded,
            )
            for key, bucket in stored.buckets.items()
        }
        if not any(bucket.level for bucket in buckets.values()):
            return None
        return Subject(at, object() if back else stored.epoch, buckets)

    def _under(self, subject: str, specs: Sequence[BucketSpec], now: int) -> Subject:
        """A subject as of now, under these limits."""
        before = self._now(subject, now)
        if before is None:
            return Subject(now, object(), {name(spec): Bucket(spec) for spec in specs})
        kept = True
        buckets: dict[Name, Bucket] = {}
        for spec in specs:
            old = before.buckets.get(name(spec))
            if old is None:
                buckets[name(spec)] = Bucket(spec)
            elif old.same(spec):
                buckets[name(spec)] = replace(old, spec=spec)
            else:
                kept = False
                level = min(Fraction(ceil(old.level * spec.units), spec.units), Fraction(LEVEL_MAX, spec.units))
                buckets[name(spec)] = Bucket(spec, level)
        for key, old in before.buckets.items():
            if key not in buckets:
                if old.level:
                    buckets[key] = old
                else:
                    kept = False
        if not kept:
            for bucket in buckets.values():
                bucket.refunded = Fraction(0)
        return Subject(before.at, before.epoch if kept else object(), buckets)

    def reserve(
        self, op: bytes, scopes: Sequence[tuple[str, Sequence[BucketSpec]]], cost: Mapping[str, int], now: int
    ) -> tuple[bool, list[Mark]]:
        if op in self.reserved:
            return True, self.reserved[op]
        opened = [(subject, self._under(subject, specs, now), specs) for subject, specs in scopes]
        allowed = all(
            not cost.get(spec.meter) or state.buckets[name(spec)].level + cost[spec.meter] <= spec.burst
            for _, state, specs in opened
            for spec in specs
        )
        marks = []
        for subject, state, specs in opened:
            before = self.subjects.get(subject)
            jumped = before is not None and now < before.at - self.skew_us and self._now(subject, now) is not None
            if allowed:
                for spec in specs:
                    state.buckets[name(spec)].level += cost.get(spec.meter, 0)
            if allowed or jumped:
                self.subjects[subject] = state
            marks.append(self._mark(subject, state, specs, cost))
        if allowed:
            self.reserved[op] = marks
        return allowed, marks

    @staticmethod
    def _mark(subject: str, state: Subject, specs: Sequence[BucketSpec], cost: Mapping[str, int]) -> Mark:
        keys = [name(spec) for spec in specs]
        return Mark(
            subject=subject,
            epoch=state.epoch,
            at=state.at,
            cost={key: Fraction(cost.get(key[0], 0)) for key in keys},
            levels={key: state.buckets[key].level for key in keys},
            refunded={key: state.buckets[key].refunded for key in keys},
            specs=tuple(specs),
        )

    def settle(self, op: bytes, usage: Mapping[str, int], now: int) -> tuple[bool, list[dict[Name, Fraction]]]:
        """(repeated, credit per bucket of each scope)."""
        repeated = op in self.settled
        self.settled.add(op)
        return repeated, [self._settle(mark, {} if repeated else usage, now) for mark in self.reserved[op]]

    def _settle(self, mark: Mark, usage: Mapping[str, int], now: int) -> dict[Name, Fraction]:
        existing = self._now(mark.subject, now)
        state = existing or Subject(now, object(), {name(spec): Bucket(spec) for spec in mark.specs})
        given_back, owing = {}, False
        for spec in mark.specs:
            key = name(spec)
            bucket = state.buckets.setdefault(key, Bucket(spec))
            over = usage.get(spec.meter, mark.cost[key]) - mark.cost[key]
            given_back[key] = Fraction(0)
            if over > 0:
                owing = True
                bucket.level = min(bucket.level + over, Fraction(LEVEL_MAX, bucket.spec.units))
            elif over < 0 and bucket.same(spec) and state.epoch is mark.epoch:
                lowest = mark.levels[key] - bucket.drain(mark.at, state.at) - (bucket.refunded - mark.refunded[key])
                given_back[key] = max(Fraction(0), min(-over, lowest, bucket.level))
                bucket.level -= given_back[key]
                bucket.refunded += given_back[key]
        if any(bucket.refunded * bucket.spec.units > LEVEL_MAX for bucket in state.buckets.values()):
            state.epoch = object()
            for bucket in state.buckets.values():
                bucket.refunded = Fraction(0)
        if (existing is not None or owing) and usage:
            self.subjects[mark.subject] = state
        return given_back

    def peek(self, subject: str, specs: Sequence[BucketSpec], now: int) -> list[Fraction]:
        state = self._under(subject, specs, now)
        return [state.buckets[name(spec)].level for spec in specs]

    def reset(self, subject: str) -> None:
        self.subjects.pop(subject, None)
