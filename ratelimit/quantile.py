"""A quantile of the most recent of many numbers, in bounded memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort

__all__ = ("RecentQuantile",)


class RecentQuantile:
    """The smallest of the last `size` numbers that at least `permille` thousandths of them do not pass.

    Numbers are integers from 0 to 2**63 - 1; 16 bytes are kept of each. Not thread-safe.
    """

    __slots__ = ("_next", "_ordered", "_permille", "_recent", "_size")

    def __init__(self, size: int, permille: int) -> None:
        self._size = size
        self._permille = permille
        self._recent = array("q")
        """In order of arrival, as a ring once it is full."""
        self._next = 0
        """Where the oldest is, in a full ring."""
        self._ordered = array("q")

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, number: int) -> None:
        """Take a number in, and forget the oldest one beyond `size`."""
        if len(self._recent) < self._size:
            self._recent.append(number)
        else:
            del self._ordered[bisect_left(self._ordered, self._recent[self._next])]
            self._recent[self._next] = number
            self._next = (self._next + 1) % self._size
        insort(self._ordered, number)

    @property
    def value(self) -> int:
        """The quantile of the numbers so far.

        Raises:
            IndexError: there are none.
        """
        return self._ordered[-(-len(self._ordered) * self._permille // 1_000) - 1]
