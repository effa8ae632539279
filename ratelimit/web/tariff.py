"""What usage costs under a plan: amounts per meter, with the plan's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ratelimit.intake import AMOUNT_MAX
from ratelimit.plans import Plan
from ratelimit.plans.weights import TokenWeights
from ratelimit.web.usage import Usage

__all__ = ("Tariff", "Tariffs")

_KEPT: Final = 1_024
_MOST: Final = AMOUNT_MAX // 2
_PLAIN: Final = TokenWeights()


class Tariff:
    """Prices of one plan. Names only the meters that the plan limits."""

    __slots__ = ("_input", "_output", "_plain", "_tokens", "_weights", "plan")

    def __init__(self, plan: Plan) -> None:
        meters = plan.layout.meters
        self.plan = plan
        self._weights = plan.weights
        self._plain = plan.weights == _PLAIN
        self._tokens = "tokens" in meters
        self._input = "input_tokens" in meters
        self._output = "output_tokens" in meters

    def amounts(self, requests: int, usage: Usage) -> Mapping[str, int]:
        """The amounts of this usage, and of so many requests."""
        if self._plain:
            taken, given = usage.input + usage.cache_read + usage.cache_write, usage.output
        else:
            taken = self._weights.input_tokens(usage.input, usage.cache_read, usage.cache_write)
            given = self._weights.output_tokens(usage.output)
        # A client chooses some of these numbers, and an upstream the others: none may pass what the engine can count.
        if taken > _MOST or given > _MOST:
            taken, given = min(taken, _MOST), min(given, _MOST)
        amounts = {"requests": requests}
        if self._tokens:
            amounts["tokens"] = taken + given
        if self._input:
            amounts["input_tokens"] = taken
        if self._output:
            amounts["output_tokens"] = given
        return amounts


class Tariffs:
    """The tariff of every plan, made when first asked for."""

    def __init__(self) -> None:
        # A tariff keeps its plan, or the plan's id might come to name another one.
        self._known: dict[int, Tariff] = {}

    def of(self, plan: Plan) -> Tariff:
        """The plan's tariff. Plans are immutable, so identity will do, which costs no comparison of limits."""
        known = self._known.get(id(plan))
        if known is not None:
            return known
        if len(self._known) >= _KEPT:
            self._known.clear()
        tariff = Tariff(plan)
        self._known[id(plan)] = tariff
        return tariff
