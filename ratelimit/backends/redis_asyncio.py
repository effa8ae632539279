"""Redis and Valkey, asyncio: one server, Sentinel, or Cluster, through redis-py's connections."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from random import Random
from sys import maxsize
from typing import Any, Final, Protocol

from hiredis import pack_command
from redis.asyncio import RedisCluster
from redis.asyncio.connection import ConnectionPool
from redis.crc import key_slot

from ratelimit.backends.base import Op, Retention, named
from ratelimit.backends.batches import Batches
from ratelimit.backends.calls import Attempt, Calls, RetryPolicy, ScriptCall, answers, attempts
from ratelimit.backends.coalesce import Coalescer
from ratelimit.backends.express import Express
from ratelimit.backends.failures import drops_connection, explain, is_whole
from ratelimit.backends.recall import Recall
from ratelimit.clock import Clock
from ratelimit.core.hold import Hold
from ratelimit.core.scope import open_scope
from ratelimit.core.settlement import Settlement
from ratelimit.core.wire import OP_BYTES, decode_peek, decode_reserve, decode_reset, decode_settle
from ratelimit.errors import BackendError

__all__ = ("AsyncClusterExecutor", "AsyncExecutor", "AsyncPoolExecutor", "AsyncRedisBackend")

_PATIENCE: Final = 0.1
"""Share of an attempt's time that an operation waits for earlier ones of its subject."""


class AsyncExecutor(Protocol):
    """Executes one command on the right server, once, and never twice. Raises redis-py's errors."""

    async def execute(self, attempt: Attempt) -> object:
        """The reply as bytes, or whatever else came."""

    async def close(self) -> None:
        """Close all connections."""


class AsyncPoolExecutor:
    """Drives connections of a redis-py pool itself, so that nothing below can repeat a command.

    A connection goes back only when its answer was read in full and was ours; in any other case, cancellation
    included, it is dropped, because the next caller would read our answer. Connections belong to an event loop:
    used from another loop, the executor starts with a new pool there.
    """

    def __init__(self, make_pool: Callable[[], ConnectionPool], max_connections: int) -> None:
        self._make_pool = make_pool
        self._max_connections = max_connections
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed: asyncio.AbstractEventLoop | None = None
        """The loop in which this was closed: what was under way in it then may go on, and keeps no connection."""
        self._pool: Any  # redis-py leaves its connections untyped
        self._free: asyncio.Semaphore

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._pool = self._make_pool()
            self._pool.max_connections = maxsize  # the semaphore is the bound
            self._free = asyncio.Semaphore(self._max_connections)
            self._loop = loop

    async def execute(self, attempt: Attempt) -> object:
        """As `AsyncExecutor.execute`. Waits in line for a free connection, within the time of the attempt."""
        self._enter_loop()
        async with asyncio.timeout(attempt.timeout), self._free:
            return await self._execute(self._pool, attempt)

    async def _execute(self, pool: Any, attempt: Attempt) -> object:
        connection = await pool.get_connection()
        good = False
        try:
            # redis-py packs in Python for asyncio: 5.8 us per operation of a batch, where hiredis takes 0.7.
            command: Any = attempt.call.command(by_text=attempt.by_text)  # its stub means tuples of one
            await connection.send_packed_command(pack_command(command))
            reply = await connection.read_response(disable_decoding=True)
            good = is_whole(reply, attempt.call.op)
            return reply
        except Exception as error:
            good = not drops_connection(error)
            raise
        finally:
            # After close, nobody would close a connection that is kept.
            if not good or self._closed is asyncio.get_running_loop():
                # nowait: a second cancellation must find nothing left to interrupt.
                await connection.disconnect(nowait=True)
            await pool.release(connection)

    async def close(self) -> None:
        """As `AsyncExecutor.close`."""
        loop, self._loop = self._loop, None
        self._closed = asyncio.get_running_loop()
        if loop is self._closed:
            await self._pool.disconnect()
            # A Sentinel pool asks through clients that are ours too, and does not close them.
            for sentinel in getattr(getattr(self._pool, "sentinel_manager", None), "sentinels", ()):
                await sentinel.aclose()


