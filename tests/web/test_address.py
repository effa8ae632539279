"""Promises of `ratelimit.web.address`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.web.address import client_address
from tests.web.heads import head

PROXY = "192.0.2.9"
"""The peer on the socket in every test that has proxies."""


def seen(forwarded: str | list[str] | None, hops: int, client: str | None = PROXY) -> str | None:
    lines = [] if forwarded is None else [forwarded] if isinstance(forwarded, str) else forwarded
    return client_address(head(*(("X-Forwarded-For", line) for line in lines), client=client), hops)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7\t", "203.0.113.7"),
        ("203.0.113.7:5678", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:cb00:7107", "203.0.113.7"),
        ("0:0:0:0:0:ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("::ffff:203.0.113.7%eth0", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:0001:0002::9", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("[fe80::1%25eth0]:80", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_has_one_form_however_it_is_written(text: str, subject: str) -> None:
    """From the socket and from a trusted proxy alike; ports, brackets, zones and mapping to IPv6 make no difference."""
    assert seen(None, 0, client=text) == subject
    assert seen(text, 1) == subject


SPOOFS = [
    # Not an address, or not only one.
    "",
    " ",
    "unknown",
    "_hidden",
    "localhost",
    "sk-live-1",
    "evil.example:80",
    "203.0.113.7 203.0.113.8",
    "203.0.113.7;203.0.113.8",
    "for=203.0.113.7",
    '"203.0.113.7"',
    "'203.0.113.7'",
    "<203.0.113.7>",
    "http://203.0.113.7",
    "user@203.0.113.7",
    "203.0.113.7/32",
    "2001:db8::/32",
    "203.0.113.7%eth0",
    "203.0.113.7\x00",
    "203.0.113.7\x0b",
    "\xa0203.0.113.7",
    "{203.0.113.7}",
    # Addresses that only some parsers read, each in its own way.
    "3405803783",
    "0xcb007107",
    "0313.0.0161.07",
    "203.0.113.007",
    "203.0.28935",
    "203.0.113",
    "203.0.113.7.",
    "203.0.113.256",
    "203.0.113.-7",
    "+203.0.113.7",
    "203.0.113.\xb2",
    "203.0.113.7:",
    "203.0.113.7:http",
    "203.0.113.7:123456",
    "203.0.113.7:1:2",
    "[203.0.113.7",
    "203.0.113.7]",
    "[2001:db8::9",
    "[2001:db8::9]443",
    "[2001:db8::9]:",
    "[[2001:db8::9]]",
    "[]",
    "2001:db8:::9",
    "2001:db8::1::9",
    "2001:db8::g",
    "1:2:3:4:5:6:7:8:9",
    "::ffff:203.0.113.256",
    "fe80::1%",
    "fe80::1%a%b",
    ":",
    "::%",
    "9" * 5_000,
    "fe80::1%" + "z" * 100,
]


@pytest.mark.parametrize("text", SPOOFS)
def test_what_is_no_address_is_never_a_subject(text: str) -> None:
    """From a trusted place it leaves the peer to count; from the socket itself it is nobody."""
    assert seen(text, 1) == PROXY
    assert seen(None, 0, client=text) is None
    assert seen(text, 1, client=None) is None


@pytest.mark.parametrize(
    "text", [*SPOOFS, "203.0.113.7", "2001:db8::9", "1.1.1.1, 2.2.2.2, 3.3.3.3", ",,,", "1.1.1.1,"]
)
def test_without_trusted_hops_the_header_is_not_read(text: str) -> None:
    """The peer counts, whatever the client claims."""
    assert seen(text, 0) == PROXY


@pytest.mark.parametrize(
    "text", [*SPOOFS, "203.0.113.7", "2001:db8::9", "1.1.1.1, 2.2.2.2, 3.3.3.3", ",,,", "1.1.1.1,"]
)
@pytest.mark.parametrize("separate", [False, True])
def test_what_the_client_claims_does_not_change_what_the_proxies_say(text: str, separate: bool) -> None:
    """Two proxies append the client and the first of themselves; to the left of that anything may stand."""
    trusted = "198.51.100.4, 10.0.0.1"
    assert seen([text, trusted] if separate else f"{text}, {trusted}", 2) == "198.51.100.4"


@pytest.mark.parametrize(
    "name",
    ["X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Forwarded", "X_Forwarded_For"],
)
def test_no_other_header_is_believed(name: str) -> None:
    """Every one of them is the client's own unless a proxy takes it off."""
    request = head((name, "1.2.3.4"), (name, "for=1.2.3.4"), ("X-Forwarded-For", "198.51.100.4"), client=PROXY)
    assert client_address(request, 0) == PROXY
    assert client_address(request, 1) == "198.51.100.4"


def test_entries_are_counted_from_the_right_over_all_lines() -> None:
    """Some proxies append to the line, some add a line; both mean the same."""
    entries = ["6.6.6.6", "198.51.100.4", "10.0.0.2", "10.0.0.1"]
    for line in (entries, [", ".join(entries)], [",".join(entries[:2]), ",".join(entries[2:])]):
        assert [seen(line, hops) for hops in range(1, 5)] == entries[::-1]


def test_fewer_entries_than_hops_leave_the_peer() -> None:
    """Who comes round the proxies is limited by the address he comes from, and cannot choose another."""
    assert seen(None, 1) == PROXY
    assert seen("1.2.3.4", 2) == PROXY
    assert seen("1.2.3.4, 5.6.7.8", 3) == PROXY


def test_an_empty_entry_is_counted() -> None:
    """To skip it would move the trusted place on to an entry that the client wrote."""
    assert seen("6.6.6.6, 198.51.100.4, ", 2) == "198.51.100.4"
    assert seen("6.6.6.6, , 10.0.0.1", 2) == PROXY


def test_ipv4_clients_do_not_share_a_bucket() -> None:
    """Mapped addresses are the IPv4 addresses that they stand for: the hole of CVE-2026-30827."""
    assert len({seen(None, 0, client=f"::ffff:203.0.113.{last}") for last in range(256)}) == 256


def test_no_peer_and_no_header_is_nobody() -> None:
    """A unix socket has no address."""
    assert seen(None, 0, client=None) is None
    assert seen(None, 1, client="") is None
    assert seen("198.51.100.4", 1, client=None) == "198.51.100.4"


@given(st.ip_addresses(), st.booleans(), st.sampled_from(["", ":1", ":65535"]))
def test_every_address_is_its_network(address: IPv4Address | IPv6Address, upper: bool, port: str) -> None:
    """IPv4 is itself, IPv6 the /64 that it lies in, in the spelling of `ipaddress`."""
    text = str(address) if isinstance(address, IPv4Address) else f"[{address.exploded}]"
    subject = seen(f"{text.upper() if upper else text}{port}", 1)
    plain = getattr(address, "ipv4_mapped", None) or address
    expected = plain if isinstance(plain, IPv4Address) else IPv6Network((int(plain), 64), strict=False)
    assert subject == str(expected)


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=60), max_size=4), st.integers(0, 4))
def test_a_subject_is_an_address_whatever_was_sent(lines: list[str], hops: int) -> None:
    """No text raises, and none gets into the subject."""
    subject = seen(lines, hops)
    assert subject is not None
    assert str(ip_network(subject) if "/" in subject else ip_address(subject)) == subject
