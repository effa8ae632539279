"""Rows of the table, the figures that they are to reach, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ("Figure", "Row", "at_least", "at_most", "digits", "print_table", "write_json")

_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Figure:
    """A bound on a row's ratio, or on its value where it has no ratio."""

    least: float | None = None
    most: float | None = None

    def reached(self, value: float) -> bool:
        """True on the right side of the bound."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


def at_least(bound: float) -> Figure:
    """More is better."""
    return Figure(least=bound)


def at_most(bound: float) -> Figure:
    """Less is better."""
    return Figure(most=bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line. `cpu` is CPU time of the client, `ratio` says `against`, for example "speed of limits fixed window"."""

    section: str
    name: str
    value: float
    unit: str = "µs"
    cpu: float | None = None
    ratio: float | None = None
    against: str = ""
    figure: Figure | None = None

    @property
    def reached(self) -> bool | None:
        """None without a figure."""
        return None if self.figure is None else self.figure.reached(self.value if self.ratio is None else self.ratio)


def print_table(rows: Sequence[Row], machine: Mapping[str, str]) -> None:
    """Everything on one table, and the machine below it."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "median", "CPU", "ratio", "of what", "to reach", "reached"):
        table.add_column(title, justify="left" if title in {"", "of what"} else "right", min_width=len(title))
    section = ""
    for row in rows:
        if row.section != section:
            table.add_row(row.section, style="bold")
            section = row.section
        table.add_row(*_cells(row))
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"  {row.name}",
        f"{digits(row.value)} {row.unit}",
        "" if row.cpu is None else f"{digits(row.cpu)} µs",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        row.against,
        "" if row.figure is None else str(row.figure),
        {None: "", True: "yes", False: "NO"}[row.reached],
    )


def digits(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def write_json(path: Path, rows: Sequence[Row], machine: Mapping[str, str]) -> None:
    """The same for machines."""
    lines = [
        {
            "section": row.section,
            "name": row.name,
            "value": row.value,
            "unit": row.unit,
            "client_cpu_us": row.cpu,
            "ratio": row.ratio,
            "against": row.against or None,
            "figure": None if row.figure is None else {"least": row.figure.least, "most": row.figure.most},
            "reached": row.reached,
        }
        for row in rows
    ]
    text = json.dumps({"machine": dict(machine), "rows": lines}, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
