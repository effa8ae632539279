"""Promises of `ratelimit.quantile`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.quantile import RecentQuantile


@given(st.lists(st.integers(0, 2**53), min_size=1), st.integers(1, 20), st.integers(1, 1_000))
def test_it_is_the_smallest_number_that_enough_do_not_pass(numbers: list[int], size: int, permille: int) -> None:
    """Of the last `size` numbers, and of no others."""
    recent = RecentQuantile(size, permille)
    for number in numbers:
        recent.add(number)
    kept = numbers[-size:]
    assert len(recent) == len(kept)
    assert recent.value in kept
    assert sum(number <= recent.value for number in kept) * 1_000 >= permille * len(kept)
    assert sum(number < recent.value for number in kept) * 1_000 < permille * len(kept)


def test_of_nothing_there_is_no_quantile() -> None:
    """Nobody mistakes it for 0."""
    with pytest.raises(IndexError):
        _ = RecentQuantile(5, 950).value
