"""P3, P4, P7, P8: one sequence of operations, the same integers in memory, on Redis and in exact fractions."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.promises.world import PLANS, Open, World
from tests.servers import RedisBinary, RedisServer, redis_binaries

STEPS = int(os.environ.get("RATELIMIT_STEPS", "50000"))
"""Set RATELIMIT_STEPS=1000000 for the long run."""
STEPS_PER_EXAMPLE = 50

subjects = st.sampled_from(["ann", "bob", "org"])
plans = st.sampled_from([plan.layout for plan in PLANS])
shares = st.sampled_from([0, 1, 5, 30, 60, 100])
moves_us = st.one_of(
    st.integers(0, 2_000), st.integers(0, 2_000_000), st.sampled_from([999, 1_000_000, 30_000_000, 4_000_000_000])
)


class Machine(RuleBasedStateMachine):
    """Reserve, settle, cancel, repeat, change plans, step the clock, lose the scripts."""

    world: World
    steps = 0
    held = Bundle("held")
    done = Bundle("done")

    @initialize()
    def begin(self) -> None:
        self.world.restart()

    def teardown(self) -> None:
        for subject in ("ann", "bob", "org"):
            self.world.reset(subject)

    def _count(self) -> None:
        type(self).steps += 1

    @rule(target=held, subject=subjects, layout=plans, requests=st.integers(0, 3), share=shares)
    def reserve(self, subject: str, layout: object, requests: int, share: int) -> object:
        return self._reserve([(subject, layout)], requests, share)

    @rule(target=held, layouts=st.lists(plans, min_size=2, max_size=3), requests=st.integers(0, 2), share=shares)
    def reserve_several(self, layouts: list[object], requests: int, share: int) -> object:
        return self._reserve(list(zip(("org", "ann", "bob"), layouts, strict=False)), requests, share)

    def _reserve(self, scopes: list, requests: int, share: int) -> object:  # type: ignore[type-arg]
        self._count()
        least = {"tokens": 1_000_000, "output_tokens": 100_000}
        for _, layout in scopes:
            for spec in layout.specs:
                if spec.meter in least:
                    least[spec.meter] = min(least[spec.meter], spec.burst)
        amounts = {"requests": requests, **{meter: amount * share // 100 for meter, amount in least.items()}}
        reservation = self.world.reserve(scopes, amounts)
        return multiple() if reservation is None else reservation

    @rule(
        target=done,
        reservation=consumes(held),
        percent=st.sampled_from([0, 1, 50, 99, 100, 130, 1_000]),
        requests=st.integers(0, 2),
    )
    def settle(self, reservation: Open, percent: int, requests: int) -> Open:
        self._count()
        usage = {meter: amount * percent // 100 for meter, amount in reservation.amounts.items()}
        self.world.settle(reservation, {**usage, "requests": requests})
        return reservation

    @rule(target=done, reservation=consumes(held))
    def cancel(self, reservation: Open) -> Open:
        self._count()
        self.world.settle(reservation, dict.fromkeys(reservation.amounts, 0))
        return reservation

    @rule(reservation=held)
    def repeat_reserve(self, reservation: Open) -> None:
        if self.world.remembers(reservation):
            self._count()
            self.world.repeat(reservation)

    @rule(reservation=done, percent=st.sampled_from([0, 500]))
    def repeat_settle(self, reservation: Open, percent: int) -> None:
        if self.world.remembers(reservation):
            self._count()
            self.world.settle(
                reservation, {meter: amount * percent // 100 for meter, amount in reservation.amounts.items()}
            )

    @rule(us=moves_us)
    def forwards(self, us: int) -> None:
        self._count()
        self.world.move(us)

    @rule(us=st.sampled_from([1, 40_000, 4_999_999, 5_000_000, 5_000_001, 90_000_000]))
    def backwards(self, us: int) -> None:
        self._count()
        self.world.move(-us)

    @rule(subject=subjects, layout=plans)
    def peek(self, subject: str, layout: object) -> None:
        self._count()
        self.world.peek(subject, layout)  # type: ignore[arg-type]

    @rule(subject=subjects)
    def reset(self, subject: str) -> None:
        self._count()
        self.world.reset(subject)

    @rule()
    def flush_scripts(self) -> None:
        self._count()
        self.world.flush_scripts()


@pytest.fixture(scope="module", params=redis_binaries(), ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    binary: RedisBinary = request.param
    with RedisServer(binary) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600 if STEPS > 50_000 else 900)
def test_p8_the_same_everywhere(server: RedisServer) -> None:
    """Memory, Redis and the exact model agree on every integer of every answer, whatever happens in between."""
    share = STEPS // len(redis_binaries())
    Machine.steps = 0
    Machine.world = World(server.unix_url)
    while Machine.steps < share:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=max(10, (share - Machine.steps) // STEPS_PER_EXAMPLE),
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert Machine.steps >= share
