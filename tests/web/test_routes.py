"""Promises of `ratelimit.web.routes`."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.routing import Match
from starlette.routing import Route as StarletteRoute

from ratelimit.errors import ConfigError
from ratelimit.web.routes import Kind, Route, RouteTable, Unknown

ENDPOINTS = [
    ("POST", "/v1/chat/completions", Kind.CHAT, "openai", True),
    ("POST", "/v1/completions", Kind.COMPLETION, "openai", True),
    ("POST", "/v1/responses", Kind.RESPONSES, "openai", True),
    ("POST", "/v1/embeddings", Kind.EMBEDDINGS, "openai", True),
    ("POST", "/v1/messages", Kind.MESSAGES, "anthropic", True),
    ("POST", "/v1/messages/count_tokens", Kind.COUNT_TOKENS, "anthropic", False),
    ("GET", "/v1/models", Kind.MODELS, "openai", False),
    ("HEAD", "/v1/models", Kind.MODELS, "openai", False),
]
COSTLY = [path for method, path, *_ in ENDPOINTS if method == "POST"]


@pytest.mark.parametrize(("method", "path", "kind", "dialect", "has_tokens"), ENDPOINTS)
def test_every_endpoint_is_known(method: str, path: str, kind: Kind, dialect: str, has_tokens: bool) -> None:
    """Under no prefix and under Anthropic's."""
    for unknown in ("pass", "charge", "refuse"):
        table = RouteTable(unknown=unknown)
        assert table.find(method, path) == Route(kind, dialect, has_tokens)  # type: ignore[arg-type]
        under = table.find(method, f"/anthropic{path}")
        assert under is not None
        assert (under.kind, under.has_tokens) == (kind, has_tokens)


@pytest.mark.parametrize("path", COSTLY)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "QUERY", "FOO"])
def test_another_method_is_no_way_round(method: str, path: str) -> None:
    """Views that do not look at the method would serve it: it is charged as the endpoint, or refused."""
    for unknown in ("pass", "charge"):
        assert RouteTable(unknown=unknown).find(method, path) == RouteTable().find("POST", path)
    refused = RouteTable(unknown="refuse").find(method, path)
    assert refused is not None
    assert refused.kind is Kind.REFUSED


@pytest.mark.parametrize("path", COSTLY)
def test_a_whole_url_is_its_path(path: str) -> None:
    """A request target may be one (RFC 9112), and some frameworks look for the path in it."""
    for target in (
        f"http://api.example{path}",
        f"x:{path}",
        f"https://api.example:443/{path}",
        f"http://x{path};a",
        f"sip:{path};a",
    ):
        assert RouteTable().find("POST", target) == RouteTable().find("POST", path)


@pytest.mark.parametrize("path", ["/v1/models/glm-5", "/v1/models/org/glm-5", "/anthropic/v1/models/glm-5"])
def test_one_model_is_looked_up_like_all(path: str) -> None:
    """Its name may hold slashes; only reading is free."""
    table = RouteTable()
    found = [table.find(method, path) for method in ("GET", "HEAD", "POST", "DELETE")]
    assert [route and route.kind for route in found] == [Kind.MODELS, Kind.MODELS, None, None]


@pytest.mark.parametrize("prefix", ["", "/api", "/api/llm"])
def test_prefixes_take_the_place_of_the_default_ones(prefix: str) -> None:
    """What stands under none of them is none of ours."""
    table = RouteTable([prefix])
    found = table.find("POST", f"{prefix}/v1/chat/completions")
    assert found is not None
    assert found.kind is Kind.CHAT
    assert table.find("POST", "/anthropic/v1/messages") is None
    assert table.find("POST", "/other/v1/chat/completions") is None


