"""Promises of `ratelimit.plans.names`."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.plans.names import fold

WORDS = st.lists(st.text(string.ascii_letters + string.digits, min_size=1, max_size=6), min_size=1, max_size=4)
SEPARATORS = st.text("-_ ", min_size=1, max_size=3)


@given(WORDS, st.data())
def test_case_and_separators_do_not_count(words: list[str], data: st.DataObject) -> None:
    """However the words of a name are cased and joined, it folds to the same."""
    spelling = words[0].swapcase()
    for word in words[1:]:
        spelling += data.draw(SEPARATORS) + word.upper()
    assert fold(spelling) == fold("-".join(words).lower())


@given(WORDS, WORDS)
def test_other_words_are_other_names(one: list[str], other: list[str]) -> None:
    """Two names fold alike only when their words are alike but for case."""
    alike = [word.lower() for word in one] == [word.lower() for word in other]
    assert (fold(" ".join(one)) == fold("_".join(other))) is alike


@pytest.mark.parametrize("name", ["MAX 5X", "max-5x", "max_5x", "Max - 5x", " max__5X "])
def test_the_spellings_of_the_documentation_are_one(name: str) -> None:
    """The spellings that the documentation promises name one plan."""
    assert fold(name) == "max-5x"
