"""Refused subjects cost the server nothing, and nobody notices: both faces, on a real server, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from ratelimit import AsyncLimiter, ConfigError, Limit, Limiter, Plan, RateLimited, RetryPolicy, Scope
from ratelimit.backends.connect import async_executor, executor
from ratelimit.backends.redis import RedisBackend
from ratelimit.backends.redis_asyncio import AsyncRedisBackend
from ratelimit.testing import ManualClock
from tests.conftest import Servers
from tests.contract.driver import AsyncDriver, Call, Driver, Held, SyncDriver
from tests.servers import RedisServer

PATIENT = RetryPolicy(timeout=10, deadline=30)
PRO = Plan("Pro", rpm=60, tpm=600_000)
DAILY = Plan("Daily", limits=[Limit("requests", 60, "day"), Limit("tokens", 600_000, "day")])
"""Too wide for the express lane of asyncio."""
_NUMBERS = count(1)


class Home:
    """Limiters that share state and a clock that stands still, and the calls that their server got."""

    def __init__(self, server: RedisServer, kind: str) -> None:
        self.clock = ManualClock()
        self._server = server
        self._kind = kind
        self._prefix = f"r{next(_NUMBERS)}x"
        self._opened: list[Driver] = []

    def open(self, recheck: float = 1.0) -> Driver:
        """One process's limiter."""
        options: dict[str, Any] = {"policy": PATIENT, "virtual_clock": self.clock, "recheck": recheck}
        url = self._server.unix_url
        driver: Driver
        if self._kind == "sync":
            driver = SyncDriver(Limiter(RedisBackend(executor(url, PATIENT, 4), **options), prefix=self._prefix))
        else:
            options["coalesce"] = self._kind == "asyncio"
            backend = AsyncRedisBackend(async_executor(url, PATIENT, 4), **options)
            driver = AsyncDriver(AsyncLimiter(backend, prefix=self._prefix))
        self._opened.append(driver)
        return driver

    @property
    def calls(self) -> int:
        """Scripts that the server has run."""
        stats = self._server.info("commandstats")
        calls = [stats[f"cmdstat_{name}"] for name in ("evalsha", "eval") if f"cmdstat_{name}" in stats]
        return sum(int(str(each).split("calls=")[1].split(",")[0]) for each in calls)

    def close(self) -> None:
        for driver in self._opened:
            driver.close()


@pytest.fixture(params=["sync", "asyncio", "asyncio-alone"])
def home(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Home]:
    """With the express lane of asyncio and without."""
    made = Home(servers.plain(), request.param)
    yield made
    made.close()


def hammer(home: Home, driver: Driver, *, ms: int, plan: Plan = PRO, tokens: int = 600_000) -> None:
    """Be refused once a millisecond."""
    for _ in range(ms):
        assert not driver.try_acquire("key", plan=plan, tokens=tokens)
        home.clock.advance(us=1_000)


@pytest.mark.parametrize("plan", [PRO, DAILY], ids=lambda plan: plan.name)
def test_a_thousand_refusals_are_a_handful_of_calls(home: Home, plan: Plan) -> None:
    """The first and the second, and then one each time that trust doubles; later one a second."""
    driver = home.open()
    driver.acquire("key", plan=plan, tokens=600_000)
    before = home.calls
    hammer(home, driver, ms=1_000, plan=plan)
    assert home.calls - before == 7
    hammer(home, driver, ms=3_000, plan=plan)
    assert home.calls - before <= 11


def test_without_a_recheck_every_refusal_is_a_call(home: Home) -> None:
    """`recheck=0` is as if there were no memory."""
    driver = home.open(recheck=0)
    driver.acquire("key", plan=PRO, tokens=600_000)
    before = home.calls
    hammer(home, driver, ms=20)
    assert home.calls - before == 20


def test_an_answer_from_memory_is_the_one_of_the_server(home: Home) -> None:
    """Standings and waits are the same integers; at the end of the wait the cost is let through, not before."""
    driver, certain = home.open(), home.open(recheck=0)
    driver.acquire("key", plan=PRO, tokens=600_000)
    hammer(home, driver, ms=100)
    for cost in (2_000, 299_999, 600_000):
        before = home.calls
        known = driver.try_acquire("key", plan=PRO, tokens=cost)
        assert home.calls == before
        assert known == certain.try_acquire("key", plan=PRO, tokens=cost)
        home.clock.advance(us=7_777)

    refused = driver.try_acquire("key", plan=PRO, tokens=3_000)
    home.clock.advance(us=refused.retry_after_us - 1)
    assert not driver.try_acquire("key", plan=PRO, tokens=3_000)
    home.clock.advance(us=1)
    assert driver.try_acquire("key", plan=PRO, tokens=3_000)


