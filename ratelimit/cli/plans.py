"""`ratelimit plans`: what each plan allows, and how exactly it is counted."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from ratelimit.cli.failure import one_line_errors
from ratelimit.cli.options import PlansFile, chosen_plans
from ratelimit.cli.screen import output
from ratelimit.plans import Limit, Plan

__all__ = ("plans",)

_TICKS = {1: "µs", 1_000: "ms", 1_000_000: "s"}
_NOTE = (
    "Burst: how much fits at once. Resolution: buckets count in whole units, so nothing is rounded; "
    "a unit is this part of one request or token, and that many of them come back per tick of time."
)


def plans(*, plans_file: PlansFile = None) -> None:
    """Show the plans: their limits, bursts, and the resolution they are counted in."""
    with one_line_errors():
        chosen = chosen_plans(plans_file)
    console = output()
    console.print(_table(chosen))
    console.print(_NOTE)


def _table(chosen: Sequence[Plan]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Plan", style="bold")
    table.add_column("Limit")
    table.add_column("Burst", justify="right")
    table.add_column("Resolution")
    for plan in chosen:
        for number, limit in enumerate(plan.limits):
            table.add_row("" if number else plan.name, str(limit.spec), f"{limit.burst:,}", _resolution(limit))
    return table


def _resolution(limit: Limit) -> str:
    spec = limit.spec
    part = "1 unit = 1" if spec.units == 1 else f"1 unit = 1/{spec.units:,}"
    return f"{part}, {spec.rate:,} per {_TICKS[spec.tick_us]}"
