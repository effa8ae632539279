"""Promises of `ratelimit.replay.engine`."""

from __future__ import annotations

import re

import pytest

from ratelimit import ConfigError, Plan
from ratelimit.replay.engine import open_limiter
from ratelimit.testing import ManualClock


def test_the_clock_given_is_the_only_one() -> None:
    """A limiter of a replay refuses for as long as its clock stands, and admits when it has moved."""
    clock = ManualClock()
    plan = Plan("One", rpm=1)
    with open_limiter("memory://", clock) as limiter:
        assert limiter.try_acquire("a", plan=plan)
        assert not limiter.try_acquire("a", plan=plan)
        clock.advance(seconds=60)
        assert limiter.try_acquire("a", plan=plan)


@pytest.mark.parametrize("url", ["http://x", "redis://user:hunter2@host:abc/0", "redis://[::1", "redis+sentinel://h"])
def test_a_wrong_url_is_a_config_error_without_secrets(url: str) -> None:
    """Whatever is wrong with a backend URL is a ConfigError that does not show it."""
    with pytest.raises(ConfigError, match="URL") as raised, open_limiter(url, ManualClock()):
        pass
    assert not re.search("hunter2|h:abc|:abc/", str(raised.value))
