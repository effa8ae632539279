"""Two judges of what a server has answered: its own arithmetic in Python, step by step, and the promise itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, permutations, product

from ratelimit.backends.memory import MemoryBackend
from ratelimit.core.hold import Hold
from ratelimit.testing import ManualClock
from tests.faults.hammering import Decided, Settled, layout_of

__all__ = ("Entry", "by_subject", "find_mismatch", "find_overuse")

Entry = Decided | Settled


def by_subject(log: Iterable[Entry]) -> dict[int, list[Entry]]:
    """The entries of each subject, in the order in which the server made them."""
    sorted_ones: dict[int, list[Entry]] = defaultdict(list)
    for entry in sorted(log, key=lambda entry: entry.at):
        sorted_ones[entry.subject].append(entry)
    return sorted_ones


def find_mismatch(entries: Sequence[Entry]) -> Entry | None:
    """Replay one subject's entries through the pure core; the first whose answer is not the core's, digit by digit.

    A refusal that the core would have allowed is one, and so is the reverse. Answers of the same microsecond may have
    been given in any order.
    """
    mismatch: Entry | None = None
    for order in _possible_orders(entries):
        mismatch = _first_mismatch(order)
        if mismatch is None:
            break
    return mismatch


def _possible_orders(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    groups = [list(group) for _, group in groupby(entries, key=lambda entry: entry.at)]
    for order in product(*map(permutations, groups)):
        yield list(chain.from_iterable(order))


def _first_mismatch(entries: Sequence[Entry]) -> Entry | None:
    """The memory backend is the core, a clock and a dictionary."""
    clock = ManualClock()
    backend = MemoryBackend(clock=clock)
    for entry in entries:
        clock.set(entry.at)
        if not (_decides_alike(backend, entry) if isinstance(entry, Decided) else _settles_alike(backend, entry)):
            return entry
    return None


def _hold(entry: Decided) -> Hold:
    return Hold("key", layout_of(entry.subject), list(entry.costs))


def _decides_alike(backend: MemoryBackend, entry: Decided) -> bool:
    hold = _hold(entry)
    allowed = backend.reserve([hold], entry.op)
    answer = (allowed, hold.at, hold.epoch, tuple(hold.levels), tuple(hold.refunded))
    return answer == (entry.allowed, entry.at, entry.epoch, entry.levels, entry.refunded)


def _settles_alike(backend: MemoryBackend, entry: Settled) -> bool:
    reserved = entry.reserved
    hold = _hold(reserved)
    hold.at, hold.epoch = reserved.at, reserved.epoch
    hold.levels, hold.refunded = list(reserved.levels), list(reserved.refunded)
    [(at, _, levels, given_back)] = backend.settle([hold], [entry.actual], reserved.op).outcomes
    return (at, tuple(levels), tuple(given_back)) == (entry.at, entry.levels, entry.credits)


def find_overuse(entries: Sequence[Entry]) -> Decided | None:
    """The first admission with which real usage passes capacity plus drain, in any interval that ends there.

    Independent of the core: a bucket that is charged with the real cost at once, and never given anything back.
    """
    layout = layout_of(entries[0].subject)
    real = {entry.reserved.op.id: entry.actual for entry in entries if isinstance(entry, Settled)}
    levels, at = [0] * len(layout.specs), entries[0].at
    for entry in entries:
        if isinstance(entry, Settled) or not entry.allowed:
            continue
        for i, spec in enumerate(layout.specs):
            ticks = entry.at // spec.tick_us - at // spec.tick_us
            levels[i] = max(0, levels[i] - ticks * spec.rate) + real.get(entry.op.id, entry.costs)[i]
            if levels[i] > spec.capacity:
                return entry
        at = entry.at
    return None
