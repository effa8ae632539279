"""P4, P9, P10, P11: once each, nothing poisonous, nothing left behind, one round trip."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit import ConfigError, CostExceedsLimit, Limiter, RateLimited
from ratelimit.backends.base import Op
from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.hold import Hold
from ratelimit.core.limit import BucketSpec, Layout
from tests.servers import RedisServer

DAILY = Layout("Daily", (BucketSpec.of(meter="tokens", amount=10**6, period_us=86_400_000_000),))
_EXAMPLE = count()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


operations = st.lists(
    st.tuples(st.integers(0, 1_000), st.integers(1, 4), st.one_of(st.none(), st.integers(0, 3_000)), st.integers(1, 4)),
    min_size=1,
    max_size=20,
)


@given(operations, st.randoms(use_true_random=False))
def test_p4_exactly_once(sequence: list[tuple[int, int, int | None, int]], shuffle: Any) -> None:
    """However often each reserve and settle is repeated, and in whatever order, it is charged once."""
    backend = MemoryBackend(clock=lambda: 0)
    units = DAILY.specs[0].units
    held: dict[Op, Hold] = {}
    calls = []
    for number, (cost, reserves, _, _) in enumerate(sequence):
        calls += [(Op(number.to_bytes(8, "big"), 0), cost)] * reserves
    shuffle.shuffle(calls)
    for op, cost in calls:
        hold = Hold("{k}", DAILY, [cost * units])
        assert backend.reserve([hold], op)
        held.setdefault(op, hold)
        assert (hold.levels, hold.refunded) == (held[op].levels, held[op].refunded)
    for op in reversed(held):
        cost, _, usage, settles = sequence[int.from_bytes(op.id, "big")]
        for _ in range(settles if usage is not None else 0):
            # Overruns only: what a refund gives back depends on the order, what is charged does not.
            backend.settle([held[op]], [[max(cost, usage or 0) * units]], op)
    peek = Hold("{k}", DAILY, [0])
    backend.peek([peek])
    assert peek.levels[0] == units * sum(max(cost, usage or 0) for cost, _, usage, _ in sequence)


poison = st.one_of(
    st.floats(),
    st.integers(max_value=-1),
    st.integers(min_value=2**53 + 1),
    st.booleans(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.decimals(),
    st.lists(st.integers(), max_size=2),
)


@given(poison, st.sampled_from(["requests", "tokens", "input_tokens"]))
def test_p9_no_poison_passes_the_gate(value: object, meter: str) -> None:
    """Anything but a plain int from 0 to 2**53 is a ConfigError, for acquire and for settle, and changes nothing."""
    limiter = Limiter(MemoryBackend(clock=lambda: 0))
    reservation = limiter.acquire("k", plan="Pro", tokens=100)
    before = limiter.peek("k", plan="Pro")
    amounts: dict[str, Any] = {meter: value}
    with pytest.raises(ConfigError):
        limiter.acquire("k", plan="Pro", **amounts)
    with pytest.raises(ConfigError):
        reservation.settle(**amounts)
    assert limiter.peek("k", plan="Pro") == before


subjects = st.text(min_size=3, max_size=20)
uses = st.lists(st.tuples(subjects, st.integers(0, 600_000), st.booleans()), min_size=1, max_size=8)
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(uses)
def test_p10_every_key_expires_and_names_nobody(server: RedisServer, sequence: list[tuple[str, int, bool]]) -> None:
    """After any use every key has a TTL no longer than its meaning, and no byte of a subject is in keys or values."""
    with server.client() as client, Limiter.from_url(server.unix_url) as limiter:
        client.flushall()
        _use(limiter, sequence)
        for key in client.scan_iter():
            left = client.pttl(key)
            assert 0 < left <= 60_000 or left == -2
            stored = client.dump(key) or b""
            for subject, _, _ in sequence:
                assert len(subject.encode(errors="surrogatepass")) < 8 or subject.encode() not in bytes(key) + stored


def _use(limiter: Limiter, sequence: list[tuple[str, int, bool]]) -> int:
    """Acquire, and settle some of it. Returns the number of decisions and settlements."""
    done = 0
    for subject, tokens, settle in sequence:
        done += 1
        try:
            reservation = limiter.acquire(subject, plan="Pro", tokens=tokens)
        except (RateLimited, CostExceedsLimit):
            continue
        if settle:
            reservation.settle(tokens=tokens // 2)
            done += 1
    return done


@quick
@given(uses)
def test_p11_one_round_trip(server: RedisServer, sequence: list[tuple[str, int, bool]]) -> None:
    """Exactly one EVALSHA per decision and per settlement, and nothing else once the server knows the scripts.

    Where every refusal is the server's own; tests/promises/test_refused.py has those from memory, which cost none.
    """
    prefix = f"p{next(_EXAMPLE)}-"
    with server.client() as client, Limiter.from_url(server.unix_url, prefix=prefix, recheck=0) as limiter:
        limiter.acquire("warm", plan="Pro", tokens=1).settle(tokens=0)
        client.config_resetstat()
        done = _use(limiter, sequence)
        stats = {name.removeprefix("cmdstat_"): row["calls"] for name, row in client.info("commandstats").items()}
        assert stats.pop("evalsha") == done
        inside = {"time", "get", "hsetnx", "hget", "pexpire", "psetex", "set"}
        ours = {"info", "config|resetstat", "config"}
        assert not stats.keys() - inside - ours
