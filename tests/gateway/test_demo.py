"""Promises of `ratelimit.gateway.demo`."""

from __future__ import annotations

import shlex

import pytest

from ratelimit.gateway.config import GatewayConfig
from ratelimit.gateway.demo import DemoKeys, announcement
from ratelimit.plans import PlanRegistry
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from tests.gateway.access import bearer

CHAT = "/v1/chat/completions"


def head(path: str, pairs: list[tuple[bytes, bytes]]) -> RequestHead:
    return RequestHead("POST", path, pairs, None, {})


def test_every_plan_has_a_key() -> None:
    """In either header; any other key, and none, is nobody's."""
    demo = DemoKeys(PlanRegistry())
    assert list(demo.keys) == ["Lite", "Pro", "MAX 5X", "MAX 20X"]
    for plan, key in demo.keys.items():
        who = Identity.of(f"demo {plan}", plan)
        assert demo(head(CHAT, bearer(key))) == who
        assert demo(head("/v1/messages", [(b"x-api-key", key.encode())])) == who
        assert demo(head(CHAT, bearer(key[:-1]))) is None
    assert demo(head(CHAT, [])) is None


def test_keys_are_made_anew_and_shown_once() -> None:
    """No start has the keys of another, and a repr has none."""
    one, other = DemoKeys(PlanRegistry()), DemoKeys(PlanRegistry())
    assert not set(one.keys.values()) & set(other.keys.values())
    assert not [key for key in one.keys.values() if key in repr(one)]


def test_the_announcement_says_where_and_with_which_keys() -> None:
    """The address first, then a key per plan, and a command that can be copied."""
    demo = DemoKeys(PlanRegistry())
    first, *_, last = lines = list(announcement("http://127.0.0.1:8000", GatewayConfig(), demo))
    assert first == "ratelimit listens on http://127.0.0.1:8000 (upstream: the built-in mock)"
    for plan, key in demo.keys.items():
        assert any(line.split() == [*plan.split(), key] for line in lines)
    words = shlex.split(last)
    assert (words[0], words[-1]) == ("curl", "http://127.0.0.1:8000/v1/chat/completions")
    assert f"Authorization: Bearer {demo.keys['Lite']}" in words


def test_in_front_of_another_upstream_the_command_asks_for_its_models() -> None:
    """Which models it has is not known."""
    config = GatewayConfig(upstream="http://localhost:11434")
    *_, last = announcement("http://[::1]:1", config, DemoKeys(PlanRegistry()))
    assert last.endswith(" 'http://[::1]:1/v1/models'")


@pytest.mark.parametrize("upstream", ["mock", "http://localhost:8000"])
def test_with_a_keys_file_there_is_only_an_address(upstream: str) -> None:
    """Nothing to copy."""
    assert len(list(announcement("http://127.0.0.1:1", GatewayConfig(upstream=upstream), None))) == 1
