"""The real engine in virtual time, over memory or over Redis, and a guard for where virtual and real time differ."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ratelimit.backends.base import Backend
from ratelimit.backends.calls import RetryPolicy
from ratelimit.backends.connect import executor, is_memory_url
from ratelimit.backends.memory import MemoryBackend
from ratelimit.backends.redis import RedisBackend
from ratelimit.clock import Clock
from ratelimit.core.decision import Standing
from ratelimit.errors import BackendError, ConfigError
from ratelimit.limiter import Limiter

__all__ = ("ExpiryGuard", "open_limiter")


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
    policy = RetryPolicy()
    try:
        if is_memory_url(url):
            return MemoryBackend(clock=clock)
        connections = executor(url, policy, 1)
    except ConfigError:
        raise
    except (ValueError, TypeError):  # of urllib and redis-py; their text may repeat a password
        raise ConfigError("the backend URL cannot be read: must be like redis://host:6379/0") from None
    return RedisBackend(connections, policy=policy, virtual_clock=clock)


class ExpiryGuard:
    """Notices when a server may have forgotten a key that the replay still counts on.

    The server expires keys in real time. A replay is normally far ahead of it, so keys live too long, which changes
    nothing: the scripts treat what has drained as gone. But where more arrives in a moment than the server decides in
    that moment, real time overtakes, and a key can expire while it still holds use. The result would then be wrong.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._until: dict[str, tuple[float, int]] = {}
        self._called_at = 0.0

    def calling(self) -> None:
        """The server is about to be asked."""
        self._called_at = self._seconds()

    def answered(self, key: str, now_us: int, stored: Iterable[Standing]) -> None:
        """The server has answered, in virtual time `now_us`; `stored` is what it keeps, empty if it kept as it was.

        Raises:
            BackendError: the key may have expired before this call.
        """
        gone_at, drained_us = self._until.get(key, (float("inf"), 0))
        # Stored no earlier than it was asked to, looked at no later than it answered: never misses an expiry.
        if self._seconds() >= gone_at and now_us < drained_us:
            raise BackendError(
                "the replay offers requests faster than this server decides them, and a key expired meanwhile: "
                "the result would be wrong; lower --speed, or replay on memory://"
            )
        reset_after_us = max((standing.reset_after_us for standing in stored), default=None)
        if reset_after_us is not None:
            self._until[key] = (self._called_at + reset_after_us / 1e6, now_us + reset_after_us)
