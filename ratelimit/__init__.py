"""The quota engine for LLM gateways: reserve the estimate, settle to the real usage, over all limits at once.

Start with :class:`Limiter` or :class:`AsyncLimiter`. The words used here are defined in docs/glossary.md.
"""

from ratelimit.aio import AsyncLimiter
from ratelimit.backends.base import Retention
from ratelimit.backends.calls import RetryPolicy
from ratelimit.core.decision import Decision, Standing
from ratelimit.core.settlement import Settlement
from ratelimit.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConfigError,
    CostExceedsLimit,
    RateLimited,
    RateLimitError,
    WireMismatch,
)
from ratelimit.intake import Scope
from ratelimit.leases import Leases
from ratelimit.limiter import Limiter
from ratelimit.plans import Limit, Plan, PlanRegistry, TokenWeights
from ratelimit.reservation import AsyncReservation, Reservation

__all__ = (
    "AsyncLimiter",
    "AsyncReservation",
    "BackendError",
    "BackendTimeout",
    "BackendUnavailable",
    "ConfigError",
    "CostExceedsLimit",
    "Decision",
    "Leases",
    "Limit",
    "Limiter",
    "Plan",
    "PlanRegistry",
    "RateLimitError",
    "RateLimited",
    "Reservation",
    "Retention",
    "RetryPolicy",
    "Scope",
    "Settlement",
    "Standing",
    "TokenWeights",
    "WireMismatch",
)
