"""Promises of `ratelimit.replay.run` that need a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from ratelimit import Limit, Limiter, Plan
from ratelimit.replay import Estimate, Settings, read_trace, replay
from tests.servers import RedisServer

TRACES = Path(__file__).parents[2] / "benchmarks" / "traces"

PLAN = Plan(
    "P",
    rpm=6,
    tpm=60_000,
    limits=[Limit("output_tokens", 9_000, "hour"), Limit("tokens", 7, "1s", burst=90_000)],
)
DAILY = Plan("Daily", limits=[Limit("requests", 10, "day")])


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def names(client: Redis) -> set[str]:
    """Every key on the server."""
    return {key if isinstance(key, str) else key.decode() for key in client.scan_iter()}


@pytest.mark.parametrize("estimate", list(Estimate))
@pytest.mark.parametrize("name", ["azure_conv_2023.csv", "mooncake_conversation.jsonl"])
def test_memory_and_redis_report_the_same(server: RedisServer, name: str, estimate: Estimate) -> None:
    """One trace gives one report, to the last integer, whichever backend decides."""
    trace = read_trace(TRACES / name)[:400]
    settings = Settings(estimate=estimate, keys=5)
    assert replay(trace, PLAN, settings, backend=server.url) == replay(trace, PLAN, settings)


def test_a_replay_never_meets_live_quota(server: RedisServer) -> None:
    """Its keys have a prefix of their own, another one for each run, and all of them expire by themselves."""
    client = server.client()
    client.flushall()
    with Limiter.from_url(server.url) as live:
        live.acquire("replay-key-1", plan=DAILY)
        before = names(client)
        trace = read_trace(TRACES / "azure_conv_2023.csv")[:20]
        first, second = replay(trace, PLAN, backend=server.url), replay(trace, PLAN, backend=server.url)
        assert first == second
        assert live.peek("replay-key-1", plan=DAILY)[0].remaining == 9
    made = names(client) - before
    assert len({key.partition(":")[0] for key in made}) == 2
    assert all(key.startswith("rl-replay-") and client.pttl(key) > 0 for key in made)
    client.close()
