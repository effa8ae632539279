"""The sync face. `ratelimit.aio` has the same verbs in the same order, awaited."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Condition, RLock
from types import TracebackType
from typing import Any, Self

import redis

from ratelimit.backends.base import Backend, Op, Retention
from ratelimit.backends.calls import RetryPolicy
from ratelimit.backends.connect import executor, is_memory_url
from ratelimit.backends.memory import MemoryBackend
from ratelimit.backends.redis import RedisBackend
from ratelimit.core.decision import Decision, Standing, decide, standings
from ratelimit.core.hold import Hold
from ratelimit.core.keys import KeyMaker
from ratelimit.core.settlement import Settlement
from ratelimit.core.token import open_token, seal_token
from ratelimit.errors import RateLimited
from ratelimit.express import LANES_LEAST, ExpressLane, ExpressReservation
from ratelimit.intake import Intake, OpMaker, Scope, check_timeout
from ratelimit.leases import Leases
from ratelimit.leases.threads import ThreadLeasing
from ratelimit.on_error import OnError, check_on_error
from ratelimit.plans import Plan, PlanRegistry
from ratelimit.reservation import Reservation
from ratelimit.waiting import Lines, Ticket

__all__ = ("Limiter",)


class Limiter:
    """Decides whether a subject may spend, and corrects what it has spent. Thread-safe; make one per process.

    Args:
        backend: where the state lives; :meth:`from_url` and :meth:`from_client` make one.
        plans: the plans that names refer to: a registry, a plan file, or None for the four built-in plans.
        prefix: start of every key on the backend.
        secret: keys the digests that stand for subjects (and seals tokens): the same in all workers. At most 64 bytes.
        leases: decide on busy subjects locally, see docs/leases.md; None: never. No effect in memory, which is local.
    """

    def __init__(
        self,
        backend: Backend,
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
        self._local = isinstance(backend, MemoryBackend)
        self._recall = backend.recall if isinstance(backend, RedisBackend) else None
        self._lanes: dict[str | tuple[str, str], ExpressLane] = {}
        self.lines = Lines()
        self._leasing: ThreadLeasing | None = None
        if leases is not None and isinstance(backend, RedisBackend):
            self._leasing = ThreadLeasing(self, backend, leases)
        self._lines_lock = RLock()

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

        Connects with the first call, except to a Cluster. `coalesce` is for asyncio: calls of threads never share one.
        Who was just refused is refused again without asking, for at most `recheck` seconds; see `docs/redis.md`.

        Raises:
            ConfigError: a URL or an option that cannot be right.
            BackendUnavailable: no node of the Cluster answers.
        """
        if is_memory_url(url):
            backend: Backend = MemoryBackend(retention=retention)
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
        client: redis.Redis | redis.RedisCluster | str,
        *,
        plans: PlanRegistry | str | Path | None = None,
        prefix: str = "rl",
        secret: str | bytes = b"",
        retention: Retention | None = None,
        policy: RetryPolicy | None = None,
        max_connections: int = 32,
        coalesce: bool = True,  # noqa: ARG003  # one option list for both faces
        recheck: float = 1.0,
        leases: Leases | None = None,
    ) -> Self:
        """A limiter that connects as a redis-py client does, over connections of its own without the client's retries.

        Raises:
            ConfigError: not a client of redis-py, or an option that cannot be right.
        """
        policy = policy or RetryPolicy()
        backend = RedisBackend(
            executor(client, policy, max_connections), policy=policy, retention=retention, recheck=recheck
        )
        return cls(backend, plans=plans, prefix=prefix, secret=secret, leases=leases)

    def __repr__(self) -> str:
        return f"<Limiter on {self._backend!r}>"

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
    ) -> Reservation:
        """Reserve the estimated cost over every limit of every scope, or raise.

        Args:
            subject: who is limited, under `plan`; or a list of scopes, decided all-or-nothing.
            plan: a plan's name or a Plan.
            group: the group that the scopes live in, so that one decision can span them.
            requests: requests to charge.
            tokens: tokens to charge.
            timeout: seconds to wait for a turn, first come, first served; None or 0: do not wait.
            on_error: what an exception in the block does to the reservation.
            meters: amounts of other meters, by name.

        Raises:
            RateLimited: it does not fit now (or not within `timeout`); `retry_after` says when it will.
            CostExceedsLimit: it can never fit.
            ConfigError: an argument that cannot be right.
            BackendError: the backend could not decide.
        """
        if self._local and type(subject) is str and on_error == "refund_tokens" and not (meters or timeout):
            lane = self._lanes.get(subject if group is None else (subject, group))
            if lane is None or lane.plan != plan:
                lane = self._open_lane(subject, plan, group)
            if lane is not None:
                reservation: Reservation | None = lane.reserve(requests, tokens)
                if reservation is not None:
                    return reservation
        if self._leasing is not None and not (meters or timeout) and on_error == "refund_tokens":
            leased: Reservation | None = self._leasing.take(subject, plan, group, requests, tokens)
            if leased is not None:
                return leased
        check_on_error(on_error)
        holds = self._intake.holds(subject, plan, group, requests, tokens, meters)
        if timeout:
            return self._wait(holds, check_timeout(timeout), on_error)
        owner = None if self._leasing is None else self._leasing.lane(subject, plan, group, holds)
        # Nobody is refused from memory for what is left of a slice of his own: that goes back first.
        if (owner is None or owner.lease is None) and self._recall is not None and self._recall.refuses(holds):
            raise RateLimited(decide(False, holds))
        if self._leasing is not None and owner is not None:
            return self._leasing.reserve(owner, holds[0], on_error)
        op = None if self._local else self._name()
        if self._backend.reserve(holds, op):
            return Reservation(self, holds, op, on_error)
        raise RateLimited(decide(False, holds))

    def _open_lane(self, subject: str, plan: str | Plan | None, group: str | None) -> ExpressLane | None:
        """The short way of a subject under a plan, where there is one."""
        if not isinstance(self._backend, MemoryBackend) or type(plan) is not str:
            return None
        layout = self._plans.resolve(plan).layout
        if not layout.express:
            return None
        # As many as there are subjects with something used, and some to spare.
        if len(self._lanes) >= LANES_LEAST + 2 * len(self._backend):
            self._lanes.clear()
        key, asked = self._intake.key(subject, group), (subject, plan, group)
        lane = ExpressLane(self, self._backend, key, layout, ExpressReservation, asked)
        self._lanes[subject if group is None else (subject, group)] = lane
        return lane

    def try_acquire(
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
    ) -> Decision[Reservation]:
        """As :meth:`acquire`, with a refusal as a value: `decision.allowed`, `.reservation`, `.retry_after`."""
        try:
            reservation = self.acquire(
                subject,
                plan=plan,
                group=group,
                requests=requests,
                tokens=tokens,
                timeout=timeout,
                on_error=on_error,
                **meters,
            )
        except RateLimited as refused:
            return refused.decision
        return decide(True, reservation._shown, reservation)

    def peek(
        self,
        subject: str | Sequence[Scope],
        *,
        plan: str | Plan | None = None,
        group: str | None = None,
        requests: int = 0,
        tokens: int = 0,
        **meters: int,
    ) -> tuple[Standing, ...]:
        """Where every limit stands; charges nothing. With a cost, `retry_after` says when that cost would fit.

        Raises:
            CostExceedsLimit: the cost can never fit.
            ConfigError: an argument that cannot be right.
            BackendError: the backend could not answer.
        """
        holds = self._intake.holds(subject, plan, group, requests, tokens, meters)
        self._backend.peek(holds)
        return tuple(
            standing
            for hold in holds
            for standing in standings(hold.layout, hold.at, hold.lag, hold.levels, hold.costs)
        )

    def reset(self, subject: str, *, group: str | None = None) -> bool:
        """Forget what a subject has used; True if there was anything. Open reservations of it get nothing back later.

        Raises:
            BackendError: the backend could not answer.
        """
        key = self._intake.key(subject, group)
        forgotten = self._backend.reset([key])
        if self._leasing is not None:
            self._leasing.reset(key)
        self._nudge(key)
        return forgotten

    def resume(self, token: str, *, on_error: OnError = "refund_tokens") -> Reservation:
        """A reservation made elsewhere, from `Reservation.to_token()`, to be settled here.

        Raises:
            ConfigError: not a token of this version and secret.
        """
        check_on_error(on_error)
        op_id, page, holds = open_token(token, self._secret)
        reservation = Reservation(self, holds, Op(op_id, page), on_error)
        reservation._exported = True
        return reservation

    def close(self) -> None:
        """Give back what is left of leases, and close the backend's connections."""
        try:
            if self._leasing is not None:
                self._leasing.close()
        finally:
            self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _seal(self, op: Op, holds: Sequence[Hold]) -> str:
        return seal_token(op.id, op.page, holds, self._secret)

    def _settle(self, holds: Sequence[Hold], real: Sequence[Sequence[int]], op: Op | None) -> Settlement:
        settled = self._backend.settle(holds, real, op)
        if self.lines:
            self._nudge(holds[0].key)
        return settled

    def _nudge(self, key: str) -> None:
        with self._lines_lock:
            self.lines.nudge(key)

    def _wait(self, holds: list[Hold], timeout: float, on_error: OnError) -> Reservation:
        """Stand in line; see `ratelimit.waiting`."""
        key, deadline = holds[0].key, time.monotonic() + timeout
        with self._lines_lock:
            turn = Condition(self._lines_lock)
            ticket = Ticket(deadline, turn.notify)
            line = self.lines.enter(key, ticket)
        try:
            while True:
                with self._lines_lock:
                    while not line.is_head(ticket) and ticket.refusal is None:
                        turn.wait()
                    line.ask()
                if ticket.refusal is not None:
                    raise RateLimited(ticket.refusal)
                op = None if self._local else self._name()
                if self._backend.reserve(holds, op):
                    return Reservation(self, holds, op, on_error)
                refusal: Decision[Any] = decide(False, holds)
                until = time.monotonic() + refusal.retry_after
                if until > deadline:
                    raise RateLimited(refusal)
                with self._lines_lock:
                    line.hold(until, refusal)
                    if not line.nudged:
                        turn.wait(timeout=max(0.0, until - time.monotonic()))
        finally:
            with self._lines_lock:
                self.lines.leave(key, ticket)
