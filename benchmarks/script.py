"""Rows on the server's side: microseconds that a decision's scripts take, from INFO commandstats."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median

from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from benchmarks.interleave import ratio
from benchmarks.memory import drain
from benchmarks.pipe import Command, Pipe, Piped, script_time
from benchmarks.plans import (
    DRAINED,
    ESTIMATE,
    FULL,
    LIVE,
    PLANS,
    PRELOAD_REQUESTS,
    PRELOAD_TOKENS,
    REQUESTS,
    TOKENS,
    names,
)
from benchmarks.redis_sync import BARE_ARGUMENTS, BARE_TEXT
from benchmarks.results import Row, at_most
from tests.servers import RedisServer

__all__ = ("script_rows",)

_SLIDING, _NEW = "limits sliding x 2", ", new"
_PAGE_PAIRS = 8
_BUSY, _BUSY_SUBJECTS, _BUSY_PAIRS, _BUSY_PAGE = "acquire + settle, page of 200", 50, 190, 4_000


@dataclass(frozen=True, slots=True)
class ServerCase:
    """A pass whose scripts are timed; `before` is not. `decisions` in a pass."""

    name: str
    decisions: int
    work: Callable[[], object]
    before: Callable[[], object] = lambda: None

    def run(self, server: RedisServer) -> float:
        """Script microseconds per decision of one pass."""
        self.before()
        _, start = script_time(server)
        self.work()
        return (script_time(server)[1] - start) / self.decisions


def script_rows(server: RedisServer, rounds: int, subjects: int = 1_000) -> list[Row]:
    """Fifty calls in flight, `subjects` in turn. Ratios are of script time, round by round."""
    with Pipe.to(server.url) as pipe:
        cases = [*_ours(pipe, names(subjects)), *_theirs(pipe, server.url, names(subjects, "theirs"))]
        values: dict[str, list[float]] = {case.name: [] for case in cases}
        order = random.Random(2)
        for number in range(rounds + 1):
            for case in order.sample(cases, len(cases)):
                value = case.run(server)
                if number:  # the first round warms up
                    values[case.name].append(value)
    return [_row(name, values) for name in values]


def _row(name: str, values: dict[str, list[float]]) -> Row:
    base = _SLIDING + (_NEW if name.endswith(_NEW) else "")
    return Row(
        section="Script time on the server",
        name=name,
        value=median(values[name]),
        ratio=None if name == base else ratio(values[name], values[base]),
        against="" if name == base else f"cost of {base}",
        figure=at_most(1.6) if name == "acquire + settle" else None,
    )


class Ours:
    """The engine's passes. `_PAGE_PAIRS` reservations go to a page of the operation log, then comes the next page."""

    def __init__(self, pipe: Pipe, subjects: Sequence[str]) -> None:
        self._subjects = subjects
        self._passes = count()
        self._generation = count()
        self._live, self._full = Piped(pipe, LIVE), Piped(pipe, FULL)
        self._short = Piped(pipe, PLANS[DRAINED])
        self._refused, self._drained = names(len(subjects), "full"), names(len(subjects), "drained")
        self._busy = names(_BUSY_SUBJECTS, "busy")
        self._live.reserve([*subjects, *self._busy], requests=PRELOAD_REQUESTS, tokens=PRELOAD_TOKENS)
        self._full.reserve(self._refused, tokens=0)
        for _ in range(_BUSY_PAIRS):
            self._live.pairs(self._busy, _BUSY_PAGE)

    def acquire(self) -> None:
        """Reserves only."""
        self._live.reserve(self._subjects, self._page())

    def pairs(self) -> None:
        """Reserves and settles."""
        self._live.pairs(self._subjects, self._page())

    def busy_pairs(self) -> None:
        """The same into a page as full as MAX 20X can fill it."""
        self._live.pairs(self._busy, _BUSY_PAGE)

    def new_pairs(self) -> None:
        """The same on subjects that the server does not know."""
        self._live.pairs(names(len(self._subjects), f"new-{next(self._generation)}"))

    def drained_pairs(self) -> None:
        """The same on subjects whose state has expired."""
        self._short.pairs(self._drained, self._page())

    def open_streams(self) -> None:
        """Reserve, and wait until what was reserved has drained."""
        self._pending = self._short.reserve(self._drained, self._page())
        drain()

    def end_streams(self) -> None:
        """Settle those."""
        self._short.settle(self._pending)

    def refused(self) -> None:
        """Reserves that do not fit."""
        self._full.reserve(self._refused, admitted=False)

    def peek(self) -> None:
        """Reads."""
        self._live.peek(self._subjects)

    def _page(self) -> int:
        return next(self._passes) // _PAGE_PAIRS


