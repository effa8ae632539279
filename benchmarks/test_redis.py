"""On Redis, sync and asyncio, for pytest-benchmark. A pass is 1,000 decisions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.conftest import Measure
from benchmarks.interleave import Case
from benchmarks.redis_asyncio import TASKS, asyncio_cases
from benchmarks.redis_sync import redis_cases
from tests.servers import RedisServer

every_case = pytest.mark.parametrize(
    "name",
    [
        "acquire",
        "acquire + settle",
        "peek",
        "refused acquire",
        "bare EVALSHA",
        "limits fixed x 2",
        "limits sliding x 2",
    ],
)


@pytest.fixture(scope="module")
def sync_cases(server: RedisServer) -> Iterator[list[Case]]:
    """What one caller does."""
    with redis_cases(server.url, 1_000) as cases:
        yield cases


@pytest.fixture(scope="module")
def awaited_cases(server: RedisServer) -> Iterator[list[Case]]:
    """What one caller does on an event loop, and what a hundred tasks do."""
    with asyncio_cases(server.url, 1_000) as cases:
        yield cases


@pytest.mark.benchmark(group="redis, sync, one caller")
def test_sync_without_memory(measure: Measure, sync_cases: list[Case]) -> None:
    measure(sync_cases, "refused acquire, no memory", 10)


@every_case
@pytest.mark.benchmark(group="redis, sync, one caller")
def test_sync(measure: Measure, sync_cases: list[Case], name: str) -> None:
    measure(sync_cases, name, 10)


@every_case
@pytest.mark.benchmark(group="redis, asyncio, one caller")
def test_asyncio_one_caller(measure: Measure, awaited_cases: list[Case], name: str) -> None:
    measure(awaited_cases, name, 10)


@every_case
@pytest.mark.benchmark(group="redis, asyncio, 100 tasks")
def test_asyncio_many_tasks(measure: Measure, awaited_cases: list[Case], name: str) -> None:
    measure(awaited_cases, name + TASKS, 10)
