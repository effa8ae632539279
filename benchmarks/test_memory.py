"""In memory, for pytest-benchmark. A pass is 1,000 decisions."""

from __future__ import annotations

import pytest

from benchmarks.conftest import Measure
from benchmarks.interleave import Case
from benchmarks.memory import memory_cases


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """What one process does."""
    return memory_cases(1_000)


@pytest.mark.parametrize(
    "name",
    [
        "acquire",
        "acquire + settle",
        "acquire + settle, nothing back",
        "acquire + settle, new",
        "acquire + settle, drained",
        "peek",
        "refused acquire",
        "limits fixed x 2",
        "limits fixed x 2, new",
        "limits sliding x 2",
    ],
)
@pytest.mark.benchmark(group="memory")
def test_memory(measure: Measure, cases: list[Case], name: str) -> None:
    measure(cases, name, 50)
