"""Promises of `ratelimit.web.exchange`: who pays for which request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ratelimit import Limit, Plan, TokenWeights
from ratelimit.intake import Scope
from ratelimit.web.identity import Identity
from tests.web.asgi_gateway import Gateway, asking, run, served
from tests.web.asgi_server import Connection, StoryApp, http_scope
from tests.web.backends import LEDGER, RecordingAsyncBackend
from tests.web.stories import INPUT, Story

STORY = Story("openai")
JSON = [(b"content-type", b"application/json")]


def test_scopes_are_charged_together_each_by_its_own_weights() -> None:
    """A key and its organisation, whose plan counts input at half."""
    key = LEDGER
    half = Plan("Half", limits=[Limit("tokens", 10_000, "day")], weights=TokenWeights(input=0.5))
    scopes = [Scope("key-1", key), Scope("org-1", half)]
    connection = asking(STORY)
    gateway = served(connection, identify=lambda _: Identity(tuple(scopes), group="org-1"))
    (charge,) = gateway.books.charges
    levels = [scope.levels[-1] // plan.layout.specs[-1].units for scope, plan in _scopes(gateway, key, half)]
    assert levels == [INPUT + STORY.tokens, INPUT // 2 + STORY.tokens]
    assert len(charge.holds) == 2


def _scopes(gateway: Gateway, *plans: Plan) -> list[tuple[Any, Plan]]:
    return list(zip(gateway.memory.scopes.values(), plans, strict=True))


@pytest.mark.parametrize("as_what", [lambda s: s, lambda s: [s], lambda s: (s,), lambda s: Identity((s,))])
def test_identify_may_return_any_form_of_scopes(as_what: Callable[[Scope], Any]) -> None:
    """One, some, or an Identity; amounts of theirs are ours to say."""
    scope = Scope("bob", LEDGER, None, {"tokens": 5_000_000})
    gateway = served(asking(STORY), identify=lambda _: as_what(scope))
    assert gateway.used == (1, INPUT + STORY.tokens)


@pytest.mark.parametrize(("hops", "expected"), [(0, 2), (1, 1)])
def test_clients_without_a_key_are_limited_by_their_address(hops: int, expected: int) -> None:
    """Where the operator says so; behind a proxy by the address that it saw."""

    async def serve() -> None:
        gateway = Gateway.of(StoryApp(STORY.chunks), RecordingAsyncBackend(), anonymous=LEDGER, trusted_hops=hops)
        for client in ("192.0.2.1", "192.0.2.2"):
            connection = asking(STORY)
            connection.scope["client"] = (client, 1)
            connection.scope["headers"] = [(b"x-forwarded-for", b"198.51.100.7")]
            await gateway.serve(connection)
            assert connection.status == 200
        assert len(gateway.memory) == expected
        assert gateway.used == (2, 2 * (INPUT + STORY.tokens))

    run(serve())


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
@pytest.mark.parametrize("key", ["Bearer mallory", "mallory", "Bearer \u00e9"])
def test_a_wrong_key_does_not_make_an_anonymous_client(header: str, key: str) -> None:
    """Its owner would never find out; what an operator lets in without a key is another matter."""
    connection = asking(STORY)
    connection.scope["headers"] = [(header.encode(), key.encode())]
    gateway = served(connection, anonymous=LEDGER)
    if header == "authorization" and key == "mallory":
        return  # another scheme: that is somebody else's header
    assert (connection.status, len(gateway.memory)) == (401, 0)


def test_an_anonymous_client_without_an_address_is_not_known() -> None:
    """There is nothing to limit it by."""
    connection = asking(STORY)
    connection.scope |= {"client": None, "headers": []}
    assert served(connection, anonymous=LEDGER).books.charges == []
    assert connection.status == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("cost", [0, 2])
def test_the_list_of_models_is_for_those_who_are_known(method: str, cost: int) -> None:
    """Free unless told otherwise, and then as many requests."""
    connection = Connection(http_scope(method, "/v1/models"))
    app = StoryApp([b"{}"], headers=JSON)
    gateway = served(connection, app, models_cost=cost)
    assert (connection.status, app.calls, gateway.used) == (200, 1, (cost, 0))
    assert (b"x-ratelimit-remaining-requests" in connection.headers) == bool(cost)
    connection = Connection(http_scope(method, "/v1/models", authorization="Bearer mallory"))
    served(connection, app, models_cost=cost)
    assert (connection.status, app.calls) == (401, 1)


@pytest.mark.parametrize(
    ("path", "headers", "anthropic"),
    [
        ("/v1/models", {}, False),
        ("/v1/models/glm-5", {"anthropic_version": "2023-06-01"}, True),
        ("/anthropic/v1/models", {}, True),
    ],
)
def test_models_are_refused_in_the_dialect_of_who_asks(path: str, headers: dict[str, str], anthropic: bool) -> None:
    """Both APIs have that path."""
    connection = Connection(http_scope("GET", path, authorization="Bearer mallory", **headers))
    served(connection)
    assert (json.loads(connection.text).get("type") == "error") == anthropic


def test_counting_tokens_costs_a_request_and_no_tokens() -> None:
    """Its body is the app's business: it is not read."""
    connection = Connection(http_scope(path="/v1/messages/count_tokens"), [b"{", b"}"])
    app = StoryApp([b'{"input_tokens": 9}'], headers=JSON)
    gateway = served(connection, app)
    assert (connection.status, app.body, gateway.used) == (200, b"{}", (1, 0))
    assert b"anthropic-ratelimit-requests-remaining" in connection.headers


@pytest.mark.parametrize(
    ("unknown", "status", "calls", "used"),
    [("pass", 200, 1, (0, 0)), ("charge", 200, 1, (1, 0)), ("refuse", 404, 0, (0, 0))],
)
def test_unknown_paths_pass_are_charged_or_are_refused(
    unknown: Any, status: int, calls: int, used: tuple[int, int]
) -> None:
    """By option; refused ones without asking who it is."""
    connection = Connection(http_scope(path="/v1/images/generations"), [b"{}"])
    app = StoryApp([b"{}"], headers=JSON)
    gateway = served(connection, app, unknown=unknown)
    assert (connection.status, app.calls, gateway.used) == (status, calls, used)
    if unknown == "charge":
        connection = Connection(http_scope(path="/v1/images/generations", authorization="Bearer mallory"))
        served(connection, app, unknown=unknown)
        assert connection.status == 401


@pytest.mark.parametrize(("given", "requests"), [("refund_tokens", 1), ("refund", 0), ("keep", 1)])
def test_a_failed_request_without_tokens_stays_counted_unless_told_otherwise(given: Any, requests: int) -> None:
    """As for any other request."""
    connection = Connection(http_scope(path="/v1/messages/count_tokens"))
    gateway = served(connection, StoryApp([b"{}"], status=500), on_upstream_error=given)
    assert gateway.used == (requests, 0)
