"""Promises of `ratelimit.gateway.headers`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.gateway.headers import METERABLE, accepted_encodings, request_headers, response_headers
from ratelimit.web.coding import open_decoder

ORIGIN = b"http://upstream:8000"
HOP_BY_HOP = (
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)
names = st.from_regex(rb"x-[a-z]{1,8}", fullmatch=True)


def sent(*headers: tuple[bytes, bytes], client: str | None = "192.0.2.7") -> list[tuple[str, str]]:
    return request_headers(headers, client, ())


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_hop_by_hop_fields_end_here(name: bytes) -> None:
    """Both ways, in any case."""
    pairs = ((name.title(), b"x"), (b"X-Kept", b"1"))
    assert name.decode() not in dict(sent(*pairs))
    assert response_headers(pairs, ORIGIN) == [(b"x-kept", b"1")]


@given(st.lists(names, unique=True, max_size=6), st.sets(names, max_size=3), st.booleans())
def test_fields_that_connection_lists_end_here(listed: list[bytes], others: set[bytes], split: bool) -> None:
    """In one field or several, with blanks and in capitals; all others pass, in order."""
    values = [b" " + name.upper() for name in listed]
    options = [(b"Connection", value) for value in values] if split else [(b"connection", b" ,".join(values))]
    rest = sorted(others - set(listed))
    pairs = [(name, b"1") for name in [*listed, *rest]] + options
    assert response_headers(pairs, ORIGIN) == [(name, b"1") for name in rest]
    assert [name for name, _ in request_headers(pairs, None, ()) if name.startswith("x-")] == [
        name.decode() for name in rest
    ]


def test_credentials_of_the_client_are_not_the_upstreams_business() -> None:
    """Its key, in any header that it may come in, and its cookies stay here; the upstream's own key goes."""
    ours = [(name, b"sk-client") for name in (b"authorization", b"x-api-key", b"api-key", b"cookie")]
    got = request_headers(ours, None, [("x-api-key", "sk-upstream")])
    assert [pair for pair in got if "sk-" in pair[1]] == [("x-api-key", "sk-upstream")]


def test_a_client_cannot_choose_the_operators_account() -> None:
    """Organisation and project fields are dropped on the way up, and account names on the way down."""
    names = (b"openai-organization", b"OpenAI-Project", b"anthropic-workspace-id", b"anthropic-organization-id")
    pairs = [(name, b"other") for name in names]
    assert "other" not in dict(sent(*pairs)).values()
    assert response_headers(pairs, ORIGIN) == []


def test_the_operators_limits_are_not_the_clients() -> None:
    """The upstream's own rate-limit headers are removed; a wait that it asks for stays."""
    pairs = [
        (b"x-ratelimit-remaining-tokens", b"1"),
        (b"X-RateLimit-Reset", b"1"),
        (b"anthropic-ratelimit-tokens-reset", b"1"),
        (b"anthropic-fast-input-tokens-limit", b"1"),
        (b"anthropic-priority-output-tokens-limit", b"1"),
        (b"ratelimit", b'"a";r=1'),
        (b"ratelimit-policy", b'"a";q=1'),
        (b"set-cookie", b"session=1"),
        (b"alt-svc", b'h3=":443"'),
        (b"retry-after", b"7"),
    ]
    assert response_headers(pairs, ORIGIN) == [(b"retry-after", b"7")]


def test_the_client_is_appended_to_x_forwarded_for() -> None:
    """Behind what came, over several fields; and Via names this hop."""
    got = dict(sent((b"x-forwarded-for", b"203.0.113.1"), (b"X-Forwarded-For", b"10.0.0.1"), (b"via", b"1.1 edge")))
    assert got["x-forwarded-for"] == "203.0.113.1, 10.0.0.1, 192.0.2.7"
    assert got["via"] == "1.1 edge, 1.1 ratelimit"
    assert "x-forwarded-for" not in dict(sent(client=None))


def test_host_and_framing_are_written_anew() -> None:
    """What describes the client's own message must not describe ours."""
    got = dict(sent((b"host", b"gateway"), (b"content-length", b"5"), (b"expect", b"100-continue")))
    assert not {"host", "content-length", "expect"} & got.keys()


@pytest.mark.parametrize(
    ("offered", "asked"),
    [
        ("", "identity"),
        ("gzip, deflate", "gzip, deflate"),
        ("gzip;q=0.5, compress,identity;q=0", "gzip;q=0.5, identity;q=0"),
        ("*", "identity"),
        ("x-secret, *;q=0.1", "identity"),
        ("GZIP", "GZIP"),
    ],
)
def test_only_codings_that_can_be_metered_are_asked_for(offered: str, asked: str) -> None:
    """With none of them, or without the field, no coding at all."""
    assert accepted_encodings(offered) == asked
    fields = [(b"accept-encoding", offer.encode()) for offer in offered.split(",")]
    assert dict(sent(*fields))["accept-encoding"] == asked


@pytest.mark.parametrize("coding", sorted(METERABLE))
def test_what_is_called_meterable_is(coding: str) -> None:
    """The meter has a decoder for each."""
    assert (open_decoder(coding) is None) == (coding == "identity")


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (b"http://upstream:8000/v1/models/", b"/v1/models/"),
        (b"http://upstream:8000?x", b"?x"),
        (b"http://upstream:80001/v1", b"http://upstream:80001/v1"),
        (b"https://elsewhere/", b"https://elsewhere/"),
        (b"/v1/models", b"/v1/models"),
    ],
)
def test_redirects_do_not_lead_around_the_gateway(location: bytes, shown: bytes) -> None:
    """The upstream's own address is taken off; another server's is not."""
    assert response_headers([(b"location", location)], ORIGIN) == [(b"location", shown)]


def test_bytes_of_values_survive() -> None:
    """UTF-8 passes as text that the HTTP client encodes to the same bytes; what is none is read as Latin-1."""
    got = dict(sent((b"x-name", "Zoë".encode()), (b"x-old", b"Zo\xeb")))
    assert (got["x-name"].encode(), got["x-old"]) == ("Zoë".encode(), "Zoë")


@pytest.mark.parametrize("value", [b"a\x01b", b"a\x00", b"\x7f", b"a\x1bb"])
def test_a_field_that_no_server_would_send_is_left_out(value: bytes) -> None:
    """Servers refuse control characters by breaking the whole response; a tab is none of these."""
    pairs = [(b"x-a", value), (b"x-b", b"a\tb"), (b"x-c", b"\xff")]
    assert response_headers(pairs, ORIGIN) == pairs[1:]