def test_a_refund_in_this_process_is_seen_at_once(home: Home) -> None:
    """A settle, a cancel and a reset."""
    driver = home.open()
    gives_back: list[Callable[[Held], object]] = [
        lambda held: held.settle(tokens=0),
        lambda held: held.cancel(),
        lambda _: driver.reset("key"),
        lambda held: driver.resume(held.to_token()).settle(tokens=0),
    ]
    for give_back in gives_back:
        driver.reset("key")
        held = driver.acquire("key", plan=PRO, tokens=600_000)
        hammer(home, driver, ms=500)
        give_back(held)
        assert driver.try_acquire("key", plan=PRO, tokens=600_000 - 5_000)


@pytest.mark.parametrize("before_ms", [3, 30, 100, 3_000])
def test_a_refund_elsewhere_is_seen_within_the_recheck(home: Home, before_ms: int) -> None:
    """However long it has been refused before."""
    driver, elsewhere = home.open(), home.open()
    held = elsewhere.acquire("key", plan=DAILY, tokens=600_000)
    hammer(home, driver, ms=before_ms, plan=DAILY)
    held.settle(tokens=0)
    home.clock.advance(seconds=1.0)
    assert driver.try_acquire("key", plan=DAILY, tokens=600_000)


def test_a_refund_that_was_seen_begins_again_with_no_trust(home: Home) -> None:
    """A subject whose streams end elsewhere is asked for more often."""
    driver, elsewhere = home.open(), home.open()
    elsewhere.acquire("key", plan=DAILY, tokens=300_000)
    held = elsewhere.acquire("key", plan=DAILY, tokens=300_000)
    hammer(home, driver, ms=3_000, plan=DAILY)
    held.settle(tokens=200_000)
    home.clock.advance(seconds=1.0)
    before = home.calls
    hammer(home, driver, ms=26, plan=DAILY)
    assert home.calls - before == 2


def test_what_fits_is_let_through_while_more_is_refused(home: Home) -> None:
    """Memory is of levels, not of a verdict."""
    driver = home.open()
    driver.acquire("key", plan=PRO, tokens=500_000)
    hammer(home, driver, ms=500)
    assert driver.try_acquire("key", plan=PRO, tokens=100_000)


def test_who_waits_asks_the_server(home: Home) -> None:
    """A place in the line is not given up on hearsay."""
    driver, elsewhere = home.open(), home.open()
    held = elsewhere.acquire("key", plan=DAILY, tokens=600_000)
    hammer(home, driver, ms=500, plan=DAILY)
    before = home.calls
    with pytest.raises(RateLimited):
        driver.acquire("key", plan=DAILY, tokens=600_000, timeout=0.001)
    assert home.calls == before + 1
    held.settle(tokens=0)
    driver.acquire("key", plan=DAILY, tokens=600_000, timeout=0.001)


def test_several_scopes_are_decided_by_the_server(home: Home) -> None:
    """Their answer needs the levels of all of them. A charge of theirs ends what was known of each."""
    driver = home.open()
    scopes = [Scope("org", PRO), Scope("other", PRO)]
    driver.acquire("org", plan=PRO, group="org", tokens=600_000)
    for _ in range(5):
        before = home.calls
        assert not driver.try_acquire(scopes, group="org", tokens=600_000)
        assert home.calls == before + 1

    alone: Call = {"subject": "org", "plan": PRO, "group": "org", "tokens": 600_000}
    for _ in range(20):
        assert not driver.try_acquire(**alone)
        home.clock.advance(us=1_000)
    driver.acquire(scopes, group="org", tokens=0)
    before = home.calls
    assert not driver.try_acquire(**alone)
    assert home.calls == before + 1


@pytest.mark.parametrize("face", [Limiter, AsyncLimiter])
def test_nonsense_is_refused(face: type[Limiter] | type[AsyncLimiter]) -> None:
    """When the limiter is made."""
    with pytest.raises(ConfigError, match="recheck is -1"):
        face.from_url("redis://localhost", recheck=-1)


@pytest.mark.parametrize("face", [Limiter, AsyncLimiter])
def test_a_limiter_remembers_unless_told_otherwise(face: type[Limiter] | type[AsyncLimiter]) -> None:
    """For a second."""
    inside: Any = face.from_url("redis://localhost")
    assert inside._recall.refusals._most_us == 1_000_000
