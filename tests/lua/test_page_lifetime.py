"""Every page of the operation log has a lifetime, however long ago its subject was given one (promise P10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from ratelimit import AsyncLimiter
from ratelimit.backends.base import AsyncBackend, Op
from ratelimit.core.hold import Hold
from ratelimit.core.keys import KeyMaker, page_key
from ratelimit.core.limit import Layout
from tests.core.holds import MINUTE, layout
from tests.express_lane import PLAN, Clock, acquire, express_limiter, together
from tests.servers import RedisServer, redis_binaries

ALICE = KeyMaker().scope_key("alice")
ONE = layout(("tokens", 600_000, MINUTE))
STEP_US = 8_000_000
"""Less than a page is long: nobody is ever away for so long that he would be looked at anew."""
STEPS = 32
"""After this many the seconds modulo 256 are again what they were."""
OLDER = 100
Work = Callable[[AsyncLimiter, Layout, int], Awaitable[object]]


@pytest.fixture(scope="module", params=redis_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each kind."""
    with RedisServer(request.param) as running:
        yield running


def name(number: int, page: int) -> Op:
    """An operation's."""
    return Op(b"%08d" % number, page)


def hold(of: Layout, key: str = ALICE) -> Hold:
    """What drains in a step, and a little: the state is never gone."""
    return Hold(key, of, [STEP_US + 1] * len(of.specs))


async def express(limiter: AsyncLimiter, of: Layout, step: int) -> None:
    """Reserves that travel with others name no page."""
    await together(acquire(limiter, "alice", 80_001), acquire(limiter, "bob"))


async def settles(limiter: AsyncLimiter, of: Layout, step: int) -> None:
    """Settles of long streams reach back to older pages."""
    backend, old = limiter._backend, Hold(ALICE, of, [0] * len(of.specs))
    old.at, old.epoch, old.levels, old.refunded = 0, 0, [0] * len(of.specs), [0] * len(of.specs)
    await backend.settle([old], [[STEP_US + 1] * len(of.specs)], name(OLDER + step, 4))


async def second(limiter: AsyncLimiter, of: Layout, step: int) -> None:
    """A scope that comes second in a decision: the decision is recorded in the first one's page."""
    backend: AsyncBackend = limiter._backend
    assert await backend.reserve([hold(of, f"{ALICE}first"), hold(of)], name(OLDER + step, 6))


@pytest.mark.parametrize(
    ("work", "of"),
    [
        pytest.param(express, PLAN.layout, id="express"),
        *[pytest.param(settles, of, id=f"settles-{of.name}") for of in (PLAN.layout, ONE)],
        *[pytest.param(second, of, id=f"second-{of.name}") for of in (PLAN.layout, ONE)],
    ],
)
def test_a_page_that_is_made_anew_has_a_lifetime_again(server: RedisServer, work: Work, of: Layout) -> None:
    """Between a reserve and its settle the subject is busy for so long that the page has gone."""
    page = page_key(ALICE, 5)
    clock = Clock()

    async def run() -> None:
        async with express_limiter(server.url, clock=clock) as limiter:
            held = hold(of)
            assert await limiter._backend.reserve([held], name(1, 5))
            for step in range(STEPS):
                clock.now += STEP_US
                if step == 5:
                    server.call("DEL", page)  # its lifetime is over; keys live by the server's clock, not by ours
                await work(limiter, of, step)
            await limiter._backend.settle([held], [[0] * len(of.specs)], name(1, 5))

    server.call("FLUSHALL")
    asyncio.run(run())
    keys = server.call("KEYS", "*")
    assert isinstance(keys, list)
    assert page in keys
    lifetimes = [server.call("PTTL", str(key)) for key in keys]
    assert all(isinstance(each, int) and each > 0 for each in lifetimes)
