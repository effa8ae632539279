"""Hostile input to express.lua: an error reply, and not one byte of state has changed (promise P9)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import redis

from ratelimit import Retention
from ratelimit.backends.base import Op
from ratelimit.backends.calls import Calls
from ratelimit.backends.scripts import load_script
from ratelimit.core.keys import page_key, record_key
from ratelimit.core.wire_express import decode_express, encode_reserve, encode_settle
from tests.conftest import Servers
from tests.core.holds import TWO, answered
from tests.servers import RedisBinary, redis_binaries

OP = b"12345678"
OTHER = Op(b"other-op", 5)
EPOCH = int.from_bytes(OTHER.id[:4], "little")
CALLS = Calls(Retention().head)
RESERVE = encode_reserve(1, 100, 100)
SETTLE = encode_settle(2, b"settle-1", 5, EPOCH, 1_000, 100, 50, 200, 100, 50, 200)
_NUMBERS = count()


@pytest.fixture(params=redis_binaries(), ids=str)
def client(request: pytest.FixtureRequest, servers: Servers) -> Iterator[redis.Redis]:
    """A client of each kind of server."""
    binary: RedisBinary = request.param
    with servers.plain(binary).client() as client:
        yield client


@pytest.fixture
def tag(client: redis.Redis) -> str:
    """A key that no other test uses, of a subject that has used something."""
    tag = f"express{next(_NUMBERS)}:{{x}}"
    used = CALLS.reserve([answered([50_000_000] * 2, [], key=tag)], OTHER)
    evaluate(client, "reserve", list(used.keys), list(used.args))
    return tag


def call(tag: str, operations: bytes = RESERVE + SETTLE) -> tuple[list[str], list[bytes]]:
    """A good call over one subject."""
    made = CALLS.express(OP, [(tag, TWO, operations, [page_key(tag, 5)] if SETTLE in operations else [])])
    return list(made.keys), list(made.args)


def evaluate(client: redis.Redis, script: str, keys: list[str], args: list[bytes]) -> Any:
    """Run a script as it is."""
    run: Any = client.eval
    return run(load_script(script).text, len(keys), *keys, *args)


def everything(client: redis.Redis, tag: str) -> dict[bytes, bytes]:
    """All that is stored for a test, as dumped."""
    dumps: Any = client.dump
    return {key: dumps(key) for key in client.scan_iter(f"{tag}*")}


def refused(client: redis.Redis, tag: str, keys: list[str], args: list[bytes], error: str) -> None:
    """The call must end in this error and leave what was stored as it was, which is a state and a page."""
    before = everything(client, tag)
    assert len(before) == 2
    with pytest.raises(redis.ResponseError, match=error):
        evaluate(client, "express", keys, args)
    assert everything(client, tag) == before


def replaced(args: list[bytes], index: int, value: bytes) -> list[bytes]:
    """The arguments with one of them replaced."""
    return [*args[:index], value, *args[index + 1 :]]


def test_a_good_call_is_served(client: redis.Redis, tag: str) -> None:
    """So that what follows is refused for its one mistake."""
    keys, args = call(tag)
    repeated, _, answers = decode_express(evaluate(client, "express", keys, args), OP, 2)
    assert (repeated, [answer[0] for answer in answers]) == (False, [1, 2])
    assert len(everything(client, tag)) == 3
    repeated, _, answers = decode_express(evaluate(client, "express", keys, args), OP, 2)
    assert (repeated, [answer[0] for answer in answers]) == (True, [1, 2])


@pytest.mark.parametrize(
    ("index", "value", "error"),
    [
        (0, b"1234567", "RL_ARITY"),
        (0, b"123456789", "RL_ARITY"),
        (1, b"", "RL_ARITY"),
        (1, struct.pack("<BHIIB", 2, 5, 40_000, 5_000_000, 10), "RL_WIRE version 2"),
        (1, struct.pack("<BHIIB", 1, 5, 10_000, 5_000_000, 10), "RL_RANGE page_ttl_ms"),
        (2, b"\1\1", "RL_ARITY"),
        (2, struct.pack("<BH", 0, 1), "RL_ARITY"),
        (2, struct.pack("<BH", 1, 0), "RL_ARITY"),
        (2, struct.pack("<BH", 1, 2), "RL_ARITY"),
        (2, struct.pack("<BH", 255, 65_535), "RL_ARITY"),
        (4, b"", "RL_ARITY terms"),
        (4, struct.pack("<4I", 1, 1, 1, 1) + b"\0", "RL_ARITY terms"),
        (4, struct.pack("<4I", 1, 0, 1, 1), "RL_RANGE terms"),
        (4, struct.pack("<4I", 1, 1, 1, 0), "RL_RANGE terms"),
        (5, b"", "RL_ARITY operations"),
        (5, b"\1", "RL_ARITY operations"),
        (5, b"\0" + RESERVE + SETTLE, "RL_ARITY operations"),
        (5, b"\2" + RESERVE + SETTLE, "RL_ARITY operations"),
        (5, b"\1" + RESERVE + SETTLE[:-1], "RL_ARITY"),
        (5, b"\1" + RESERVE[:-1], "RL_ARITY"),
        (5, b"\1" + RESERVE + SETTLE + b"\1", "RL_ARITY"),
        (5, b"\1\3" + RESERVE + SETTLE, "RL_ARITY verb"),
        (5, b"\1" + RESERVE + b"\0" + SETTLE, "RL_ARITY verb"),
        (5, b"\1" + RESERVE + SETTLE + SETTLE, "RL_ARITY keys"),
        (5, b"\1" + RESERVE, "RL_ARITY keys"),
    ],
)
def test_an_argument_that_is_not_ours_is_refused(
    client: redis.Redis, tag: str, index: int, value: bytes, error: str
) -> None:
    """Before anything is written: not even the record of the call."""
    keys, args = call(tag)
    refused(client, tag, keys, replaced(args, index, value), error)


def test_another_number_of_keys_is_refused(client: redis.Redis, tag: str) -> None:
    """None, one too few, one too many."""
    keys, args = call(tag)
    for wrong in ([], keys[:1], keys[:-1], [*keys, f"{tag}B"]):
        refused(client, tag, wrong, args, "RL_ARITY")


@pytest.mark.parametrize("kept", range(6))
def test_a_call_that_is_cut_short_is_refused(client: redis.Redis, tag: str, kept: int) -> None:
    """Wherever."""
    keys, args = call(tag)
    refused(client, tag, keys, args[:kept], "RL_ARITY")


def test_a_call_that_has_begun_and_did_not_end_is_not_done_again(client: redis.Redis, tag: str) -> None:
    """Nobody can say what it did."""
    keys, args = call(tag)
    assert keys[0] == record_key(tag, OP)
    client.hset(keys[0], "begun", "")
    before = everything(client, tag)
    with pytest.raises(redis.ResponseError, match="RL_LOST"):
        evaluate(client, "express", keys, args)
    assert everything(client, tag) == before


@pytest.mark.parametrize("which", ["state", "page"])
def test_a_key_of_another_type_spoils_its_own_subject_only(client: redis.Redis, tag: str, which: str) -> None:
    """Its operations are left alone, those of others are done."""
    spoilt = f"{tag}S"
    client.lpush(spoilt if which == "state" else page_key(spoilt, 5), "not ours")
    operations = SETTLE if which == "page" else RESERVE
    pages = [page_key(spoilt, 5)] if which == "page" else []
    made = CALLS.express(OP, [(spoilt, TWO, operations, pages), (tag, TWO, RESERVE, [])])
    _, _, answers = decode_express(evaluate(client, "express", list(made.keys), list(made.args)), OP, 2)
    assert [answer[0] for answer in answers] == [9, 1]


@pytest.mark.parametrize("field", ["since", "mark"])
def test_numbers_beyond_exact_arithmetic_are_left_alone(client: redis.Redis, tag: str, field: str) -> None:
    """A settle whose mark or time no reserve can have given."""
    numbers = {"since": 1_000, "mark": 200, field: 2**63}
    operation = encode_settle(
        2, b"settle-1", 5, EPOCH, numbers["since"], 100, 50, numbers["mark"], 100, 50, numbers["mark"]
    )
    made = CALLS.express(OP, [(tag, TWO, operation, [page_key(tag, 5)])])
    _, _, answers = decode_express(evaluate(client, "express", list(made.keys), list(made.args)), OP, 1)
    assert [answer[0] for answer in answers] == [9]
