"""Every error that `ratelimit` raises, by who must act.

* RateLimitError
  + ConfigError           you: a value, a plan or a call that cannot be right
  + CostExceedsLimit      the caller: this cost can never fit, waiting does not help
  + RateLimited           the caller: come back after `decision.retry_after`
  + BackendError          the operator
    - BackendUnavailable  nobody answers, or the server refuses to serve
    - BackendTimeout      no answer within the deadline; the operation may have happened
    - WireMismatch        an answer that is not ours, or of another version
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from ratelimit.core.decision import Decision

__all__ = (
    "BackendError",
    "BackendTimeout",
    "BackendUnavailable",
    "ConfigError",
    "CostExceedsLimit",
    "RateLimitError",
    "RateLimited",
    "WireMismatch",
)


class RateLimitError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(RateLimitError, ValueError):
    """A value, a plan or a call that cannot be right, whatever the state of the buckets."""


class CostExceedsLimit(RateLimitError):
    """The cost is larger than a whole bucket, so it can never fit: waiting does not help.

    `meter`, `cost` and `burst` name the limit that is too small, in the meter's own amounts.
    """

    def __init__(self, *, plan: str, meter: str, cost: int, burst: int) -> None:
        self.plan = plan
        self.meter = meter
        self.cost = cost
        self.burst = burst
        super().__init__(
            f"{meter}={cost} can never fit: plan {plan!r} holds at most {burst} {meter} at once; "
            "ask for less, or use a plan with a larger burst"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_cost_exceeds_limit, (self.plan, self.meter, self.cost, self.burst))


def _rebuild_cost_exceeds_limit(plan: str, meter: str, cost: int, burst: int) -> CostExceedsLimit:
    return CostExceedsLimit(plan=plan, meter=meter, cost=cost, burst=burst)


class RateLimited(RateLimitError):
    """The cost does not fit now. `decision` says which limit binds and when it will fit."""

    def __init__(self, decision: Decision[Any]) -> None:
        self.decision = decision
        super().__init__(decision)

    def __str__(self) -> str:
        return str(self.decision)

    @property
    def retry_after(self) -> float:
        """Seconds after which the same cost fits, when nothing else happens."""
        return self.decision.retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return (RateLimited, (self.decision,))


class BackendError(RateLimitError):
    """The backend could not decide. Never means "over the limit"."""

    def again(self) -> Self:
        """The same for somebody else: raised by several tasks, one error would gather all their tracebacks."""
        own = type(self)(*self.args)
        own.__cause__ = self
        return own


class BackendUnavailable(BackendError):
    """Nobody answers, or the server refuses to serve (loading, read-only, out of memory)."""


class BackendTimeout(BackendError):
    """No answer within the deadline. The operation may have happened on the server."""


class WireMismatch(BackendError):
    """An answer that belongs to another call or another version of this library."""
