"""Promises of `ratelimit.web.head`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratelimit.web.head import RequestHead

NAMES = st.sampled_from([b"accept", b"Accept", b"X-Api-Key", b"x-api-key", b"cookie"])
PAIRS = st.lists(st.tuples(NAMES, st.binary(max_size=9)))


def head(*pairs: tuple[bytes, bytes]) -> RequestHead:
    """A head with these headers."""
    return RequestHead("POST", "/v1/messages", pairs, "192.0.2.9", {"type": "http"})


@given(PAIRS)
def test_names_are_in_lower_case_and_the_first_value_counts(pairs: list[tuple[bytes, bytes]]) -> None:
    """Whatever case a client writes them in, and however often."""
    request = head(*pairs)
    assert request.headers.keys() == {name.lower().decode() for name, _ in pairs}
    for name, value in request.headers.items():
        first = next(sent for sent_name, sent in pairs if sent_name.lower() == name.encode())
        assert value == first.decode("latin-1")


@given(PAIRS)
def test_every_value_is_told_in_order(pairs: list[tuple[bytes, bytes]]) -> None:
    """Of a header that came more than once, and none of one that did not come."""
    request = head(*pairs)
    for name in ("accept", "x-api-key", "cookie", "missing"):
        wanted = [value.decode("latin-1") for sent, value in pairs if sent.lower() == name.encode()]
        assert request.every(name) == wanted


def test_what_it_shows_holds_no_key() -> None:
    """A head may end up in a log or a traceback."""
    request = head((b"authorization", b"Bearer sk-secret"))
    assert repr(request) == str(request) == "<RequestHead POST /v1/messages>"


def test_the_pairs_may_come_from_an_iterator() -> None:
    """They are read once."""
    request = RequestHead("GET", "/", iter([(b"A", b"1"), (b"a", b"2")]), None, {})
    assert (request.headers, request.every("a"), request.client) == ({"a": "1"}, ["1", "2"], None)
