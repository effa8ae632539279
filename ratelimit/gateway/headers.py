"""Which headers go to the upstream, and which come back. RFC 9110, section 7.6."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Final

from ratelimit.web.answer import Headers

__all__ = ("METERABLE", "accepted_encodings", "request_headers", "response_headers")

METERABLE: Final = frozenset(
    coding
    for coding, needs in (
        ("identity", "zlib"),
        ("gzip", "zlib"),
        ("deflate", "zlib"),
        ("br", "brotli"),
        ("zstd", "zstandard"),
    )
    if find_spec(needs)
)
"""Content codings that usage can be read from, with what is installed."""

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Whose account pays is the operator's business: a client may not choose it, and need not know it.
_ACCOUNT: Final = frozenset(
    {
        b"anthropic-organization-id",
        b"anthropic-workspace-id",
        b"openai-organization",
        b"openai-project",
    }
)
_NOT_SENT: Final = (
    _HOP_BY_HOP
    | _ACCOUNT
    | {
        # Credentials for this gateway, and nobody else.
        b"api-key",
        b"authorization",
        b"cookie",
        b"x-api-key",
        # Written anew: by the client library, or below.
        b"accept-encoding",
        b"content-length",
        b"expect",  # the body has been asked for already
        b"host",
        b"via",
        b"x-forwarded-for",
    }
)
_NOT_RETURNED: Final = (
    _HOP_BY_HOP
    | _ACCOUNT
    | {
        b"alt-svc",  # the way around this gateway
        b"date",  # the server of this gateway sends one
        b"set-cookie",  # sessions of the operator's account
        b"ratelimit",
        b"ratelimit-policy",
    }
)
# Where the operator's account stands with its provider: not what the client's plan allows.
_LIMITS: Final = (b"x-ratelimit-", b"anthropic-ratelimit-", b"anthropic-priority-", b"anthropic-fast-")
_VIA: Final = "1.1 ratelimit"
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""Characters for which a server breaks off the whole response, though the upstream's may let them through."""


def request_headers(
    headers: Iterable[tuple[bytes, bytes]], client: str | None, credentials: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Headers for the upstream: the client's, without those that are for this hop, and with the upstream's own key.

    `client` is the address of the peer, appended to X-Forwarded-For. Host and framing are left to the HTTP client.
    """
    kept, aside = _sorted_out(headers, _NOT_SENT)
    sent = [(name.decode("latin-1"), _text(value)) for name, value in kept]
    sent.append(("accept-encoding", accepted_encodings(", ".join(aside.get(b"accept-encoding", ())))))
    sent.append(("via", ", ".join([*aside.get(b"via", ()), _VIA])))
    hops = aside.get(b"x-forwarded-for", [])
    if client is not None:
        hops.append(client)
    if hops:
        sent.append(("x-forwarded-for", ", ".join(hops)))
    sent.extend(credentials)
    return sent


def response_headers(headers: Iterable[tuple[bytes, bytes]], origin: bytes) -> Headers:
    """Headers for the client: the upstream's, without those that are for this hop or about the operator's account.

    A Location on `origin`, the upstream's scheme and authority, is made relative: clients cannot reach it there.
    """
    kept, _ = _sorted_out(headers, _NOT_RETURNED)
    return [
        (name, _relative(value, origin) if name == b"location" else value)
        for name, value in kept
        if not name.startswith(_LIMITS) and not _CONTROL.search(value)
    ]


@lru_cache(maxsize=256)
def accepted_encodings(value: str) -> str:
    """What is left of Accept-Encoding when only codings that can be metered count; "identity" when none is.

    A request without the field accepts anything (RFC 9110, section 12.5.3), so it gets one.
    """
    offers = [offer.strip() for offer in value.split(",")]
    return ", ".join(offer for offer in offers if offer.partition(";")[0].strip().lower() in METERABLE) or "identity"


def _sorted_out(
    headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes]
) -> tuple[Headers, dict[bytes, list[str]]]:
    """The pairs to keep, and the values of those that are dropped: by us, or because Connection lists them."""
    kept: Headers = []
    aside: dict[bytes, list[str]] = {}
    for name, value in headers:
        name = name.lower()
        if name not in dropped:
            kept.append((name, value))
        elif value:
            aside.setdefault(name, []).append(_text(value))
    options = {option.strip().lower().encode() for value in aside.get(b"connection", ()) for option in value.split(",")}
    if not options <= _HOP_BY_HOP:
        kept = [pair for pair in kept if pair[0] not in options]
        aside = {name: values for name, values in aside.items() if name not in options}
    return kept, aside


def _text(value: bytes) -> str:
    """The HTTP client encodes text as UTF-8, so this is what leaves the bytes as they are, wherever possible."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _relative(location: bytes, origin: bytes) -> bytes:
    rest = location.removeprefix(origin)
    return rest if rest != location and rest[:1] in (b"/", b"?") else location
