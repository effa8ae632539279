"""Rows on memory: bytes that Redis uses per subject, as the growth of used_memory."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.pipe import Pipe, Piped
from benchmarks.plans import LIVE, PRELOAD_REQUESTS, PRELOAD_TOKENS, names
from benchmarks.results import Figure, Row, at_most
from tests.servers import RedisServer

__all__ = ("fill", "footprint_rows")

_BATCH = 1_000
_KEYS = {1: 24_000, 8: 12_000, 64: 1_500}
"""Keys on the server, by operations per subject: each fills three quarters of a hash table of Redis, as on average."""
_PAGES = 4
"""Pages that live at a time when operations come evenly: the window is three pages long."""


def fill(pipe: Pipe, subjects: Sequence[str]) -> None:
    """Make subjects busy for some minutes, without the records of how they became so."""
    ours = Piped(pipe, LIVE)
    for start in range(0, len(subjects), _BATCH):
        batch = subjects[start : start + _BATCH]
        ours.reserve(batch, requests=PRELOAD_REQUESTS, tokens=PRELOAD_TOKENS)
        ours.forget_pages(batch)


def footprint_rows(server: RedisServer, idle: Sequence[int]) -> list[Row]:
    """Idle subjects, then subjects with operations inside the retry window."""
    rows = [_row(f"idle, {count:,} subjects", _idle(server, count), at_most(200)) for count in idle]
    for settled in (False, True):
        rows += [_active(server, operations, settled=settled, pages=1) for operations in _KEYS]
        rows += [_active(server, 8, settled=settled, pages=_PAGES)]
    return rows


def _row(name: str, size: float, figure: Figure | None) -> Row:
    return Row(section="Memory of Redis per subject", name=name, value=size, unit="B", figure=figure)


def _active(server: RedisServer, operations: int, *, settled: bool, pages: int) -> Row:
    size = _with_operations(server, operations, settled=settled, pages=pages)
    what = "acquire + settle" if settled else "acquire"
    where = "one page" if pages == 1 else f"{pages} pages"
    return _row(f"{operations} x {what}, {where}", size, at_most(700) if operations == 8 else None)


def _idle(server: RedisServer, count: int) -> float:
    empty = _emptied(server)
    with Pipe.to(server.url, _BATCH) as pipe:
        fill(pipe, names(count))
    return (_used(server) - empty) / count


def _with_operations(server: RedisServer, operations: int, *, settled: bool, pages: int) -> float:
    empty, count = _emptied(server), _KEYS[operations] // (1 + pages)
    subjects = names(count)
    with Pipe.to(server.url, _BATCH) as pipe:
        fill(pipe, subjects)
        ours = Piped(pipe, LIVE)
        for number in range(operations):
            for start in range(0, count, _BATCH):
                pending = ours.reserve(subjects[start : start + _BATCH], number * pages // operations)
                if settled:
                    ours.settle(pending)
    return (_used(server) - empty) / count


def _emptied(server: RedisServer) -> int:
    """Used memory with the scripts loaded and no data."""
    with Pipe.to(server.url, _BATCH) as pipe:
        fill(pipe, names(_BATCH))
        pipe.run([("FLUSHALL", "SYNC")])
    return _used(server)


def _used(server: RedisServer) -> int:
    return int(server.info("memory")["used_memory"])
