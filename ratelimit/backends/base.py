"""What a backend is. Four verbs, each one atomic step; everything above them is shared by all backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ratelimit.core.hold import Hold
from ratelimit.core.settlement import Settlement
from ratelimit.core.wire import Head
from ratelimit.errors import ConfigError

__all__ = ("AsyncBackend", "Backend", "Op", "Retention", "named")


class Op(NamedTuple):
    """Names one operation: repeated under the same name, it happens once."""

    id: bytes
    """Eight random bytes."""
    page: int
    """Page of the operation log that holds its record."""

    @property
    def epochs(self) -> tuple[int, int]:
        """Two epochs nobody else has: one for a scope that the reserve has to begin anew, one for its settle.

        They differ, because the settle must not take a scope that it begins for the one it reserved in.
        """
        return int.from_bytes(self.id[:4], "little"), int.from_bytes(self.id[4:], "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long the engine remembers, in seconds.

    `retry_window`: a repeated reserve or settle is recognised for at least this long, from 1 to 300.
    `max_skew`: a clock that steps back by no more than this is waited out, from 0 to 3,600; a larger step is
    believed, and gives no credit.
    """

    retry_window: int = 30
    max_skew: float = 5.0

    def __post_init__(self) -> None:
        if type(self.retry_window) is not int or not 1 <= self.retry_window <= 300:
            raise ConfigError(f"retry_window is {self.retry_window!r}: must be whole seconds from 1 to 300")
        if isinstance(self.max_skew, bool) or not 0 <= self.max_skew <= 3600:
            raise ConfigError(f"max_skew is {self.max_skew!r}: must be seconds from 0 to 3600")

    @property
    def head(self) -> Head:
        """The same in the units of the wire. A third of the window makes a page: at most four live at a time."""
        page_s = -(-self.retry_window // 3)
        return Head(
            page_s=page_s, page_ttl_ms=(self.retry_window + page_s) * 1000, skew_us=int(self.max_skew * 1_000_000)
        )


def named(op: Op | None) -> Op:
    """The operation, where one is needed: over a network, an answer can get lost.

    Raises:
        ConfigError: None.
    """
    if op is None:
        raise ConfigError("this backend needs a named operation: pass an Op, or use a Limiter, which names its own")
    return op


class Backend(Protocol):
    """Decides in one atomic step per call. Thread-safe. Raises only errors of this package."""

    @property
    def retention(self) -> Retention:
        """How long this backend remembers operations."""

    def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """Charge all holds or none, fill them with the answer, and say whether they were charged.

        `op` names the operation; it may be None where answers cannot get lost (in memory).
        """

    def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """Replace the reserved cost by the actual one (units per bucket); `op` is the reserve's."""

    def peek(self, holds: Sequence[Hold]) -> None:
        """Fill the holds with the levels of this moment; changes nothing."""

    def reset(self, keys: Sequence[str]) -> bool:
        """Forget the use of these scopes; True if there was any."""

    def close(self) -> None:
        """Give back connections. The backend must not be used afterwards."""


class AsyncBackend(Protocol):
    """:class:`Backend`, awaited. A cancelled call leaves no answer behind for another one to read."""

    @property
    def retention(self) -> Retention:
        """As :meth:`Backend.retention`."""

    async def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """As :meth:`Backend.reserve`."""

    async def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """As :meth:`Backend.settle`."""

    async def peek(self, holds: Sequence[Hold]) -> None:
        """As :meth:`Backend.peek`."""

    async def reset(self, keys: Sequence[str]) -> bool:
        """As :meth:`Backend.reset`."""

    async def close(self) -> None:
        """As :meth:`Backend.close`."""
