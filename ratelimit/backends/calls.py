"""Each verb as one script call: which script, which keys, which arguments. Shared by sync, asyncio and Cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from ratelimit.backends.base import Op
from ratelimit.backends.scripts import Script, load_script
from ratelimit.clock import Clock
from ratelimit.core.hold import Hold
from ratelimit.core.keys import page_key, record_key
from ratelimit.core.limit import Layout
from ratelimit.core.wire import Head, encode_layout, reserve_terms, settle_terms
from ratelimit.core.wire_express import encode_counts, encode_plan
from ratelimit.errors import BackendError, BackendTimeout, BackendUnavailable, ConfigError, WireMismatch

__all__ = ("Attempt", "Calls", "RetryPolicy", "ScriptCall", "ScriptMissing", "TryAgain", "answers", "attempts")

_PAUSE: Final = 0.02
"""Seconds before the second attempt, doubled each time and jittered in full: a server that loads needs a moment."""

_BYTES: Final = [bytes((number,)) for number in range(256)]
_VERBS: Final = {"reserve": 1, "settle": 2}
"""What batch.lua calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long one decision may take. Repeats are safe: the op-id makes them one operation.

    `timeout`: seconds for one attempt, `deadline`: seconds for all of them, `attempts`: how many at most.
    """

    timeout: float = 0.5
    deadline: float = 2.0
    attempts: int = 3

    def __post_init__(self) -> None:
        for name, value in (("timeout", self.timeout), ("deadline", self.deadline)):
            if isinstance(value, bool) or not 0 < value <= 300:
                raise ConfigError(f"{name} is {value!r}: must be seconds above 0, at most 300")
        if type(self.attempts) is not int or not 1 <= self.attempts <= 20:
            raise ConfigError(f"attempts is {self.attempts!r}: must be a whole number from 1 to 20")


@dataclass(slots=True)  # not frozen, which would cost a decision 0.3 us
class ScriptCall:
    """One execution of a script on one hash slot. `op` opens the reply: an answer without it is not ours."""

    script: Script
    keys: Sequence[str]
    args: Sequence[bytes]
    op: bytes

    def command(self, *, by_text: bool) -> tuple[str | bytes, ...]:
        """The EVALSHA command, or the EVAL command with the same keys and arguments.

        No int among them: hiredis crashes the process when a signal handler raises while it packs one.
        """
        start = ("EVAL", self.script.text) if by_text else ("EVALSHA", self.script.sha)
        return (*start, str(len(self.keys)), *self.keys, *self.args)


class Calls:
    """Builds the calls. With a `virtual_clock` the scripts take the time from it (replays, tests)."""

    def __init__(self, head: Head, virtual_clock: Clock | None = None) -> None:
        self._head = head
        self._clock = virtual_clock
        virtual = virtual_clock is not None
        self._reserve = load_script("reserve", virtual_clock=virtual)
        self._settle = load_script("settle", virtual_clock=virtual)
        self._peek = load_script("peek", virtual_clock=virtual)
        self._reset = load_script("reset", virtual_clock=virtual)
        self._batch = load_script("batch", virtual_clock=virtual)
        self._express = load_script("express", virtual_clock=virtual)
        self._packed_head: tuple[int, bytes] = (-1, b"")

    def reserve(self, holds: Sequence[Hold], op: Op) -> ScriptCall:
        """Charge all holds or none."""
        args = [op.id, self._head_for(op.page)]
        for hold in holds:
            args += (encode_layout(hold.layout), reserve_terms(hold))
        return self._call(self._reserve, _keys(holds, op), args, op.id)

    def settle(self, holds: Sequence[Hold], actual: Sequence[Sequence[int]], op: Op) -> ScriptCall:
        """Replace the reserved cost by the actual one."""
        args = [op.id, self._head_for(op.page)]
        for hold, real in zip(holds, actual, strict=True):
            args += (encode_layout(hold.layout), settle_terms(hold, real))
        return self._call(self._settle, _keys(holds, op), args, op.id)

    def peek(self, keys: Sequence[str], op: bytes) -> ScriptCall:
        """Read what is stored, and the time."""
        return self._call(self._peek, keys, [op], op)

    def reset(self, keys: Sequence[str], op: bytes) -> ScriptCall:
        """Forget what is stored."""
        return self._call(self._reset, keys, [op], op)

    def batch(self, calls: Sequence[ScriptCall]) -> ScriptCall:
        """Reserves and settles as one call, under the op-id of the first; a virtual clock shows the time of the last.

        Its reply is a list: that op-id, then the reply or the error of each.
        """
        op = calls[0].op
        keys: list[str] = []
        args = [op, b"".join([_plan(call.script.name, len(call.keys), len(call.args)) for call in calls])]
        for call in calls:
            keys += call.keys
            args += call.args
        return ScriptCall(self._batch, keys, args, op)

    def express(self, op: bytes, loads: Iterable[tuple[str, Layout, bytes, Sequence[str]]]) -> ScriptCall:
        """Ordinary operations as one call: per subject its key, its layout, what is asked, and the pages of settles."""
        keys: list[str] = []
        operations: list[bytes] = []
        plans: dict[Layout, int] = {}
        for key, layout, asked, pages in loads:
            number = plans.get(layout) or plans.setdefault(layout, len(plans) + 1)
            keys.append(key)
            keys += pages
            operations.append(_BYTES[number] + asked)
        args = [op, self._head_for(0), encode_counts(len(plans), len(operations))]
        for layout in plans:
            args += encode_plan(layout)
        return self._call(self._express, [record_key(keys[0], op), *keys], args + operations, op)

    def _call(self, script: Script, keys: Sequence[str], args: list[bytes], op: bytes) -> ScriptCall:
        if self._clock is not None:
            args.append(b"%d" % self._clock())
        return ScriptCall(script, keys, args, op)

    def _head_for(self, page: int) -> bytes:
        # The page changes every few seconds: packing it for each call would be waste.
        known, packed = self._packed_head
        if known != page:
            packed = self._head.pack(page)
            self._packed_head = (page, packed)
        return packed


def answers(reply: object, call: ScriptCall, count: int) -> list[object]:
    """The parts of a batch's reply, in order; those that are exceptions are errors of their operation.

    Raises:
        WireMismatch: not an answer to this batch, whose first operation was `call`.
    """
    if not isinstance(reply, list) or len(reply) != count + 1 or reply[0] != call.op:
        raise WireMismatch(f"expected {count} answers under our op-id, got {type(reply).__name__}")
    return reply[1:]


@cache
def _plan(verb: str, keys: int, args: int) -> bytes:
    return bytes((_VERBS[verb], keys, args))


def _keys(holds: Sequence[Hold], op: Op) -> list[str]:
    first = holds[0].key
    return [first, page_key(first, op.page), *[hold.key for hold in holds[1:]]]


class ScriptMissing(Exception):
    """NOSCRIPT: the server has forgotten the script (restart, failover, flush) and needs its text."""


class TryAgain(Exception):
    """An attempt failed in a way that another one may not; `error` is what to raise when none is left."""

    def __init__(self, error: BackendError) -> None:
        self.error = error
        super().__init__(str(error))


@dataclass(slots=True)  # not frozen, as above
class Attempt:
    """What a driver is to do next: wait `pause` seconds, then execute the command within `timeout` seconds."""

    call: ScriptCall
    by_text: bool
    pause: float
    timeout: float


def attempts(
    call: ScriptCall,
    policy: RetryPolicy,
    seconds: Callable[[], float],
    jitter: Random,
    began: float | None = None,
    deadline: float | None = None,
) -> Generator[Attempt, object, object]:
    """The retry rules, without I/O: yields attempts, is sent the reply, or thrown ScriptMissing or TryAgain.

    `seconds` is any clock that counts seconds, `began` the time on it of the first attempt (default: now), `deadline`
    the time on it when all must be over (default: counted from the first attempt). A missing script is sent as text
    once, under the same op-id, and does not count as an attempt.

    Raises:
        BackendError: no attempt succeeded; BackendTimeout means that the operation may have happened.
    """
    now = seconds() if began is None else began
    if deadline is None:
        deadline = now + policy.deadline
    by_text = False
    pause = 0.0
    done = 0
    while True:
        left = deadline - now - pause
        if left <= 0:
            raise BackendTimeout(
                f"no answer within the deadline of {policy.deadline:g} s; the operation may have happened"
            )
        try:
            return (yield Attempt(call, by_text, pause, min(policy.timeout, left)))
        except ScriptMissing as missing:
            if by_text:
                raise BackendUnavailable(
                    "the server answers NOSCRIPT to EVAL: is a proxy in between that blocks scripts?"
                ) from missing
            by_text, pause = True, 0.0
        except TryAgain as again:
            done += 1
            if done >= policy.attempts:
                raise again.error from again.__cause__
            pause = jitter.uniform(0, _PAUSE * 2**done)
        now = seconds()
