"""Reserves and settles of any kind, several to a call: `lua/batch.lua` runs each as if it had come alone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ratelimit.backends.calls import Attempt, ScriptCall, ScriptMissing, answers
from ratelimit.backends.coalesce import Coalescer, Member, Stop
from ratelimit.backends.failures import FOREIGN, explain, translate

__all__ = ("Batches",)

_KEYS_MAX: Final = 32
"""An operation on more scopes than this is a batch by itself."""


class _Operation(Member):
    """A member that is a call of its own."""

    __slots__ = ("call",)

    call: ScriptCall


class Batches:
    """A carrier whose batch is the first attempt of each of its members.

    When the whole of it fails, that attempt has failed for each; what a member repeats after that, it repeats alone,
    and its op-id keeps it one operation.
    """

    def __init__(
        self,
        coalescer: Coalescer,
        execute: Callable[[Attempt], Awaitable[object]],
        merge: Callable[[Sequence[ScriptCall]], ScriptCall],
        slot: Callable[[str], int],
    ) -> None:
        self._coalescer = coalescer
        self._execute = execute
        self._merge = merge
        self._slot = slot

    async def execute(self, call: ScriptCall, now: float, timeout: float) -> object:
        """The reply to the first attempt of a reserve or a settle, which begins `now` (s, `time.monotonic`).

        Raises:
            redis.RedisError, OSError: it went alone, and failed.
            TryAgain, ScriptMissing, BackendError: it went with others, and failed.
        """
        coalescer = self._coalescer
        if len(call.keys) > _KEYS_MAX or coalescer.may_go_alone():
            return await self._alone(call, timeout)
        key = call.keys[0]
        tag = key[: key.find("}")]
        member = _Operation()
        member.stop, member.expires, member.call = Stop(self, tag, self._slot(tag)), now + timeout, call
        if coalescer.join(member):
            await coalescer.lead(member)
        reply = await member.future
        if reply is not None:
            return reply
        # It may have been held first.
        return await self._alone(call, member.expires - time.monotonic())

    async def _alone(self, call: ScriptCall, timeout: float) -> object:
        self._coalescer.alone += 1
        try:
            return await self._execute(Attempt(call, False, 0.0, timeout))
        finally:
            self._coalescer.alone -= 1

    async def carry(self, batch: Sequence[_Operation]) -> None:
        """As `Carrier.carry`."""
        call = self._merge([member.call for member in batch])
        try:
            _deliver(batch, call, await self._exchange(call, min([member.expires for member in batch])))
        except Exception as error:
            _fail(batch, call, error)

    async def _exchange(self, call: ScriptCall, expires: float) -> object:
        """The reply to a batch. A script that is missing is sent as text once, within the same time."""
        try:
            return await self._execute(Attempt(call, False, 0.0, expires - time.monotonic()))
        except FOREIGN as error:
            if not isinstance(translate(error, call.script), ScriptMissing):
                raise
        return await self._execute(Attempt(call, True, 0.0, expires - time.monotonic()))


def _deliver(batch: Sequence[_Operation], call: ScriptCall, reply: object) -> None:
    """Give each member its own part of the reply."""
    for member, part in zip(batch, answers(reply, call, len(batch)), strict=True):
        if isinstance(part, Exception):
            _fail([member], call, part)
        elif not member.future.done():
            member.future.set_result(part)


def _fail(batch: Sequence[_Operation], call: ScriptCall, error: Exception) -> None:
    """Each gets an error of its own that speaks of the batch's script, which the members know nothing of."""
    for member in batch:
        if not member.future.done():
            member.future.set_exception(explain(error, call.script))
