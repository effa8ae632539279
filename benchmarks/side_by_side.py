"""Rows on speed, everyone side by side: contestants in processes of their own take turns on one server."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks.crew import Crew, Face, Loop, litellm, ours
from benchmarks.interleave import Timing, ratio
from benchmarks.pipe import script_time
from benchmarks.redis_sync import prepare
from benchmarks.results import Figure, Row, at_least, at_most
from tests.servers import RedisServer

__all__ = ("asyncio_rows", "sync_rows", "together_in_memory_rows")

PAIR, ALONE = "acquire + settle", "acquire"
FIXED, GCRA, AIOLIMITER = "limits fixed x 2", "throttled GCRA x 2", "aiolimiter x 2"
LITELLM, RECONCILED = "LiteLLM's hook", "LiteLLM's hook + reconcile"
_APART: Final = ", not coalesced"
_PEERS: Final = (
    FIXED,
    "limits sliding x 2",
    GCRA,
    "throttled token bucket x 2",
    "pyrate state x 2",
    AIOLIMITER,
    LITELLM,
)
"""Those that decide as `acquire` does."""
_BEST: Final = "the best peer"
_PASS_US: Final = 100_000
_MOST_CALLS: Final = 20_000
_ONE_CALLER: Final = ("peek", "refused acquire")
"""Asked in the situations of one caller only."""


@dataclass(slots=True)
class Served(Timing):
    """The same, and what a decision took the server: its scripts, and its process with all that it does."""

    scripts: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure: how many times the speed of whom a contestant is to reach."""

    name: str
    against: str
    figure: Figure | None


@dataclass(frozen=True, slots=True)
class Situation:
    """How many ask at once."""

    title: str
    tasks: int
    aims: Sequence[Aim] = ()
    server: bool = False
    """Whether what a decision takes the server is shown."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Processes that stay for several situations."""

    face: Face
    loop: Loop
    processes: int
    situations: Sequence[Situation]


_TO_BARE = Aim(ALONE, "bare EVALSHA", None)
_SYNC: Final = (
    Stage(
        "sync",
        "asyncio",
        1,
        [
            Situation(
                "Redis, sync, one caller",
                1,
                [Aim(ALONE, FIXED, at_least(1.9)), Aim(ALONE, GCRA, at_least(1.75)), _TO_BARE],
            )
        ],
    ),
    Stage("sync", "asyncio", 4, [Situation("Redis, sync, 4 processes", 1, [Aim(ALONE, FIXED, None)])]),
)
_HUNDRED: Final = (
    Aim(ALONE, _BEST, at_least(10)),
    Aim(PAIR, RECONCILED, at_least(25)),
    Aim(PAIR, FIXED, at_least(6)),
)
_THOUSAND: Final = (Aim(ALONE, _BEST, at_least(15)),)
_ASYNCIO: Final = tuple(
    Stage(
        "asyncio",
        loop,
        1,
        [
            Situation(f"Redis, {loop}, one caller", 1, [Aim(ALONE, _BEST, None), _TO_BARE]),
            Situation(f"Redis, {loop}, 100 tasks", 100, _HUNDRED, server=loop == "uvloop"),
            Situation(f"Redis, {loop}, 1,000 tasks", 1_000, _THOUSAND, server=loop == "uvloop"),
        ],
    )
    for loop in ("uvloop", "asyncio")
)
_FOUR: Final = Stage(
    "asyncio",
    "uvloop",
    4,
    [
        Situation("Redis, uvloop, 4 processes, one caller each", 1, [Aim(ALONE, _BEST, None)]),
        Situation("Redis, uvloop, 4 processes, 100 tasks each", 100, [Aim(ALONE, _BEST, None)]),
    ],
)
_MEMORY: Final = tuple(
    Stage(
        "asyncio",
        loop,
        1,
        [
            Situation(
                f"Memory, {loop}, {who}",
                tasks,
                [Aim(PAIR, AIOLIMITER, at_least(1.5) if tasks == 1 else None), Aim(ALONE, _BEST, None)],
            )
            for who, tasks in (("one caller", 1), ("100 tasks", 100))
        ],
    )
    for loop in ("uvloop", "asyncio")
)


def sync_rows(server: RedisServer, rounds: int) -> list[Row]:
    """Callers that block, in one process and in four."""
    prepare(server.url, 100)
    return [row for stage in _SYNC for row in _stage_rows(stage, server.url, server, rounds)]


def asyncio_rows(server: RedisServer, rounds: int, *, quick: bool) -> list[Row]:
    """One caller, 100 and 1,000 tasks; both event loops; one process and four. If `quick`, uvloop and one process."""
    prepare(server.url, 100)
    stages = _ASYNCIO[:1] if quick else (*_ASYNCIO, _FOUR)
    return [row for stage in stages for row in _stage_rows(stage, server.url, server, rounds)]


def together_in_memory_rows(rounds: int, *, quick: bool) -> list[Row]:
    """In one process, awaited; if `quick`, on uvloop only."""
    return [row for stage in _MEMORY[: 1 if quick else 2] for row in _stage_rows(stage, "memory://", None, rounds)]


