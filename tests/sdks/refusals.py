"""Refusals for the SDKs to react to, and how long each of them has to be retried."""

from __future__ import annotations

from dataclasses import dataclass

from ratelimit.core.decision import Decision, Standing
from ratelimit.errors import CostExceedsLimit
from ratelimit.web.answer import Answer
from ratelimit.web.dialects import DIALECTS, Dialect, Shortage
from ratelimit.web.routes import DialectName
from ratelimit.web.wait import Wait

__all__ = ("REFUSALS", "Refusal", "limited")

_NOW = 1_795_000_000.0
_NEVER: tuple[float, ...] = ()
_BACKOFF = None
_MODEL = "glm-5"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of a dialect, and the seconds that an SDK has to sleep before each retry; None: as long as it likes."""

    name: str
    dialect: DialectName
    answer: Answer
    waits: tuple[float, ...] | None
    exceptions: tuple[str, ...]
    """The exception's class or one above it, one name or another: SDKs have refined them."""

    def __str__(self) -> str:
        return self.name


def limited(dialect: Dialect, seconds: float, spread: float = 0.0) -> Answer:
    """The answer to a request that fits in so many seconds."""
    requests = Standing(
        plan="Pro",
        meter="requests",
        amount=60,
        period=60.0,
        burst=60,
        remaining=58,
        debt=0,
        reset_after_us=2_000_000,
        retry_after_us=0,
    )
    tokens = Standing(
        plan="Pro",
        meter="tokens",
        amount=600_000,
        period=60.0,
        burst=600_000,
        remaining=1_499,
        debt=0,
        reset_after_us=59_850_100,
        retry_after_us=int(seconds * 1e6),
    )
    decision: Decision[object] = Decision(allowed=False, standings=(requests, tokens))
    shortage = Shortage(model=_MODEL, decision=decision, requested={"requests": 1, "tokens": 9_000})
    return dialect.limited(shortage, Wait(tokens.retry_after_us, spread), _NOW)


def _refusals(dialect: Dialect) -> list[Refusal]:
    huge = CostExceedsLimit(plan="Pro", meter="tokens", cost=700_000, burst=600_000)
    rate, auth, bad = ("RateLimitError",), ("AuthenticationError",), ("BadRequestError",)
    busy = ("InternalServerError", "OverloadedError")
    listed: list[tuple[str, Answer, tuple[float, ...] | None, tuple[str, ...]]] = [
        ("1 ms", limited(dialect, 0.0001), (0.001, 0.001), rate),
        ("750 ms", limited(dialect, 0.75), (0.75, 0.75), rate),
        ("750 ms, spread", limited(dialect, 0.75, 1.0), (0.825, 0.825), rate),
        ("59 s", limited(dialect, 59), (59.0, 59.0), rate),
        ("60 s", limited(dialect, 60), (60.0, 60.0), rate),
        ("58 s, spread", limited(dialect, 58, 1.0), (60.0, 60.0), rate),
        ("61 s", limited(dialect, 61), _NEVER, rate),
        ("121 s", limited(dialect, 121), _NEVER, rate),
        ("an hour", limited(dialect, 3_600), _NEVER, rate),
        ("two months", limited(dialect, 5_184_000), _NEVER, rate),
        ("too large", dialect.too_large(huge, _MODEL), _NEVER, rate),
        ("no key", dialect.unauthorized(missing=True), _NEVER, auth),
        ("wrong key", dialect.unauthorized(missing=False), _NEVER, auth),
        ("bad request", dialect.bad_request("max_tokens must be a whole number", "max_tokens"), _NEVER, bad),
        ("no such path", dialect.not_found("POST", "/v1/nowhere"), _NEVER, ("NotFoundError",)),
        ("body too large", dialect.body_too_large(1_024), _NEVER, ("APIStatusError",)),
        ("body too slow", dialect.body_too_slow(60.0), _BACKOFF, ("APIStatusError",)),
        ("unavailable", dialect.unavailable(), _BACKOFF, busy),
    ]
    return [Refusal(name, dialect.name, answer, waits, exceptions) for name, answer, waits, exceptions in listed]


REFUSALS: dict[DialectName, list[Refusal]] = {name: _refusals(dialect) for name, dialect in DIALECTS.items()}
