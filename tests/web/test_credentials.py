"""Promises of `ratelimit.web.credentials`."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.web.credentials import KEY_MAX, api_key
from ratelimit.web.routes import DialectName
from tests.web.heads import head

KEY = "sk-rl-Kx7"
OTHER = "sk-rl-Other"
DIALECTS: tuple[DialectName, ...] = get_args(DialectName)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)

in_both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


@in_both_dialects
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer {KEY}"),
        ("AUTHORIZATION", f"BEARER {KEY}"),
        ("Authorization", f"  Bearer   {KEY}\t "),
        ("x-api-key", KEY),
        ("X-Api-Key", f"\t{KEY}  "),
        ("api-key", KEY),
    ],
)
def test_a_key_is_found_in_every_header_that_clients_use(dialect: DialectName, name: str, value: str) -> None:
    """Old and new SDKs of both providers, and Azure's, are understood on every route."""
    assert api_key(head((name, value)), dialect) == KEY


@in_both_dialects
@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer \t ",
        KEY,
        f"Basic {KEY}",
        f"Bearer:{KEY}",
        f"Bearer\t{KEY}",
        f"Bearer\xa0{KEY}",
        f"Token Bearer {KEY}",
        f'"Bearer {KEY}"',
    ],
)
def test_another_scheme_is_no_key(dialect: DialectName, value: str) -> None:
    """Only `Bearer`, a space and something is a bearer key."""
    assert api_key(head(("authorization", value)), dialect) is None


@in_both_dialects
@pytest.mark.parametrize(
    "key", ["k" * (KEY_MAX + 1), "k\x00", "k\x1b[31m", "k\x7f", "k\xe9", "k\x85", "a b", "a\tb", f"{KEY},Bearer {KEY}"]
)
def test_a_key_that_cannot_be_right_is_none(dialect: DialectName, key: str) -> None:
    """Too long, or not visible ASCII throughout: no key, wherever it stands, and no other header is asked."""
    assert api_key(head(("x-api-key", key)), dialect) is None
    assert api_key(head(("authorization", f"Bearer {key}")), dialect) is None
    both = head(("x-api-key", key), ("authorization", f"Bearer {key}"), ("api-key", KEY))
    assert api_key(both, dialect) is None


@in_both_dialects
def test_the_longest_key_is_taken(dialect: DialectName) -> None:
    """4,096 characters are the limit, without the scheme."""
    key = "k" * KEY_MAX
    assert api_key(head(("authorization", f"Bearer {key}")), dialect) == key


@pytest.mark.parametrize(("dialect", "first"), [("openai", KEY), ("anthropic", OTHER)])
def test_the_header_that_the_dialect_documents_wins(dialect: DialectName, first: str) -> None:
    """x-api-key on Anthropic's routes, Authorization on OpenAI's; Azure's comes last on both."""
    pairs = [("api-key", "third"), ("authorization", f"Bearer {KEY}"), ("x-api-key", OTHER)]
    assert api_key(head(*pairs), dialect) == first
    assert api_key(head(*pairs[::-1]), dialect) == first


@in_both_dialects
def test_an_empty_or_foreign_header_leaves_the_word_to_the_next(dialect: DialectName) -> None:
    """SDKs send empty headers for keys that are not set, and proxies Basic credentials of their own."""
    assert api_key(head(("x-api-key", " "), ("authorization", f"Bearer {KEY}")), dialect) == KEY
    assert api_key(head(("x-api-key", KEY), ("authorization", "Basic dTpw")), dialect) == KEY
    assert api_key(head(("x-api-key", ""), ("authorization", "Bearer "), ("api-key", KEY)), dialect) == KEY


@in_both_dialects
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("authorization", (f"Bearer {KEY}", f"Bearer {OTHER}")),
        ("authorization", (f"Bearer {KEY}", "Basic dTpw")),
        ("authorization", ("Basic dTpw", f"Bearer {KEY}")),
        ("authorization", (f"Bearer {KEY}", f"Bearer {KEY}", f"Bearer {OTHER}")),
        ("x-api-key", (KEY, OTHER)),
        ("x-api-key", ("", KEY)),
        ("x-api-key", (KEY, KEY.upper())),
        ("api-key", (KEY, OTHER)),
    ],
)
def test_a_header_with_two_values_says_nothing(dialect: DialectName, name: str, values: tuple[str, ...]) -> None:
    """Which of them another party believed cannot be known, so neither is believed."""
    assert api_key(head(*((name, value) for value in values)), dialect) is None


@in_both_dialects
def test_a_header_that_is_merely_repeated_is_one(dialect: DialectName) -> None:
    """The same key twice is that key."""
    pair = ("authorization", f"Bearer {KEY}")
    assert api_key(head(pair, ("Authorization", f"bearer  {KEY} ")), dialect) == KEY


@in_both_dialects
def test_no_header_is_no_key(dialect: DialectName) -> None:
    """Keys are not looked for in query strings, cookies or other headers."""
    request = head(("cookie", f"key={KEY}"), ("x-goog-api-key", KEY), path=f"/v1/models?api-key={KEY}")
    assert api_key(request, dialect) is None


@given(key=VISIBLE, dialect=st.sampled_from(DIALECTS), blanks=st.text(" \t", max_size=3))
def test_a_key_of_visible_ascii_comes_out_as_it_went_in(key: str, dialect: DialectName, blanks: str) -> None:
    """Whatever a key looks like, it is not altered."""
    assert api_key(head(("x-api-key", f"{blanks}{key}{blanks}")), dialect) == key
    assert api_key(head(("authorization", f"Bearer {key}{blanks}")), dialect) == key


@given(
    st.lists(
        st.tuples(st.sampled_from(["authorization", "x-api-key", "api-key"]), st.text(st.characters(max_codepoint=255)))
    ),
    st.sampled_from(DIALECTS),
)
def test_what_comes_out_is_visible_ascii_that_a_header_ends_with(
    pairs: list[tuple[str, str]], dialect: DialectName
) -> None:
    """No header text makes it raise, or makes it return what was not sent."""
    key = api_key(head(*pairs), dialect)
    assert key is None or (
        all("!" <= letter <= "~" for letter in key) and any(value.rstrip(" \t").endswith(key) for _, value in pairs)
    )
