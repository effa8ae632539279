"""Which requests cost what: the endpoints of both dialects, by method and path."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from posixpath import normpath
from typing import Final, Literal, get_args
from urllib.parse import urlparse

from ratelimit.errors import ConfigError

__all__ = ("DialectName", "Kind", "Route", "RouteTable", "Unknown", "dialect_of")

DialectName = Literal["openai", "anthropic"]
Unknown = Literal["pass", "charge", "refuse"]
"""What to do with a path that is none of ours: let it through unseen, charge it a request, or answer 404."""


class Kind(Enum):
    """What an endpoint does, which decides how its body, its response and its cost are read."""

    CHAT = auto()
    """POST /v1/chat/completions"""
    COMPLETION = auto()
    """POST /v1/completions"""
    RESPONSES = auto()
    """POST /v1/responses"""
    EMBEDDINGS = auto()
    """POST /v1/embeddings"""
    MESSAGES = auto()
    """POST /v1/messages"""
    COUNT_TOKENS = auto()
    """POST /v1/messages/count_tokens: a request, no tokens"""
    MODELS = auto()
    """GET /v1/models and /v1/models/{id}: identified, free unless told otherwise"""
    PREFLIGHT = auto()
    """OPTIONS of an endpoint, or of any path that must not pass unseen: passes, without its body."""
    OTHER = auto()
    """Any other path, when it is to be charged a request."""
    REFUSED = auto()
    """Any other path, when it is to be answered 404."""


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint: its kind, the dialect in which it is answered, and whether its body tells what it costs."""

    kind: Kind
    dialect: DialectName
    has_tokens: bool = False


_ENDPOINTS: Final = (
    ("POST", "/v1/chat/completions", Route(Kind.CHAT, "openai", has_tokens=True)),
    ("POST", "/v1/completions", Route(Kind.COMPLETION, "openai", has_tokens=True)),
    ("POST", "/v1/responses", Route(Kind.RESPONSES, "openai", has_tokens=True)),
    ("POST", "/v1/embeddings", Route(Kind.EMBEDDINGS, "openai", has_tokens=True)),
    ("POST", "/v1/messages", Route(Kind.MESSAGES, "anthropic", has_tokens=True)),
    ("POST", "/v1/messages/count_tokens", Route(Kind.COUNT_TOKENS, "anthropic")),
    ("GET", "/v1/models", Route(Kind.MODELS, "openai")),
    ("HEAD", "/v1/models", Route(Kind.MODELS, "openai")),
)
_MODELS: Final = "/v1/models"
_BLANK: Final = " \t\n\r\x0b\x0c"
_ANTHROPIC: Final = ("/anthropic/", "/v1/messages")
"""Signs, in a path that is no endpoint, that its client expects Anthropic's errors."""


def _for_prefix(route: Route, prefix: str) -> Route:
    """Under `/anthropic`, the list of models is Anthropic's too."""
    return replace(route, dialect="anthropic") if "anthropic" in prefix and route.kind is Kind.MODELS else route


class RouteTable:
    """Finds the endpoint of a request.

    A path that names an endpoint only after `//`, `.`, `..` or a trailing slash are taken out counts as that endpoint:
    the app behind may take it for one, and nothing that costs tokens may pass unseen.

    Args:
        prefixes: what may stand in front of `/v1/…`; "" for nothing.
        unknown: what to do with any other path.

    Raises:
        ConfigError: a prefix that does not begin with a slash or ends with one, or another word for `unknown`.
    """

    def __init__(self, prefixes: Sequence[str] = ("", "/anthropic"), unknown: Unknown = "pass") -> None:
        if unknown not in get_args(Unknown):
            raise ConfigError(f"unknown is {unknown!r}: must be one of {', '.join(get_args(Unknown))}")
        if isinstance(prefixes, str):
            raise ConfigError(f"prefixes is {prefixes!r}: must be a list of prefixes, such as ('', '/anthropic')")
        for prefix in prefixes:
            if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
                raise ConfigError(f"prefix {prefix!r}: must be empty, or begin with a slash and not end with one")
        self._routes = {
            (method, prefix + path): _for_prefix(route, prefix)
            for prefix in prefixes
            for method, path, route in _ENDPOINTS
        }
        self._models = [(f"{prefix}{_MODELS}/", self._routes["GET", prefix + _MODELS]) for prefix in prefixes]
        self._unknown = unknown

    def find(self, method: str, path: str, root: str = "") -> Route | None:
        """The endpoint; `OTHER` or `REFUSED` for a path that must not pass unseen; None for one that may.

        `root` is the part of the path that the server was mounted at: frameworks route on what follows it.
        """
        known = self._routes.get((method, path))
        return known if known is not None else self._search(method.upper(), path, root)

    def _search(self, method: str, path: str, root: str) -> Route | None:
        """The same, for what some framework takes for a call of an endpoint."""
        plain = _plain(path)
        inner = _plain(path[len(root) :]) if root and path.startswith(root) else plain
        if method == "OPTIONS":
            return self._preflight(inner) or self._preflight(plain)
        known = self._known(method, inner) or self._known(method, plain)
        if known is not None or self._unknown == "pass":
            return known
        kind = Kind.OTHER if self._unknown == "charge" else Kind.REFUSED
        return Route(kind, dialect_of(plain))

    def _known(self, method: str, path: str) -> Route | None:
        known = self._routes.get((method, path))
        if known is None and method in ("GET", "HEAD"):
            known = next((route for start, route in self._models if path.startswith(start)), None)
        if known is None and self._unknown != "refuse":
            # Views that do not look at the method serve any of them: Django's functions, for one.
            known = self._routes.get(("POST", path))
        return known

    def _preflight(self, path: str) -> Route | None:
        """A browser asks by OPTIONS whether it may send the real request, and cannot send a key with that."""
        passes = self._unknown == "pass" and ("POST", path) not in self._routes
        return None if passes else Route(Kind.PREFLIGHT, dialect_of(path))


def dialect_of(path: str) -> DialectName:
    """The dialect that a path is asked in, whether it is an endpoint's or not."""
    return "anthropic" if any(sign in path for sign in _ANTHROPIC) else "openai"


def _plain(path: str) -> str:
    """The path without what frameworks and proxies ignore in one."""
    if not path.startswith("/"):
        # A whole URL is a request target too (RFC 9112, 3.2.2), and Quart serves the path in it, read like this.
        with suppress(ValueError):  # no URL after all
            path = urlparse(path).path
    # Starlette's routes end in "$", which matches before a line break too. "//v1" would keep its two slashes, as POSIX
    # gives them a meaning that URLs do not have.
    return normpath("/" + path.rstrip(_BLANK).lstrip("/"))
