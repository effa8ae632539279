"""Rows on leases: what a decision takes with and without, and how much of a plan they strand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.interleave import Case, Timing, interleave, ratio
from benchmarks.plans import ESTIMATE, LIVE, PLANS, names, preload
from benchmarks.redis_sync import PATIENT
from benchmarks.results import Row, at_least
from benchmarks.sync_work import acquire
from ratelimit import AsyncLimiter, Leases, Limiter, PlanRegistry
from tests.promises.leased import Server, worker
from tests.servers import RedisServer

__all__ = ("lease_rows",)

_EACH: Final = "one call each"
_SIZES: Final = (32, 128)
_TASKS: Final = 100
_CALLS: Final = 200
"""Decisions of a pass without leases; with them there are more, or a pass would be over before it is timed."""
_MORE: Final = 8


def lease_rows(server: RedisServer, rounds: int) -> list[Row]:
    """Speed, by time on the clock; then plans under load in virtual time."""
    with _sync_cases(server.url) as cases:
        rows = list(_speed_rows("Leases, sync, one caller", interleave(cases, rounds), 25))
    with _asyncio_cases(server.url) as cases:
        rows += _speed_rows(f"Leases, asyncio, {_TASKS} tasks", interleave(cases, rounds), 60)
    return [*rows, *_load_rows()]


def _speed_rows(section: str, timings: dict[str, Timing], least: float) -> Iterator[Row]:
    for name, timing in timings.items():
        yield Row(
            section=section,
            name=name,
            value=timing.median_wall,
            cpu=timing.median_cpu,
            ratio=None if name == _EACH else ratio(timings[_EACH].wall, timing.wall),
            against="" if name == _EACH else f"speed of {_EACH}",
            figure=None if name == _EACH else at_least(least),
        )


@contextmanager
def _sync_cases(url: str) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        apart = stack.enter_context(Limiter.from_url(url, plans=PLANS, policy=PATIENT))
        subjects = names(1 + len(_SIZES), "sync")
        preload(apart, subjects)
        cases = [Case(_EACH, _CALLS, acquire(apart, subjects[:1] * _CALLS))]
        for most, subject in zip(_SIZES, subjects[1:], strict=True):
            options = Leases(most=most, workers=1)
            leased = stack.enter_context(Limiter.from_url(url, plans=PLANS, policy=PATIENT, leases=options))
            cases.append(Case(_name(most), _CALLS * _MORE, acquire(leased, (subject,) * (_CALLS * _MORE))))
        yield cases


def _name(most: int) -> str:
    return f"leases of {most}"


@contextmanager
def _asyncio_cases(url: str) -> Iterator[list[Case]]:
    """One caller with a call each, against a hundred tasks on a subject each."""
    subjects = names(_TASKS, "asyncio")
    with Limiter.from_url(url, plans=PLANS, policy=PATIENT) as limiter:
        preload(limiter, subjects)
    with asyncio.Runner() as runner:
        apart = AsyncLimiter.from_url(url, plans=PLANS, policy=PATIENT)
        limiters = [apart]
        cases = [Case(_EACH, _CALLS, _run(runner, apart, subjects[:1], _CALLS))]
        for most in _SIZES:
            leased = AsyncLimiter.from_url(url, plans=PLANS, policy=PATIENT, leases=Leases(most=most, workers=1))
            limiters.append(leased)
            cases.append(Case(_name(most), _CALLS * _TASKS, _run(runner, leased, subjects, _CALLS)))
        yield cases
        for each in limiters:
            runner.run(each.close())


def _run(runner: asyncio.Runner, limiter: AsyncLimiter, subjects: Sequence[str], calls: int) -> Callable[[], None]:
    async def task(subject: str) -> None:
        for _ in range(calls):
            await limiter.acquire(subject, plan=LIVE.name, tokens=ESTIMATE)

    async def tasks() -> None:
        await asyncio.gather(*map(task, subjects))

    return lambda: runner.run(tasks())


_WORKERS: Final = 4
_MINUTES: Final = 5


@dataclass(frozen=True, slots=True)
class _Run:
    """What came of a plan under load, in virtual time."""

    admitted: float
    """Of what the plan allows."""
    calls: float
    """Per decision asked for."""
    stranded: float
    """Charged and not handed out, of the capacity; the average over time."""


def _load(plan_name: str, load: float, options: Leases | None) -> _Run:
    """Requests of one size, at random instants, to workers in turn, from a full bucket on (nothing left to burst)."""
    rng = Random(1)
    server = Server(Random(2))
    plan = PlanRegistry().resolve(plan_name)
    per_minute, tokens = plan.limits[0].amount, plan.limits[1].amount
    each = tokens // per_minute
    workers = [Limiter(server) if options is None else worker(server, options) for _ in range(_WORKERS)]
    workers[0].acquire("key", plan=plan, requests=per_minute, tokens=tokens)
    began, calls = server.now, server.calls
    asked = admitted = stranded = 0
    due = float(server.now)
    while due < began + _MINUTES * 60e6:
        due += rng.expovariate(load * per_minute / 60e6)
        idle = [_give_back(limiter) for limiter in workers]
        stranded += max(0, int(due) - server.now) * sum(idle)
        server.now = max(server.now, int(due))
        asked += 1
        admitted += rng.choice(workers).try_acquire("key", plan=plan, tokens=each).allowed
    passed = server.now - began
    return _Run(
        admitted=admitted / (per_minute * passed / 60e6),
        calls=(server.calls - calls) / asked,
        stranded=stranded / passed / plan.layout.specs[1].units / tokens,
    )


def _give_back(limiter: Limiter) -> int:
    """Let slices end that are due; the units of the second bucket that lie in those that are not."""
    leasing = limiter._leasing
    if leasing is None:
        return 0
    leasing.give_back()
    return sum(lane.lease.left[1] for lane in leasing.lanes() if lane.lease is not None)


def _load_rows() -> Iterator[Row]:
    for plan, load in (("MAX 20X", 2.0), ("MAX 20X", 0.8), ("Pro", 2.0), ("Pro", 0.8)):
        for name, options in ((_EACH, None), ("leases", Leases(workers=_WORKERS)), ("leases of 2 s", _LONG)):
            run = _load(plan, load, options)
            yield Row(
                section=f"Leases, {plan}, {load:g} x its rate, {_WORKERS} workers",
                name=name,
                value=100 * run.admitted,
                unit="%",
                against=f"of the limit; {run.calls:.2f} calls a decision, {100 * run.stranded:.2f} % stranded",
            )


_LONG: Final = Leases(term=2, workers=_WORKERS)
