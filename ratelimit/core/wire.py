"""The bytes that cross to the Lua scripts and back. Little-endian, unsigned, no floats: nothing to poison.

This module and the headers in `lua/` are the two halves of one contract; `tests/lua` compares them. Whoever moves the
wire raises `WIRE_VERSION`, which is also part of every key, so that two versions never share state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from struct import Struct
from typing import Final

from ratelimit.core.hold import Hold
from ratelimit.core.limit import BUCKETS_MAX, TICKS_US, BucketSpec, Layout
from ratelimit.core.scope import ScopeState
from ratelimit.core.settlement import Outcome, Settlement
from ratelimit.errors import WireMismatch

__all__ = (
    "OP_BYTES",
    "PAGES",
    "WIRE_VERSION",
    "Head",
    "decode_peek",
    "decode_reserve",
    "decode_reset",
    "decode_settle",
    "encode_layout",
    "reserve_terms",
    "settle_terms",
)

WIRE_VERSION: Final = 1
OP_BYTES: Final = 8
PAGES: Final = 4096
"""Page numbers of the operation log wrap here; a page is long gone when its number comes back."""
_WIDE = 128
_STATE = Struct("<HBB4s7s")
_PAIR = Struct("<8sB7sI7s4I")


@dataclass(frozen=True, slots=True)
class Head:
    """What every reserve and settle says about time: see the script headers."""

    page_s: int
    """Length of a page of the operation log, seconds."""
    page_ttl_ms: int
    """Life of a page after it was last renewed: the retry window and the length of a page."""
    skew_us: int
    """Largest step back of the clock that is waited out."""

    def pack(self, page: int) -> bytes:
        """The head for an operation whose record belongs to `page`."""
        return _HEAD.pack(WIRE_VERSION, page, self.page_ttl_ms, self.skew_us, self.page_s)


_HEAD = Struct("<BHIIB")


def _i7(value: int) -> bytes:
    return value.to_bytes(7, "little")


@dataclass(frozen=True, slots=True)
class _Packed:
    """The parts of a layout that never change from call to call."""

    specs: bytes
    limits: tuple[bytes, ...]
    """capacity, rate and tick per bucket, as reserve takes them."""
    drains: tuple[bytes, ...]
    """rate and tick per bucket, as settle takes them."""


@lru_cache(maxsize=4096)
def _packed(layout: Layout) -> _Packed:
    drains = tuple(_i7(spec.rate) + spec.tick_us.to_bytes(3, "little") for spec in layout.specs)
    return _Packed(
        specs=b"".join(map(_encode_spec, layout.specs)),
        limits=tuple(_i7(spec.capacity) + drain for spec, drain in zip(layout.specs, drains, strict=True)),
        drains=drains,
    )


def _encode_spec(spec: BucketSpec) -> bytes:
    units = spec.units.to_bytes(-(-spec.units.bit_length() // 8), "little")
    rate = b"" if spec.rate == 1 else spec.rate.to_bytes(-(-spec.rate.bit_length() // 8), "little")
    sizes = TICKS_US.index(spec.tick_us) * 64 + len(units) * 8 + len(rate)
    return spec.tag + bytes((sizes,)) + units + rate


def encode_layout(layout: Layout) -> bytes:
    """The specs of a layout as they are stored with the levels."""
    return _packed(layout).specs


def reserve_terms(hold: Hold) -> bytes:
    """The terms of one scope for reserve.lua."""
    limits = _packed(hold.layout).limits
    if len(limits) == 2:  # the common case, in half the time
        (cost0, cost1), (limit0, limit1) = hold.costs, limits
        return _i7(cost0) + limit0 + _i7(cost1) + limit1
    return b"".join([_i7(cost) + limit for cost, limit in zip(hold.costs, limits, strict=True)])


def settle_terms(hold: Hold, actual: Sequence[int]) -> bytes:
    """The terms of one scope for settle.lua; `actual` is the real cost in units per bucket."""
    marks = hold.marks()
    drains = _packed(hold.layout).drains
    start = hold.epoch.to_bytes(4, "little") + _i7(hold.at)
    if len(drains) == 2:  # the common case, in two thirds of the time
        (cost0, cost1), (real0, real1), (mark0, mark1), (drain0, drain1) = hold.costs, actual, marks, drains
        return start + _i7(cost0) + _i7(real0) + _i7(mark0) + drain0 + _i7(cost1) + _i7(real1) + _i7(mark1) + drain1
    buckets = zip(hold.costs, actual, marks, drains, strict=True)
    return start + b"".join([_i7(cost) + _i7(real) + _i7(mark) + drain for cost, real, mark, drain in buckets])


def _check(reply: object, op: bytes, least: int) -> bytes:
    """The reply as bytes, if it answers this very call. Anything else is another call's and must not be believed."""
    if not isinstance(reply, bytes) or len(reply) < least:
        raise WireMismatch(
            f"expected an answer of at least {least} bytes, got {type(reply).__name__}: "
            "another script or version answered"
        )
    if reply[:OP_BYTES] != op:
        raise WireMismatch("the answer belongs to another operation; the connection it came from has been dropped")
    return reply


def _numbers(reply: bytes, start: int, count: int, width: int) -> Sequence[int]:
    if width == 4:
        return _narrow(count).unpack_from(reply, start)
    from_bytes = int.from_bytes
    return [from_bytes(reply[i : i + width], "little") for i in range(start, start + count * width, width)]


