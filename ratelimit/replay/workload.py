"""From a trace to the traffic that is replayed: which key sends each request, when, and when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

from ratelimit.errors import ConfigError
from ratelimit.replay.estimate import Estimate
from ratelimit.replay.trace import TOKENS_MAX, Request

__all__ = ("Arrival", "Settings", "offer")

_KEYS_MAX: Final = 1_000_000

# Whatever a trace may hold (366 days, 10**8 tokens), these keep its last moment within the range of a ManualClock.
_SPEED_MIN: Final = 0.01
_RATE_MIN: Final = 1
_SPEED_MAX: Final = 1e6
_RATE_MAX: Final = 1e6
_FIRST_TOKEN_MAX_S: Final = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a replay assumes where the trace says nothing.

    Raises:
        ConfigError: names the option, its value and the rule.
    """

    keys: int = 1
    """API keys that the requests are spread over."""
    speed: float = 1.0
    """Factor on the arrival rate: 4 offers the same requests in a quarter of the time."""
    estimate: Estimate = Estimate.LEARNED
    max_tokens: int = 4_096
    """Output tokens that a request may ask for, reserved where nothing better is known."""
    tokens_per_second: float = 50.0
    """Speed of the model: output tokens of one request per second, after the first."""
    first_token_s: float = 0.5
    """Seconds from the arrival to the first output token."""
    seed: int = 0
    """Decides which key sends which request."""

    def __post_init__(self) -> None:
        _whole("keys", self.keys, 1, _KEYS_MAX)
        _whole("max-tokens", self.max_tokens, 1, TOKENS_MAX)
        _whole("seed", self.seed, 0, 2**63)
        _number("speed", self.speed, _SPEED_MIN, _SPEED_MAX)
        _number("tokens-per-second", self.tokens_per_second, _RATE_MIN, _RATE_MAX)
        _number("first-token-s", self.first_token_s, 0, _FIRST_TOKEN_MAX_S)

    def duration_us(self, output_tokens: int) -> int:
        """Microseconds that a request with this many output tokens takes."""
        return round((self.first_token_s + output_tokens / self.tokens_per_second) * 1_000_000)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it is offered: by which key, when, and when it is done if it is admitted (us from the start)."""

    at_us: int
    done_us: int
    key: str
    request: Request


def offer(requests: Sequence[Request], settings: Settings) -> list[Arrival]:
    """Spread a trace over keys and time, in order of arrival; the same for the same settings.

    Public traces name no users. Key k of N gets a share of requests in proportion to 1/k (Zipf), drawn at random from
    the seed: a few busy keys and many quiet ones, as gateways see them.
    """
    names = [f"replay-key-{rank}" for rank in range(1, settings.keys + 1)]
    shares = list(accumulate(1 / rank for rank in range(1, settings.keys + 1)))
    senders = Random(settings.seed).choices(names, cum_weights=shares, k=len(requests))
    arrivals = []
    for request, key in zip(requests, senders, strict=True):
        at_us = round(request.at_us / settings.speed)
        arrivals.append(Arrival(at_us, at_us + settings.duration_us(request.output_tokens), key, request))
    return arrivals


def _whole(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name} is {value!r}: must be a whole number from {least:,} to {most:,}")


def _number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigError(f"{name} is {value!r}: must be a number from {least:g} to {most:g}")
