"""The digests of the scripts are pinned."""

from __future__ import annotations

import json
from hashlib import sha1

import pytest

from ratelimit.backends.scripts import SCRIPT_NAMES, load_script
from tests.conftest import Servers
from tests.lua.pins import PINS, digests


def test_no_script_changes_by_accident() -> None:
    """After a change on purpose: python -m tests.lua.pins, and WIRE_VERSION when the wire has moved (lua/README.md)."""
    assert digests() == json.loads(PINS.read_text())


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_the_server_computes_the_same_digest(servers: Servers, name: str) -> None:
    """EVALSHA finds what EVAL has left."""
    script = load_script(name)
    with servers.plain().client() as client:
        assert client.script_load(script.text) == script.sha
    assert sha1(script.text.encode()).hexdigest() == script.sha