class AsyncClusterExecutor:
    """Leaves the topology to redis-py: slots, MOVED, ASK. What it repeats then carries the same op-id."""

    def __init__(self, make_cluster: Callable[[], RedisCluster]) -> None:
        self._make_cluster = make_cluster
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cluster: RedisCluster

    async def execute(self, attempt: Attempt) -> object:
        """As `AsyncExecutor.execute`."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._cluster = self._make_cluster()
            self._loop = loop
        async with asyncio.timeout(attempt.timeout):
            try:
                return await self._cluster.execute_command(*attempt.call.command(by_text=attempt.by_text))
            except TypeError as error:
                # CPython 3.12 says so when a transport that has closed is written to: redis-py keeps such a connection
                # after an attempt was cancelled while it connected.
                if "NoneType" not in str(error):
                    raise
                raise ConnectionResetError("the connection had closed") from error

    async def close(self) -> None:
        """As `AsyncExecutor.close`."""
        if self._loop is asyncio.get_running_loop():
            await self._cluster.aclose()
        self._loop = None


def _no_slot(_: str) -> int:
    return 0


def _slot_of_tag(tag: str) -> int:
    """The hash slot of keys with this tag, which lacks its closing brace."""
    return key_slot(f"{tag}}}".encode())


class AsyncRedisBackend:
    """One script call per verb; see `docs/redis.md` for keys, wire format and failure rules.

    With `coalesce`, reserves and settles of the same moment share one; on a Cluster those of one hash slot.

    `express` is the lane of ordinary operations, where there is one.

    `recheck`: seconds for which `recall` trusts a refusal at most; 0, the default here, for never. `reserve` itself
    always asks the server.
    """

    def __init__(
        self,
        executor: AsyncExecutor,
        *,
        policy: RetryPolicy | None = None,
        retention: Retention | None = None,
        virtual_clock: Clock | None = None,
        coalesce: bool = True,
        recheck: float = 0.0,
    ) -> None:
        self._executor = executor
        self._policy = policy or RetryPolicy()
        self.retention = retention or Retention()
        head = self.retention.head
        self._skew = head.skew_us
        self._calls = Calls(head, virtual_clock)
        self.recall = Recall(recheck, virtual_clock)
        self._jitter = Random()
        self._first_timeout = min(self._policy.timeout, self._policy.deadline)
        self.express: Express | None = None
        self._coalescer: Coalescer | None = None
        if coalesce:
            self._coalescer = Coalescer(self._first_timeout * _PATIENCE)
            slot = _slot_of_tag if isinstance(executor, AsyncClusterExecutor) else _no_slot
            self._batches = Batches(self._coalescer, executor.execute, self._calls.batch, slot)
            self.express = Express(self._coalescer, self._calls, self._run, self._first_timeout, slot)

    def __repr__(self) -> str:
        return f"<AsyncRedisBackend over {type(self._executor).__name__}>"

    async def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """As `Backend.reserve`."""
        op = named(op)
        sent = self.recall.clock()
        allowed = decode_reserve(await self._decide(self._calls.reserve(holds, op)), op.id, holds)
        return self.recall.learn(holds, allowed, sent)

    async def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """As `Backend.settle`."""
        op = named(op)
        try:
            return decode_settle(await self._decide(self._calls.settle(holds, actual, op)), op.id, holds)
        finally:
            self.recall.forget([hold.key for hold in holds])

    async def reserve_alone(self, holds: Sequence[Hold], op: Op, began: float) -> bool:
        """As `Backend.reserve`, in a call of its own: for what the express lane has sent away since it `began`."""
        allowed = decode_reserve(await self._alone(self._calls.reserve(holds, op), began), op.id, holds)
        return self.recall.learn(holds, allowed, self.recall.sent(began))

    async def settle_alone(
        self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op, began: float
    ) -> Settlement:
        """As `Backend.settle`, in a call of its own."""
        try:
            return decode_settle(await self._alone(self._calls.settle(holds, actual, op), began), op.id, holds)
        finally:
            self.recall.forget([hold.key for hold in holds])

    async def renew(
        self, old: Sequence[Hold], actual: Sequence[Sequence[int]], old_op: Op, new: Sequence[Hold], op: Op
    ) -> tuple[bool, BackendError | None]:
        """As `RedisBackend.renew`; where calls are coalesced, others may come along."""
        settled: object
        reserved: object
        if self._coalescer is not None:
            both = self.settle(old, actual, old_op), self.reserve(new, op)
            settled, reserved = await asyncio.gather(*both, return_exceptions=True)
        else:
            first, second = self._calls.settle(old, actual, old_op), self._calls.reserve(new, op)
            sent = self.recall.clock()
            try:
                settled, reserved = answers(await self._run(self._calls.batch([first, second])), first, 2)
            finally:
                self.recall.forget([hold.key for hold in old])
            if isinstance(settled, Exception):
                [settled] = await asyncio.gather(self.settle(old, actual, old_op), return_exceptions=True)
            if isinstance(reserved, Exception):
                reserved = await self.reserve(new, op)
            else:
                reserved = self.recall.learn(new, decode_reserve(reserved, op.id, new), sent)
        for outcome in (reserved, settled):
            if isinstance(outcome, BaseException) and (outcome is reserved or not isinstance(outcome, BackendError)):
                raise outcome
        return reserved is True, settled if isinstance(settled, BackendError) else None

    async def _alone(self, call: ScriptCall, began: float) -> object:
        """All attempts, counted among the coalescer's operations that travel alone."""
        coalescer = self._coalescer
        if coalescer is None:
            return await self._run(call, began)
        coalescer.alone += 1
        try:
            return await self._run(call, began)
        finally:
            coalescer.alone -= 1

    async def peek(self, holds: Sequence[Hold]) -> None:
        """As `Backend.peek`."""
        op = os.urandom(OP_BYTES)
        now, stored = decode_peek(await self._run(self._calls.peek([hold.key for hold in holds], op)), op, len(holds))
        for hold, scope in zip(holds, stored, strict=True):
            opened = open_scope(scope, hold.layout, now, self._skew, 0)
            hold.at, hold.lag, hold.levels = opened.at, opened.at - now, opened.levels[: len(hold.costs)]

    async def reset(self, keys: Sequence[str]) -> bool:
        """As `Backend.reset`."""
        op = os.urandom(OP_BYTES)
        try:
            return decode_reset(await self._run(self._calls.reset(keys, op)), op)
        finally:
            self.recall.forget(keys)

    async def close(self) -> None:
        """As `Backend.close`."""
        if self._coalescer is not None:
            await self._coalescer.close()
        await self._executor.close()

    async def _decide(self, call: ScriptCall) -> object:
        """A reserve or a settle. Its first attempt may share a script call with others; further ones never do."""
        if self._coalescer is None:
            return await self._run(call)
        began = time.monotonic()
        try:
            return await self._batches.execute(call, began, self._first_timeout)
        except Exception as error:
            failed = error
        return await self._run(call, began, failed)

    async def _run(self, call: ScriptCall, began: float | None = None, failed: Exception | None = None) -> object:
        """All attempts, in what is left of the time since the decision `began`.

        When the first attempt began then, too, and `failed` elsewhere, those that are left.
        """
        if failed is None:
            deadline = None if began is None else began + self._policy.deadline
            flow = attempts(call, self._policy, time.monotonic, self._jitter, deadline=deadline)
            attempt = next(flow)
        else:
            flow = attempts(call, self._policy, time.monotonic, self._jitter, began)
            next(flow)
            attempt = flow.throw(explain(failed, call.script))
        while True:
            try:
                reply = await self._attempt(attempt)
            except Exception as error:
                attempt = flow.throw(explain(error, call.script))
                continue
            try:
                flow.send(reply)
            except StopIteration as done:
                return done.value

    async def _attempt(self, attempt: Attempt) -> object:
        if attempt.pause:
            await asyncio.sleep(attempt.pause)
        return await self._executor.execute(attempt)
