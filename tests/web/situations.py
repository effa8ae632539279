"""Every situation in which a dialect speaks: the answers behind the golden files and docs/http.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratelimit import CostExceedsLimit, Standing
from ratelimit.web.answer import Answer
from ratelimit.web.dialects import Dialect
from ratelimit.web.wait import Wait
from tests.web.standings import decide, plan_of, shortage

__all__ = ("NOW", "answers", "request_id", "standing_answers", "standing_sets")

NOW = 1_755_780_059.25
"""2025-08-21T12:40:59.25Z"""
_LITE = plan_of(("requests", 10, 60), ("tokens", 60_000, 60), name="Lite")
_TEAM = plan_of(("requests", 60, 60), ("tokens", 30_000, 60))
_SIDES = plan_of(("requests", 60, 60), ("input_tokens", 400_000, 60), ("output_tokens", 80_000, 60), name="Sides")
_DAILY = plan_of(("requests", 200, "day"), ("tokens", 60_000, 60), name="Daily")


def request_id() -> str:
    """One that stays the same."""
    return "req_0123456789abcdef01234567"


def standing_sets() -> Mapping[str, Sequence[Standing]]:
    """Standings that headers are made of."""
    return {
        "standing": decide(_LITE, {}, {"tokens": 1_500}).standings,
        "standing-sides": decide(_SIDES, {}, {"input_tokens": 12_345, "output_tokens": 4_096}).standings,
        "limited": decide(_TEAM, {"requests": 5, "tokens": 14_567}, {"tokens": 24_754}).standings,
    }


def standing_answers(dialect: Dialect) -> Mapping[str, Answer]:
    """What the app's own 200 gets."""
    return {
        name: Answer(200, dialect.standing_headers(standings, NOW), b"")
        for name, standings in standing_sets().items()
        if name != "limited"
    }


def answers(dialect: Dialect) -> Mapping[str, Answer]:
    """What a client gets in place of the app's response."""

    def limited(*asked: object, spread: float) -> Answer:
        short = shortage(*asked)  # type: ignore[arg-type]
        return dialect.limited(short, Wait(short.decision.retry_after_us, spread), NOW)

    too_large = CostExceedsLimit(plan="Lite", meter="tokens", cost=61_500, burst=60_000)
    return {
        "limited-requests": limited(_LITE, {"requests": 10, "tokens": 9_000}, {"tokens": 900}, spread=0.5),
        "limited-tokens": limited(_TEAM, {"requests": 5, "tokens": 14_567}, {"tokens": 24_754}, spread=0.5),
        "limited-output": limited(_SIDES, {"output_tokens": 79_000}, {"output_tokens": 2_000}, None, spread=1.0),
        "limited-for-long": limited(_DAILY, {"requests": 200, "tokens": 4_000}, {"tokens": 900}, spread=0.5),
        "too-large": dialect.too_large(too_large, "minimax-m2.5"),
        "no-key": dialect.unauthorized(missing=True),
        "unknown-key": dialect.unauthorized(missing=False),
        "bad-request": dialect.bad_request("must be a whole number from 1 to 2**53", "max_tokens"),
        "body-too-large": dialect.body_too_large(33_554_432),
        "body-too-slow": dialect.body_too_slow(30.0),
        "not-found": dialect.not_found("POST", "/v1/images/generations"),
        "unavailable": dialect.unavailable(),
    }
