"""P2, P5: a subject that goes on asking is refused from memory, and never for longer than is stated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from ratelimit import AsyncLimiter, Limit, Limiter, Plan, RateLimited, Scope
from tests.conftest import Servers
from tests.contract.driver import AsyncDriver, Driver, SyncDriver
from tests.servers import RedisServer

PLAN = Plan("Slow", limits=[Limit("requests", 1_000, 86_400), Limit("tokens", 10_000, 86_400)])
"""Nothing to speak of drains while a test lasts."""
CASES = ("sync", "asyncio", "asyncio, coalesced", "asyncio, wide")
_NUMBERS = count()


class Together(AsyncDriver):
    """Every call has company, so that it goes by the express lane."""

    def __init__(self, limiter: AsyncLimiter) -> None:
        super().__init__(limiter)
        inside: Any = limiter
        inside._backend._coalescer._send = inside._backend._coalescer._carry


class World:
    """Limiters on one server that share a prefix; their clock moves when it is told to."""

    def __init__(self, server: RedisServer, case: str) -> None:
        self.server = server
        self.case = case
        self.now = 0
        self.prefix = f"refused{next(_NUMBERS)}x"
        self.opened: list[Driver] = []
        self.subject: Any = "sk-1"
        self.options: dict[str, Any] = {"plan": PLAN}
        if case == "asyncio, wide":  # a list of a scope with other meters goes the general way
            self.subject, self.options = [Scope("sk-1", PLAN)], {"input_tokens": 0}

    def open(self, **options: Any) -> Driver:
        face: Any = Limiter if self.case == "sync" else AsyncLimiter
        limiter = face.from_url(self.server.url, prefix=self.prefix, **options)
        recall = limiter._backend.recall
        recall.clock, recall._virtual = lambda: self.now, True
        driver: Driver
        if isinstance(limiter, Limiter):
            driver = SyncDriver(limiter)
        elif self.case == "asyncio, coalesced":
            driver = Together(limiter)
        else:
            driver = AsyncDriver(limiter)
        self.opened.append(driver)
        return driver

    def acquire(self, driver: Driver, tokens: int) -> Any:
        return driver.acquire(self.subject, tokens=tokens, **self.options)

    def is_refused(self, driver: Driver, tokens: int = 10_000) -> bool:
        decision = driver.try_acquire(self.subject, tokens=tokens, **self.options)
        assert (decision.retry_after > 0) is (not decision.allowed)
        return not decision.allowed

    def calls(self) -> int:
        with self.server.client() as client:
            stats: Any = client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))

    def calls_of(self, work: Callable[[], object]) -> int:
        before = self.calls()
        work()
        return self.calls() - before


@pytest.fixture(params=CASES)
def world(request: pytest.FixtureRequest, servers: Servers) -> Iterator[World]:
    """Each way to Redis."""
    made = World(servers.plain(), request.param)
    yield made
    for driver in made.opened:
        driver.close()


def test_a_subject_that_goes_on_asking_costs_a_call_a_second(world: World) -> None:
    """A thousand requests in ten seconds: those of the first second to find out, and then one for each second."""
    driver = world.open()
    world.acquire(driver, 9_000)

    def ask() -> None:
        for _ in range(1_000):
            assert world.is_refused(driver)
            world.now += 10_000

    assert world.calls_of(ask) <= 2 + 7 + 10


def test_what_still_fits_is_asked_for(world: World) -> None:
    """A refusal of much says nothing against little."""
    driver = world.open()
    world.acquire(driver, 9_000)
    assert [world.is_refused(driver) for _ in range(3)] == [True] * 3
    assert world.calls_of(lambda: world.is_refused(driver)) == 0
    assert not world.is_refused(driver, 500)
    assert world.calls_of(lambda: world.is_refused(driver)) == 1


@pytest.mark.parametrize("way", ["settle", "cancel", "reset"])
def test_what_this_process_gives_back_can_be_had_at_once(world: World, way: str) -> None:
    """The memory is gone before the caller knows."""
    driver = world.open()
    reservation = world.acquire(driver, 9_000)
    assert [world.is_refused(driver) for _ in range(5)] == [True] * 5
    if way == "settle":
        reservation.settle(tokens=0)
    elif way == "cancel":
        reservation.cancel()
    else:
        driver.reset("sk-1")
    assert not world.is_refused(driver)


@pytest.mark.parametrize("recheck", [0.05, 1.0])
def test_what_another_process_gives_back_can_be_had_within_the_time_stated(world: World, recheck: float) -> None:
    """However long the subject has been asking."""
    here, there = world.open(recheck=recheck), world.open()
    reservation = world.acquire(there, 9_000)
    for _ in range(200):
        assert world.is_refused(here)
        world.now += 20_000
    reservation.settle(tokens=0)
    world.now += round(recheck * 1_000_000)
    assert not world.is_refused(here)


def test_every_request_asks_when_the_time_is_nought(world: World) -> None:
    """Then a refund of anybody is seen at once."""
    driver = world.open(recheck=0)
    world.acquire(driver, 9_000)
    assert world.calls_of(lambda: [world.is_refused(driver) for _ in range(7)]) == 7


def test_who_waits_asks_the_server(world: World) -> None:
    """He was told when to ask; what is remembered is older."""
    driver = world.open()
    world.acquire(driver, 9_000)
    assert [world.is_refused(driver) for _ in range(5)] == [True] * 5

    def wait() -> None:
        with pytest.raises(RateLimited):
            driver.acquire(world.subject, tokens=10_000, timeout=0.001, **world.options)

    assert world.calls_of(wait) == 1
