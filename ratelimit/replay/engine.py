"""The real engine in virtual time, over memory or over Redis."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ratelimit.backends.base import Backend
from ratelimit.backends.calls import RetryPolicy
from ratelimit.backends.connect import executor, is_memory_url
from ratelimit.backends.memory import MemoryBackend
from ratelimit.backends.redis import RedisBackend
from ratelimit.clock import Clock
from ratelimit.limiter import Limiter

__all__ = ("open_limiter",)


@contextmanager
def open_limiter(url: str, clock: Clock) -> Iterator[Limiter]:
    """A limiter on the backend of `url` whose time is `clock`, under a key prefix that nobody else has.

    So a replay never meets live quota, nor another replay. It deletes nothing: what it stored expires by itself.

    Raises:
        ConfigError: a URL that cannot be right.
        BackendUnavailable: no node of the Cluster answers.
    """
    limiter = Limiter(_backend(url, clock), prefix=f"rl-replay-{secrets.token_hex(8)}-")
    try:
        yield limiter
    finally:
        limiter.close()


def _backend(url: str, clock: Clock) -> Backend:
    if is_memory_url(url):
        return MemoryBackend(clock=clock)
    policy = RetryPolicy()
    return RedisBackend(executor(url, policy, 1), policy=policy, virtual_clock=clock)
