"""The plans that a limiter knows, by name. A missing plan is an error, never "unlimited"."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final, Self

from ratelimit.errors import ConfigError
from ratelimit.plans.builtin import BUILTIN_PLANS
from ratelimit.plans.faults import short
from ratelimit.plans.models import Plan
from ratelimit.plans.names import fold
from ratelimit.plans.sources import load_plans

__all__ = ("PlanRegistry",)

_SPELLINGS_MAX: Final = 1_024
_NAMES_SHOWN: Final = 20
_GUESS_MAX: Final = 80
"""Longest text that is compared with the known names: the comparison is quadratic, and names come from requests."""


class PlanRegistry:
    """An immutable set of plans, in order; without an argument the four built-in ones.

    Names match whatever their case, with `-`, `_` and space alike and runs of them counting as one. To change plans
    while running, make a new registry and swap it in.

    Raises:
        ConfigError: something that is no Plan, two plans of one name, or two limits that share a tag.
    """

    __slots__ = ("_plans", "_spellings")

    def __init__(self, plans: Iterable[Plan] | None = None) -> None:
        by_name: dict[str, Plan] = {}
        for plan in BUILTIN_PLANS if plans is None else plans:
            if not isinstance(plan, Plan):
                raise ConfigError(f"plans: {short(plan)}: must be a Plan")
            twin = by_name.setdefault(fold(plan.name), plan)
            if twin is not plan:
                raise ConfigError(f"plans: {plan.name!r} and {twin.name!r} are the same name; keep one or rename it")
        _refuse_shared_tags(by_name.values())
        self._plans: Final = by_name
        self._spellings: dict[str, Plan] = {}

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, builtin: bool = False) -> Self:
        """Return the plans of a file; with `builtin`, the four built-in ones under them, overridden by name.

        Raises:
            ConfigError: names the file, and the path, value and rule of what is wrong in it.
        """
        plans = load_plans(path)
        try:
            return cls().with_plans(*plans) if builtin else cls(plans)
        except ConfigError as error:
            raise ConfigError(f"{os.fspath(path)}: {error}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the plans as written, in order."""
        return tuple(plan.name for plan in self._plans.values())

    def get(self, name: str) -> Plan:
        """Return the plan of a name in any spelling.

        Raises:
            ConfigError: no such plan; the text lists the known names and the nearest.
        """
        if not isinstance(name, str):
            raise ConfigError(f"plan {short(name)}: must be a name or a Plan")
        plan = self._spellings.get(name)
        if plan is not None:
            return plan
        plan = self._plans.get(fold(name))
        if plan is None:
            raise ConfigError(self._missing(name))
        # Only hits are kept, so unknown names cost no memory; one plan has endless spellings, so those are bounded.
        if len(self._spellings) >= _SPELLINGS_MAX:
            self._spellings = {}
        self._spellings[name] = plan
        return plan

    def resolve(self, plan: str | Plan) -> Plan:
        """Return the plan of a name; a Plan passes through, known here or not. Raises ConfigError as :meth:`get`."""
        return plan if isinstance(plan, Plan) else self.get(plan)

    def with_plans(self, *plans: Plan) -> Self:
        """Return a new registry with these plans too; one with a known name takes that plan's place.

        Raises:
            ConfigError: as for building a registry.
        """
        given = PlanRegistry(plans)._plans  # on their own first: a name twice among them is a mistake
        return type(self)((self._plans | given).values())

    def __getitem__(self, name: str) -> Plan:
        return self.get(name)

    def __contains__(self, plan: object) -> bool:
        if isinstance(plan, Plan):
            return self._plans.get(fold(plan.name)) == plan
        return isinstance(plan, str) and fold(plan) in self._plans

    def __iter__(self) -> Iterator[Plan]:
        return iter(tuple(self._plans.values()))

    def __len__(self) -> int:
        return len(self._plans)

    def __repr__(self) -> str:
        return f"PlanRegistry({', '.join(map(repr, self.names))})"

    def _missing(self, name: str) -> str:
        near = get_close_matches(fold(name[:_GUESS_MAX]), self._plans, n=3)
        guess = f"did you mean {' or '.join(repr(self._plans[key].name) for key in near)}? " if near else ""
        known = ", ".join(map(repr, self.names[:_NAMES_SHOWN])) or "none"
        more = f" and {len(self) - _NAMES_SHOWN} more" if len(self) > _NAMES_SHOWN else ""
        return f"plan {short(name)}: no such plan; {guess}known: {known}{more}"


def _refuse_shared_tags(plans: Iterable[Plan]) -> None:
    """Refuse two limits whose buckets would be taken for one another when a subject changes plan."""
    seen: dict[bytes, tuple[str, int]] = {}
    for plan in plans:
        for limit in plan.limits:
            pair = (limit.meter, limit.period_us)
            twin = seen.setdefault(limit.spec.tag, pair)
            if twin != pair:
                raise ConfigError(
                    f"plan {plan.name!r}: {limit} shares its tag {limit.spec.tag.hex()} with meter {twin[0]!r} per "
                    f"{twin[1]} us: must differ over all plans; rename one of the meters"
                )
