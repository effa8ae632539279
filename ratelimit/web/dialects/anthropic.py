"""Anthropic's manners: points in time in `anthropic-ratelimit-*`, and typed errors that carry their request id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from ratelimit.core.decision import Standing
from ratelimit.errors import CostExceedsLimit
from ratelimit.web.answer import Answer, Headers
from ratelimit.web.dialects.base import (
    NO_RETRY,
    Shortage,
    answer_json,
    meter_words,
    new_request_id,
    shown,
    tightest,
)
from ratelimit.web.durations import period_text, rfc3339
from ratelimit.web.routes import DialectName
from ratelimit.web.wait import Wait

__all__ = ("Anthropic",)

_FAMILIES: Final = {
    meter: (
        f"anthropic-ratelimit-{name}-limit".encode(),
        f"anthropic-ratelimit-{name}-remaining".encode(),
        f"anthropic-ratelimit-{name}-reset".encode(),
        name != "requests",
    )
    for meter, name in (
        ("requests", "requests"),
        ("tokens", "tokens"),
        ("input_tokens", "input-tokens"),
        ("output_tokens", "output-tokens"),
    )
}
"""By meter: names of the three headers, and whether what remains is rounded."""
_REMEDY: Final = "reduce the prompt length or the maximum tokens requested"
_TEXT_MAX: Final = 512


class Anthropic:
    """The dialect of `/v1/messages`. `request_id` names each answer, in `request-id` and in the body."""

    __slots__ = ("_request_id",)

    def __init__(self, request_id: Callable[[], str] = new_request_id) -> None:
        self._request_id = request_id

    @property
    def name(self) -> DialectName:
        """What routes call it."""
        return "anthropic"

    def standing_headers(self, standings: Sequence[Standing], now: float) -> Headers:
        """`anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`.

        Those families that the plan has. What remains of tokens is rounded to the nearest thousand, as the provider
        does, within the limit. The reset is the time when nothing is used any more.
        """
        now_us = ceil(now * 1e6)
        headers: Headers = []
        for meter, standing in tightest(standings).items():
            family = _FAMILIES.get(meter)
            if family is not None:
                limit, remaining, reset, rounded = family
                most, left = standing.amount, standing.remaining
                # Exact below a limit of a thousand: rounded, nothing would be left of it.
                if rounded and most >= 1_000:
                    left = (left + 500) // 1_000 * 1_000
                headers += (
                    (limit, b"%d" % most),
                    (remaining, b"%d" % min(left, most)),
                    (reset, rfc3339(now_us + standing.reset_after_us).encode()),
                )
        return headers

    def limited(self, shortage: Shortage, wait: Wait, now: float) -> Answer:
        """429 `rate_limit_error`."""
        binding = shortage.binding
        remedy = "" if binding.meter == "requests" else f"{_REMEDY}, or "
        message = (
            f"This request would exceed your plan's rate limit of {_limit_text(binding)} "
            f"({_about(binding.plan, shortage.model)}). You can see the response headers for current usage. "
            f"Please {remedy}try again later."
        )
        headers = self.standing_headers(shortage.decision.standings, now) + wait.headers()
        return self._error(429, "rate_limit_error", message, headers)

    def too_large(self, error: CostExceedsLimit, model: str | None) -> Answer:
        """429 `rate_limit_error`, with `x-should-retry: false` and no wait."""
        words = meter_words(error.meter)
        message = (
            f"Request too large: {error.cost:,} {words}, and your plan admits at most {error.burst:,} at once "
            f"({_about(error.plan, model)}). Please {_REMEDY}."
        )
        return self._error(429, "rate_limit_error", message, [NO_RETRY])

    def unauthorized(self, *, missing: bool) -> Answer:
        """401 `authentication_error`."""
        message = "x-api-key header is required" if missing else "invalid x-api-key"
        return self._error(401, "authentication_error", message, [(b"www-authenticate", b"Bearer")])

    def bad_request(self, message: str, param: str | None) -> Answer:
        """400 `invalid_request_error`. The field to blame begins the message, as there is no member for it."""
        blamed = shown(param)
        text = shown(message, _TEXT_MAX)
        return self._error(400, "invalid_request_error", f"{blamed}: {text}" if blamed else text)

    def body_too_large(self, limit: int) -> Answer:
        """413 `request_too_large`."""
        return self._error(413, "request_too_large", f"Request exceeds the maximum size of {limit} bytes")

    def body_too_slow(self, seconds: float) -> Answer:
        """408 `timeout_error`."""
        return self._error(408, "timeout_error", f"Request body did not arrive within {seconds:g} s")

    def not_found(self, method: str, path: str) -> Answer:
        """404 `not_found_error`."""
        return self._error(404, "not_found_error", f"Not found: {shown(method, 16)} {shown(path, 128)}")

    def unavailable(self) -> Answer:
        """529 `overloaded_error`."""
        return self._error(529, "overloaded_error", "Overloaded")

    def _error(self, status: int, kind: str, message: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
        request_id = self._request_id()
        document = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
        return answer_json(status, document, [(b"request-id", request_id.encode()), *headers])


def _limit_text(standing: Standing) -> str:
    """60,000 tokens per minute."""
    return f"{standing.amount:,} {meter_words(standing.meter)} per {period_text(standing.period)}"


def _about(plan: str, model: str | None) -> str:
    name = shown(model)
    return f"plan: {shown(plan)}, model: {name}" if name else f"plan: {shown(plan)}"
