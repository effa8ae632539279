"""The bytes of `lua/express.lua`: operations of one scope with two narrow buckets, many to a call. See `core.wire`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from ratelimit.core.limit import Layout
from ratelimit.core.wire import OP_BYTES, encode_layout
from ratelimit.errors import WireMismatch

__all__ = (
    "ALLOWED",
    "NARROW",
    "NOT_ORDINARY",
    "REFUSED",
    "REPEATED",
    "ExpressAnswer",
    "decode_express",
    "encode_counts",
    "encode_plan",
    "encode_reserve",
    "encode_settle",
    "is_narrow",
)

NARROW: Final = 2**32
"""Units from here on take the general way."""
REFUSED: Final = 0
ALLOWED: Final = 1
REPEATED: Final = 3
NOT_ORDINARY: Final = 9
"""Verdicts: a settle that had been done before, and an operation that was left alone, because it has to take the
general way; the others speak for themselves.
"""
_RESERVE: Final = Struct("<BII")
_SETTLE: Final = Struct("<B8sHIQIIQIIQ")
_COUNTS: Final = Struct("<BH")
_TERMS: Final = Struct("<IIII")
_OPENING: Final = Struct("<8sBQ")
_ANSWER: Final = Struct("<BIIIII")

encode_counts: Final = _COUNTS.pack
"""(plans, subjects) of a call."""
encode_reserve: Final = _RESERVE.pack
"""(1, cost, cost): charge these units, or nothing."""
encode_settle: Final = _SETTLE.pack
"""(2, op-id, page, epoch, since, then reserved, actual and mark per bucket): replace the reserved units by the actual
ones; the marks were taken at `since` (us) under `epoch`. Bound methods: a function of ours around them would cost as
much again.
"""


ExpressAnswer = tuple[int, int, int, int, int, int]
"""(verdict, epoch, level, given, level, given): `given` are refunds so far after a reserve, credits after a settle."""


@lru_cache(maxsize=4096)
def is_narrow(layout: Layout) -> bool:
    """True for a layout that the express lane serves: requests and tokens per minute, as nearly all are."""
    return layout.express and max(*layout.capacities, *layout.rates) < NARROW


@lru_cache(maxsize=4096)
def encode_plan(layout: Layout) -> tuple[bytes, bytes]:
    """The specs of a layout and its terms."""
    (capacity0, capacity1), (rate0, rate1) = layout.capacities, layout.rates
    return encode_layout(layout), _TERMS.pack(capacity0, rate0, capacity1, rate1)


def decode_express(reply: object, op: bytes, operations: int) -> tuple[bool, int, Iterator[Any]]:
    """(repeated, time of the server in us, an answer per operation).

    Raises:
        WireMismatch: not an answer to this call.
    """
    size = _OPENING.size + operations * _ANSWER.size
    if not isinstance(reply, bytes) or len(reply) != size or reply[:OP_BYTES] != op:
        raise WireMismatch(f"expected {size} bytes under our op-id, got {type(reply).__name__}: another call's answer")
    _, repeated, now = _OPENING.unpack_from(reply)
    return repeated == 2, now, _ANSWER.iter_unpack(memoryview(reply)[_OPENING.size :])
