"""OpenAI's manners: Go durations in `x-ratelimit-*`, and error objects with type, param and code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ratelimit.core.decision import Standing
from ratelimit.errors import CostExceedsLimit
from ratelimit.web.answer import Answer, Headers
from ratelimit.web.dialects.base import (
    NO_RETRY,
    Shortage,
    answer_json,
    is_tighter,
    meter_words,
    new_request_id,
    shown,
    tightest,
)
from ratelimit.web.durations import go_duration, period_text
from ratelimit.web.routes import DialectName
from ratelimit.web.wait import Wait

__all__ = ("OpenAI",)

_PERIODS: Final = {1.0: ("sec", "S"), 60.0: ("min", "M"), 3_600.0: ("hour", "H"), 86_400.0: ("day", "D")}
_TOKEN_METERS: Final = frozenset({"tokens", "input_tokens", "output_tokens"})
_TEXT_MAX: Final = 512


class OpenAI:
    """The dialect of `/v1/chat/completions`, `/v1/responses`, `/v1/embeddings` and whatever has none of its own.

    `request_id` names each answer, in `x-request-id`.
    """

    __slots__ = ("_request_id",)

    def __init__(self, request_id: Callable[[], str] = new_request_id) -> None:
        self._request_id = request_id

    @property
    def name(self) -> DialectName:
        """What routes call it."""
        return "openai"

    def standing_headers(self, standings: Sequence[Standing], now: float) -> Headers:  # noqa: ARG002
        """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, of the meters that the plan has.

        The reset is the time until nothing is used, so it does not depend on `now`.
        """
        shown_of = tightest(standings)
        headers: Headers = []
        requests = shown_of.get("requests")
        if requests is not None:
            headers += (
                (b"x-ratelimit-limit-requests", b"%d" % requests.amount),
                (b"x-ratelimit-remaining-requests", b"%d" % min(requests.remaining, requests.amount)),
                (b"x-ratelimit-reset-requests", go_duration(requests.reset_after_us).encode()),
            )
        tokens = shown_of.get("tokens") or _either_side(shown_of)
        if tokens is not None:
            headers += (
                (b"x-ratelimit-limit-tokens", b"%d" % tokens.amount),
                (b"x-ratelimit-remaining-tokens", b"%d" % min(tokens.remaining, tokens.amount)),
                (b"x-ratelimit-reset-tokens", go_duration(tokens.reset_after_us).encode()),
            )
        return headers

    def limited(self, shortage: Shortage, wait: Wait, now: float) -> Answer:
        """429 `rate_limit_exceeded`. The message states the exact wait, the headers a spread one."""
        binding = shortage.binding
        used = max(0, binding.amount - binding.remaining + binding.debt)
        message = (
            f"Rate limit reached{_for(shortage.model)} in plan {shown(binding.plan)} on {_limit_text(binding)}: "
            f"Limit {binding.amount}, Used {used}, Requested {shortage.asked}. "
            f"Please try again in {go_duration(binding.retry_after_us)}."
        )
        headers = self.standing_headers(shortage.decision.standings, now) + wait.headers()
        return self._error(429, message, _type(binding.meter), code="rate_limit_exceeded", headers=headers)

    def too_large(self, error: CostExceedsLimit, model: str | None) -> Answer:
        """429 `rate_limit_exceeded`, as OpenAI answers it, with `x-should-retry: false` and no wait."""
        less = "input or output tokens" if error.meter in _TOKEN_METERS else shown(error.meter)
        message = (
            f"Request too large{_for(model)} in plan {shown(error.plan)} on {meter_words(error.meter)} per request: "
            f"Limit {error.burst}, Requested {error.cost}. The {less} must be reduced in order to run successfully."
        )
        return self._error(429, message, _type(error.meter), code="rate_limit_exceeded", headers=[NO_RETRY])

    def unauthorized(self, *, missing: bool) -> Answer:
        """401; `invalid_api_key` when there was one."""
        headers = [(b"www-authenticate", b"Bearer")]
        if missing:
            message = (
                "You didn't provide an API key. Send it in an Authorization header: Authorization: Bearer YOUR_KEY"
            )
            return self._error(401, message, headers=headers)
        return self._error(401, "Incorrect API key provided.", code="invalid_api_key", headers=headers)

    def bad_request(self, message: str, param: str | None) -> Answer:
        """400."""
        return self._error(400, shown(message, _TEXT_MAX), param=shown(param) or None)

    def body_too_large(self, limit: int) -> Answer:
        """413 `request_too_large`."""
        return self._error(413, f"The request body is larger than {limit} bytes.", code="request_too_large")

    def body_too_slow(self, seconds: float) -> Answer:
        """408 `request_timeout`."""
        return self._error(408, f"The request body did not arrive within {seconds:g} s.", code="request_timeout")

    def not_found(self, method: str, path: str) -> Answer:
        """404."""
        return self._error(404, f"Invalid URL ({shown(method, 16)} {shown(path, 128)})")

    def unavailable(self) -> Answer:
        """503 `server_is_overloaded`."""
        message = "The server is overloaded or not ready yet. Please try again later."
        return self._error(503, message, "server_error", code="server_is_overloaded")

    def _error(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Answer:
        document = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        return answer_json(status, document, [(b"x-request-id", self._request_id().encode()), *headers])


def _either_side(standings: dict[str, Standing]) -> Standing | None:
    """What stands for tokens when a plan counts input and output apart: the side that will refuse first."""
    one, other = standings.get("input_tokens"), standings.get("output_tokens")
    if one is None or other is None:
        return one or other
    return one if is_tighter(one, other) else other


def _for(model: str | None) -> str:
    name = shown(model)
    return f" for {name}" if name else ""


def _type(meter: str) -> str:
    return "tokens" if meter in _TOKEN_METERS else shown(meter)


def _limit_text(standing: Standing) -> str:
    """tokens per min (TPM), input tokens per day (ITPD); without initials for a period that has none."""
    words = meter_words(standing.meter)
    if standing.period not in _PERIODS:
        return f"{words} per {period_text(standing.period)}"
    period, initial = _PERIODS[standing.period]
    return f"{words} per {period} ({''.join(word[0] for word in words.split()).upper()}P{initial})"