@lru_cache(maxsize=4 * BUCKETS_MAX)
def _narrow(count: int) -> Struct:
    return Struct(f"<{count}I")


def decode_reserve(reply: object, op: bytes, holds: Sequence[Hold]) -> bool:
    """Fill `holds` from the answer of reserve.lua; True when allowed.

    Raises:
        WireMismatch: not an answer to this call.
    """
    if len(holds) == 1 and len(holds[0].costs) == 2 and isinstance(reply, bytes) and len(reply) == _PAIR.size:
        return _decode_pair(_check(reply, op, _PAIR.size), holds[0])
    buckets = sum(len(hold.costs) for hold in holds)
    answer = _check(reply, op, 16 + 11 * len(holds) + 8 * buckets)
    narrow = len(answer) == 16 + 11 * len(holds) + 8 * buckets
    if not narrow and len(answer) != 16 + 11 * len(holds) + 14 * buckets:
        raise WireMismatch(f"an answer of {len(answer)} bytes does not fit {buckets} buckets")
    width = 4 if narrow else 7
    now = int.from_bytes(answer[9:16], "little")
    start = 16
    for hold in holds:
        hold.epoch = int.from_bytes(answer[start : start + 4], "little")
        hold.at = int.from_bytes(answer[start + 4 : start + 11], "little")
        hold.lag = max(0, hold.at - now)
        pairs = _numbers(answer, start + 11, 2 * len(hold.costs), width)
        hold.levels, hold.refunded = pairs[::2], pairs[1::2]
        start += 11 + 2 * width * len(hold.costs)
    return answer[8] == 1


def _decode_pair(answer: bytes, hold: Hold) -> bool:
    """The common case, one scope with two narrow buckets, in half the time."""
    _, verdict, now, hold.epoch, at, level0, refunded0, level1, refunded1 = _PAIR.unpack(answer)
    hold.levels, hold.refunded = (level0, level1), (refunded0, refunded1)
    hold.at = int.from_bytes(at, "little")
    hold.lag = 0 if at == now else max(0, hold.at - int.from_bytes(now, "little"))
    return bool(verdict == 1)


def decode_settle(reply: object, op: bytes, holds: Sequence[Hold]) -> Settlement:
    """What the settle did, from the answer of settle.lua.

    Raises:
        WireMismatch: not an answer to this call.
    """
    size = 16 + 7 * len(holds) + 14 * sum([len(hold.costs) for hold in holds])
    answer = _check(reply, op, size)
    if len(answer) != size:
        raise WireMismatch(f"an answer of {len(answer)} bytes where {size} were expected")
    return Settlement(holds, partial(_outcomes, answer, holds), repeated=answer[8] == 2)


def _outcomes(answer: bytes, holds: Sequence[Hold]) -> list[Outcome]:
    now = int.from_bytes(answer[9:16], "little")
    outcomes: list[Outcome] = []
    start = 16
    for hold in holds:
        at = int.from_bytes(answer[start : start + 7], "little")
        pairs = _numbers(answer, start + 7, 2 * len(hold.costs), 7)
        outcomes.append((at, max(0, at - now), pairs[::2], pairs[1::2]))
        start += 7 + 14 * len(hold.costs)
    return outcomes


def decode_peek(reply: object, op: bytes, scopes: int) -> tuple[int, list[ScopeState | None]]:
    """(time of the server in us, what is stored per scope) from the answer of peek.lua."""
    answer = _check(reply, op, 15 + 2 * scopes)
    stored: list[ScopeState | None] = []
    start = 15
    for _ in range(scopes):
        length = int.from_bytes(answer[start : start + 2], "little")
        raw = answer[start + 2 : start + 2 + length]
        stored.append(_decode_state(raw) if raw else None)
        start += 2 + length
    return int.from_bytes(answer[8:15], "little"), stored


def decode_reset(reply: object, op: bytes) -> bool:
    """True when something was forgotten, from the answer of reset.lua."""
    return _check(reply, op, OP_BYTES + 1)[8] == 1


@dataclass(frozen=True, slots=True)
class _StoredTerms:
    tag: bytes
    units: int
    rate: int
    tick_us: int


def _decode_state(raw: bytes) -> ScopeState:
    _, _, shape, epoch, at = _STATE.unpack_from(raw)
    width, count = (7, shape - _WIDE) if shape >= _WIDE else (4, shape)
    specs: list[_StoredTerms] = []
    pairs = _numbers(raw, _STATE.size, 2 * count, width)
    start = _STATE.size + 2 * count * width
    for _ in range(count):
        sizes = raw[start + 3]
        units, rate = sizes // 8 % 8, sizes % 8
        middle, end = start + 4 + units, start + 4 + units + rate
        specs.append(
            _StoredTerms(
                tag=raw[start : start + 3],
                units=int.from_bytes(raw[start + 4 : middle], "little"),
                rate=int.from_bytes(raw[middle:end], "little") or 1,
                tick_us=TICKS_US[sizes // 64],
            )
        )
        start = end
    return ScopeState(
        epoch=int.from_bytes(epoch, "little"),
        at=int.from_bytes(at, "little"),
        layout=None,
        specs=specs,
        levels=pairs[::2],
        refunded=pairs[1::2],
    )
