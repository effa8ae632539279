"""Redis and Valkey, sync: one server, Sentinel, or Cluster, through redis-py's connections."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from random import Random
from sys import maxsize
from typing import Any, Protocol

from hiredis import pack_command
from redis import RedisCluster
from redis.connection import ConnectionPool
from redis.exceptions import TimeoutError as RedisTimeoutError

from ratelimit.backends.base import Op, Retention, named
from ratelimit.backends.calls import Attempt, Calls, RetryPolicy, ScriptCall, TryAgain, answers, attempts
from ratelimit.backends.failures import FOREIGN, drops_connection, is_whole, translate
from ratelimit.backends.recall import Recall
from ratelimit.clock import Clock
from ratelimit.core.hold import Hold
from ratelimit.core.scope import open_scope
from ratelimit.core.settlement import Settlement
from ratelimit.core.wire import OP_BYTES, decode_peek, decode_reserve, decode_reset, decode_settle
from ratelimit.errors import BackendError, BackendTimeout

__all__ = ("ClusterExecutor", "Executor", "PoolExecutor", "RedisBackend")


class Executor(Protocol):
    """Executes one command on the right server, once, and never twice. Raises redis-py's errors."""

    def execute(self, attempt: Attempt) -> object:
        """The reply as bytes, or whatever else came."""

    def close(self) -> None:
        """Close all connections."""


class PoolExecutor:
    """Drives connections of a redis-py pool itself, so that nothing below can repeat a command.

    A connection is kept only when its answer was read in full and was ours; in any other case, an interruption
    included, it is dropped, because the next caller would read our answer. Kept ones stay out of the pool: going
    through it for every command would cost a tenth of a decision (its events, its metrics, its look at the socket). One
    that has died meanwhile fails its attempt, and the next attempt is the same operation.
    """

    def __init__(self, pool: ConnectionPool, max_connections: int) -> None:
        self._pool: Any = pool  # redis-py leaves its connections untyped
        # Ours is the bound: redis-py's would count connections that an interruption made it lose sight of, for ever.
        self._pool.max_connections = maxsize
        # One None per connection that may be open. Not a semaphore: those are written in Python, and an exception
        # that a signal raises inside one leaves its inner lock behind locked, so that every later call would hang.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(max_connections):
            self._free.put(None)
        self._kept: list[Any] = []
        self._pid = os.getpid()

    def execute(self, attempt: Attempt) -> object:
        """As `Executor.execute`. Waits for a free connection no longer than the attempt may take."""
        try:
            self._free.get(timeout=attempt.timeout)
        except Empty:
            error = BackendTimeout("no free connection within the time of one attempt; raise max_connections")
            raise TryAgain(error) from None
        try:
            return self._execute(attempt)
        finally:
            self._free.put(None)

    def _take(self) -> Any:
        """A connection that was kept, the one used last, or a new one. None that a parent process has opened."""
        if self._pid != os.getpid():
            self._kept, self._pid = [], os.getpid()
        try:
            return self._kept.pop()
        except IndexError:
            return self._pool.get_connection()

    def _execute(self, attempt: Attempt) -> object:
        connection = self._take()
        good = False
        try:
            # Packed here: what redis-py does around hiredis takes 2 us of the 28 that a decision would cost the client.
            command = pack_command(attempt.call.command(by_text=attempt.by_text))  # type: ignore[arg-type]  # of any size
            connection.send_packed_command([command], check_health=False)
            # The socket's own timeout is that of a whole attempt; the last one may have less left.
            if attempt.timeout < (connection.socket_timeout or 0) and not connection.can_read(timeout=attempt.timeout):
                raise TimeoutError
            reply = connection.read_response(disable_decoding=True)
            good = is_whole(reply, attempt.call.op)
            return reply
        except Exception as error:
            good = not drops_connection(error)
            if not good and not isinstance(error, (TimeoutError, RedisTimeoutError)):
                self._drop_kept()
            raise
        finally:
            if good:
                self._kept.append(connection)
            else:
                self._drop(connection)

    def _drop_kept(self) -> None:
        """A server that has gone or no longer serves is behind the others too: do not try them one by one."""
        with suppress(IndexError):  # other threads take from the same list
            while True:
                self._drop(self._kept.pop())

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)

    def close(self) -> None:
        """As `Executor.close`."""
        self._kept = []
        self._pool.disconnect()
        # A Sentinel pool asks through clients that are ours too, and does not close them.
        for sentinel in getattr(getattr(self._pool, "sentinel_manager", None), "sentinels", ()):
            sentinel.close()


