"""Keys for a gateway that was started without any: one per plan, made anew each time, and nowhere but in memory."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Iterator
from hashlib import blake2b

import orjson

from ratelimit.gateway.config import GatewayConfig
from ratelimit.plans import PlanRegistry
from ratelimit.web.credentials import api_key
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.keys import new_key
from ratelimit.web.routes import dialect_of

__all__ = ("DemoKeys", "announcement")

_MODEL = "minimax-m2.5"


class DemoKeys:
    """An identify callable that knows one key per plan. Its repr shows none.

    Args:
        plans: the plans that get a key each.
        make: makes a key.
    """

    def __init__(self, plans: PlanRegistry, make: Callable[[], str] = new_key) -> None:
        self.keys = {plan.name: make() for plan in plans}
        """The key of each plan, by the plan's name."""
        # Looked up by a digest that nobody outside can work out, so that the time of a look-up tells nothing.
        self._salt = secrets.token_bytes(32)
        self._known = {self._digest(key): Identity.of(f"demo {plan}", plan) for plan, key in self.keys.items()}

    def __repr__(self) -> str:
        return f"<DemoKeys for {len(self.keys)} plans>"

    def __call__(self, head: RequestHead) -> Identity | None:
        """Who sends this request; None for any other key."""
        key = api_key(head, dialect_of(head.path))
        return None if key is None else self._known.get(self._digest(key))

    def _digest(self, key: str) -> bytes:
        return blake2b(key.encode("utf-8", "surrogatepass"), key=self._salt).digest()


def announcement(address: str, config: GatewayConfig, demo: DemoKeys | None) -> Iterator[str]:
    """Lines to print once the gateway listens at `address`, `http://host:port`."""
    yield f"ratelimit listens on {address} (upstream: {'the built-in mock' if config.is_mock else config.upstream})"
    if demo is None:
        return
    yield ""
    yield "No keys file was given (--keys FILE): these keys are for this start only."
    width = max(map(len, demo.keys))
    for plan, key in demo.keys.items():
        yield f"  {plan:<{width}}  {key}"
    yield ""
    yield "Try it:"
    yield f"  {_curl(address, config, next(iter(demo.keys.values())))}"


def _curl(address: str, config: GatewayConfig, key: str) -> str:
    words = ["curl", "-H", f"Authorization: Bearer {key}"]
    if not config.is_mock:  # which models it has is not known here
        return shlex.join([*words, f"{address}/v1/models"])
    body = {"model": _MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    words += ["-H", "Content-Type: application/json", "-d", orjson.dumps(body).decode()]
    return shlex.join([*words, f"{address}/v1/chat/completions"])
