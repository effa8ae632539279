"""The asyncio face: the verbs of `ratelimit.limiter` in the same order, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis.asyncio

from ratelimit.acquisition import Acquisition, ExpressAcquisition, LeasedAcquisition
from ratelimit.backends.base import AsyncBackend, Op, Retention
from ratelimit.backends.calls import RetryPolicy
from ratelimit.backends.connect import async_executor, is_memory_url
from ratelimit.backends.memory import AsyncMemoryBackend, MemoryBackend
from ratelimit.backends.redis_asyncio import AsyncRedisBackend
from ratelimit.core.decision import Decision, Standing, decide, standings
from ratelimit.core.hold import Hold
from ratelimit.core.keys import KeyMaker
from ratelimit.core.limit import Layout
from ratelimit.core.settlement import Settlement
from ratelimit.core.token import open_token, seal_token
from ratelimit.errors import RateLimited
from ratelimit.express import EXPRESS_METERS, LANES_LEAST, AsyncExpressReservation, ExpressLane
from ratelimit.express_redis import RedisLane, open_redis_lane
from ratelimit.intake import KEYS_MAX, Intake, OpMaker, Scope, check_timeout
from ratelimit.leases import Leases
from ratelimit.leases.tasks import TaskLeasing
from ratelimit.on_error import OnError, check_on_error
from ratelimit.plans import Plan, PlanRegistry
from ratelimit.reservation import AsyncReservation
from ratelimit.waiting import Lines, Ticket

__all__ = ("AsyncLimiter",)


class AsyncLimiter:
    """Decides whether a subject may spend, and corrects what it has spent. One per process serves all its tasks.

    Args:
        backend: where the state lives; :meth:`from_url` and :meth:`from_client` make one.
        plans: the plans that names refer to: a registry, a plan file, or None for the four built-in plans.
        prefix: start of every key on the backend.
        secret: keys the digests that stand for subjects (and seals tokens): the same in all workers. At most 64 bytes.
        leases: decide on busy subjects locally, see docs/leases.md; None: never. No effect in memory, which is local.
    """

    def __init__(
        self,
        backend: AsyncBackend,
        *,
        plans: PlanRegistry | str | Path | None = None,
        prefix: str = "rl",
        secret: str | bytes = b"",
        leases: Leases | None = None,
    ) -> None:
        self._plans = (
            plans if isinstance(plans, PlanRegistry) else PlanRegistry.from_file(plans) if plans else PlanRegistry()
        )
        self._backend = backend
        self._secret = secret.encode() if isinstance(secret, str) else secret
        self._intake = Intake(self._plans, KeyMaker(prefix, self._secret))
        self._name = OpMaker(backend.retention)
        # In this process no answer can get lost, so operations need names only once they leave it.
        self._local = isinstance(backend, AsyncMemoryBackend)
        self._recall = backend.recall if isinstance(backend, AsyncRedisBackend) else None
        self._lanes: dict[tuple[str, str | None, str | None], ExpressLane | RedisLane] = {}
        # Those in this process of subjects without a group, under the plan that came last: found in half the time.
        self._shortest: dict[str, ExpressLane] = {}
        self.lines = Lines()
        self._leasing: TaskLeasing | None = None
        if leases is not None and isinstance(backend, AsyncRedisBackend):
            self._leasing = TaskLeasing(self, backend, leases)

    @classmethod
    def from_url(
        cls,
        url: str = "memory://",
        *,
        plans: PlanRegistry | str | Path | None = None,
        prefix: str = "rl",
        secret: str | bytes = b"",
        retention: Retention | None = None,
        policy: RetryPolicy | None = None,
        max_connections: int = 32,
        coalesce: bool = True,
        recheck: float = 1.0,
        leases: Leases | None = None,
    ) -> Self:
        """A limiter on `memory://`, or on Redis by any URL that `ratelimit.backends.connect` lists.

        Connects with the first call. With `coalesce`, decisions and settlements of the same moment share a script call;
        see `docs/redis.md`. Who was just refused is refused again without asking, for at most `recheck` seconds.

        Raises:
            ConfigError: a URL or an option that cannot be right.
        """
        if is_memory_url(url):
            backend: AsyncBackend = AsyncMemoryBackend(MemoryBackend(retention=retention))
            return cls(backend, plans=plans, prefix=prefix, secret=secret)
        return cls.from_client(
            url,
            plans=plans,
            prefix=prefix,
            secret=secret,
            retention=retention,
            policy=policy,
            max_connections=max_connections,
            coalesce=coalesce,
            recheck=recheck,
            leases=leases,
        )

    @classmethod
    def from_client(
        cls,
        client: redis.asyncio.Redis | redis.asyncio.RedisCluster | str,
        *,
        plans: PlanRegistry | str | Path | None = None,
        prefix: str = "rl",
        secret: str | bytes = b"",
        retention: Retention | None = None,
        policy: RetryPolicy | None = None,
        max_connections: int = 32,
        coalesce: bool = True,
        recheck: float = 1.0,
        leases: Leases | None = None,
    ) -> Self:
        """A limiter that connects as a redis.asyncio client does, over connections of its own without its retries.

        Raises:
            ConfigError: not a client of redis.asyncio, or an option that cannot be right.
        """
        policy = policy or RetryPolicy()
        backend = AsyncRedisBackend(
            async_executor(client, policy, max_connections),
            policy=policy,
            retention=retention,
            coalesce=coalesce,
            recheck=recheck,
        )
        return cls(backend, plans=plans, prefix=prefix, secret=secret, leases=leases)

    def __repr__(self) -> str:
        return f"<AsyncLimiter on {self._backend!r}>"

    @property
    def in_process(self) -> bool:
        """True when the state lives in this process: then no verb ever waits for a network."""
        return self._local

    @property
    def retention(self) -> Retention:
        """How long the backend remembers operations."""
        return self._backend.retention

    @property
    def plans(self) -> PlanRegistry:
        """The plans that names refer to. To change them, make a new limiter on the same backend, or pass Plans."""
        return self._plans

    def acquire(
        self,
        subject: str | Sequence[Scope],
        *,
        plan: str | Plan | None = None,
        group: str | None = None,
        requests: int = 1,
        tokens: int = 0,
        timeout: float | None = None,
        on_error: OnError = "refund_tokens",
        **meters: int,
    ) -> Acquisition:
        """As `Limiter.acquire`: `reservation = await limiter.acquire(...)` or `async with limiter.acquire(...)`."""
        ordinary = on_error == "refund_tokens" and not (meters or timeout)
        if ordinary and type(subject) is str and group is None:
            lane = self._shortest.get(subject)
            if lane is not None and lane.plan == plan:
                acquisition: ExpressAcquisition = ExpressAcquisition()
                acquisition._lane = lane
                acquisition._requests = requests
                acquisition._tokens = tokens
                return acquisition
        if self._leasing is not None and ordinary:
            leased: LeasedAcquisition = LeasedAcquisition()
            leased._limiter, leased._take = self, self._leasing.take
            leased._arguments = (subject, plan, group, requests, tokens)
            return leased
        begin = partial(self._acquire, subject, plan, group, requests, tokens, meters, timeout, on_error)
        return Acquisition(begin)

    async def try_acquire(
        self,
        subject: str | Sequence[Scope],
        *,
        plan: str | Plan | None = None,
        group: str | None = None,
        requests: int = 1,
        tokens: int = 0,
        timeout: float | None = None,
        on_error: OnError = "refund_tokens",
        **meters: int,
    ) -> Decision[AsyncReservation]:
        """As `Limiter.try_acquire`."""
        try:
            reservation = await self._acquire(subject, plan, group, requests, tokens, meters, timeout, on_error)
        except RateLimited as refused:
            return refused.decision
        return decide(True, reservation._shown, reservation)

    async def peek(
        self,
        subject: str | Sequence[Scope],
        *,
        plan: str | Plan | None = None,
        group: str | None = None,
        requests: int = 0,
        tokens: int = 0,
        **meters: int,
    ) -> tuple[Standing, ...]:
        """As `Limiter.peek`."""
        holds = self._intake.holds(subject, plan, group, requests, tokens, meters)
        await self._backend.peek(holds)
        return tuple(
            standing
            for hold in holds
            for standing in standings(hold.layout, hold.at, hold.lag, hold.levels, hold.costs)
        )

    async def reset(self, subject: str, *, group: str | None = None) -> bool:
        """As `Limiter.reset`."""
        key = self._intake.key(subject, group)
        forgotten = await self._backend.reset([key])
        if self._leasing is not None:
            await self._leasing.reset(key)
        self.lines.nudge(key)
        return forgotten

    def resume(self, token: str, *, on_error: OnError = "refund_tokens") -> AsyncReservation:
        """As `Limiter.resume`; needs no await."""
        check_on_error(on_error)
        op_id, page, holds = open_token(token, self._secret)
        reservation = AsyncReservation(self, holds, Op(op_id, page), on_error)
        reservation._exported = True
        return reservation

    async def close(self) -> None:
        """Give back what is left of leases, and close the backend's connections."""
        try:
            if self._leasing is not None:
                await self._leasing.close()
        finally:
            await self._backend.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _acquire(
        self,
        subject: str | Sequence[Scope],
        plan: str | Plan | None,
        group: str | None,
        requests: int,
        tokens: int,
        meters: dict[str, int],
        timeout: float | None,
        on_error: OnError,
    ) -> AsyncReservation:
        if on_error == "refund_tokens" and not (meters or timeout):
            if self._leasing is not None:
                leased: AsyncReservation | None = self._leasing.take(subject, plan, group, requests, tokens)
                if leased is not None:
                    return leased
            else:
                express = self._express(subject, plan, group, requests, tokens)
                if express is not None:
                    reservation: AsyncReservation | None = express if self._local else await express
                    if reservation is not None:
                        return reservation
        check_on_error(on_error)
        holds = self._intake.holds(subject, plan, group, requests, tokens, meters)
        if timeout:
            return await self._wait(holds, check_timeout(timeout), on_error)
        owner = None if self._leasing is None else self._leasing.lane(subject, plan, group, holds)
        # Nobody is refused from memory for what is left of a slice of his own: that goes back first.
        if (owner is None or owner.lease is None) and self._recall is not None and self._recall.refuses(holds):
            raise RateLimited(decide(False, holds))
        if self._leasing is not None and owner is not None:
            return await self._leasing.reserve(owner, holds[0], on_error)
        op = None if self._local else self._name()
        if await self._backend.reserve(holds, op):
            return AsyncReservation(self, holds, op, on_error)
        raise RateLimited(decide(False, holds))

    def _express(
        self, subject: str | Sequence[Scope], plan: str | Plan | None, group: str | None, requests: int, tokens: int
    ) -> Any:
        """The reservation by the express lane, of a subject or of a single scope; None for the general way.

        On Redis something to await that gives one of the two.
        """
        if type(subject) is list and len(subject) == 1 and type(subject[0]) is Scope and plan is None:
            scope = subject[0]
            subject, plan, group = scope.subject, scope.plan, scope.group or group
            if scope.amounts is not None:
                if scope.amounts.keys() != EXPRESS_METERS:
                    return None
                requests, tokens = scope.amounts["requests"], scope.amounts["tokens"]
        if type(subject) is not str or not (group is None or type(group) is str) or plan is None:
            return None
        # A name stands for one plan as long as the limiter lives; plans that are passed come and go.
        name = plan if type(plan) is str else None
        lane = self._lanes.get((subject, group, name))
        if lane is None or (name is None and lane.layout is not self._plans.resolve(plan).layout):
            lane = self._open_lane(subject, group, name, self._plans.resolve(plan).layout)
            if lane is None:
                return None
        return lane.reserve(requests, tokens)

    def _open_lane(
        self, subject: str, group: str | None, name: str | None, layout: Layout
    ) -> ExpressLane | RedisLane | None:
        """The short way of a subject under a plan, where there is one."""
        lane: ExpressLane | RedisLane | None
        if isinstance(self._backend, AsyncMemoryBackend):
            if not layout.express:
                return None
            backend = self._backend.backend
            # As many as there are subjects with something used, and some to spare.
            most = LANES_LEAST + 2 * len(backend)
            key, asked = self._intake.key(subject, group), (subject, name, group)
            lane = ExpressLane(self, backend, key, layout, AsyncExpressReservation, asked)
        else:
            most = KEYS_MAX
            lane = open_redis_lane(self, self._backend, self._intake.key(subject, group), layout)
        if lane is not None:
            if len(self._lanes) >= most:
                self._lanes.clear()
                self._shortest.clear()
            self._lanes[(subject, group, name)] = lane
            if name is not None and group is None and type(lane) is ExpressLane:
                self._shortest[subject] = lane
        return lane

    def _seal(self, op: Op, holds: Sequence[Hold]) -> str:
        return seal_token(op.id, op.page, holds, self._secret)

    async def _settle(self, holds: Sequence[Hold], real: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        settled = await self._backend.settle(holds, real, op)
        if self.lines:
            self.lines.nudge(holds[0].key)
        return settled

    async def _wait(self, holds: list[Hold], timeout: float, on_error: OnError) -> AsyncReservation:
        """Stand in line; see `ratelimit.waiting`."""
        key, deadline = holds[0].key, time.monotonic() + timeout
        turn = asyncio.Event()
        ticket = Ticket(deadline, turn.set)
        line = self.lines.enter(key, ticket)
        try:
            while True:
                while not line.is_head(ticket) and ticket.refusal is None:
                    await turn.wait()
                    turn.clear()
                if ticket.refusal is not None:
                    raise RateLimited(ticket.refusal)
                line.ask()
                op = None if self._local else self._name()
                if await self._backend.reserve(holds, op):
                    return AsyncReservation(self, holds, op, on_error)
                refusal: Decision[Any] = decide(False, holds)
                until = time.monotonic() + refusal.retry_after
                if until > deadline:
                    raise RateLimited(refusal)
                line.hold(until, refusal)
                if not line.nudged:
                    await self._until(turn, until)
        finally:
            self.lines.leave(key, ticket)

    @staticmethod
    async def _until(turn: asyncio.Event, until: float) -> None:
        """Sleep until then, or until nudged."""
        turn.clear()
        timer = asyncio.get_running_loop().call_later(max(0.0, until - time.monotonic()), turn.set)
        try:
            await turn.wait()
        finally:
            timer.cancel()
