"""Memory, a real Redis and the model side by side under one virtual clock; every integer is compared at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

import redis

from ratelimit import Limit, Plan
from ratelimit.backends.base import Op, Retention
from ratelimit.backends.calls import RetryPolicy
from ratelimit.backends.connect import executor
from ratelimit.backends.memory import MemoryBackend
from ratelimit.backends.redis import RedisBackend
from ratelimit.core.hold import Hold
from ratelimit.core.limit import Layout
from ratelimit.intake import price, real_cost
from tests.promises.model import Mark, Model

PLANS = (
    Plan("Lite", rpm=10, tpm=60_000),
    Plan("Pro", rpm=60, tpm=600_000),
    Plan("Requests", rpm=10),
    Plan("Awkward", limits=[Limit("tokens", 100_000_007, 60), Limit("requests", 90, 60)]),
    Plan("Fast", limits=[Limit("requests", 1_000, 1, burst=400), Limit("tokens", 7_000_000, 60)]),
    Plan(
        "Daily", rpm=10, tpm=50_000_000, limits=[Limit("requests", 7, 86_400), Limit("output_tokens", 999_983, 3_600)]
    ),
)
"""Two narrow buckets (the express lanes), one, coarse ticks, bursts of their own, and four with different periods."""
START_US = 1_700_000_000_000_000
_EXAMPLE = count()


@dataclass
class Open:
    """A reservation that may be settled, or repeated."""

    op: Op
    scopes: list[tuple[str, Layout]]
    amounts: Mapping[str, int]
    memory: list[Hold]
    redis: list[Hold]
    touched: int
    """When it was last reserved or settled (us): a repeat is only recognised for a while after that."""


class World:
    """Does everything three times and compares."""

    def __init__(self, url: str) -> None:
        self.now = START_US
        retention = Retention(retry_window=300, max_skew=5.0)
        self.client = redis.Redis.from_url(url)
        self._ops = count(1)  # never restarted: an operation's name is used once in the life of a backend
        self.memory = MemoryBackend(clock=self._clock, retention=retention)
        # What has drained may be forgotten at any time, which shows only if the clock is then set back. Neither side
        # forgets here: keys live for ten minutes of the server's own time under a virtual clock.
        self.memory._sweep = lambda now: None  # type: ignore[method-assign]  # noqa: ARG005
        self.redis = RedisBackend(executor(url, RetryPolicy(), 2), retention=retention, virtual_clock=self._clock)
        self.restart()

    def restart(self) -> None:
        """Forget everything, as at the start of an example."""
        self.now = self.latest = START_US
        self.model = Model(skew_us=5_000_000)
        self.memory.reset(list(self.memory.scopes))
        self._prefix = f"w{next(_EXAMPLE)}"

    def _clock(self) -> int:
        return self.now

    def key(self, subject: str) -> str:
        return f"{self._prefix}:{{group}}{subject}"

    def new_op(self) -> Op:
        number = next(self._ops)
        # Spread over both halves, from which epochs are drawn.
        return Op((number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "little"), number % 3)

    def _holds(self, scopes: Sequence[tuple[str, Layout]], amounts: Mapping[str, int]) -> list[Hold]:
        return [Hold(self.key(subject), layout, price(layout, amounts)) for subject, layout in scopes]

    def reserve(
        self, scopes: list[tuple[str, Layout]], amounts: Mapping[str, int], op: Op | None = None
    ) -> Open | None:
        op = op or self.new_op()
        mine, theirs = self._holds(scopes, amounts), self._holds(scopes, amounts)
        allowed, marks = self.model.reserve(op.id, [(s, layout.specs) for s, layout in scopes], amounts, self.now)
        assert self.memory.reserve(mine, op) is allowed
        assert self.redis.reserve(theirs, op) is allowed
        for hold, other, mark in zip(mine, theirs, marks, strict=True):
            _same_holds(hold, other)
            _agrees(hold, mark)
        return Open(op, scopes, amounts, mine, theirs, self.now) if allowed else None

    def move(self, us: int) -> None:
        """Step the clock, either way."""
        self.now += us
        self.latest = max(self.latest, self.now)

    def remembers(self, reservation: Open) -> bool:
        """True while every log of operations must still know this one, whatever the clock has done since."""
        return self.latest - reservation.touched <= 300_000_000

    def repeat(self, reservation: Open) -> None:
        """The same reserve again: the first answer again, and no second charge."""
        again = self.reserve(reservation.scopes, reservation.amounts, reservation.op)
        assert again is not None
        for first, second in zip(reservation.redis, again.redis, strict=True):
            assert (first.epoch, first.at, first.levels, first.refunded) == (
                second.epoch,
                second.at,
                second.levels,
                second.refunded,
            )

    def settle(self, reservation: Open, usage: Mapping[str, int]) -> None:
        """Settle on all three, for the first time or again."""
        repeated, given_back = self.model.settle(reservation.op.id, usage, self.now)
        mine = self.memory.settle(reservation.memory, [real_cost(h, usage) for h in reservation.memory], reservation.op)
        theirs = self.redis.settle(reservation.redis, [real_cost(h, usage) for h in reservation.redis], reservation.op)
        assert mine.repeated is theirs.repeated is repeated
        for hold, one, other, expected in zip(
            reservation.memory, mine.outcomes, theirs.outcomes, given_back, strict=True
        ):
            assert tuple(one) == tuple(other)
            given = [Fraction(credit, spec.units) for credit, spec in zip(one[3], hold.layout.specs, strict=True)]
            assert given == list(expected.values())
        reservation.touched = self.now
        for subject, layout in reservation.scopes:
            self.peek(subject, layout)

    def peek(self, subject: str, layout: Layout) -> None:
        mine, theirs = self._holds([(subject, layout)], {}), self._holds([(subject, layout)], {})
        self.memory.peek(mine)
        self.redis.peek(theirs)
        assert (mine[0].at, mine[0].lag, mine[0].levels) == (theirs[0].at, theirs[0].lag, theirs[0].levels)
        tokens = [Fraction(level, spec.units) for level, spec in zip(mine[0].levels, layout.specs, strict=True)]
        assert tokens == self.model.peek(subject, layout.specs, self.now)

    def reset(self, subject: str) -> None:
        self.model.reset(subject)
        self.memory.reset([self.key(subject)])
        self.redis.reset([self.key(subject)])

    def flush_scripts(self) -> None:
        self.client.script_flush()


def _same_holds(mine: Hold, theirs: Hold) -> None:
    assert (mine.epoch, mine.at, mine.lag) == (theirs.epoch, theirs.at, theirs.lag)
    assert list(mine.levels) == list(theirs.levels)
    assert list(mine.refunded) == list(theirs.refunded)


def _agrees(hold: Hold, mark: Mark) -> None:
    units = [spec.units for spec in hold.layout.specs]
    assert hold.at == mark.at
    assert [Fraction(level, unit) for level, unit in zip(hold.levels, units, strict=True)] == list(mark.levels.values())
    assert [Fraction(r, unit) for r, unit in zip(hold.refunded, units, strict=True)] == list(mark.refunded.values())
