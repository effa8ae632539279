"""What a settle did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ratelimit.core.decision import Standing, standings
from ratelimit.core.limit import Layout

__all__ = ("Outcome", "Settlement")


class _HasLayout(Protocol):
    @property
    def layout(self) -> Layout: ...


Outcome = tuple[int, int, Sequence[int], Sequence[int]]
"""Of one scope: time (us) and lag (us) as in a Hold, then per bucket the level after it and the units given back."""


class Settlement:
    """The outcome of a settle. `repeated`: it had been done before, and had no effect now.

    Most callers never look further: outcomes given as a function are worked out when somebody asks.
    """

    __slots__ = ("_holds", "_outcomes", "repeated")

    def __init__(
        self,
        holds: Sequence[_HasLayout],
        outcomes: Sequence[Outcome] | Callable[[], Sequence[Outcome]],
        repeated: bool,
    ) -> None:
        self._holds = holds
        self._outcomes = outcomes
        self.repeated = repeated

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """In units, per scope; empty when the estimate was kept without asking the backend."""
        if callable(self._outcomes):
            self._outcomes = self._outcomes()
        return self._outcomes

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Where every limit stands after the settlement; empty when the backend was not asked."""
        return tuple(
            standing
            for hold, (at, lag, levels, _) in zip(self._holds, self.outcomes, strict=False)
            for standing in standings(hold.layout, at, lag, levels, None)
        )

    @property
    def returned(self) -> Mapping[str, int]:
        """Amounts given back, per meter (the least over its limits, in whole ones). What had drained is not."""
        returned: dict[str, int] = {}
        for hold, (_, _, _, given) in zip(self._holds, self.outcomes, strict=False):
            for spec, credit in zip(hold.layout.specs, given, strict=True):
                amount = credit // spec.units
                returned[spec.meter] = min(amount, returned.get(spec.meter, amount))
        return returned

    def __repr__(self) -> str:
        return f"Settlement(repeated={self.repeated}, returned={dict(self.returned)})"
