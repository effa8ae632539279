"""What an operator decides about a gateway: one value, checked when it is made, shared by ASGI and WSGI."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import random
from typing import Any, Final, Literal, NotRequired, TypedDict, get_args

from ratelimit.backends.base import Retention
from ratelimit.errors import ConfigError
from ratelimit.on_error import OnError, check_on_error
from ratelimit.plans import Plan, PlanRegistry
from ratelimit.web.call import MediaCosts
from ratelimit.web.estimate import Estimator, OutputPolicy, TokenEstimator
from ratelimit.web.identity import Identify
from ratelimit.web.routes import RouteTable, Unknown
from ratelimit.web.tariff import Tariffs

__all__ = ("Fail", "Options", "Policy")

Fail = Literal["closed", "open"]
"""While the backend cannot decide: refuse (503 or 529), or let through without counting."""

_SETTLE_SECONDS: Final = 10.0
_BODY_BYTES: Final = 32 * 1024 * 1024


class Options(TypedDict):
    """Keyword options of both middlewares; :class:`Policy` says what they mean."""

    unknown: NotRequired[Unknown]
    prefixes: NotRequired[Sequence[str]]
    fail: NotRequired[Fail]
    on_upstream_error: NotRequired[OnError]
    anonymous: NotRequired[str | Plan | None]
    trusted_hops: NotRequired[int]
    models_cost: NotRequired[int]
    output: NotRequired[OutputPolicy]
    tokens: NotRequired[TokenEstimator | None]
    media: NotRequired[MediaCosts]
    ask_usage: NotRequired[bool]
    ietf: NotRequired[bool]
    body_bytes: NotRequired[int]
    body_seconds: NotRequired[float]
    retry_threshold: NotRequired[float]
    settle_seconds: NotRequired[float | None]
    clock: NotRequired[Callable[[], float]]


class Policy:
    """The rules of a gateway.

    Args:
        identify: who a request is charged to: a callable, sync or async, from a `RequestHead` to an `Identity`, a
            `Scope`, a list of them, or None for nobody.
        plans: the limiter's plans.
        retention: the limiter's; no settlement may be tried for longer than its retry window, or it might count twice.
        unknown: what to do with paths that are no endpoint of either dialect: "pass", "charge" a request, or "refuse".
        prefixes: what may stand in front of `/v1/…`.
        fail: while the backend cannot decide, "closed" answers 503 or 529, "open" lets requests through uncounted.
        on_upstream_error: what an upstream's 4xx or 5xx gives back: "refund_tokens" keeps the request charged, "refund"
            gives it back too, "keep" keeps the estimate.
        anonymous: the plan of clients without a key, each limited by its address; None refuses them.
        trusted_hops: proxies of yours in front: that many entries of X-Forwarded-For are believed.
        models_cost: requests that a look at the list of models costs.
        output: how output is reserved: "learned", "max_tokens" or "input_only".
        tokens: counts tokens in place of the ratio learned per model.
        media: tokens that images, audio and documents cost.
        ask_usage: ask the upstream for the usage of streams whose client did not, and keep the extra chunk from it.
        ietf: send the `RateLimit` and `RateLimit-Policy` fields too.
        body_bytes: largest request body.
        body_seconds: longest time for a request body to arrive.
        retry_threshold: seconds of waiting above which `x-should-retry: false` is sent.
        settle_seconds: longest time that one settlement is tried for; by default 10, or the retry window.
        clock: seconds since the epoch, for headers that name a point in time.

    Raises:
        ConfigError: an option that cannot be right.
    """

    def __init__(
        self,
        identify: Identify,
        plans: PlanRegistry,
        retention: Retention,
        *,
        unknown: Unknown = "pass",
        prefixes: Sequence[str] = ("", "/anthropic"),
        fail: Fail = "closed",
        on_upstream_error: OnError = "refund_tokens",
        anonymous: str | Plan | None = None,
        trusted_hops: int = 0,
        models_cost: int = 0,
        output: OutputPolicy = "learned",
        tokens: TokenEstimator | None = None,
        media: MediaCosts | None = None,
        ask_usage: bool = False,
        ietf: bool = False,
        body_bytes: int = _BODY_BYTES,
        body_seconds: float = 60.0,
        retry_threshold: float = 60.0,
        settle_seconds: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not callable(identify):
            raise ConfigError(
                f"identify is {type(identify).__name__}: must be a callable, such as ApiKeys('keys.toml')"
            )
        _one_of("fail", fail, get_args(Fail))
        check_on_error(on_upstream_error)
        _whole("trusted_hops", trusted_hops, 0, 32)
        _whole("models_cost", models_cost, 0, 1_000)
        _whole("body_bytes", body_bytes, 1, 2**40)
        _seconds("body_seconds", body_seconds)
        _seconds("retry_threshold", retry_threshold)
        if settle_seconds is None:
            settle_seconds = min(_SETTLE_SECONDS, retention.retry_window)
        _seconds("settle_seconds", settle_seconds, retention.retry_window)
        self.identify = identify
        self.plans = plans
        self.routes = RouteTable(prefixes, unknown)
        self.fail = fail
        self.on_upstream_error: OnError = on_upstream_error
        self.anonymous = None if anonymous is None else plans.resolve(anonymous)
        self.trusted_hops = trusted_hops
        self.models_cost = models_cost
        self.estimator = Estimator(output=output, tokens=tokens)
        self.guesses_output = output == "learned"
        self.media = media or MediaCosts()
        self.ask_usage = ask_usage
        self.ietf = ietf
        self.body_bytes = body_bytes
        self.body_seconds = body_seconds
        self.retry_threshold = retry_threshold
        self.settle_seconds = settle_seconds
        self.clock = clock
        self.jitter = random
        self.tariffs = Tariffs()


def _one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}: must be one of {', '.join(choices)}")


def _whole(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name} is {value!r}: must be a whole number from {least} to {most}")


def _seconds(name: str, value: Any, most: int = 86_400) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
        raise ConfigError(f"{name} is {value!r}: must be seconds above 0, at most {most:,}")
