"""Apps and keys that several tests share."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

__all__ = ("bearer", "refusing")


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that refuses everybody."""
    await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    """The header that carries a key."""
    return [(b"authorization", f"Bearer {key}".encode())]
