"""The server that the benchmarks of one run share, and how a case is handed to pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.interleave import Case
from tests.servers import RedisServer

Measure = Callable[[list[Case], str, int], None]


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """Started when the first benchmark on Redis asks for it."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Measure:
    """Run the case of that name, a pass at a time."""

    def run(cases: list[Case], name: str, rounds: int) -> None:
        case = next(case for case in cases if case.name == name)
        benchmarked: Any = benchmark  # has no types
        benchmarked.pedantic(case.work, setup=case.before, rounds=rounds, warmup_rounds=1)

    return run
