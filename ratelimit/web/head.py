"""What is known of a request before its body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ("RequestHead",)


class RequestHead:
    """Method, path and headers of one request; the argument of an `identify` callable.

    `headers` has names in lower case; of a header that was sent more than once all values are in :meth:`every`, and
    the first one counts. `client` is the address of the peer on the socket, None where the server does not say.
    `native` is the ASGI scope or the WSGI environ.
    """

    __slots__ = ("_pairs", "client", "headers", "method", "native", "path")

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
        self._pairs = [(name.lower(), value) for name, value in pairs]
        self.headers: Mapping[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(self._pairs)
        }
        self.client = client
        self.native = native

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.path}>"  # headers hold API keys

    def every(self, name: str) -> list[str]:
        """All values of a header, in the order in which they were sent. `name` is in lower case."""
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self._pairs if key == wanted]
