"""A process that makes decisions when it is told to, so that contestants of several processes can take turns.

One JSON object a line, both ways. This module imports nothing but the standard library: it also runs in the environment
of LiteLLM, which has nothing of ours.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Protocol

__all__ = ("AsyncMake", "Decide", "SyncMake", "Work", "serve_asyncio", "serve_sync", "take_turns")

Decide = Callable[[str], Coroutine[Any, Any, object]]
"""One decision for a subject, awaited."""
Work = Callable[[], object]
SyncMake = Callable[[Sequence[str]], Work]
"""Makes the pass that decides once for each of these subjects."""
Run = Callable[[str, Sequence[str], int], object]
"""(name, subjects, tasks): one pass."""


class AsyncMake(Protocol):
    """Makes contestants that run on the loop which awaits this; their connections are closed by the stack."""

    async def __call__(self, url: str, stack: AsyncExitStack) -> Mapping[str, Decide]:
        """Contestants by name."""
        ...


async def take_turns(decide: Decide, subjects: Sequence[str], tasks: int) -> None:
    """Split the subjects between so many tasks, each of which asks again as soon as it is answered."""

    async def task(start: int) -> None:
        for subject in subjects[start::tasks]:
            await decide(subject)

    if tasks == 1:
        await task(0)
    else:
        await asyncio.gather(*map(task, range(tasks)))


def serve_asyncio(make: AsyncMake, url: str, loop: str) -> None:
    """Serve contestants of asyncio on a loop of that kind, "uvloop" or "asyncio", until stdin ends."""
    factory = importlib.import_module(loop).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        stack = AsyncExitStack()
        contestants = runner.run(make(url, stack))
        _serve(contestants, lambda name, who, tasks: runner.run(take_turns(contestants[name], who, tasks)))
        runner.run(stack.aclose())


def serve_sync(make: Callable[[str, ExitStack], Mapping[str, SyncMake]], url: str) -> None:
    """Serve contestants that block, until stdin ends."""
    with ExitStack() as stack:
        contestants = make(url, stack)
        _serve(contestants, lambda name, who, _: contestants[name](who)())


def _serve(names: Mapping[str, object], run: Run) -> None:
    print(json.dumps(list(names)), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(_timed(job, run)), flush=True)


def _timed(job: dict[str, Any], run: Run) -> dict[str, Any]:
    subjects = job["subjects"] * (job["calls"] // len(job["subjects"]))
    # A thousand connections of each contestant stand around: the collector is not to search them in everybody's passes.
    gc.freeze()
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    try:
        run(job["name"], subjects, job["tasks"])
    except Exception:  # whatever it is, the benchmark is to end with it
        return {"crash": traceback.format_exc()}
    return {"cpu_ns": time.process_time_ns() - cpu, "wall_ns": time.perf_counter_ns() - wall}


def main() -> None:
    """`python -m benchmarks.worker URL FACE LOOP`."""
    url, face, loop = sys.argv[1:]
    if face == "sync":
        serve_sync(importlib.import_module("benchmarks.redis_sync").sync_contestants, url)
    else:
        serve_asyncio(importlib.import_module("benchmarks.redis_asyncio").asyncio_contestants, url, loop)


if __name__ == "__main__":
    main()
