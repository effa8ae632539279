"""Rows on speed: what one decision takes a caller, and how that compares within the same rounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.interleave import Timing, interleave, ratio
from benchmarks.memory import memory_cases
from benchmarks.redis_asyncio import TASKS, asyncio_cases
from benchmarks.redis_sync import redis_cases
from benchmarks.results import Figure, Row, at_least
from tests.servers import RedisServer

__all__ = ("asyncio_rows", "memory_rows", "redis_rows")

_FIXED, _BARE, _NEW = "limits fixed x 2", "bare EVALSHA", ", new"


def memory_rows(rounds: int) -> list[Row]:
    """In one process. Ratios are of CPU time: nothing here waits, so the clock adds only the neighbours' noise."""
    timings = interleave(memory_cases(1_000), rounds)
    compared = Comparison("Memory", timings, "cpu")
    figures = {"acquire + settle": at_least(3.5)}
    return [compared.row(name, _FIXED + (_NEW if name.endswith(_NEW) else ""), figures.get(name)) for name in timings]


def redis_rows(server: RedisServer, rounds: int) -> list[Row]:
    """One sync caller on Redis. Ratios are of time by the clock."""
    with redis_cases(server.url, 100) as cases:
        timings = interleave(cases, rounds)
    compared = Comparison("Redis, sync, one caller", timings, "wall")
    return list(_redis_rows(compared, at_least(1.7), at_least(0.65)))


def asyncio_rows(server: RedisServer, rounds: int) -> list[Row]:
    """One asyncio caller on Redis, then a hundred tasks. Ratios are of time by the clock."""
    with asyncio_cases(server.url, 100) as cases:
        timings = interleave(cases, rounds)
    alone = {name: timing for name, timing in timings.items() if not name.endswith(TASKS)}
    tasks = {name.removesuffix(TASKS): timing for name, timing in timings.items() if name.endswith(TASKS)}
    return [
        *_redis_rows(Comparison("Redis, asyncio, one caller", alone, "wall"), None, None),
        *_redis_rows(Comparison("Redis, asyncio, 100 tasks", tasks, "wall"), None, None),
    ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The timings of one section, and the clock that its ratios go by."""

    section: str
    timings: dict[str, Timing]
    clock: str

    def row(self, name: str, base: str, figure: Figure | None) -> Row:
        """A row that says how many times the speed of `base` this is."""
        timing, other = self.timings[name], self.timings[base]
        return Row(
            section=self.section,
            name=name,
            value=timing.median_wall,
            cpu=timing.median_cpu,
            ratio=None if name == base else ratio(getattr(other, self.clock), getattr(timing, self.clock)),
            against="" if name == base else f"speed of {base}",
            figure=figure,
        )


def _redis_rows(compared: Comparison, to_limits: Figure | None, to_bare: Figure | None) -> Iterator[Row]:
    """All against two hits of `limits`, and `acquire` against the script that does nothing as well."""
    for name in compared.timings:
        yield compared.row(name, _FIXED, to_limits if name == "acquire" else None)
        if name == "acquire":
            yield compared.row(name, _BARE, to_bare)
