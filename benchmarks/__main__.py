"""`python -m benchmarks`: measure, print one table with ratios and figures, and write JSON if asked to."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.docs import write_docs
from benchmarks.footprint import footprint_rows
from benchmarks.goodput import TRACES, goodput_rows
from benchmarks.leases import lease_rows
from benchmarks.machine import machine
from benchmarks.middleware import middleware_rows
from benchmarks.plot import plot
from benchmarks.results import Row, print_table, write_json
from benchmarks.scaling import memory_scaling_rows, redis_scaling_rows
from benchmarks.script import script_rows
from benchmarks.side_by_side import asyncio_rows, sync_rows, together_in_memory_rows
from benchmarks.speed import memory_rows
from benchmarks.streams import stream_rows
from tests.servers import RedisServer, redis_binaries

__all__ = ("main",)

Section = Callable[[argparse.Namespace], list[Row]]


def _served(measure: Callable[[RedisServer], list[Row]]) -> list[Row]:
    """With a server of its own: what one section leaves behind must not weigh on the next."""
    with RedisServer() as server:
        return measure(server)


def _rounds(options: argparse.Namespace, full: int) -> int:
    return max(5, full // 5) if options.quick else full


def _scaling(options: argparse.Namespace) -> list[Row]:
    populations: list[int] = options.subjects or [1_000, 100_000 if options.quick else 1_000_000]
    return memory_scaling_rows(populations, _rounds(options, 60)) + _served(
        lambda server: redis_scaling_rows(server, populations, _rounds(options, 60))
    )


_SECTIONS: dict[str, Section] = {
    "memory": lambda options: (
        memory_rows(_rounds(options, 50)) + together_in_memory_rows(_rounds(options, 9), quick=options.quick)
    ),
    "redis": lambda options: _served(lambda server: sync_rows(server, _rounds(options, 15))),
    "asyncio": lambda options: _served(lambda server: asyncio_rows(server, _rounds(options, 9), quick=options.quick)),
    "leases": lambda options: _served(lambda server: lease_rows(server, _rounds(options, 30))),
    "script": lambda options: _served(lambda server: script_rows(server, _rounds(options, 25))),
    "bytes": lambda options: _served(
        lambda server: footprint_rows(server, [10_000] if options.quick else [10_000, 100_000])
    ),
    "scaling": _scaling,
    "middleware": lambda options: _served(lambda server: middleware_rows(server, _rounds(options, 40))),
    "streams": lambda options: stream_rows(_rounds(options, 40)),
    "goodput": lambda options: goodput_rows(options.trace or TRACES),
}
_WEB = {"middleware", "streams"}
_WITHOUT_REDIS = {"memory", "streams", "goodput"}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a fifth of the rounds, 100,000 subjects at most, and asyncio on uvloop in one process only",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rows on speed; FILE ends in .svg or .png")
    parser.add_argument("--docs", action="store_true", help="write tables, JSON and picture to docs/performance.*")
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, metavar="NAME", help=f"of {', '.join(_SECTIONS)}")
    parser.add_argument(
        "--subjects", type=_populations, metavar="N,N", help="numbers of subjects to compare in scaling, smallest first"
    )
    parser.add_argument(
        "--trace",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="traces to replay in goodput, not those of traces/",
    )
    options = parser.parse_args(arguments)
    if options.docs and (options.quick or options.only):
        parser.error("--docs writes everything that the page shows: leave out --quick and --only")
    return options


def _populations(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if len(numbers) > 16 or any(not 100 <= number <= 10_000_000 for number in numbers):
        raise argparse.ArgumentTypeError("must be at most 16 numbers from 100 to 10,000,000")
    return numbers


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sections in order."""
    options = _options(arguments)
    rows: list[Row] = []
    started = time.monotonic()
    for name, section in _SECTIONS.items():
        if options.only and name not in options.only:
            continue
        print(f"{time.monotonic() - started:4.0f} s  {name} …", file=sys.stderr)
        rows += section(options)
    sections = set(options.only or _SECTIONS)
    facts = machine(redis_binaries()[0] if sections - _WITHOUT_REDIS else None, web=not sections.isdisjoint(_WEB))
    print_table(rows, facts)
    if options.json:
        write_json(options.json, rows, facts)
    if options.plot:
        plot(options.plot, rows, facts)
    if options.docs:
        write_docs(rows, facts)
    print(f"{time.monotonic() - started:4.0f} s in all", file=sys.stderr)


if __name__ == "__main__":
    main()
