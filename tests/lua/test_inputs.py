"""Hostile input straight to the scripts: an error reply, and not one byte of state has changed (promise P9)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import redis

from ratelimit import Retention
from ratelimit.backends.base import Op
from ratelimit.backends.calls import Calls, ScriptCall
from ratelimit.backends.scripts import load_script
from tests.conftest import Servers
from tests.core.holds import TWO, answered, layout
from tests.servers import RedisBinary, redis_binaries

OP = Op(b"12345678", 5)
CALLS = Calls(Retention().head)
ONE = layout(("tokens", 40, 3_600_000_000))
OTHER = b"other-op"
EPOCH = int.from_bytes(OTHER[:4], "little")
"""Of the state that is there before: with another one, settle would leave its express lane."""
_NUMBERS = count()


@pytest.fixture(params=redis_binaries(), ids=str)
def client(request: pytest.FixtureRequest, servers: Servers) -> Iterator[redis.Redis]:
    """A client of each kind of server."""
    binary: RedisBinary = request.param
    with servers.plain(binary).client() as client:
        yield client


@pytest.fixture
def tag() -> str:
    """A key that no other test uses."""
    return f"inputs{next(_NUMBERS)}:{{x}}"


def call(verb: str, tag: str, buckets: int) -> ScriptCall:
    """A good call over one scope: two buckets take the express lane, one bucket the general code."""
    of = TWO if buckets == 2 else ONE
    hold = answered([100] * buckets, [200] * buckets, of=of, key=tag, epoch=EPOCH)
    return CALLS.reserve([hold], OP) if verb == "reserve" else CALLS.settle([hold], [[50] * buckets], OP)


def evaluate(client: redis.Redis, verb: str, keys: list[str], args: list[bytes]) -> object:
    """Run a script as it is."""
    run: Any = client.eval
    return run(load_script(verb).text, len(keys), *keys, *args)


def everything(client: redis.Redis, tag: str) -> dict[bytes, bytes]:
    """All that is stored for a test, as dumped."""
    keys: list[bytes] = list(client.scan_iter(f"{tag}*"))
    dumps: Any = client.dump
    return {key: dumps(key) for key in keys}


def refused(client: redis.Redis, verb: str, tag: str, keys: list[str], args: list[bytes], error: str) -> None:
    """The call must end in this error and leave what was stored as it was, which must not be nothing."""
    other = CALLS.reserve([answered([50_000_000] * 2, [], key=tag)], Op(OTHER, 5))
    evaluate(client, "reserve", list(other.keys), list(other.args))
    before = everything(client, tag)
    assert len(before) == 2
    with pytest.raises(redis.ResponseError, match=error):
        evaluate(client, verb, keys, args)
    assert everything(client, tag) == before


def replaced(args: list[bytes], index: int, value: bytes) -> list[bytes]:
    """The arguments with one of them replaced."""
    return [*args[:index], value, *args[index + 1 :]]


each_verb = pytest.mark.parametrize("verb", ["reserve", "settle"])
each_lane = pytest.mark.parametrize("buckets", [1, 2])


@each_verb
@each_lane
@pytest.mark.parametrize("length", [0, 7, 9])
def test_an_op_id_of_another_length_is_refused(
    client: redis.Redis, tag: str, verb: str, buckets: int, length: int
) -> None:
    """It is eight bytes."""
    good = call(verb, tag, buckets)
    refused(client, verb, tag, list(good.keys), replaced(list(good.args), 0, b"x" * length), "RL_ARITY")


@each_verb
@each_lane
def test_another_number_of_keys_or_arguments_is_refused(client: redis.Redis, tag: str, verb: str, buckets: int) -> None:
    """One key, none, a scope without its values, values without a key's worth."""
    good = call(verb, tag, buckets)
    keys, args = list(good.keys), list(good.args)
    for wrong_keys, wrong_args in ((keys[:1], args), ([], args), ([*keys, f"{tag}B"], args), (keys, args[:-1])):
        refused(client, verb, tag, wrong_keys, wrong_args, "RL_ARITY")


@each_verb
@each_lane
def test_a_head_that_is_not_ours_is_refused(client: redis.Redis, tag: str, verb: str, buckets: int) -> None:
    """Another length, another version, a page that would not live."""
    good = call(verb, tag, buckets)
    keys, args = list(good.keys), list(good.args)
    for head, error in (
        (args[1] + b"\0", "RL_ARITY"),
        (args[1][:-1], "RL_ARITY"),
        (struct.pack("<BHIIB", 2, 5, 40_000, 5_000_000, 10), "RL_WIRE version 2"),
        (struct.pack("<BHIIB", 0, 5, 40_000, 5_000_000, 10), "RL_WIRE version 0"),
        (struct.pack("<BHIIB", 1, 5, 0, 5_000_000, 10), "RL_RANGE page_ttl_ms"),
    ):
        refused(client, verb, tag, keys, replaced(args, 1, head), error)


