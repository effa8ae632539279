"""What a settlement did, and which amounts leaving a block settles to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ratelimit.backends.base import Settled
from ratelimit.core.decision import Standing, standings
from ratelimit.core.hold import Hold
from ratelimit.errors import ConfigError

__all__ = ("OnError", "Settlement", "amounts_after_error", "check_on_error")

OnError = Literal["refund_tokens", "refund", "keep"]
"""What an exception in the block does: give back all but the request, give back everything, keep the estimate."""

_CHOICES = ("refund_tokens", "refund", "keep")


@dataclass(frozen=True, slots=True)
class Settlement:
    """The outcome of a settle. `repeated`: it had been done before (or there was nothing to do), and had no effect."""

    holds: Sequence[Hold]
    settled: Settled | None

    @property
    def repeated(self) -> bool:
        """True when this settle changed nothing because it had been done before."""
        return self.settled is not None and self.settled.repeated

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where every limit stands after the settlement; empty when the backend was not asked."""
        if self.settled is None:
            return ()
        return tuple(
            standing
            for hold, outcome in zip(self.holds, self.settled.outcomes, strict=True)
            for standing in standings(hold.layout, outcome.at, outcome.lag, outcome.levels, None)
        )

    @property
    def returned(self) -> Mapping[str, int]:
        """Amounts given back, per meter (the least over its limits, in whole ones). What had drained is not."""
        returned: dict[str, int] = {}
        for hold, outcome in zip(self.holds, self.settled.outcomes if self.settled else (), strict=bool(self.settled)):
            for spec, credit in zip(hold.layout.specs, outcome.credits, strict=True):
                amount = credit // spec.units
                returned[spec.meter] = min(amount, returned.get(spec.meter, amount))
        return returned

    def __repr__(self) -> str:
        return f"Settlement(repeated={self.repeated}, returned={dict(self.returned)})"


def check_on_error(on_error: object) -> None:
    """Refuse anything but the three choices.

    Raises:
        ConfigError: naming the choices.
    """
    if on_error not in _CHOICES:
        raise ConfigError(f"on_error is {on_error!r}: must be one of {', '.join(_CHOICES)}")


def amounts_after_error(holds: Sequence[Hold], on_error: OnError) -> dict[str, int]:
    """What a block left by an exception settles to; meters that are not named stay at the estimate."""
    if on_error == "keep":
        return {}
    meters = {meter for hold in holds for meter in hold.layout.meters}
    return {meter: 0 for meter in meters if on_error == "refund" or meter != "requests"}
