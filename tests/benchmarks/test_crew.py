"""Processes of contestants make the passes that they are told to, and their failures end the benchmark."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import pytest

from benchmarks import crew as crews
from benchmarks.crew import Crew, litellm
from benchmarks.interleave import Timing
from benchmarks.worker import take_turns
from tests.sdks.envs import SdkNotInstalledError

_CONTESTANTS = """
from benchmarks.worker import serve_sync

def contestants(url, stack):
    return {"good": lambda subjects: lambda: None, "bad": lambda subjects: lambda: 1 / 0}

serve_sync(contestants, "memory://")
"""


def _crew(processes: int) -> Crew:
    return Crew([sys.executable, "-c", _CONTESTANTS], processes)


def test_a_pass_is_timed_in_every_process() -> None:
    with _crew(2) as crew:
        timing = Timing()
        crew.run(timing, "good", tasks=1, calls=100)
        assert crew.names == ("good", "bad")
        assert len(timing.wall) == len(timing.cpu) == 1
        assert timing.wall[0] > 0


def test_a_contestant_that_fails_is_not_measured() -> None:
    with _crew(1) as crew, pytest.raises(AssertionError, match="ZeroDivisionError"):
        crew.run(Timing(), "bad", tasks=1, calls=100)


def test_without_litellm_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise SdkNotInstalledError("litellm was not installed: pip install\nERROR: no network")

    monkeypatch.setattr(crews, "installed", fails)
    with litellm("memory://", "uvloop") as left_out:
        assert left_out == "LiteLLM is left out: litellm was not installed: pip install: ERROR: no network"


@pytest.mark.parametrize("tasks", [1, 7, 100])
def test_tasks_share_the_subjects_and_leave_none_out(tasks: int) -> None:
    asked: Counter[str] = Counter()

    async def decide(subject: str) -> None:
        asked[subject] += 1

    subjects = [f"subject {number % 40}" for number in range(120)]
    asyncio.run(take_turns(decide, subjects, tasks))
    assert asked == Counter(subjects)
