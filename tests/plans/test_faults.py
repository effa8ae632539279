"""Promises of `ratelimit.plans.faults`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.plans.faults import path_text, short

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANYTHING)
def test_short_is_short(value: object) -> None:
    """No value is shown at more than 80 characters."""
    assert len(short(value)) <= 80


def test_short_survives_an_integer_that_python_will_not_print() -> None:
    """An int of more digits than Python prints is described by its size."""
    assert short(16**10_000) == "<integer of 40001 bits>"


def test_short_does_bounded_work() -> None:
    """A value that unfolds to 2**60 items, as YAML aliases can make, is shown at once."""
    value: list[object] = ["x"]
    for _ in range(60):
        value = [value, value]
    assert short(value) == "[[[...], [...]], [[...], [...]]]"


@pytest.mark.parametrize(
    ("root", "steps", "text"),
    [
        ("plans", ("Pro", "limits", 0, "amount"), "plans.Pro.limits[0].amount"),
        ("plans", (2, "rpm"), "plans[2].rpm"),
        ("plans", ("MAX 5X",), 'plans."MAX 5X"'),
        ("plans", ("a\n.b",), 'plans."a\\n.b"'),
        ("", ("plan",), "plan"),
        ("Plan", (True,), "Plan.True"),
    ],
)
def test_a_path_reads_like_the_file(root: str, steps: tuple[object, ...], text: str) -> None:
    """Indices stand in brackets, and keys that are not plain words in quotes."""
    assert path_text(root, *steps) == text
