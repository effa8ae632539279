"""Promises of `ratelimit.web.policy`."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

import pytest

from ratelimit import ConfigError, Plan, PlanRegistry
from ratelimit.backends.base import Retention
from ratelimit.web.policy import Options, Policy

REQUIRED = {"identify", "plans", "retention"}


def policy(**options: Any) -> Policy:
    """A policy with these options."""
    options = {"identify": lambda _: None, "retention": Retention(), **options}
    return Policy(options.pop("identify"), PlanRegistry(), options.pop("retention"), **options)


def test_both_middlewares_take_every_option() -> None:
    """`Options` names what `Policy` takes."""
    taken = set(inspect.signature(Policy).parameters) - REQUIRED
    assert set(Options.__annotations__) == taken


def test_every_option_is_explained() -> None:
    """In the docstring, in the order in which they are taken."""
    arguments = (inspect.getdoc(Policy) or "").partition("Raises:")[0]
    explained = re.findall(r"^    (\w+): ", arguments, flags=re.MULTILINE)
    assert explained == list(inspect.signature(Policy).parameters)


def test_without_options_it_refuses_who_it_does_not_know() -> None:
    """The defaults are the careful ones, and the plan's anonymous clients have to be named."""
    default = policy()
    assert (default.fail, default.on_upstream_error, default.anonymous) == ("closed", "refund_tokens", None)
    assert (default.trusted_hops, default.models_cost, default.ask_usage, default.ietf) == (0, 0, False, False)
    assert default.guesses_output
    assert default.routes.find("POST", "/anthropic/v1/messages") is not None
    assert 0 <= default.jitter() < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"identify": "keys.toml"}, "identify is str: must be a callable, such as ApiKeys('keys.toml')"),
        ({"fail": "Open"}, "fail is 'Open': must be one of closed, open"),
        ({"unknown": None}, "unknown is None: must be one of pass, charge, refuse"),
        ({"on_upstream_error": "give"}, "on_error is 'give': must be one of refund_tokens, refund, keep"),
        ({"trusted_hops": 1.0}, "trusted_hops is 1.0: must be a whole number from 0 to 32"),
        ({"trusted_hops": 33}, "trusted_hops is 33: must be a whole number from 0 to 32"),
        ({"models_cost": -1}, "models_cost is -1: must be a whole number from 0 to 1000"),
        ({"models_cost": True}, "models_cost is True: must be a whole number from 0 to 1000"),
        ({"body_bytes": 0}, f"body_bytes is 0: must be a whole number from 1 to {2**40}"),
        ({"body_seconds": 0}, "body_seconds is 0: must be seconds above 0, at most 86,400"),
        ({"body_seconds": math.nan}, "body_seconds is nan: must be seconds above 0, at most 86,400"),
        ({"body_seconds": "60"}, "body_seconds is '60': must be seconds above 0, at most 86,400"),
        ({"retry_threshold": math.inf}, "retry_threshold is inf: must be seconds above 0, at most 86,400"),
        ({"settle_seconds": True}, "settle_seconds is True: must be seconds above 0, at most 30"),
        ({"settle_seconds": 31}, "settle_seconds is 31: must be seconds above 0, at most 30"),
        ({"output": "guess"}, "output is 'guess': must be one of learned, max_tokens, input_only"),
        ({"prefixes": "/v1"}, "prefixes is '/v1': must be a list of prefixes, such as ('', '/anthropic')"),
        ({"anonymous": "Platinum"}, "plan 'Platinum': no such plan"),
        ({"tokens": object()}, "tokens is object: a TokenEstimator needs"),
    ],
)
def test_what_cannot_be_right_is_refused_when_it_is_made(options: dict[str, Any], message: str) -> None:
    """Naming option, value and rule."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        policy(**options)


def test_the_plan_of_anonymous_clients_may_be_a_name_or_a_plan() -> None:
    """It is looked up once."""
    plan = Plan("Guests", rpm=1)
    assert policy(anonymous=plan).anonymous is plan
    assert policy(anonymous="lite").anonymous == PlanRegistry()["Lite"]


@pytest.mark.parametrize("window", [5, 30, 300])
def test_no_settlement_is_tried_for_longer_than_it_is_recognised(window: int) -> None:
    """A repeat after the engine's retry window would count twice."""
    retention = Retention(retry_window=window)
    assert policy(retention=retention, settle_seconds=window).settle_seconds == window
    assert policy(retention=retention).settle_seconds <= window
    with pytest.raises(ConfigError):
        policy(retention=retention, settle_seconds=window + 1)