class ClusterExecutor:
    """Leaves the topology to redis-py: slots, MOVED, ASK. What it repeats then carries the same op-id."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster: Any = cluster

    def execute(self, attempt: Attempt) -> object:
        """As `Executor.execute`."""
        return self._cluster.execute_command(*attempt.call.command(by_text=attempt.by_text))

    def close(self) -> None:
        """As `Executor.close`."""
        self._cluster.close()


class RedisBackend:
    """One script call per verb; see `docs/redis.md` for keys, wire format and failure rules.

    `recheck`: seconds for which `recall` trusts a refusal at most; 0, the default here, for never. `reserve` itself
    always asks the server.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        policy: RetryPolicy | None = None,
        retention: Retention | None = None,
        virtual_clock: Clock | None = None,
        recheck: float = 0.0,
    ) -> None:
        self._executor = executor
        self._policy = policy or RetryPolicy()
        self._first_timeout = min(self._policy.timeout, self._policy.deadline)
        self.retention = retention or Retention()
        head = self.retention.head
        self._skew = head.skew_us
        self._calls = Calls(head, virtual_clock)
        self.recall = Recall(recheck, virtual_clock)
        self._jitter = Random()

    def __repr__(self) -> str:
        return f"<RedisBackend over {type(self._executor).__name__}>"

    def reserve(self, holds: Sequence[Hold], op: Op | None) -> bool:
        """As `Backend.reserve`."""
        op = named(op)
        sent = self.recall.clock()
        allowed = decode_reserve(self._run(self._calls.reserve(holds, op)), op.id, holds)
        return self.recall.learn(holds, allowed, sent)

    def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        """As `Backend.settle`."""
        op = named(op)
        try:
            return decode_settle(self._run(self._calls.settle(holds, actual, op)), op.id, holds)
        finally:
            self.recall.forget([hold.key for hold in holds])

    def renew(
        self, old: Sequence[Hold], actual: Sequence[Sequence[int]], old_op: Op, new: Sequence[Hold], op: Op
    ) -> tuple[bool, BackendError | None]:
        """Settle what `old_op` reserved, and reserve anew, of one hash slot, in one call.

        Returns what the reserve returns, and why the settle failed if it did. Each is the operation that it would have
        been alone; one that fails within the batch is repeated alone, under its name. Raises what the reserve raises.
        """
        first, second = self._calls.settle(old, actual, old_op), self._calls.reserve(new, op)
        sent = self.recall.clock()
        try:
            settled, reserved = answers(self._run(self._calls.batch([first, second])), first, 2)
        finally:
            self.recall.forget([hold.key for hold in old])
        failed: BackendError | None = None
        if isinstance(settled, Exception):
            try:
                self.settle(old, actual, old_op)
            except BackendError as error:
                failed = error
        if isinstance(reserved, Exception):
            return self.reserve(new, op), failed
        return self.recall.learn(new, decode_reserve(reserved, op.id, new), sent), failed

    def peek(self, holds: Sequence[Hold]) -> None:
        """As `Backend.peek`."""
        op = os.urandom(OP_BYTES)
        now, stored = decode_peek(self._run(self._calls.peek([hold.key for hold in holds], op)), op, len(holds))
        for hold, scope in zip(holds, stored, strict=True):
            opened = open_scope(scope, hold.layout, now, self._skew, 0)
            hold.at, hold.lag, hold.levels = opened.at, opened.at - now, opened.levels[: len(hold.costs)]

    def reset(self, keys: Sequence[str]) -> bool:
        """As `Backend.reset`."""
        op = os.urandom(OP_BYTES)
        try:
            return decode_reset(self._run(self._calls.reset(keys, op)), op)
        finally:
            self.recall.forget(keys)

    def close(self) -> None:
        """As `Backend.close`."""
        self._executor.close()

    def _run(self, call: ScriptCall) -> object:
        began, flow = time.monotonic(), None
        attempt = Attempt(call, False, 0.0, self._first_timeout)
        while True:
            try:
                return self._attempt(attempt)
            except Exception as error:
                # The generator of the retry rules starts with the first failure: until then it would only cost.
                if flow is None:
                    flow = attempts(call, self._policy, time.monotonic, self._jitter, began)
                    next(flow)
                attempt = flow.throw(error)

    def _attempt(self, attempt: Attempt) -> object:
        if attempt.pause:
            time.sleep(attempt.pause)
        try:
            return self._executor.execute(attempt)
        except FOREIGN as error:
            raise translate(error, attempt.call.script) from error
