"""Contestants in processes of their own: one, or several that start together, each with its own connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from benchmarks.interleave import Timing
from benchmarks.plans import names
from tests.sdks.envs import SdkNotInstalledError, environment, installed

__all__ = ("LITELLM", "Crew", "Face", "Loop", "litellm", "ours")

Face = Literal["sync", "asyncio"]
Loop = Literal["uvloop", "asyncio"]

LITELLM: Final = "1.110.2"
_BESIDE: Final = ("backoff", "fastapi", "hiredis", "orjson", "redis", "uvloop")
"""What the hook imports beyond what LiteLLM says it needs without its server, and the drivers that everybody uses."""
_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parent


class Crew:
    """Processes that serve the same contestants. A context manager."""

    def __init__(self, command: Sequence[str], processes: int, env: dict[str, str] | None = None) -> None:
        self._workers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=_ROOT, text=True)
            for _ in range(processes)
        ]
        self.processes = processes
        self.names: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        answers = self._listen()
        self.names = tuple(answers[0])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for worker in self._workers:
            if worker.stdin is not None:
                worker.stdin.close()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()

    def run(self, timing: Timing, name: str, tasks: int, calls: int) -> None:
        """One pass of `calls` decisions in each process, by so many tasks in each."""
        job = json.dumps({"name": name, "tasks": tasks, "calls": calls, "subjects": names(100)}) + "\n"
        started = time.perf_counter_ns()
        for worker in self._workers:
            if worker.stdin is not None:
                worker.stdin.write(job)
                worker.stdin.flush()
        answers = self._listen()
        wall = time.perf_counter_ns() - started
        if len(answers) == 1:
            wall = answers[0]["wall_ns"]
        decisions = calls * len(answers)
        timing.wall.append(wall / 1_000 / decisions)
        timing.cpu.append(sum(answer["cpu_ns"] for answer in answers) / 1_000 / decisions)

    def _listen(self) -> list[Any]:
        answers = []
        for worker in self._workers:
            line = worker.stdout.readline() if worker.stdout is not None else ""
            answer = json.loads(line) if line else {"crash": f"exit code {worker.wait()}"}
            if "crash" in answer:
                raise AssertionError(f"a process of the benchmark failed: {answer['crash']}")
            answers.append(answer)
        return answers


def ours(url: str, face: Face, loop: Loop, processes: int = 1) -> Crew:
    """Everyone who runs in this environment."""
    return Crew([sys.executable, "-m", "benchmarks.worker", url, face, loop], processes)


@contextmanager
def litellm(url: str, loop: Loop, processes: int = 1) -> Iterator[Crew | str]:
    """LiteLLM's hook, or why it is left out."""
    with ExitStack() as stack:
        try:
            folder = installed(
                "litellm", LITELLM, *_BESIDE, root=_ROOT / ".bench-envs", pins=_HERE / "litellm_pins.txt"
            )
        except (SdkNotInstalledError, subprocess.TimeoutExpired) as error:
            lines = str(error).strip().splitlines()
            yield f"LiteLLM is left out: {lines[0]}: {lines[-1]}"
            return
        path = os.pathsep.join([str(folder), str(_ROOT)])
        command = [sys.executable, "-S", "-s", "-P", "-m", "benchmarks.litellm_worker", url, loop]
        env = {**environment(folder, folder), "PYTHONPATH": path}
        yield stack.enter_context(Crew(command, processes, env))
