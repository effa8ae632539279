"""Decisions and settlements that wait in the same tick of an event loop travel together, in one script call."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future, get_running_loop
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol

from ratelimit.errors import BackendUnavailable

__all__ = ("BATCH_MAX", "Carrier", "Coalescer", "Member", "Stop", "closed")

BATCH_MAX: Final = 64
"""Operations in a batch: more do not make it cheaper, and would keep the server from everybody else."""
_LONELY: Final = 8
"""Who has been alone so many times in a row need not look for company: that would cost him a step of the loop."""


class Carrier(Protocol):
    """Takes operations of one kind to the server, several in one call."""

    def carry(self, batch: Sequence[Any]) -> Coroutine[Any, Any, None]:
        """Give every member of the batch its answer or its error, unless it has been cancelled."""


class Stop:
    """Where operations get on: those of one stop keep their order."""

    __slots__ = ("carrier", "slot", "tag")

    def __init__(self, carrier: Carrier, tag: str, slot: int) -> None:
        self.carrier = carrier
        self.tag = tag
        """Hash tag of the keys."""
        self.slot = slot
        """What all of a call must have in common (on Cluster; else 0)."""


class Member:
    """An operation on its way; `expires` is the end of its first attempt (s, `time.monotonic`)."""

    __slots__ = ("expires", "future", "patience", "stop")

    stop: Stop
    future: asyncio.Future[Any]
    expires: float
    patience: float | None
    """When it stops waiting for an earlier one; None unless it does."""


class Coalescer:
    """Gathers what callers want at the same time, and has it carried to the server together.

    The first caller of a tick leads: it lets all others that are ready go ahead, and then sends what has come together.
    Who is alone is told so, and sends its own call from its own task, as if this class were not there. Who keeps being
    alone is not asked to wait for others any more, until another operation comes while one is under way.

    A member that is cancelled leaves the others alone: its operation may still happen, like that of any call that is
    cancelled under way.

    Members keep their order. Those of one subject (or group) do not overtake each other: while a batch of it is under
    way, later ones wait, and make the next batch; but not longer than `patience` seconds, because an answer that is
    so late may never come. Operations that travel alone are sent in order, and nobody waits for their answers.

    Belongs to one event loop at a time, like the connections.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[Member] = []
        self._busy: dict[str, list[Member]] = {}
        """By tag, the batch of it that was sent last and is not answered."""
        self._held: dict[str, list[Member]] = {}
        """By tag, who waits behind it."""
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._lonely = 0
        """How many in a row were alone."""
        self.alone = 0
        """Operations that travel alone now; whoever sends one counts it."""

    def may_go_alone(self) -> bool:
        """True when an operation need not look for others. Once there is another, it has to again."""
        if self._lonely >= _LONELY:
            if self.alone <= 0 and not (self._waiting or self._busy):
                return True
            self._lonely = 0
        return False

    def join(self, member: Member) -> bool:
        """Give the member its future, and True if it comes first in this tick and so must :meth:`lead`.

        The future will hold what the member's carrier answers, or None when it has to go alone.
        """
        loop = get_running_loop()
        if loop is not self._loop:
            self._enter(loop)
        member.patience = None
        member.future = Future(loop=loop)
        self._waiting.append(member)
        return len(self._waiting) == 1

    async def lead(self, member: Member) -> None:
        """Let all others go ahead that are ready, then send."""
        try:
            await asyncio.sleep(0)
        except BaseException:
            member.future.cancel()
            raise
        finally:
            if self._waiting and self._waiting[0] is member:  # else the tick was left behind with its loop
                self._flush()

    async def close(self) -> None:
        """Cut off what is under way, and what waits to be; its callers get BackendUnavailable."""
        if self._loop is get_running_loop():
            waiting, self._waiting, held, self._held = self._waiting, [], self._held, {}
            for member in chain(waiting, *held.values()):
                if not member.future.done():
                    member.future.set_exception(closed())
            while self._under_way:
                for task in self._under_way:
                    task.cancel()
                await asyncio.wait(self._under_way)

    def _enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin anew: in another loop, or in a child process, whatever was in this one is not there."""
        self._loop = loop
        self._waiting, self._busy, self._held, self._timer, self._under_way = [], {}, {}, None, set()
        self._lonely = self.alone = 0

    def _flush(self) -> None:
        """Send what has come together in this tick, in the order in which it came.

        In batches of one size: while the server works on one, this process works on the next.
        """
        waiting, self._waiting = self._waiting, []
        self._pack(waiting, -(-len(waiting) // -(-len(waiting) // BATCH_MAX)))

    def _pack(self, members: Iterable[Member], most: int) -> None:
        """Send these in batches of `most`, but for those that have to wait for an earlier one of their subject."""
        batches: dict[int, list[Member]] = {}
        carrier = None
        for member in members:
            stop = member.stop
            if stop.carrier is not carrier:
                # What another carrier has must be under way first, or a subject could be in two batches at once.
                carrier = stop.carrier
                self._send_all(batches)
            if stop.tag in self._busy:
                self._hold(member)
            elif not member.future.done():
                batch = batches.get(stop.slot)
                if batch is None:
                    batches[stop.slot] = [member]
                else:
                    batch.append(member)
                    if len(batch) == most:
                        self._send(batches.pop(stop.slot))
        self._send_all(batches)

    def _hold(self, member: Member) -> None:
        if member.patience is None:
            member.patience = time.monotonic() + self._patience
        self._held.setdefault(member.stop.tag, []).append(member)
        if self._timer is None:
            self._set_timer(member.patience)

    def _set_timer(self, until: float) -> None:
        self._timer = get_running_loop().call_later(until - time.monotonic(), self._lose_patience)

    def _lose_patience(self) -> None:
        """Where the first has waited long enough behind a batch that is not answered, send it, and who is behind it."""
        self._timer = None
        now = time.monotonic()
        self._release([tag for tag, held in self._held.items() if (held[0].patience or 0) <= now])
        if self._held and self._timer is None:
            self._set_timer(min([held[0].patience or 0 for held in self._held.values()]))

    def _release(self, tags: Iterable[str]) -> None:
        """Send who waits for these; what is more than a batch waits on."""
        free: list[Member] = []
        for tag in tags:
            self._busy.pop(tag, None)
            free += self._held.pop(tag)
        self._pack(free, BATCH_MAX)

    def _send_all(self, batches: dict[int, list[Member]]) -> None:
        for batch in batches.values():
            self._send(batch)
        batches.clear()

    def _send(self, batch: list[Member]) -> None:
        if len(batch) == 1:
            self._lonely += 1
            batch[0].future.set_result(None)
        else:
            self._carry(batch)

    def _carry(self, batch: list[Member]) -> None:
        self._lonely = 0
        self._busy.update(dict.fromkeys([member.stop.tag for member in batch], batch))
        task = asyncio.create_task(batch[0].stop.carrier.carry(batch))
        self._under_way.add(task)
        # Not in the task itself: one that is cancelled before it begins runs nothing of its own.
        task.add_done_callback(partial(self._ended, batch))

    def _ended(self, batch: list[Member], task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        error = None if task.cancelled() else task.exception()
        for member in batch:
            # A carrier has told them all, unless it was cut off, or failed as nobody foresaw.
            if not member.future.done():
                member.future.set_exception(error or closed())
        self._arrived(batch)

    def _arrived(self, batch: list[Member]) -> None:
        """Send who waits behind this batch."""
        busy, held = self._busy, self._held
        behind = []
        for member in batch:
            tag = member.stop.tag
            if busy.get(tag) is batch:
                del busy[tag]
                if tag in held:
                    behind.append(tag)
        if behind:
            self._release(behind)


def closed() -> BackendUnavailable:
    """What those are told whom the end of the limiter finds waiting."""
    return BackendUnavailable("the limiter was closed; the operation may have happened")
