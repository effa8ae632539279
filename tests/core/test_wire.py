"""Promises of `ratelimit.core.wire`: what is written is what is read, and a foreign answer is never believed."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.core.hold import Hold
from ratelimit.core.limit import TICKS_US
from ratelimit.core.wire import (
    Head,
    decode_peek,
    decode_reserve,
    decode_reset,
    decode_settle,
    encode_layout,
    reserve_terms,
    settle_terms,
)
from ratelimit.errors import WireMismatch
from tests.core.holds import MINUTE, TAG, TWO, answered, layout

OP = b"\x01op-id\xff\x00"
MIXED = layout(("tokens", 100_000_007, MINUTE), ("requests", 1, 86_400_000_000))


def i7(number: int) -> bytes:
    """Seven bytes, little-endian."""
    return number.to_bytes(7, "little")


def reserve_reply(verdict: int, now: int, scopes: list[tuple[bytes, int, list[int]]], width: int) -> bytes:
    """As reserve.lua answers: (epoch, at, level and refunded per bucket) per scope."""
    body = b"".join(
        epoch + i7(at) + b"".join(number.to_bytes(width, "little") for number in numbers)
        for epoch, at, numbers in scopes
    )
    return OP + bytes([verdict]) + i7(now) + body


def test_a_head_is_12_bytes() -> None:
    """Version, page, its lifetime, skew, its length: the format that the scripts unpack."""
    packed = Head(page_s=10, page_ttl_ms=40_000, skew_us=5_000_000).pack(4095)
    assert struct.unpack("<BHIIB", packed) == (1, 4095, 40_000, 5_000_000, 10)


def test_a_spec_is_tag_sizes_units_and_rate() -> None:
    """Tick code times 64, bytes of units times 8, bytes of rate; a rate of one takes none."""
    coarse, fine = MIXED.specs
    assert encode_layout(MIXED) == (
        coarse.tag
        + bytes([TICKS_US.index(1_000) * 64 + 2 * 8 + 4])
        + (60_000).to_bytes(2, "little")
        + (100_000_007).to_bytes(4, "little")
        + fine.tag
        + bytes([0 * 64 + 5 * 8 + 0])
        + (86_400_000_000).to_bytes(5, "little")
    )


def test_reserve_terms_are_24_bytes_per_bucket() -> None:
    """Cost, capacity, rate, tick."""
    terms = reserve_terms(answered([5, 2**52], [0, 0], of=MIXED))
    assert terms == (
        i7(5)
        + i7(60_000 * 100_000_007)
        + i7(100_000_007)
        + (1_000).to_bytes(3, "little")
        + i7(2**52)
        + i7(86_400_000_000)
        + i7(1)
        + (1).to_bytes(3, "little")
    )


def test_settle_terms_are_11_bytes_and_31_per_bucket() -> None:
    """Epoch and time of the mark; then reserved, actual, mark, rate, tick."""
    hold = answered([5, 6], [2**52, 60], of=TWO, at=2**51, epoch=2**32 - 1, refunded=[2**52, 4])
    assert settle_terms(hold, [7, 0]) == (
        b"\xff\xff\xff\xff"
        + i7(2**51)
        + i7(5)
        + i7(7)
        + i7(2**53)
        + i7(1)
        + b"\x01\0\0"
        + i7(6)
        + i7(0)
        + i7(64)
        + i7(1)
        + b"\x01\0\0"
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_terms_of_a_scope_are_those_of_its_buckets(count: int) -> None:
    """One after the other, however many there are: two are written out for speed."""
    limits = [("requests", 60, MINUTE), ("tokens", 100_000_007, MINUTE), ("tokens", 5, 86_400_000_000)][:count]
    costs, levels, refunded, real = [5, 6, 7], [10, 2**40, 30], [1, 2, 3], [4, 9, 0]

    def hold(i: int, j: int) -> Hold:
        return answered(costs[i:j], levels[i:j], of=layout(*limits[i:j]), refunded=refunded[i:j])

    each = [(hold(i, i + 1), real[i : i + 1]) for i in range(count)]
    whole = hold(0, count)
    assert reserve_terms(whole) == b"".join(reserve_terms(one) for one, _ in each)
    assert settle_terms(whole, real[:count])[11:] == b"".join(settle_terms(one, own)[11:] for one, own in each)


@given(
    verdict=st.integers(0, 1),
    lag=st.integers(0, 10**7),
    numbers=st.lists(st.integers(0, 2**52), min_size=6, max_size=6),
    wide=st.booleans(),
)
def test_a_reserve_reply_fills_the_holds(verdict: int, lag: int, numbers: list[int], wide: bool) -> None:
    """Narrow or wide, one bucket or several, every number lands where it belongs."""
    numbers = numbers if wide else [number % 2**32 for number in numbers]
    holds = [answered([1, 1], []), answered([1], [], of=layout(("tokens", 1, MINUTE)))]
    scopes = [(b"\x09\0\0\0", 10**15 + lag, numbers[:4]), (b"\x08\0\0\0", 10**15, numbers[4:])]
    reply = reserve_reply(verdict, 10**15, scopes, 7 if wide else 4)
    assert decode_reserve(reply, OP, holds) is (verdict == 1)
    assert [(hold.epoch, hold.at, hold.lag) for hold in holds] == [(9, 10**15 + lag, lag), (8, 10**15, 0)]
    assert [list(hold.levels) for hold in holds] == [numbers[:4:2], numbers[4::2]]
    assert [list(hold.refunded) for hold in holds] == [numbers[1:4:2], numbers[5::2]]


def test_a_settle_reply_becomes_a_settlement() -> None:
    """Level and credit per bucket; verdict 2 says that it had been done."""
    body = i7(10**15) + i7(10**15 + 3) + b"".join(map(i7, [10, 1, 2**52, 0]))
    settlement = decode_settle(OP + b"\x02" + body, OP, [answered([1, 1], [1, 1])])
    assert settlement.repeated
    assert settlement.outcomes == [(10**15 + 3, 3, [10, 2**52], [1, 0])]
    assert not decode_settle(OP + b"\x01" + body, OP, [answered([1, 1], [1, 1])]).repeated


def test_a_peek_reply_holds_stored_states_or_nothing() -> None:
    """The state is read as the scripts write it, narrow and wide."""
    numbers = [500, 7, 2**40, 0]
    wide = (
        struct.pack("<HBB4s7s", 3, 9, 2 + 128, b"\x05\0\0\0", i7(10**15))
        + b"".join(map(i7, numbers))
        + encode_layout(MIXED)
    )
    narrow = (
        struct.pack("<HBB4s7s", 3, 9, 2, b"\x06\0\0\0", i7(10**15))
        + struct.pack("<4I", 1, 2, 3, 4)
        + encode_layout(TWO)
    )
    states = b"".join(len(raw).to_bytes(2, "little") + raw for raw in (wide, b"", narrow))
    now, (first, none, third) = decode_peek(OP + i7(77) + states, OP, 3)
    assert (now, none) == (77, None)
    assert first is not None
    assert third is not None
    assert (first.epoch, first.at, list(first.levels), list(first.refunded)) == (5, 10**15, [500, 2**40], [7, 0])
    assert (third.epoch, list(third.levels), list(third.refunded)) == (6, [1, 3], [2, 4])
    for stored, specs in ((first.specs, MIXED.specs), (third.specs, TWO.specs)):
        read = [(spec.tag, spec.units, spec.rate, spec.tick_us) for spec in stored]
        assert read == [(spec.tag, spec.units, spec.rate, spec.tick_us) for spec in specs]


def test_a_reset_reply_says_whether_anything_was_there() -> None:
    """One byte after the op-id."""
    assert decode_reset(OP + b"\x01", OP) is True
    assert decode_reset(OP + b"\x00", OP) is False


REPLIES: dict[str, tuple[Callable[[object, bytes], object], int]] = {
    "reserve": (lambda reply, op: decode_reserve(reply, op, [answered([1, 1], [])]), 16 + 11 + 16),
    "settle": (lambda reply, op: decode_settle(reply, op, [answered([1, 1], [])]), 16 + 7 + 28),
    "peek": (lambda reply, op: decode_peek(reply, op, 2), 15 + 4),
    "reset": (decode_reset, 9),
}


@pytest.mark.parametrize("verb", REPLIES)
def test_an_answer_to_another_operation_is_not_believed(verb: str) -> None:
    """Each decoder compares the op-id first; the right one passes."""
    decode, size = REPLIES[verb]
    decode(OP + bytes(size - 8), OP)
    with pytest.raises(WireMismatch, match=r"^the answer belongs to another operation"):
        decode(OP + bytes(size - 8), OP[:-1] + b"\x01")


@pytest.mark.parametrize("verb", REPLIES)
@pytest.mark.parametrize("reply", [None, 1, "text", [b"list"], b"", OP], ids=repr)
def test_an_answer_of_another_kind_is_not_believed(verb: str, reply: object) -> None:
    """Numbers, text, lists and what is cut off after the op-id are another script's answers."""
    with pytest.raises(WireMismatch, match=r"^expected an answer of at least \d+ bytes, got "):
        REPLIES[verb][0](reply, OP)


@pytest.mark.parametrize("verb", ["reserve", "settle"])
@pytest.mark.parametrize("change", [-1, 1, 5])
def test_an_answer_of_another_length_is_not_believed(verb: str, change: int) -> None:
    """Cut off or too long, it does not fit the buckets that were asked about."""
    decode, size = REPLIES[verb]
    with pytest.raises(WireMismatch):
        decode(OP + bytes(size - 8 + change), OP)


def test_the_tag_of_a_key_is_not_in_the_terms() -> None:
    """Arguments carry numbers only: the key says whose they are."""
    hold = answered([5, 6], [1, 1])
    assert TAG.encode() not in reserve_terms(hold) + settle_terms(hold, [1, 1]) + encode_layout(TWO)
