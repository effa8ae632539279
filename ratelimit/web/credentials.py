"""The API key of a request, from whichever header its client puts it in."""

from __future__ import annotations

from typing import Final

from ratelimit.web.head import RequestHead
from ratelimit.web.routes import DialectName

__all__ = ("KEY_MAX", "api_key", "has_credentials")

KEY_MAX: Final = 4_096
"""Longest key that is looked at, in characters."""

# Old Anthropic SDKs send x-api-key, new ones Authorization; api-key is Azure's. What a dialect documents goes first.
_ORDER: Final[dict[DialectName, tuple[str, ...]]] = {
    "openai": ("authorization", "x-api-key", "api-key"),
    "anthropic": ("x-api-key", "authorization", "api-key"),
}
_BLANK: Final = " \t"
"""What HTTP calls whitespace. str.strip() without it would also take off U+0085 and U+00A0."""


def api_key(head: RequestHead, dialect: DialectName) -> str | None:
    """The key that a request presents; None where there is none, or none that can be right.

    The first header of the dialect's order that holds a key decides: `Authorization: Bearer …` (RFC 6750) and
    `x-api-key` on every route, x-api-key first on Anthropic's, `api-key` last. A header that comes twice with
    different values says nothing, and neither does a key with a character that is not visible ASCII.
    """
    for name in _ORDER[dialect]:
        value = head.get(name)
        if value is None:
            continue
        key = _bare(name, value)
        values = head.every(name)
        if len(values) > 1 and any(_bare(name, other) != key for other in values):
            return None  # whoever stands in front of us may have believed another one
        if key:
            return key if _plausible(key) else None
    return None


def has_credentials(head: RequestHead) -> bool:
    """True for a request that presents a key, right or wrong."""
    return any(head.get(name) is not None for name in _ORDER["openai"])


def _bare(name: str, value: str) -> str:
    """The key in a header's value; empty for another scheme, which is some other service's business."""
    value = value.strip(_BLANK)
    if name != "authorization":
        return value
    scheme, _, key = value.partition(" ")
    return key.strip(_BLANK) if scheme.lower() == "bearer" else ""


def _plausible(key: str) -> bool:
    return len(key) <= KEY_MAX and key.isascii() and key.isprintable() and " " not in key
