"""Which path a request has on the upstream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ("PREFIXES", "Unprefixed", "upstream_path")

PREFIXES: Final = ("/anthropic",)
"""What may stand in front of `/v1/…`. The upstream does not see it."""

_SAFE: Final = "/:@!$&'()*+,;=~-._"
# What two servers may read differently: dot segments, empty segments, other slashes, escapes of any of these, and
# bytes that no path has. An id of a model may hold a slash, and is the last thing in its path.
_UNCLEAR: Final = re.compile(
    rb"(?:/|%2[fF])(?:\.{0,2}(?:/|%2[fF])|\.{1,2}$)|\\|%(?:2[eE]|5[cC]|[01][0-9a-fA-F]|7[fF])|[^!-~]"
)
_SLASH: Final = re.compile(rb"%2[fF]")
_MODEL: Final = b"/v1/models/"


class Unprefixed:
    """Serves `/anthropic/v1/…` as `/v1/…`, for an app that knows no prefixes."""

    def __init__(self, app: ASGIApp, prefixes: Sequence[str] = PREFIXES) -> None:
        self._app = app
        self._prefixes = prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http":
            for prefix in self._prefixes:
                if scope["path"].startswith(f"{prefix}/"):
                    scope = _cut(scope, prefix)
                    break
        await self._app(scope, receive, send)


def _cut(scope: Scope, prefix: str) -> Scope:
    path, raw = scope["path"][len(prefix) :], _raw(scope)
    # A prefix that was sent with escapes is known by its decoded path only.
    raw = raw[len(prefix) :] if raw.startswith(f"{prefix}/".encode()) else quote(path, _SAFE).encode()
    return {**scope, "path": path, "raw_path": raw}


def _raw(scope: Scope) -> bytes:
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"], _SAFE).encode() if raw is None else raw


def upstream_path(scope: Scope) -> str | None:
    """Path and query as the client sent them; None for a path that the upstream may take for another one.

    The limits have been applied to the path as this server reads it. No other reading may get through.
    """
    raw = _raw(scope)
    if _UNCLEAR.search(raw) or (_SLASH.search(raw) and not raw.startswith(_MODEL)):
        return None
    query: bytes = scope.get("query_string", b"")
    return (raw + b"?" + query if query else raw).decode("latin-1")
