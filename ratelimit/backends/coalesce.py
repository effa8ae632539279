"""Decisions and settlements that wait in the same tick of an event loop travel together, in one script call."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from ratelimit.backends.calls import Attempt, ScriptCall, ScriptMissing
from ratelimit.backends.failures import FOREIGN, explain, translate
from ratelimit.errors import BackendUnavailable, WireMismatch

__all__ = ("BATCH_MAX", "Coalescer")

BATCH_MAX: Final = 64
"""Operations in a batch: more do not make it cheaper, and would keep the server from everybody else."""
_KEYS_MAX: Final = 32
"""An operation on more scopes than this is a batch by itself."""
_ALONE: Final = object()


class _Member:
    """An operation on its way; `tag` is the hash tag of its keys, `expires` the end of its attempt."""

    __slots__ = ("call", "expires", "future", "held", "patience", "tag")

    def __init__(self, call: ScriptCall, future: asyncio.Future[object], expires: float) -> None:
        key = call.keys[0]
        self.call = call
        self.future = future
        self.tag = key[: key.find("}")]
        self.expires = expires
        self.held = False

    patience: float
    """When it stops waiting for an earlier one; set where it begins to."""


class _Line:
    """What waits behind the batches under way of one subject or group."""

    __slots__ = ("batches", "members")

    def __init__(self) -> None:
        self.batches = 0
        self.members: deque[_Member] = deque()


class Coalescer:
    """Stands before an executor, and gathers what its callers want at the same time.

    The first caller of a tick lets all others that are ready go ahead, and then sends what has come together. Who is
    alone then sends its own call from its own task, as if this class were not there.

    A batch is the first attempt of each of its members. When the whole of it fails, that attempt has failed for each;
    what a member repeats after that, it repeats alone, and its op-id keeps it one operation. A member that is cancelled
    leaves the others alone: its operation may still happen, like that of any call that is cancelled under way.

    Members keep their order. Those of one subject (or group) do not overtake each other: while a batch of it is under
    way, later ones wait, and make the next batch; but not longer than `patience` seconds, because an answer that is
    so late may never come. Operations that travel alone are sent in order, and nobody waits for their answers.

    Belongs to one event loop at a time, like the connections.
    """

    def __init__(
        self,
        execute: Callable[[Attempt], Awaitable[object]],
        merge: Callable[[Sequence[ScriptCall]], ScriptCall],
        patience: float,
    ) -> None:
        self._execute = execute
        self._merge = merge
        self._patience = patience
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[_Member] = []
        self._lines: dict[str, _Line] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def execute(self, call: ScriptCall, now: float, timeout: float) -> object:
        """The reply to the first attempt of a reserve or a settle, which begins `now` (s, `time.monotonic`).

        Raises:
            redis.RedisError, OSError: it went alone, and failed.
            TryAgain, ScriptMissing, BackendError: it went with others, and failed.
        """
        if len(call.keys) > _KEYS_MAX:
            return await self._execute(Attempt(call, False, 0.0, timeout))
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._enter(loop)
        member = _Member(call, loop.create_future(), now + timeout)
        self._waiting.append(member)
        if len(self._waiting) == 1:
            try:
                await asyncio.sleep(0)
            except BaseException:
                member.future.cancel()
                raise
            finally:
                self._flush()
        reply = await member.future
        if reply is not _ALONE:
            return reply
        if member.held:
            timeout = member.expires - time.monotonic()
        return await self._execute(Attempt(call, False, 0.0, timeout))

    async def close(self) -> None:
        """Cut off what is under way; its callers get BackendUnavailable."""
        if self._loop is asyncio.get_running_loop():
            while self._under_way:
                for task in self._under_way:
                    task.cancel()
                await asyncio.wait(self._under_way)

    def _enter(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting, self._lines, self._timer, self._under_way = [], {}, None, set()

    def _flush(self) -> None:
        """Send what has come together in this tick, in the order in which it came."""
        waiting, self._waiting = self._waiting, []
        batch: list[_Member] = []
        for member in waiting:
            line = self._lines.get(member.tag)
            if line is not None:
                self._hold(member, line)
            elif not member.future.done():
                batch.append(member)
                if len(batch) == BATCH_MAX:
                    self._send(batch)
                    batch = []
        self._send(batch)

    def _hold(self, member: _Member, line: _Line) -> None:
        member.held, member.patience = True, time.monotonic() + self._patience
        line.members.append(member)
        if self._timer is None:
            self._set_timer(member.patience)

    def _set_timer(self, until: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(until - time.monotonic(), self._lose_patience)

    def _lose_patience(self) -> None:
        """Where the first has waited long enough behind a batch that is not answered, send it, and who is behind it."""
        self._timer = None
        now = time.monotonic()
        self._release([line for line in self._lines.values() if line.members and line.members[0].patience <= now])
        heads = [line.members[0].patience for line in self._lines.values() if line.members]
        if heads:
            self._set_timer(min(heads))

    def _release(self, lines: Iterable[_Line]) -> None:
        """Send who stands in these lines, at most a batch of each."""
        batch: list[_Member] = []
        for line in lines:
            while line.members:
                member = line.members.popleft()
                if member.future.done():
                    continue
                batch.append(member)
                if len(batch) == BATCH_MAX:
                    self._send(batch)
                    batch = []
                    break
        self._send(batch)

    def _send(self, batch: list[_Member]) -> None:
        if len(batch) == 1:
            batch[0].future.set_result(_ALONE)
        elif batch:
            tags = dict.fromkeys([member.tag for member in batch])
            for tag in tags:
                self._lines.setdefault(tag, _Line()).batches += 1
            task = asyncio.create_task(self._travel(batch, tags))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _travel(self, batch: list[_Member], tags: Iterable[str]) -> None:
        call = self._merge([member.call for member in batch])
        try:
            reply = await self._exchange(call, min([member.expires for member in batch]))
            _deliver(batch, call, reply)
        except Exception as error:
            _fail(batch, call, error)
        except asyncio.CancelledError:
            _fail(batch, call, BackendUnavailable("the limiter was closed; the operation may have happened"))
            raise
        finally:
            self._arrived(tags)

    async def _exchange(self, call: ScriptCall, expires: float) -> object:
        """The reply to a batch. A script that is missing is sent as text once, within the same time."""
        try:
            return await self._execute(Attempt(call, False, 0.0, expires - time.monotonic()))
        except FOREIGN as error:
            if not isinstance(translate(error, call.script), ScriptMissing):
                raise
        return await self._execute(Attempt(call, True, 0.0, expires - time.monotonic()))

    def _arrived(self, tags: Iterable[str]) -> None:
        """Send the next batch of these subjects, or forget their lines."""
        lines = [self._lines[tag] for tag in tags]
        for line in lines:
            line.batches -= 1
        self._release([line for line in lines if not line.batches])
        for tag, line in zip(tags, lines, strict=True):
            if not line.batches and not line.members:
                del self._lines[tag]


def _deliver(batch: Sequence[_Member], call: ScriptCall, reply: object) -> None:
    """Give each member its own part of the reply."""
    if not isinstance(reply, list) or len(reply) != len(batch) + 1 or reply[0] != call.op:
        raise WireMismatch(f"expected {len(batch)} answers under our op-id, got {type(reply).__name__}")
    for member, part in zip(batch, reply[1:], strict=True):
        if isinstance(part, Exception):
            _fail([member], call, part)
        elif not member.future.done():
            member.future.set_result(part)


def _fail(batch: Sequence[_Member], call: ScriptCall, error: Exception) -> None:
    """Each gets an error of its own that speaks of the batch's script, which the members know nothing of."""
    for member in batch:
        if not member.future.done():
            member.future.set_exception(explain(error, call.script))
