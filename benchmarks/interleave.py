"""Timing that survives a noisy machine: all cases in turn, round after round, and ratios of neighbours in time."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

__all__ = ("Case", "Timing", "interleave", "ratio")


def _nothing() -> None:
    """What most cases need before a pass."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure: `work` makes `calls` decisions, after `before`, whose time does not count."""

    name: str
    calls: int
    work: Callable[[], object]
    before: Callable[[], object] = _nothing


@dataclass(slots=True)
class Timing:
    """Microseconds per decision, round by round: by the clock, and of CPU time of this process (all its threads)."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median_wall(self) -> float:
        """Time by the clock of the median round."""
        return median(self.wall)

    @property
    def median_cpu(self) -> float:
        """CPU time of the median round."""
        return median(self.cpu)

    def run(self, case: Case) -> None:
        """Measure one pass."""
        case.before()
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        case.work()
        cpu_end, wall_end = time.process_time_ns(), time.perf_counter_ns()
        self.wall.append((wall_end - wall) / 1_000 / case.calls)
        self.cpu.append((cpu_end - cpu) / 1_000 / case.calls)


def interleave(cases: Sequence[Case], rounds: int, *, seed: int = 1) -> dict[str, Timing]:
    """Measure every case once per round, each round in another order, after one pass that does not count.

    The collector runs as it would in service; what stands around from the setup is kept out of its way.
    """
    timings = {case.name: Timing() for case in cases}
    for case in cases:
        case.before()
        case.work()
    order = random.Random(seed)
    gc.collect()
    gc.freeze()
    try:
        for _ in range(rounds):
            for case in order.sample(cases, len(cases)):
                timings[case.name].run(case)
    finally:
        gc.unfreeze()
    return timings


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median over rounds of one case's value to another's: a machine that slows down slows both of a round."""
    return median(above / below for above, below in zip(numerators, denominators, strict=True))
