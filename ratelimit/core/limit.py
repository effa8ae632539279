"""One limit as the engine sees it: exact integers, chosen once when the plan is built.

Theory of operation. A bucket stores how much of it is used, as an integer *level* in units. For an
amount L per period P let g = gcd(L, P): one token of the meter costs P/g units, and the level drains
L/g units per tick of time. Both are whole numbers, so nothing is ever rounded away, whatever L is.
The tick is a microsecond when the numbers stay small enough, else a millisecond, else a second: levels,
debt and refunds must all stay below 2**53, the largest range in which a Lua number is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from math import gcd

from ratelimit.errors import ConfigError

__all__ = (
    "BUCKETS_MAX",
    "LEVEL_MAX",
    "TICKS_US",
    "BucketSpec",
    "Layout",
)

LEVEL_MAX = 2**52
"""Largest level, in units. A level plus the refunds given so far then stays below 2**53."""

CAPACITY_MAX = 2**44
"""Largest capacity, in units: leaves a factor of 256 below LEVEL_MAX for debt and refunds."""

TICKS_US = (1, 1_000, 1_000_000)
"""Lengths of a tick of time that a limit may count in, finest first."""

PERIOD_MAX_US = 366 * 86_400 * 1_000_000
BUCKETS_MAX = 64
"""Most buckets of one scope; the wire format counts them in seven bits and keeps room for plan changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSpec:
    """The arithmetic of one limit. Build it with :meth:`of`; two equal limits have equal specs."""

    meter: str
    amount: int
    period_us: int
    burst: int
    tick_us: int
    """Length of a tick: elapsed time is counted in whole ticks of the clock."""
    units: int
    """Units that one token of the meter costs (P/g)."""
    rate: int
    """Units that drain per tick (L/g)."""
    capacity: int
    """`burst` in units: a cost fits while level + cost <= capacity."""
    tag: bytes
    """Three bytes that identify (meter, period) within a subject, so that a plan change finds its bucket."""

    @classmethod
    def of(cls, *, meter: str, amount: int, period_us: int, burst: int | None = None) -> BucketSpec:
        """Choose the tick and the units, or refuse numbers that do not fit exact arithmetic.

        Raises:
            ConfigError: a number out of range, or no tick keeps the capacity exact.
        """
        burst = amount if burst is None else burst
        _check(f"{meter} amount", amount)
        _check(f"{meter} burst", burst)
        if not 1_000 <= period_us <= PERIOD_MAX_US:
            raise ConfigError(
                f"period of {period_us} us for {meter!r}: must lie between 1 ms and 366 days; "
                "give a longer period, or a calendar quota elsewhere"
            )
        for tick_us in TICKS_US:
            if period_us % tick_us:
                continue
            ticks = period_us // tick_us
            shared = gcd(amount, ticks)
            units, rate = ticks // shared, amount // shared
            if burst * units <= CAPACITY_MAX and rate <= CAPACITY_MAX:
                return cls(
                    meter=meter,
                    amount=amount,
                    period_us=period_us,
                    burst=burst,
                    tick_us=tick_us,
                    units=units,
                    rate=rate,
                    capacity=burst * units,
                    tag=_tag(meter, period_us),
                )
        raise ConfigError(
            f"{amount} {meter} per {period_us} us with a burst of {burst} does not fit exact arithmetic: "
            f"the bucket would hold more than 2**44 units at every resolution; "
            "round the amount (a multiple of the period's seconds is ideal) or lower the burst"
        )

    def __str__(self) -> str:
        return f"{self.amount:,} {self.meter} per {_period_text(self.period_us)}"


def _check(what: str, value: object) -> None:
    if type(value) is not int or not 1 <= value <= 2**48:
        raise ConfigError(f"{what} is {value!r}: must be a whole number from 1 to 2**48")


def _tag(meter: str, period_us: int) -> bytes:
    return blake2b(f"{meter}\0{period_us}".encode(), digest_size=3, person=b"ratelimit.tag").digest()


def _period_text(period_us: int) -> str:
    for name, length in (
        ("day", 86_400_000_000),
        ("hour", 3_600_000_000),
        ("minute", 60_000_000),
        ("second", 1_000_000),
    ):
        if period_us % length == 0:
            count = period_us // length
            return name if count == 1 else f"{count} {name}s"
    return f"{period_us / 1000:g} ms"


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The buckets of one plan in a fixed order, ready for the arithmetic.

    Compared by identity on the hot path (a plan has one layout for its lifetime) and by `specs` otherwise.
    """

    name: str
    specs: tuple[BucketSpec, ...]
    meters: tuple[str, ...] = field(init=False)
    fine: bool = field(init=False)
    """True when every bucket counts microseconds, which spares the hot path a division."""
    rates: tuple[int, ...] = field(init=False)
    """Units that drain per tick, per bucket."""
    capacities: tuple[int, ...] = field(init=False)
    """Units that fit, per bucket."""
    prices: tuple[tuple[str, int], ...] = field(init=False)
    """(meter, units per token) per bucket."""
    express: bool = field(init=False)
    """True for requests and tokens, both in microseconds: what the express lane of the memory backend serves."""

    def __post_init__(self) -> None:
        if not self.specs:
            raise ConfigError(
                f"plan {self.name!r} has no limits: a plan without limits would be unlimited; name at least one"
            )
        if len(self.specs) > BUCKETS_MAX:
            raise ConfigError(f"plan {self.name!r} has {len(self.specs)} limits: at most {BUCKETS_MAX} are allowed")
        seen: dict[bytes, BucketSpec] = {}
        for spec in self.specs:
            twin = seen.setdefault(spec.tag, spec)
            if twin is not spec:
                raise ConfigError(
                    f"plan {self.name!r} names the same limit twice ({twin} and {spec}): keep one per meter and period"
                )
        object.__setattr__(self, "meters", tuple(spec.meter for spec in self.specs))
        object.__setattr__(self, "fine", all(spec.tick_us == 1 for spec in self.specs))
        object.__setattr__(self, "rates", tuple(spec.rate for spec in self.specs))
        object.__setattr__(self, "capacities", tuple(spec.capacity for spec in self.specs))
        object.__setattr__(self, "prices", tuple((spec.meter, spec.units) for spec in self.specs))
        object.__setattr__(self, "express", self.fine and self.meters == ("requests", "tokens"))
