"""What a dialect is: a provider's manners of telling where limits stand and of saying no."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from ratelimit.core.decision import Decision, Standing
from ratelimit.errors import CostExceedsLimit
from ratelimit.web.answer import Answer, Headers
from ratelimit.web.routes import DialectName
from ratelimit.web.wait import Wait

__all__ = (
    "NO_RETRY",
    "Dialect",
    "Shortage",
    "answer_json",
    "is_tighter",
    "meter_words",
    "new_request_id",
    "shown",
    "tightest",
)

NO_RETRY: Final = (b"x-should-retry", b"false")
"""Obeyed by the SDKs of both providers whatever the status."""
_NAME_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Shortage:
    """What did not fit: a refused decision, the model that was asked for, and the amount asked for per meter."""

    model: str | None
    decision: Decision[Any]
    requested: Mapping[str, int]

    @property
    def binding(self) -> Standing:
        """The limit that binds longest: the one to name."""
        return max(self.decision.standings, key=lambda standing: standing.retry_after_us)

    @property
    def asked(self) -> int:
        """The amount asked for of the meter that binds; 1, the least that can be refused, if it was not named."""
        return self.requested.get(self.binding.meter, 1)


class Dialect(Protocol):
    """Headers and bodies in the shape that a provider's SDKs expect. Stateless and thread-safe.

    An answer is complete: content-type, content-length, a request id of its own and `cache-control: no-store`, since
    it is about one caller at one moment. Nothing in it holds an API key. Texts of others are cut and cleaned.
    """

    @property
    def name(self) -> DialectName:
        """What routes call it."""

    def standing_headers(self, standings: Sequence[Standing], now: float) -> Headers:
        """Where the limits stand, for every response. `now` is the wall clock, in seconds since the epoch."""

    def limited(self, shortage: Shortage, wait: Wait, now: float) -> Answer:
        """429: it does not fit now. With the standings, and the wait as its headers."""

    def too_large(self, error: CostExceedsLimit, model: str | None) -> Answer:
        """429, not to be retried: it can never fit."""

    def unauthorized(self, *, missing: bool) -> Answer:
        """401: no key, or none that we know. Never shows the key."""

    def bad_request(self, message: str, param: str | None) -> Answer:
        """400: the body cannot be right. `param` is the field to blame."""

    def body_too_large(self, limit: int) -> Answer:
        """413: the body has more than `limit` bytes."""

    def body_too_slow(self, seconds: float) -> Answer:
        """408: the body had not arrived after so many seconds."""

    def not_found(self, method: str, path: str) -> Answer:
        """404: no such endpoint."""

    def unavailable(self) -> Answer:
        """503 or 529: the backend could not decide. Without a wait, because nobody knows one."""


def answer_json(status: int, document: Mapping[str, object], headers: Headers) -> Answer:
    """An answer with a JSON body, and `headers` behind those that every answer has."""
    body = orjson.dumps(document)
    always = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        # RFC 6585, section 4: a cache must not store a 429. The others are as personal.
        (b"cache-control", b"no-store"),
    ]
    return Answer(status, always + headers, body)


def new_request_id() -> str:
    """A name for one answer that no other has, by which an operator finds it in a log."""
    return f"req_{secrets.token_hex(12)}"


def shown(text: str | None, most: int = _NAME_MAX) -> str:
    """A text of a client or of a configuration, fit for a message: printable characters only, at most `most`.

    Empty when nothing is left. Bounded work, whatever is sent; without surrogates, which JSON could not carry.
    """
    return "".join(filter(str.isprintable, (text or "")[: 4 * most])).strip()[:most]


def meter_words(meter: str) -> str:
    """A meter as people say it: input tokens."""
    return shown(meter).replace("_", " ")


def tightest(standings: Sequence[Standing]) -> dict[str, Standing]:
    """The most restrictive standing of each meter: what to show where there is room for one."""
    found: dict[str, Standing] = {}
    for standing in standings:
        other = found.setdefault(standing.meter, standing)
        if other is not standing and is_tighter(standing, other):
            found[standing.meter] = standing
    return found


def is_tighter(one: Standing, other: Standing) -> bool:
    """True when `one` is the more restrictive: the longer wait, else less left as a share of its burst, else the later
    reset.
    """
    if one.retry_after_us != other.retry_after_us:
        return one.retry_after_us > other.retry_after_us
    left, right = one.remaining * other.burst, other.remaining * one.burst
    return left < right if left != right else one.reset_after_us > other.reset_after_us
