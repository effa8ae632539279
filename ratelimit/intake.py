"""From what a caller writes to what a backend decides on: checks, prices and names. Shared by both facades."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from ratelimit.backends.base import Op, Retention
from ratelimit.core.hold import Hold
from ratelimit.core.keys import KeyMaker
from ratelimit.core.limit import LEVEL_MAX, Layout
from ratelimit.core.wire import OP_BYTES, PAGES
from ratelimit.errors import ConfigError, CostExceedsLimit
from ratelimit.plans import Plan, PlanRegistry

__all__ = (
    "AMOUNT_MAX",
    "KEYS_MAX",
    "STANDARD_METERS",
    "Intake",
    "OpMaker",
    "Scope",
    "check_amounts",
    "check_meters",
    "check_timeout",
    "price",
    "real_cost",
    "real_costs",
    "real_costs_each",
)

AMOUNT_MAX: Final = 2**53
STANDARD_METERS: Final = frozenset({"requests", "tokens", "input_tokens", "output_tokens"})
"""Meters that any call may name, whether the plan limits them or not. Any other must be one that a plan limits."""
KEYS_MAX: Final = 65_536
"""Subjects whose key, or whose lane to Redis, is remembered."""
_ORDINARY: Final = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class Scope:
    """One subject under one plan, and the group in whose hash slot it lives (default: a group of its own).

    `amounts`, per meter, take the place of the call's for this scope: plans may weigh the same usage differently.
    """

    subject: str
    plan: str | Plan
    group: str | None = None
    amounts: Mapping[str, int] | None = field(default=None, hash=False)

    def __repr__(self) -> str:
        name = self.plan if isinstance(self.plan, str) else self.plan.name
        return f"<Scope under plan {name!r}>"


# A generator of our own: programs seed the global one, and two workers with one seed would name their operations
# alike, which the server would take for repeats. Seeded anew in a forked child for the same reason.
_RANDOM: Final = Random(os.urandom(32))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _RANDOM.seed(os.urandom(32)))


class OpMaker:
    """Names operations: never the same twice, in any process."""

    __slots__ = ("_bits", "_page_s")

    def __init__(self, retention: Retention) -> None:
        self._page_s = retention.head.page_s
        self._bits = _RANDOM.getrandbits

    def __call__(self) -> Op:
        """A new operation, on the page of this moment by this machine's clock (any clock will do)."""
        return Op(self._bits(8 * OP_BYTES).to_bytes(OP_BYTES, "little"), int(time.time()) // self._page_s % PAGES)


class Intake:
    """Turns subjects, plans and amounts into holds."""

    def __init__(self, plans: PlanRegistry, keys: KeyMaker) -> None:
        self._plans = plans
        self._key_maker = keys
        self._keys: dict[tuple[str, str | None], str] = {}

    def holds(
        self,
        who: str | Sequence[Scope],
        plan: str | Plan | None,
        group: str | None,
        requests: int,
        tokens: int,
        meters: Mapping[str, int],
    ) -> list[Hold]:
        """One hold per scope, priced.

        Raises:
            ConfigError: an amount, subject, plan, group or meter that cannot be right.
            CostExceedsLimit: a cost larger than a bucket.
        """
        if type(who) is str and type(requests) is type(tokens) is int and not meters:
            hold = self._ordinary(who, self._layout(plan), group, requests, tokens)
            if hold is not None:
                return [hold]
        amounts = {"requests": requests, "tokens": tokens, **meters}
        check_amounts(amounts)
        if isinstance(who, str):
            layout = self._layout(plan)
            holds = [Hold(self.key(who, group), layout, price(layout, amounts))]
        else:
            holds = [self._hold(scope, layout, group, amounts) for scope, layout in self._scopes(who, plan)]
            _check_group(holds)
        check_meters(holds, amounts)
        return holds

    def _ordinary(self, who: str, layout: Layout, group: str | None, requests: int, tokens: int) -> Hold | None:
        """The hold of nearly every call, in half the time: requests and tokens, both limited, and both may fit."""
        if layout.meters != _ORDINARY:
            return None
        (_, unit0), (_, unit1) = layout.prices
        capacity0, capacity1 = layout.capacities
        costs = [requests * unit0, tokens * unit1]
        if 0 <= costs[0] <= capacity0 and 0 <= costs[1] <= capacity1:
            return Hold(self.key(who, group), layout, costs)
        return None

    def _hold(self, scope: Scope, layout: Layout, group: str | None, amounts: Mapping[str, int]) -> Hold:
        if scope.amounts is not None:
            check_amounts(scope.amounts)
            amounts = {**amounts, **scope.amounts}
        hold = Hold(self.key(scope.subject, scope.group or group), layout, price(layout, amounts))
        if scope.amounts is not None:
            check_meters([hold], scope.amounts)
        return hold

    def _scopes(self, who: object, plan: object) -> list[tuple[Scope, Layout]]:
        if (
            not isinstance(who, Sequence)
            or isinstance(who, (str, bytes))
            or not all(isinstance(scope, Scope) for scope in who)
        ):
            raise ConfigError(
                f"the first argument is {type(who).__name__}: pass a subject (str) with plan=..., or a list of Scope"
            )
        if not who:
            raise ConfigError("the list of scopes is empty: nothing would be limited; pass at least one Scope")
        if plan is not None:
            raise ConfigError("plan=... goes with a single subject; every Scope of a list names its own plan")
        return [(scope, self._layout(scope.plan)) for scope in who]

    def _layout(self, plan: str | Plan | None) -> Layout:
        if plan is None:
            raise ConfigError("no plan given: pass plan=... (a subject without a plan is never unlimited)")
        return self._plans.resolve(plan).layout

    def key(self, subject: str, group: str | None) -> str:
        """The name of a subject's state."""
        try:
            known = self._keys.get((subject, group))
        except TypeError:
            known = None
        if known is not None:
            return known
        made = self._key_maker.scope_key(subject, group)
        if len(self._keys) >= KEYS_MAX:
            self._keys.clear()
        self._keys[(subject, group)] = made
        return made


def price(layout: Layout, amounts: Mapping[str, int]) -> list[int]:
    """The cost per bucket, in units.

    Raises:
        CostExceedsLimit: a cost larger than a bucket.
    """
    costs = []
    for (meter, units), capacity in zip(layout.prices, layout.capacities, strict=True):
        cost = amounts[meter] * units if meter in amounts else 0
        if cost > capacity:
            raise CostExceedsLimit(plan=layout.name, meter=meter, cost=amounts[meter], burst=capacity // units)
        costs.append(cost)
    return costs


def real_costs(
    holds: Sequence[Hold], requests: int | None, tokens: int | None, meters: Mapping[str, int]
) -> list[Sequence[int]]:
    """The real cost per bucket of each hold, in units: as named, else as reserved. May exceed the bucket.

    Raises:
        ConfigError: an amount or a meter that cannot be right.
    """
    amounts = dict(meters)
    if requests is not None:
        amounts["requests"] = requests
    if tokens is not None:
        amounts["tokens"] = tokens
    check_amounts(amounts)
    check_meters(holds, amounts)
    return [real_cost(hold, amounts) for hold in holds]


def real_costs_each(holds: Sequence[Hold], amounts: Sequence[Mapping[str, int]]) -> list[Sequence[int]]:
    """As :func:`real_costs`, with amounts of its own for each hold, in order.

    Raises:
        ConfigError: an amount or a meter that cannot be right, or not as many as there are holds.
    """
    if len(amounts) != len(holds):
        raise ConfigError(f"amounts for {len(amounts)} scopes: the reservation has {len(holds)}; give each one its own")
    for hold, own in zip(holds, amounts, strict=True):
        check_amounts(own)
        check_meters([hold], own)
    return [real_cost(hold, own) for hold, own in zip(holds, amounts, strict=True)]


def real_cost(hold: Hold, amounts: Mapping[str, int]) -> Sequence[int]:
    """The real cost per bucket of one hold, in units: as named in `amounts`, else as reserved."""
    costs = list(hold.costs)
    for i, (meter, units) in enumerate(hold.layout.prices):
        if meter in amounts:
            costs[i] = min(amounts[meter], LEVEL_MAX // units) * units
    return costs


def check_amounts(amounts: Mapping[str, int]) -> None:
    """The one gate for numbers (promise P9).

    Raises:
        ConfigError: not a plain int from 0 to 2**53.
    """
    for meter, amount in amounts.items():
        if type(amount) is not int or not 0 <= amount <= AMOUNT_MAX:
            shown = repr(amount) if isinstance(amount, (int, float)) and abs(amount) < 1e30 else type(amount).__name__
            raise ConfigError(f"{meter} is {shown}: must be a whole number (int) from 0 to 2**53")


def check_timeout(timeout: float) -> float:
    """Seconds to wait, as a number that a clock can add.

    Raises:
        ConfigError: not a number from 0 to a day.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout <= 86_400:
        raise ConfigError(f"timeout is {timeout!r}: must be seconds from 0 to 86,400, or None not to wait")
    return timeout


def check_meters(holds: Sequence[Hold], amounts: Mapping[str, int]) -> None:
    """Refuse a meter that neither a plan of this call nor the standard knows: its amount would be lost.

    Raises:
        ConfigError: naming the meters that are limited.
    """
    for meter in amounts:
        if meter not in STANDARD_METERS and not any(meter in hold.layout.meters for hold in holds):
            limited = sorted({meter for hold in holds for meter in hold.layout.meters})
            raise ConfigError(
                f"no plan of this call limits {meter!r}: it would not be counted; limited are {', '.join(limited)}"
            )


def _check_group(holds: Sequence[Hold]) -> None:
    tags = {hold.key[: hold.key.index("}")] for hold in holds}
    if len(tags) > 1:
        raise ConfigError(
            "the scopes of one decision live in different hash slots: give them one group, "
            'as in acquire([Scope("org-1", "Team"), Scope("key-1", "Pro")], group="org-1")'
        )
    if len({hold.key for hold in holds}) < len(holds):
        raise ConfigError("a decision names the same subject twice: put its limits into one plan")
