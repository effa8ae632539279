"""What is held of one scope between reserve and settle: everything a settle needs, and nothing on the server."""

from __future__ import annotations

from collections.abc import Sequence

from ratelimit.core.limit import Layout

__all__ = ("Hold",)


class Hold:
    """One scope of one decision: asked for with `costs`, filled in by the backend.

    `key` names the scope (never the subject itself), `costs` are units per bucket of `layout`. After the decision,
    `levels` and `refunded` are what the backend answered at time `at` (us) of its clock: with the cost when it was
    allowed, without when it was refused. `lag` (us) is how far `at` lies ahead of the clock after it stepped back.
    """

    __slots__ = ("at", "costs", "epoch", "key", "lag", "layout", "levels", "refunded")

    def __init__(self, key: str, layout: Layout, costs: Sequence[int]) -> None:
        self.key = key
        self.layout = layout
        self.costs = costs
        self.lag = 0

    epoch: int
    at: int
    levels: Sequence[int]
    refunded: Sequence[int]

    def marks(self) -> list[int]:
        """Per bucket, the most that may be given back later, before drain and other refunds are taken off."""
        return [level + refunded for level, refunded in zip(self.levels, self.refunded, strict=True)]
