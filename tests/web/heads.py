"""Request heads as clients send them."""

from __future__ import annotations

from ratelimit.web.head import RequestHead

__all__ = ("bearer", "head")


def head(*pairs: tuple[str, str], path: str = "/v1/chat/completions", client: str | None = "192.0.2.9") -> RequestHead:
    """A head with these headers, in this order, among ordinary ones."""
    sent = [("Host", "api.example"), *pairs, ("Content-Type", "application/json")]
    return RequestHead(
        "POST", path, [(name.encode(), value.encode("latin-1")) for name, value in sent], client, {"type": "http"}
    )


def bearer(key: str) -> RequestHead:
    """A head with this API key, as OpenAI's clients send it."""
    return head(("Authorization", f"Bearer {key}"))
