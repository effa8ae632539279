"""Promises of `ratelimit.replay.workload`."""

from __future__ import annotations

from collections import Counter

import pytest

from ratelimit.errors import ConfigError
from ratelimit.replay.trace import Request
from ratelimit.replay.workload import Settings, offer

TRACE = [Request(at_us, 1, 100) for at_us in range(0, 10_000_000, 1_000)]


def test_a_request_takes_the_first_token_and_the_rest() -> None:
    """Duration is the delay of the first token plus the output at the model's speed."""
    assert Settings().duration_us(100) == 2_500_000
    assert Settings(tokens_per_second=100, first_token_s=0).duration_us(100) == 1_000_000


def test_speed_divides_arrivals_and_not_durations() -> None:
    """At speed 4 requests arrive in a quarter of the time, and each takes as long as before."""
    (_, slow), (_, fast) = offer(TRACE[:2], Settings()), offer(TRACE[:2], Settings(speed=4))
    assert (slow.at_us, fast.at_us) == (1_000, 250)
    assert slow.done_us - slow.at_us == fast.done_us - fast.at_us == 2_500_000


def test_keys_are_zipf_like() -> None:
    """With N keys all N send, and key k about 1/k as much as the first."""
    counts = Counter(arrival.key for arrival in offer(TRACE, Settings(keys=4)))
    assert len(counts) == 4
    for rank in range(1, 5):
        assert counts[f"replay-key-{rank}"] == pytest.approx(10_000 * (12 / 25) / rank, rel=0.1)


def test_the_seed_decides() -> None:
    """The same seed assigns the same keys, another seed others."""
    first, again, other = (offer(TRACE, Settings(keys=4, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": 0}, "keys is 0: must be a whole number from 1 to 1,000,000"),
        ({"keys": 1.0}, "keys is 1.0: must be a whole number from 1 to 1,000,000"),
        ({"max_tokens": 0}, "max-tokens is 0: must be a whole number from 1 to 100,000,000"),
        ({"seed": -1}, "seed is -1: must be a whole number from 0 to 9,223,372,036,854,775,808"),
        ({"speed": 0.0}, "speed is 0.0: must be a number from 0.01 to 1e+06"),
        ({"speed": float("nan")}, "speed is nan: must be a number from 0.01 to 1e+06"),
        ({"tokens_per_second": 0}, "tokens-per-second is 0: must be a number from 1 to 1e+06"),
        ({"first_token_s": -1}, "first-token-s is -1: must be a number from 0 to 3600"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    """A setting that cannot be right is a ConfigError that names option, value and rule."""
    with pytest.raises(ConfigError) as raised:
        Settings(**options)  # type: ignore[arg-type]
    assert str(raised.value) == message
