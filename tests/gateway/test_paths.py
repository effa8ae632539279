"""Promises of `ratelimit.gateway.paths`."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from ratelimit.gateway.paths import Unprefixed, upstream_path
from tests.gateway.asgi import Call, scope_of
from tests.gateway.loops import in_loop


@pytest.mark.parametrize(
    "target",
    [
        "/v1/chat/completions",
        "/v1/models/minimax-m2.5",
        "/v1/models/org%2Fmodel",
        "/v1/files/a%20b",
        "/v1/chat/completions?beta=true&x=%2F..%2F",
        "/v1/chat/%63ompletions",
        "/v1/...",
    ],
)
def test_a_plain_path_goes_on_as_it_came(target: str) -> None:
    """Path and query keep their bytes, escapes included."""
    assert upstream_path(scope_of("POST", target)) == target


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models/../chat/completions",
        "/v1/models/..",
        "/v1/./chat/completions",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/models/%2e%2e/chat/completions",
        "/v1/models/..%2Fchat%2fcompletions",
        "/v1/models/%2E./admin",
        "/v1%2Fchat/completions",
        "/v1\\chat\\completions",
        "/v1%5cchat",
        "/v1/chat%00",
        "/v1/chat%0d%0ahost:x",
        "/v1/chat\x7f",
    ],
)
def test_a_path_with_two_readings_goes_nowhere(target: str) -> None:
    """The limits were applied to one reading; the upstream could act on the other."""
    assert upstream_path(scope_of("POST", target)) is None


def test_a_server_that_keeps_no_raw_path_is_served_too() -> None:
    """`raw_path` is optional in ASGI; the path is escaped anew."""
    scope = scope_of("GET", "/v1/files/a%20b?q=1")
    del scope["raw_path"]
    assert upstream_path(scope) == "/v1/files/a%20b?q=1"


@pytest.mark.parametrize(
    ("target", "path", "raw"),
    [
        ("/anthropic/v1/messages", "/v1/messages", b"/v1/messages"),
        ("/anthropic/v1/models/a%2Fb", "/v1/models/a/b", b"/v1/models/a%2Fb"),
        ("/%61nthropic/v1/messages", "/v1/messages", b"/v1/messages"),
        ("/anthropicx/v1/messages", "/anthropicx/v1/messages", b"/anthropicx/v1/messages"),
        ("/v1/messages", "/v1/messages", b"/v1/messages"),
        ("/anthropic", "/anthropic", b"/anthropic"),
    ],
)
@in_loop
async def test_the_prefix_is_the_gateways_own(target: str, path: str, raw: bytes) -> None:
    """An app below sees `/v1/…` where the client sent `/anthropic/v1/…`."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    call = Call(scope_of("POST", target))
    await call.run(Unprefixed(app))
    assert (seen[0]["path"], seen[0]["raw_path"]) == (path, raw)
    assert call.scope["path"] != path or call.scope is seen[0]