@pytest.mark.parametrize("path", ["/", "", "/healthz", "/v1", "/v1/chat", "/v1/chat/completions/1", "/v1/modelsx"])
def test_other_paths_are_dealt_with_as_told(path: str) -> None:
    """They pass unseen, are charged, or are refused; a browser's preflight always passes."""
    assert RouteTable(unknown="pass").find("POST", path) is None
    charged, refused = (RouteTable(unknown=unknown).find("POST", path) for unknown in ("charge", "refuse"))
    assert charged == Route(Kind.OTHER, "openai")
    assert refused == Route(Kind.REFUSED, "openai")
    assert RouteTable(unknown="pass").find("OPTIONS", path) is None
    for unknown in ("charge", "refuse"):
        preflight = RouteTable(unknown=unknown).find("OPTIONS", path)
        assert preflight is not None
        assert preflight.kind is Kind.PREFLIGHT


@pytest.mark.parametrize("path", ["/anthropic/v1/complete", "/v1/messages/batches"])
def test_a_path_tells_in_which_dialect_it_is_refused(path: str) -> None:
    """Anthropic's clients get Anthropic's errors also where there is nothing."""
    route = RouteTable(unknown="refuse").find("GET", path)
    assert route is not None
    assert route.dialect == "anthropic"


@pytest.mark.parametrize("path", COSTLY)
@pytest.mark.parametrize("spelled", ["/{}", "{}/", "{}//", "/.{}", "/x/..{}", "{}/.", "{}/x/..", "///{}", "{}\n"])
@pytest.mark.parametrize("unknown", ["pass", "charge"])
def test_a_path_that_an_app_may_take_for_an_endpoint_is_one(path: str, spelled: str, unknown: Unknown) -> None:
    """Nothing that costs tokens passes unseen because it is written in another way."""
    table = RouteTable(unknown=unknown)
    assert table.find("POST", spelled.format(path)) == table.find("POST", path)
    inner = path.replace("/v1/", "/v1//./")
    assert table.find("POST", spelled.format(inner)) == table.find("POST", path)


@pytest.mark.parametrize("path", COSTLY)
@pytest.mark.parametrize("method", ["post", "Post", "pOST"])
def test_a_method_counts_in_any_case(path: str, method: str) -> None:
    """Django and Flask take "post" for POST, and some servers let it through."""
    table = RouteTable()
    assert table.find(method, path) == table.find("POST", path)
    for reading in ("GET", "HEAD"):
        assert table.find(reading.lower(), "/v1/models") == table.find(reading, "/v1/models")
    assert table.find("options", path) == table.find("OPTIONS", path)


@given(
    path=st.sampled_from(COSTLY),
    before=st.text("/.\n\r\t ", max_size=3),
    after=st.text("/.\n\r\t ", max_size=3),
)
def test_whatever_starlette_would_serve_is_found(path: str, before: str, after: str) -> None:
    """Its paths are patterns that end in `$`, which matches before a line feed."""
    asked = before + path + after
    match, _ = StarletteRoute(path, lambda _: None, methods=["POST"]).matches(
        {"type": "http", "method": "POST", "path": asked, "root_path": "", "headers": []}
    )
    if match is Match.FULL:
        assert RouteTable().find("POST", asked) is not None


@example("http://[/v1/chat/completions", "POST")
@given(st.text(), st.text(max_size=9))
def test_no_path_or_method_is_too_strange(path: str, method: str) -> None:
    """Whatever a client sends, there is an answer."""
    assert RouteTable(unknown="refuse").find(method, path) is not None or method.upper() == "OPTIONS"


@pytest.mark.parametrize(
    ("prefixes", "unknown", "message"),
    [
        (["v1"], "pass", "prefix 'v1': must be empty, or begin with a slash and not end with one"),
        (["/v1/"], "pass", "prefix '/v1/': must be empty, or begin with a slash and not end with one"),
        ("/api", "pass", "prefixes is '/api': must be a list of prefixes, such as ('', '/anthropic')"),
        ([""], "ignore", "unknown is 'ignore': must be one of pass, charge, refuse"),
    ],
)
def test_what_cannot_be_right_is_refused(prefixes: list[str], unknown: Unknown, message: str) -> None:
    """Naming value and rule."""
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        RouteTable(prefixes, unknown)
