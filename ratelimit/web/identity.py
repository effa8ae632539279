"""Who a request is charged to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ratelimit.intake import Scope
from ratelimit.plans import Plan
from ratelimit.web.head import RequestHead

__all__ = ("Identify", "Identity")


@dataclass(frozen=True, slots=True)
class Identity:
    """The scopes that a request is charged to, all or none. The first is the subject that output is learned for.

    `group` is the hash slot that several scopes share (an organisation), as in `Limiter.acquire`.
    """

    scopes: tuple[Scope, ...]
    group: str | None = None

    @classmethod
    def of(cls, subject: str, plan: str | Plan) -> Identity:
        """One subject under one plan."""
        return cls((Scope(subject, plan),))


Identified: TypeAlias = Identity | Scope | Sequence[Scope] | None
"""What an identify callable may return; None: nobody we know, which is answered 401."""
Identify: TypeAlias = Callable[[RequestHead], Identified | Awaitable[Identified]]
