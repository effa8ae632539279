"""Promises of `ratelimit.core.keys`."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.core.keys import KeyMaker, page_key
from ratelimit.core.wire import PAGES
from ratelimit.errors import ConfigError

SHAPE = re.compile(r"rl1:\{[A-Za-z0-9_-]{22}\}([A-Za-z0-9_-]{22})?")
TRICKY = [
    "a",
    "a ",
    " a",
    "A",
    "ab",
    "a\0",
    "\0a",
    "{a}",
    "}",
    "é",
    "e\u0301",
    "\ud800",
    "a" * 4096,
    "ss",
    "ß",
    "1",
    "rl1:{a}",
]


@given(subject=st.text(min_size=1, max_size=64), group=st.none() | st.text(min_size=1, max_size=64))
def test_a_key_has_one_shape_whatever_the_names(subject: str, group: str | None) -> None:
    """So no byte of a subject can be in it, and no name can break out of the hash tag."""
    assert SHAPE.fullmatch(KeyMaker().scope_key(subject, group))


def test_different_names_have_different_keys() -> None:
    """Subjects and groups that look alike, contain one another or hold separators stay apart."""
    maker = KeyMaker()
    pairs = (
        [(name, None) for name in TRICKY] + list(combinations(TRICKY, 2)) + [(b, a) for a, b in combinations(TRICKY, 2)]
    )
    assert len({maker.scope_key(subject, group) for subject, group in pairs}) == len(pairs)


def test_a_group_gives_the_hash_tag() -> None:
    """All subjects of a group share the tag of the group's own key; a subject is its own group by default."""
    maker = KeyMaker()
    org = maker.scope_key("org")
    assert maker.scope_key("org", "org") == org
    assert maker.scope_key("key", "org").startswith(org)
    assert maker.scope_key("key") not in maker.scope_key("key", "org")


def test_a_secret_changes_every_key() -> None:
    """Without it nobody can tell which subject a key belongs to."""
    keys = {KeyMaker(secret=secret).scope_key("key") for secret in (b"", b"a", b"b", b"a" * 64)}
    assert len(keys) == 4


def test_keys_are_what_they_were() -> None:
    """Pinned: a change would forget every subject's use in a rolling upgrade."""
    assert KeyMaker().scope_key("key") == "rl1:{GU2ZuFSEMMol68wQdqDVcg}"


@pytest.mark.parametrize("prefix", ["{", "a}", "a b", "é", "a\n", "x" * 65])
def test_a_prefix_that_could_break_the_tag_is_refused(prefix: str) -> None:
    """Braces would move the hash tag, blanks would break tools."""
    with pytest.raises(
        ConfigError, match=r"^prefix is .*: must be at most 64 printable ASCII characters without braces"
    ):
        KeyMaker(prefix)


@pytest.mark.parametrize("prefix", ["", "a", "team:prod/", "x" * 64])
def test_a_prefix_opens_the_key(prefix: str) -> None:
    """Followed by the wire version."""
    assert KeyMaker(prefix).scope_key("key").startswith(f"{prefix}1:{{")


def test_a_secret_beyond_64_bytes_is_refused() -> None:
    """BLAKE2b takes no more; the message does not show it."""
    with pytest.raises(ConfigError, match=r"^secret has 65 bytes: ") as caught:
        KeyMaker(secret=b"s" * 65)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "x" * 4097, b"bytes", 7, None, ["list"]])
def test_a_subject_that_is_no_text_in_range_is_refused(name: object) -> None:
    """The message names the type or the size, never the value."""
    with pytest.raises(
        ConfigError, match=r"^subject is (\d+ characters|bytes|int|NoneType|list): must be a str of 1 to 4096"
    ):
        KeyMaker().scope_key(name)  # type: ignore[arg-type]  # that is the point
    if name is not None:
        with pytest.raises(ConfigError, match=r"^group is "):
            KeyMaker().scope_key("key", name)  # type: ignore[arg-type]  # that is the point


def test_the_repr_shows_no_secret() -> None:
    """It may be logged."""
    assert repr(KeyMaker("p", b"hidden")) == "<KeyMaker p1:>"


def test_every_page_has_a_key_in_the_scopes_slot() -> None:
    """4,096 of them, all different, none a state's key."""
    scope = KeyMaker().scope_key("key")
    pages = {page_key(scope, page) for page in range(PAGES)}
    assert len(pages) == PAGES
    assert {len(page) for page in pages} == {len(scope) + 2}
    assert all(page.startswith(scope) for page in pages)
