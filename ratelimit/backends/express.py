"""The express lane to Redis for asyncio: ordinary operations of many subjects in one call of `lua/express.lua`.

Ordinary is one subject under a plan of requests and tokens, as nearly all are. Against a batch of whole reserves and
settles this halves the script's time, because no operation names itself or its plan and one record stands for the
whole call, and the client's, because an operation is nine bytes from the caller on (docs/performance.md).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence

from ratelimit.backends.calls import Calls, ScriptCall
from ratelimit.backends.coalesce import Coalescer, Member, Stop
from ratelimit.core.keys import page_key
from ratelimit.core.limit import Layout
from ratelimit.core.wire import OP_BYTES
from ratelimit.core.wire_express import REFUSED, decode_express, encode_reserve
from ratelimit.errors import BackendError

__all__ = ("Express", "ExpressScope")


class ExpressScope(Stop):
    """A subject under a plan: what its operations have in common, worked out once."""

    __slots__ = ("key", "layout")

    def __init__(self, express: Express, key: str, layout: Layout, slot: Callable[[str], int]) -> None:
        tag = key[: key.find("}")]
        super().__init__(express, tag, slot(tag))
        self.key = key
        self.layout = layout


class ExpressOperation(Member):
    """A reserve or a settle as bytes; `pages` holds the key that a settle is recorded under."""

    __slots__ = ("pages", "payload")

    stop: ExpressScope

    def __init__(self, scope: ExpressScope, payload: bytes, pages: tuple[str, ...], expires: float) -> None:
        self.stop = scope
        self.payload = payload
        self.pages = pages
        self.expires = expires


class Express:
    """A carrier whose batch is one operation to the server: repeated as a whole, it happens once.

    An answer is the server's time (us) and an `ExpressAnswer`; or None for what has to go alone. That has not happened,
    and neither has what is NOT_ORDINARY.
    """

    def __init__(
        self,
        coalescer: Coalescer,
        calls: Calls,
        run: Callable[[ScriptCall, float], Awaitable[object]],
        timeout: float,
        slot: Callable[[str], int],
    ) -> None:
        self.coalescer = coalescer
        self._calls = calls
        self._run = run
        self._timeout = timeout
        self._slot = slot

    def scope(self, key: str, layout: Layout) -> ExpressScope:
        """A subject, for its operations."""
        return ExpressScope(self, key, layout, self._slot)

    def reserve(self, scope: ExpressScope, cost0: int, cost1: int, began: float) -> ExpressOperation:
        """Charge these units, or nothing. `began`: s, `time.monotonic`."""
        return ExpressOperation(scope, encode_reserve(1, cost0, cost1), (), began + self._timeout)

    def settle(self, scope: ExpressScope, payload: bytes, page: int, began: float) -> ExpressOperation:
        """Replace reserved units by actual ones; `payload` is by `encode_settle`, and is recorded in this page."""
        return ExpressOperation(scope, payload, (page_key(scope.key, page),), began + self._timeout)

    async def carry(self, batch: Sequence[ExpressOperation]) -> None:
        """As `Carrier.carry`."""
        groups: dict[ExpressScope, list[ExpressOperation]] = {}
        for member in batch:
            group = groups.get(member.stop)
            if group is None:
                groups[member.stop] = [member]
            else:
                group.append(member)
        op = os.urandom(OP_BYTES)
        try:
            call = self._calls.express(op, [_load(scope, group) for scope, group in groups.items()])
            reply = await self._run(call, min([member.expires for member in batch]) - self._timeout)
            repeated, now, answers = decode_express(reply, op, len(batch))
            for group in groups.values():  # the answers come in the order of the groups, not of the batch
                for member, answer in zip(group, answers, strict=False):
                    if not member.future.done():
                        # A refusal from a call that was repeated is from the past. To ask again charges nothing twice.
                        member.future.set_result(None if repeated and answer[0] == REFUSED else (now, answer))
        except Exception as error:
            for member in batch:
                if not member.future.done():
                    member.future.set_exception(error.again() if isinstance(error, BackendError) else error)


def _load(scope: ExpressScope, group: Sequence[ExpressOperation]) -> tuple[str, Layout, bytes, Sequence[str]]:
    """(key, layout, operations, pages) of a subject, which mostly is there once."""
    if len(group) == 1:
        return scope.key, scope.layout, group[0].payload, group[0].pages
    pages = [page for member in group for page in member.pages]
    return scope.key, scope.layout, b"".join([member.payload for member in group]), pages