def _ours(pipe: Pipe, subjects: Sequence[str]) -> list[ServerCase]:
    size, ours = len(subjects), Ours(pipe, subjects)
    bare: list[Command] = [("EVALSHA", pipe.load(BARE_TEXT), *BARE_ARGUMENTS)] * size
    return [
        ServerCase("bare EVALSHA", size, lambda: pipe.run(bare)),
        ServerCase("acquire", size, ours.acquire),
        ServerCase("acquire + settle", size, ours.pairs),
        ServerCase(_BUSY, _BUSY_SUBJECTS, ours.busy_pairs),
        ServerCase("acquire + settle" + _NEW, size, ours.new_pairs),
        ServerCase("acquire + settle, drained", size, ours.drained_pairs, drain),
        ServerCase("settle after it has drained", size, ours.end_streams, ours.open_streams),
        ServerCase("peek", size, ours.peek),
        ServerCase("refused acquire", size, ours.refused),
    ]


class Theirs:
    """The script calls that `limits` makes for two hits, as commands."""

    def __init__(self, pipe: Pipe, url: str) -> None:
        self._pipe = pipe
        self._fixed = pipe.load(RedisStorage.SCRIPT_INCR_EXPIRE)
        self._sliding = pipe.load(RedisStorage.SCRIPT_ACQUIRE_SLIDING_WINDOW)
        self._generation = count()
        self._check(url)

    def fixed(self, subjects: Sequence[str]) -> None:
        """Two hits each on fixed windows."""
        self._pipe.run(
            [
                ("EVALSHA", self._fixed, 1, f"LIMITS:{item.key_for(subject)}", item.get_expiry(), cost)
                for subject in subjects
                for item, cost in ((REQUESTS, 1), (TOKENS, ESTIMATE))
            ]
        )

    def sliding(self, subjects: Sequence[str]) -> None:
        """Two hits each on sliding-window counters."""
        commands: list[Command] = []
        for subject in subjects:
            for item, cost in ((REQUESTS, 1), (TOKENS, ESTIMATE)):
                key = f"LIMITS:{{{item.key_for(subject)}}}"
                commands.append(("EVALSHA", self._sliding, 2, f"{key}/-1", key, item.amount, item.get_expiry(), cost))
        self._pipe.run(commands)

    def new_sliding(self, calls: int) -> None:
        """The same on subjects that the server does not know."""
        self.sliding(names(calls, f"theirs-{next(self._generation)}"))

    def _check(self, url: str) -> None:
        """See that `limits` finds what these commands wrote."""
        storage = RedisStorage(url)
        self.fixed(["fixed"])
        self.sliding(["sliding"])
        for limiter, subject in ((FixedWindowRateLimiter, "fixed"), (SlidingWindowCounterRateLimiter, "sliding")):
            for item, cost in ((REQUESTS, 1), (TOKENS, ESTIMATE)):
                if limiter(storage).get_window_stats(item, subject).remaining != item.amount - cost:
                    raise AssertionError("this version of limits calls its scripts differently")
        storage.storage.close()


def _theirs(pipe: Pipe, url: str, subjects: Sequence[str]) -> list[ServerCase]:
    size, theirs = len(subjects), Theirs(pipe, url)
    return [
        ServerCase("limits fixed x 2", size, lambda: theirs.fixed(subjects)),
        ServerCase(_SLIDING, size, lambda: theirs.sliding(subjects)),
        ServerCase(_SLIDING + _NEW, size, lambda: theirs.new_sliding(size)),
    ]