def _stage_rows(stage: Stage, url: str, server: RedisServer | None, rounds: int) -> list[Row]:
    rows: list[Row] = []
    with ExitStack() as stack:
        crew = stack.enter_context(ours(url, stage.face, stage.loop, stage.processes))
        who = dict.fromkeys(crew.names, crew)
        if stage.face == "asyncio":
            other = stack.enter_context(litellm(url, stage.loop, stage.processes))
            if isinstance(other, str):
                print(other, file=sys.stderr)
            else:
                who |= dict.fromkeys(other.names, other)
        for situation in stage.situations:
            print(f"        {situation.title} …", file=sys.stderr)
            asked = {name: crew for name, crew in who.items() if name not in _ONE_CALLER or situation.tasks == 1}
            # A pass of a thousand tasks is ten times as long at least, for the slower ones.
            timings = _race(asked, situation.tasks, rounds if situation.tasks < 1_000 else max(3, rounds // 2), server)
            rows += _rows(situation, timings)
            if situation.server:
                rows += _server_rows(situation, timings)
    return rows


def _race(who: dict[str, Crew], tasks: int, rounds: int, server: RedisServer | None) -> dict[str, Served]:
    """Everyone once per round, in another order each time, in passes that take them about as long."""
    calls = {name: _calls(crew, name, tasks) for name, crew in who.items()}
    timings = {name: Served() for name in who}
    order = random.Random(3)
    for _ in range(rounds):
        for name in order.sample(list(who), len(who)):
            before = _server_us(server)
            who[name].run(timings[name], name, tasks, calls[name])
            decisions = calls[name] * who[name].processes
            scripts, process = (end - start for end, start in zip(_server_us(server), before, strict=True))
            timings[name].scripts.append(scripts / decisions)
            timings[name].server.append(process / decisions)
    return timings


def _calls(crew: Crew, name: str, tasks: int) -> int:
    """Decisions of a pass of a tenth of a second, but at least one for every task; the warm-up tells how fast it is."""
    least = max(100, tasks)
    warm = Timing()
    crew.run(warm, name, tasks, least)
    if warm.wall[-1] * least * crew.processes < _PASS_US:  # connections made, and not yet slow
        crew.run(warm, name, tasks, least)
    wanted = _PASS_US / (warm.wall[-1] * crew.processes)
    return -(-int(min(max(wanted, least), _MOST_CALLS)) // least) * least


def _server_us(server: RedisServer | None) -> tuple[float, float]:
    """Microseconds so far: of scripts, and of CPU of the server's process."""
    if server is None:
        return 0, 0
    cpu = server.info("cpu")
    return script_time(server)[1], 1e6 * (float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"]))


def _rows(situation: Situation, timings: dict[str, Served]) -> Iterator[Row]:
    """Everyone against two hits of `limits`; then whatever has somebody else to be compared with."""
    aims = [aim for aim in situation.aims if _rival(aim.against, timings) in timings]
    against_fixed = {aim.name: aim.figure for aim in aims if aim.against == FIXED}
    for name in timings:
        yield _row(situation, timings, Aim(name, FIXED, against_fixed.get(name)))
        yield from (_row(situation, timings, aim) for aim in aims if aim.name == name and aim.against != FIXED)


def _rival(against: str, timings: dict[str, Served]) -> str:
    if against != _BEST:
        return against
    return min((name for name in _PEERS if name in timings), key=lambda name: timings[name].median_wall)


def _row(situation: Situation, timings: dict[str, Served], aim: Aim) -> Row:
    rival, timing = _rival(aim.against, timings), timings[aim.name]
    said = f"{aim.against}, {rival}" if rival != aim.against else rival
    return Row(
        section=situation.title,
        name=aim.name,
        value=timing.median_wall,
        cpu=timing.median_cpu,
        ratio=None if aim.name == rival else ratio(timings[rival].wall, timing.wall),
        against="" if aim.name == rival else f"speed of {said}",
        figure=aim.figure,
    )


_SERVER_US: Final = 6
"""What a coalesced decision may cost the server."""
_ON_SERVER: Final = {PAIR: at_most(0.6), PAIR + _APART: at_most(1.2)}
"""Cost of a pair's scripts beside those of LiteLLM's pair, in batches and one by one."""


def _server_rows(situation: Situation, timings: dict[str, Served]) -> Iterator[Row]:
    yield from _process_rows(f"Server CPU, {situation.title}", timings)
    yield from _scripts_rows(f"Script time, {situation.title}", timings)


def _process_rows(section: str, timings: dict[str, Served]) -> Iterator[Row]:
    """What INFO says of the server's process: reading, writing and all."""
    for name, timing in timings.items():
        figure = at_most(_SERVER_US) if name == ALONE else None
        yield Row(section=section, name=name, value=median(timing.server), figure=figure)


def _scripts_rows(section: str, timings: dict[str, Served]) -> Iterator[Row]:
    """What INFO says of EVALSHA, and how that compares with the one that reconciles too."""
    if ALONE in timings:
        yield Row(section=section, name=ALONE, value=median(timings[ALONE].scripts), figure=at_most(_SERVER_US))
    for name, timing in timings.items():
        if not median(timing.scripts):
            continue
        compared = RECONCILED in timings and name != RECONCILED
        yield Row(
            section=section,
            name=name,
            value=median(timing.scripts),
            ratio=ratio(timing.scripts, timings[RECONCILED].scripts) if compared else None,
            against=f"cost of {RECONCILED}" if compared else "",
            figure=_ON_SERVER.get(name) if compared else None,
        )
