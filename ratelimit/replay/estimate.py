"""How a gateway could guess, before a request runs, how many tokens will come out of it.

The input is known at arrival. The output is not, and can hardly be predicted from the input (measured on public
traces: no correlation), so what is left is knowing, assuming the worst, or learning from what has finished.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

from ratelimit.quantile import RecentQuantile
from ratelimit.replay.trace import Request

__all__ = ("LEARNED_FROM", "LEARNED_SAMPLES_MIN", "Estimate", "Estimator", "Learned", "estimator")

LEARNED_FROM: Final = 1_000
"""Finished requests that the learned estimate looks back on: bounds its memory, and lets it follow the traffic."""

LEARNED_SAMPLES_MIN: Final = 20
"""Finished requests before the learned estimate trusts them: of fewer, the highest 5 % is not even one."""


class Estimate(StrEnum):
    """The ways to estimate: by knowing the usage, by the largest output allowed, by what was seen to finish."""

    EXACT = "exact"
    MAX = "max"
    LEARNED = "learned"


class Estimator(Protocol):
    """Guesses the output of requests that arrive, and is told of those that finish."""

    def output_tokens(self, request: Request) -> int:
        """The output tokens to reserve for a request that arrives now."""

    def finished(self, output_tokens: int) -> None:
        """A request has finished after this many output tokens."""


class _Exact:
    def output_tokens(self, request: Request) -> int:
        return request.output_tokens

    def finished(self, output_tokens: int) -> None:
        """Nothing to learn."""


class _Max:
    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def output_tokens(self, request: Request) -> int:  # noqa: ARG002 - the same for each
        return self._max_tokens

    def finished(self, output_tokens: int) -> None:
        """Nothing to learn."""


class Learned:
    """The 95th percentile of the last outputs to finish; `max_tokens` until there are enough of them.

    One in twenty requests is expected to use more than it reserved: that overrun is charged when it is settled.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._recent = RecentQuantile(LEARNED_FROM, permille=950)

    def output_tokens(self, request: Request) -> int:  # noqa: ARG002 - output does not follow from input
        """The smallest output that at least 95 % of the recent ones did not pass."""
        return self._max_tokens if len(self._recent) < LEARNED_SAMPLES_MIN else self._recent.value

    def finished(self, output_tokens: int) -> None:
        """Take this output in, and forget the oldest beyond the number looked back on."""
        self._recent.add(output_tokens)


def estimator(kind: Estimate, max_tokens: int) -> Estimator:
    """A fresh estimator of this kind; `max_tokens` is the most output that a request may ask for."""
    match kind:
        case Estimate.EXACT:
            return _Exact()
        case Estimate.MAX:
            return _Max(max_tokens)
        case Estimate.LEARNED:
            return Learned(max_tokens)
