"""Rows on scaling: a decision on a random subject, with few subjects known and with many."""

from __future__ import annotations

import gc
import random
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks import sync_work
from benchmarks.footprint import fill
from benchmarks.interleave import Case, Timing, interleave, ratio
from benchmarks.pipe import Pipe, Piped, script_time
from benchmarks.plans import LIVE, PLANS, names, preload
from benchmarks.redis_sync import PATIENT
from benchmarks.results import Row, at_most
from ratelimit import Limiter
from ratelimit.core.keys import KeyMaker
from tests.servers import RedisServer

__all__ = ("memory_scaling_rows", "redis_scaling_rows")

_FLAT = 1.3


class Draw:
    """Random subjects out of many, as text that nobody has hashed yet: so they come from the network."""

    def __init__(self, population: int, calls: int) -> None:
        self._population = population
        self._random = random.Random(population)
        self._subjects = [""] * calls
        self()

    def __call__(self) -> list[str]:
        """Draw anew, in place: `subjects` stays the same list."""
        for index in range(len(self._subjects)):
            self._subjects[index] = f"sk-live-{self._random.randrange(self._population):07d}"
        return self._subjects

    @property
    def subjects(self) -> list[str]:
        """What was drawn last."""
        return self._subjects


def _acquires(limiter: Limiter, population: int, calls: int) -> Case:
    draw = Draw(population, calls)
    return Case(f"{population:,} subjects", calls, sync_work.acquire(limiter, draw.subjects), draw)


def memory_scaling_rows(populations: Sequence[int], rounds: int) -> list[Row]:
    """In one process. Ratios are of CPU time."""
    cases: list[Case] = []
    for population in populations:
        limiter = Limiter.from_url(plans=PLANS)
        gc.disable()  # a million new objects that stay would be searched over and over
        preload(limiter, names(population))
        gc.enable()
        cases.append(_acquires(limiter, population, 1_000))
    timings = interleave(cases, rounds)
    return _client_rows("Scaling, memory: acquire", timings, "cpu")


def _client_rows(section: str, timings: dict[str, Timing], clock: str) -> list[Row]:
    few, *_ = timings
    return [
        Row(
            section=section,
            name=name,
            value=timing.median_wall,
            cpu=timing.median_cpu,
            ratio=None if name == few else ratio(getattr(timing, clock), getattr(timings[few], clock)),
            against="" if name == few else f"cost with {few}",
            figure=None if name == few else at_most(_FLAT),
        )
        for name, timing in timings.items()
    ]


def redis_scaling_rows(server: RedisServer, populations: Sequence[int], rounds: int) -> list[Row]:
    """On one server, a database for each number of subjects, so that rounds can take turns."""
    with ExitStack() as stack:
        cases: list[Case] = []
        piped: dict[int, Piped] = {}
        for database, population in enumerate(populations):
            url = server.url.removesuffix("0") + str(database)
            with Pipe.to(url, 1_000) as pipe:
                _multiply(pipe, names(population))
            piped[population] = Piped(stack.enter_context(Pipe.to(url)), LIVE)
            limiter = stack.enter_context(Limiter.from_url(url, plans=PLANS, policy=PATIENT))
            cases.append(_acquires(limiter, population, 100))
        scripts = _script_times(server, piped, rounds)
        timings = interleave(cases, rounds)
    return [
        *_script_rows("Scaling, Redis: acquire, script", scripts),
        *_client_rows("Scaling, Redis: acquire, sync", timings, "wall"),
    ]


def _multiply(pipe: Pipe, subjects: Sequence[str]) -> None:
    """Make one subject busy, and copy it: nothing in a state says whose it is."""
    first, *others = map(KeyMaker().scope_key, subjects)
    fill(pipe, subjects[:1])
    for start in range(0, len(others), 10_000):
        pipe.run([("COPY", first, other) for other in others[start : start + 10_000]])


def _script_times(server: RedisServer, piped: dict[int, Piped], rounds: int) -> dict[int, list[float]]:
    draws = {population: Draw(population, 1_000) for population in piped}
    times: dict[int, list[float]] = {population: [] for population in piped}
    for page in range(rounds):
        for population, ours in piped.items():
            subjects = draws[population]()
            _, before = script_time(server)
            ours.reserve(subjects, page)
            times[population].append((script_time(server)[1] - before) / len(subjects))
    return times


def _script_rows(section: str, times: dict[int, list[float]]) -> list[Row]:
    few, *_ = times
    return [
        Row(
            section=section,
            name=f"{population:,} subjects",
            value=median(values),
            ratio=None if population == few else ratio(values, times[few]),
            against="" if population == few else f"cost with {few:,} subjects",
            figure=None if population == few else at_most(_FLAT),
        )
        for population, values in times.items()
    ]
