"""The network address of a client without a key, as far as it can be believed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ratelimit.web.head import RequestHead

__all__ = ("client_address",)

_TEXT_MAX: Final = 100
"""Longer than any address with brackets, zone and port."""
_HOST_BITS: Final = 64
"""One subscriber holds at least a /64 of IPv6, and may use every address in it."""


def client_address(head: RequestHead, trusted_hops: int) -> str | None:
    """The address that an anonymous client is limited by: IPv4 as it is, IPv6 as its /64; None if there is none.

    `trusted_hops` is the number of proxies of one's own between client and gateway. Each appends the address that it
    saw to X-Forwarded-For, so the client's is that many entries from the right; what stands further left was written
    by the client. With 0 the header is not read. Where the entry is missing or is no address, the peer on the socket
    counts: the client itself if it came round the proxies, else a proxy, whose bucket those clients share.

    The result is made from a parsed address. No text of a header is in it.
    """
    forwarded = _forwarded(head, trusted_hops) if trusted_hops > 0 else None
    return forwarded or _subject(head.client)


def _forwarded(head: RequestHead, hops: int) -> str | None:
    # Empty entries count: to skip one would move the trusted place on to an entry that the client wrote.
    entries = ",".join(head.every("x-forwarded-for")).rsplit(",", hops)
    return _subject(entries[-hops]) if len(entries) >= hops else None


def _subject(text: str | None) -> str | None:
    if text is None or len(text) > _TEXT_MAX:
        return None
    host = _host(text.strip(" \t"))
    if host is None:
        return None
    try:
        return _network(IPv6Address(host)) if ":" in host else str(IPv4Address(host))
    except ValueError:
        return None


def _network(address: IPv6Address) -> str:
    # Left as IPv6, all clients of IPv4 would share ::/64, and one of them could use it up for all.
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else f"{IPv6Address(int(address) >> _HOST_BITS << _HOST_BITS)}/{_HOST_BITS}"


def _host(text: str) -> str | None:
    """The address without brackets and port: `[2001:db8::1]:443`, `192.0.2.1:5678`; None for other text around it."""
    if text.startswith("["):
        host, closed, after = text[1:].partition("]")
        return host if closed and (not after or (after[0] == ":" and _is_port(after[1:]))) else None
    if text.count(":") != 1:
        return text
    host, _, port = text.partition(":")
    return host if _is_port(port) else None


def _is_port(text: str) -> bool:
    return len(text) <= 5 and text.isascii() and text.isdigit()