@each_verb
@each_lane
def test_terms_of_another_length_are_refused(client: redis.Redis, tag: str, verb: str, buckets: int) -> None:
    """None, a byte too few, a byte too many, more than 64 buckets."""
    good = call(verb, tag, buckets)
    terms = good.args[3]
    for wrong in (b"", terms[:-1], terms + b"\0", terms + terms[-31:] * 70):
        error = "RL_ARITY"
        refused(client, verb, tag, list(good.keys), replaced(list(good.args), 3, wrong), error)


def _field(verb: str, buckets: int, bucket: int, field: int, value: int) -> tuple[int, bytes]:
    """Where a field of a bucket's terms lies, and its bytes."""
    widths = [7, 7, 7, 3] if verb == "reserve" else [7, 7, 7, 7, 3]
    start = (0 if verb == "reserve" else 11) + bucket * sum(widths) + sum(widths[:field])
    return start, value.to_bytes(widths[field], "little")


RANGES = [
    *[("reserve", field, value) for field in (0, 1, 2) for value in (2**52 + 1, 2**53, 2**56 - 1)],
    *[("reserve", field, 0) for field in (2, 3)],
    *[("settle", field, value) for field in (0, 1, 3) for value in (2**52 + 1, 2**53, 2**56 - 1)],
    *[("settle", 2, value) for value in (2**53 + 2, 2**56 - 1)],
    *[("settle", field, 0) for field in (3, 4)],
]


@pytest.mark.parametrize("buckets", [1, 2], ids=["general", "express"])
@pytest.mark.parametrize(("verb", "field", "value"), RANGES)
def test_numbers_out_of_range_are_refused(
    client: redis.Redis, tag: str, verb: str, field: int, value: int, buckets: int
) -> None:
    """Beyond 2**52 a Lua number would soon no longer be exact; a rate or a tick of zero would never drain."""
    good = call(verb, tag, buckets)
    for bucket in range(buckets):
        start, raw = _field(verb, buckets, bucket, field, value)
        terms = good.args[3][:start] + raw + good.args[3][start + len(raw) :]
        refused(client, verb, tag, list(good.keys), replaced(list(good.args), 3, terms), "RL_RANGE")


@each_verb
@each_lane
def test_a_key_that_holds_somebody_elses_data_is_refused(
    client: redis.Redis, tag: str, verb: str, buckets: int
) -> None:
    """A state, a page or the state of the second scope of another type: nothing is written to the others."""
    good = call(verb, tag, buckets)
    keys, args = [*good.keys, f"{tag}second"], [*good.args, *good.args[2:]]
    for index in range(3):
        client.delete(*keys)
        if index == 1:
            client.set(keys[1], "somebody's")
        else:
            client.rpush(keys[index], "somebody's")
        before = everything(client, tag)
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            evaluate(client, verb, keys, args)
        assert everything(client, tag) == before


@pytest.mark.parametrize("verb", ["peek", "reset"])
@pytest.mark.parametrize(
    ("keys", "args"), [([], [b"12345678"]), (["a"], []), (["a"], [b"1234567"]), (["a"], [b"123456789"])]
)
def test_looking_and_forgetting_refuse_another_arity(
    client: redis.Redis, tag: str, verb: str, keys: list[str], args: list[bytes]
) -> None:
    """No key, no op-id, or one of another length."""
    refused(client, verb, tag, [f"{tag}{key}" for key in keys], args, "RL_ARITY")


@pytest.mark.parametrize("time", [b"", b"x", b"-1", b"1.5", b"nan", b"inf", b"4503599627370497"])
def test_a_virtual_time_that_is_no_time_is_refused(client: redis.Redis, tag: str, time: bytes) -> None:
    """Whole microseconds up to 2**52, as text."""
    good = CALLS.reserve([answered([50_000_000] * 2, [], key=tag)], OP)
    run: Any = client.eval
    with pytest.raises(redis.ResponseError, match="RL_RANGE virtual time"):
        run(load_script("reserve", virtual_clock=True).text, 2, *good.keys, *good.args, time)
    assert everything(client, tag) == {}
