"""Replies that get lost, late or cut up, and requests that arrive twice: one charge, one settlement."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from ratelimit import BackendError, BackendTimeout, BackendUnavailable, Limit, Plan, RateLimited
from tests.faults.faces import LEDGER, QUICK, Face, FaceMaker, Held, each_face, used
from tests.faults.tally import Tally
from tests.servers import (
    DELAY,
    DROP_REPLY,
    HOLD_REQUEST,
    RESET_AFTER,
    RESET_BEFORE,
    SLICE,
    Action,
    FaultProxy,
    RedisServer,
    eventually,
)

LATE = DELAY(QUICK.timeout * 3)
HARMFUL = {
    "drop-reply": DROP_REPLY,
    "reset-after": RESET_AFTER,
    "reset-before": RESET_BEFORE,
    "late": LATE,
}
each_harm = pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL)

#: Two limits take the express lanes of the scripts, three take the general code.
GENERAL = Plan("General", limits=[*LEDGER.limits, Limit("requests", amount=24, period="30 days", burst=1_000_000)])
each_lane = pytest.mark.parametrize("plan", [LEDGER, GENERAL], ids=["express", "general"])

#: A single acquire of 10 tokens fills them.
TINY = Plan("Tiny", limits=[Limit("tokens", amount=1, period="day", burst=10)])
TINY_PAIR = Plan(
    "Tiny pair", limits=[Limit(meter, amount=1, period="minute", burst=10) for meter in ("requests", "tokens")]
)


def balance(server: RedisServer, face_of: FaceMaker, subject: str, plan: Plan = LEDGER) -> dict[str, int]:
    """What the server has in its books, asked directly."""
    with face_of(server.url) as direct:
        return used(direct.peek(subject, plan=plan))


@each_face
@each_lane
@each_harm
@pytest.mark.parametrize("times", [1, 3])
def test_an_acquire_that_is_repeated_is_charged_once(
    face_of: FaceMaker, plan: Plan, harm: Action, times: int, proxy: FaultProxy, tally: Tally
) -> None:
    """The reservation comes from the repeat, and the books show one request and one estimate."""
    with face_of(proxy.url) as face:
        tally.inject("reserve", *[harm] * times)
        held = face.acquire("alice", tokens=70, plan=plan)
        assert tally.injected
        assert held.estimate == {"requests": 1, "tokens": 70}
        assert used(held.standings) == used(face.peek("alice", plan=plan)) == {"requests": 1, "tokens": 70}
    [tries] = tally.attempts("reserve")
    assert times < tries <= QUICK.attempts
    executed = proxy.counters.executed["EVALSHA"] - 1  # without the peek
    assert executed == (tries - times if harm is RESET_BEFORE else tries)


@each_face
@each_lane
@each_harm
@pytest.mark.parametrize("real", [20, 110])
def test_a_settle_that_is_repeated_counts_once(
    face_of: FaceMaker, plan: Plan, harm: Action, real: int, proxy: FaultProxy, tally: Tally
) -> None:
    """The refund or the debt is booked once, however often the settle had to be sent."""
    with face_of(proxy.url) as face:
        face.acquire("alice", tokens=1_000, plan=plan)
        held = face.acquire("alice", tokens=70, plan=plan)
        tally.inject("settle", harm, harm)
        face.settle(held, tokens=real)
        assert tally.injected
        assert used(face.peek("alice", plan=plan)) == {"requests": 2, "tokens": 1_000 + real}
    [tries] = tally.attempts("settle")
    assert 2 < tries <= QUICK.attempts


@each_face
def test_a_reply_that_comes_byte_by_byte_is_read_in_full(face_of: FaceMaker, proxy: FaultProxy, tally: Tally) -> None:
    """No attempt is wasted on a slow but complete answer."""
    patient = {"policy": type(QUICK)(timeout=5.0, deadline=10.0)}
    with face_of(proxy.url, **patient) as face:
        tally.inject("reserve", SLICE)
        tally.inject("settle", SLICE)
        held = face.acquire("alice", tokens=70)
        face.settle(held, tokens=20)
        assert used(face.peek("alice")) == {"requests": 1, "tokens": 20}
        assert tally.injected
        assert tally.attempts("reserve") == tally.attempts("settle") == [1]
        assert proxy.counters.connections == 1


@each_face
@pytest.mark.parametrize("script", ["reserve", "settle"])
def test_a_delayed_duplicate_that_arrives_after_its_repeat_changes_nothing(
    face_of: FaceMaker, script: str, proxy: FaultProxy, tally: Tally
) -> None:
    """A request that the network kept back is recognised when it reaches the server at last."""
    with face_of(proxy.url) as face:
        face.acquire("alice", tokens=1_000)
        tally.inject(script, HOLD_REQUEST)
        held = face.acquire("alice", tokens=70)
        if script == "settle":
            face.settle(face.acquire("alice", tokens=5), tokens=1)
        else:
            face.settle(held, tokens=20)
        before = used(face.peek("alice"))
        assert proxy.held == 1
        assert proxy.release() == 1
        assert used(face.peek("alice")) == before


@each_face
def test_a_delayed_settle_cannot_undo_what_was_settled_since(
    face_of: FaceMaker, proxy: FaultProxy, tally: Tally
) -> None:
    """Other reservations come and go between the settle and its late duplicate, which finds its record."""
    with face_of(proxy.url) as face:
        held = [face.acquire("alice", tokens=100) for _ in range(4)]
        tally.inject("settle", HOLD_REQUEST)
        for index, one in enumerate(held):
            face.settle(one, tokens=90 + index)
        assert proxy.release() == 1
        assert used(face.peek("alice")) == {"requests": 4, "tokens": 90 + 91 + 92 + 93}


@each_face
@pytest.mark.parametrize("plan", [TINY, TINY_PAIR], ids=["general", "express"])
@pytest.mark.parametrize("harm", [DROP_REPLY, RESET_AFTER, LATE], ids=["drop-reply", "reset-after", "late"])
def test_a_repeat_gets_the_first_answer_when_its_own_charge_filled_the_bucket(
    face_of: FaceMaker, plan: Plan, harm: Action, proxy: FaultProxy, tally: Tally
) -> None:
    """The repeat of an acquire that was charged is not refused for the sake of that very charge."""
    with face_of(proxy.url) as face:
        tally.inject("reserve", harm)
        held = face.acquire("alice", tokens=10, plan=plan)
        assert held.estimate["tokens"] == 10
        with pytest.raises(RateLimited):
            face.acquire("alice", tokens=1, plan=plan)


@each_face
@pytest.mark.parametrize(
    ("harm", "error", "charged"),
    [
        (DROP_REPLY, BackendTimeout, 1),
        (LATE, BackendTimeout, 1),
        (RESET_AFTER, BackendUnavailable, 1),
        (RESET_BEFORE, BackendUnavailable, 0),
    ],
    ids=HARMFUL,
)
def test_an_acquire_without_any_answer_is_charged_at_most_once(
    face_of: FaceMaker, harm: Action, error: type[BackendError], charged: int, proxy: FaultProxy, tally: Tally
) -> None:
    """The caller learns that nobody knows; the server knows of one charge or none."""
    tally.inject("reserve", *[harm] * QUICK.attempts)
    with face_of(proxy.url) as face:
        with pytest.raises(error):
            face.acquire("alice", tokens=70)
        assert tally.injected
        assert tally.attempts("reserve") == [QUICK.attempts]
        assert used(face.peek("alice")) == {"requests": charged, "tokens": 70 * charged}


@each_face
@each_harm
def test_a_settle_without_any_answer_may_be_settled_again(
    face_of: FaceMaker, harm: Action, proxy: FaultProxy, tally: Tally
) -> None:
    """After BackendError the reservation is still open, and settling it again counts once in all."""
    with face_of(proxy.url) as face:
        face.acquire("alice", tokens=1_000)
        held = face.acquire("alice", tokens=70)
        tally.inject("settle", *[harm] * QUICK.attempts)
        with pytest.raises(BackendError):
            face.settle(held, tokens=20)
        assert tally.injected
        assert held.settlement is None
        settlement = face.settle(held, tokens=20)
        assert settlement.repeated == (harm is not RESET_BEFORE)
        assert face.settle(held, tokens=3) is settlement
        assert used(face.peek("alice")) == {"requests": 2, "tokens": 1_020}


@dataclass
class Account:
    """What one caller knows about its subject."""

    subject: str
    certain: int = 0
    unknown: int = 0
    tokens: int = 0
    open: list[tuple[Held, int]] = field(default_factory=list)


ESTIMATE = 100

#: In the books beforehand. A late refund is clipped to what the level has been since the reserve: here it never is.
BASE = 10_000


def spend(face: Face, account: Account, rounds: int, seed: int) -> Account:
    """Acquire and settle, and remember what is certain."""
    rng = random.Random(seed)
    for _ in range(rounds):
        try:
            held = face.acquire(account.subject, tokens=ESTIMATE)
        except (BackendTimeout, BackendUnavailable):
            account.unknown += 1
            continue
        account.certain += 1
        real = rng.choice([0, 1, 37, ESTIMATE, 2 * ESTIMATE])
        account.tokens += real
        try:
            face.settle(held, tokens=real)
        except (BackendTimeout, BackendUnavailable):
            account.open.append((held, real))
    return account


@each_face
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5])
def test_the_books_balance_after_hundreds_of_random_faults(
    face_of: FaceMaker, p: float, server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """Requests and tokens charged are exactly those of answered calls, plus at most one for each unanswered one."""
    names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]
    weights = {RESET_AFTER: 0.3, RESET_BEFORE: 0.25, DROP_REPLY: 0.2, HOLD_REQUEST: 0.1, LATE: 0.1, SLICE: 0.05}
    proxy.random(20_240_601, {action: p * weight for action, weight in weights.items()})
    with face_of(server.url) as direct:
        for name in names:
            direct.acquire(name, tokens=BASE)
    with face_of(proxy.url) as face, ThreadPoolExecutor(len(names)) as callers:
        accounts = list(callers.map(lambda name: spend(face, Account(name), 40, names.index(name)), names))
        proxy.clear()
        for held, real in [pair for account in accounts for pair in account.open]:
            face.settle(held, tokens=real)
    proxy.release()
    eventually(lambda: not proxy.held)
    for account in accounts:
        books = balance(server, face_of, account.subject)
        extra = books["requests"] - 1 - account.certain
        assert 0 <= extra <= account.unknown
        assert books["tokens"] == BASE + account.tokens + extra * ESTIMATE
    assert sum(account.certain for account in accounts) >= 320 * (1 - p)
    assert max(tally.tries.values()) <= QUICK.attempts
