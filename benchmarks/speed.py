"""Rows on speed: what one decision takes a caller, and how that compares within the same rounds."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.interleave import Timing, interleave, ratio
from benchmarks.memory import memory_cases
from benchmarks.results import Figure, Row, at_least, at_most

__all__ = ("memory_rows",)

_FIXED, _NEW, _PAIR, _AIOLIMITER = "limits fixed x 2", ", new", "acquire + settle", "aiolimiter x 2"
_FIGURES = {_PAIR: at_least(3.5)}


def memory_rows(rounds: int) -> list[Row]:
    """In one process. Ratios are of CPU time: nothing here waits, so the clock adds only the neighbours' noise."""
    timings = interleave(memory_cases(1_000), rounds)
    compared = Comparison("Memory", timings, "cpu")
    rows = [compared.row(name, _FIXED + (_NEW if name.endswith(_NEW) else ""), _FIGURES.get(name)) for name in timings]
    first = next(index for index, row in enumerate(rows) if row.name == _PAIR) + 1
    return [
        *rows[:first],
        compared.row(_PAIR, _AIOLIMITER, at_least(1.5)),
        compared.row(_PAIR, _PAIR, at_most(1.5)),
        *rows[first:],
    ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The timings of one section, and the clock that its ratios go by."""

    section: str
    timings: dict[str, Timing]
    clock: str

    def row(self, name: str, base: str, figure: Figure | None) -> Row:
        """A row that says how many times the speed of `base` this is; of the time itself, beside itself."""
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
