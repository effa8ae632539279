"""What is known of a request before its body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ("RequestHead",)


class RequestHead:
    """Method, path and headers of one request; the argument of an `identify` callable.

    `client` is the address of the peer on the socket, None where the server does not say. `native` is the ASGI scope or
    the WSGI environ.
    """

    __slots__ = ("_first", "_headers", "_pairs", "client", "method", "native", "path")

    def __init__(
        self,
        method: str,
        path: str,
        pairs: Iterable[tuple[bytes, bytes]],
        client: str | None,
        native: Mapping[str, Any],
    ) -> None:
        self.method = method
        self.path = path
        self._pairs = list(pairs)
        # As bytes: clients send some twenty headers, and of those hardly two are ever looked at.
        self._first = dict(reversed(self._pairs))
        if not b"".join(self._first).islower():  # ASGI servers write names in lower case
            self._first = {name.lower(): value for name, value in reversed(self._pairs)}
        self._headers: Mapping[str, str] | None = None
        self.client = client
        self.native = native

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.path}>"  # headers hold API keys

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name, in lower case; of one that was sent more than once, the first value."""
        if self._headers is None:
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._first.items()}
        return self._headers

    def get(self, name: str) -> str | None:
        """The first value of a header, None if it was not sent. `name` is in lower case."""
        value = self._first.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def every(self, name: str) -> list[str]:
        """All values of a header, in the order in which they were sent. `name` is in lower case."""
        wanted = name.encode("latin-1")
        if wanted not in self._first:
            return []
        if len(self._first) == len(self._pairs):
            return [self._first[wanted].decode("latin-1")]
        return [value.decode("latin-1") for key, value in self._pairs if key.lower() == wanted]
