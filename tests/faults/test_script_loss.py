"""A server that forgets its scripts, or everything: the text is sent once more and nothing is counted twice."""

from __future__ import annotations

import random

import pytest

from tests.faults.faces import QUICK, FaceMaker, each_face, used
from tests.faults.tally import Tally
from tests.servers import DELAY, DROP_REPLY, PASS, RESET_AFTER, RESET_BEFORE, Action, FaultProxy, RedisServer

LOST = {
    "drop-reply": DROP_REPLY,
    "reset-after": RESET_AFTER,
    "reset-before": RESET_BEFORE,
    "late": DELAY(QUICK.timeout * 3),
}


@each_face
def test_scripts_that_are_flushed_at_random_change_no_number(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """Every operation takes one EVALSHA, and one EVAL more when the script had just been flushed."""
    rng, real, flushes = random.Random(1), 0, 0
    with face_of(proxy.url) as face:
        for cost in range(150):
            if rng.random() < 0.1:
                server.call("SCRIPT", "FLUSH")
                flushes += 1
            held = face.acquire("alice", tokens=100 + cost)
            if rng.random() < 0.1:
                server.call("SCRIPT", "FLUSH")
                flushes += 1
            settlement = face.settle(held, tokens=cost)
            real += cost
            assert settlement.returned == {"requests": 0, "tokens": 100}
        assert used(face.peek("alice")) == {"requests": 150, "tokens": real}
    assert flushes > 20
    # Each flush is noticed by the next reserve and by the next settle, unless another flush comes first.
    assert flushes < sum(tally.texts.values()) <= 2 * flushes + 1
    assert {tally.tries[operation] - texts for operation, texts in tally.texts.items()} == {1}
    assert proxy.counters.seen["EVALSHA"] == 301
    assert proxy.counters.seen["SCRIPT"] == 0


@each_face
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
@pytest.mark.parametrize("script", ["reserve", "settle"])
def test_the_reply_to_the_text_may_be_lost_too(
    face_of: FaceMaker, script: str, lost: Action, server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """NOSCRIPT, then EVAL without an answer, then a repeat: one operation."""
    with face_of(proxy.url) as face:
        face.acquire("alice", tokens=1_000)
        server.call("SCRIPT", "FLUSH")
        tally.inject(script, PASS, lost)
        held = face.acquire("alice", tokens=70)
        if script == "reserve":
            assert used(held.standings) == {"requests": 2, "tokens": 1_070}
        else:
            server.call("SCRIPT", "FLUSH")
        face.settle(held, tokens=20)
        assert tally.injected
        assert used(face.peek("alice")) == {"requests": 2, "tokens": 1_020}
    assert 3 <= max(tally.attempts(script)) <= QUICK.attempts + 1


@each_face
def test_the_text_is_sent_once_and_the_digest_again_from_then_on(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy
) -> None:
    """The long way round is taken by the first call after a loss only."""
    server.call("SCRIPT", "FLUSH")
    with face_of(proxy.url) as face:
        for _ in range(5):
            face.settle(face.acquire("alice", tokens=70), tokens=20)
    assert proxy.counters.seen["EVAL"] == 2
    assert proxy.counters.seen["EVALSHA"] == 10
    assert proxy.counters.connections == 1  # NOSCRIPT is a full answer: the connection is as good as before


@each_face
def test_a_server_that_forgot_everything_starts_from_nothing(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy
) -> None:
    """After a restart without persistence there is nothing to give back to, and what was overrun is still charged."""
    with face_of(proxy.url) as face:
        under = face.acquire("alice", tokens=70)
        over = face.acquire("bob", tokens=70)
        server.restart()
        assert face.settle(under, tokens=20).returned == {"requests": 0, "tokens": 0}
        assert used(face.peek("alice")) == {"requests": 0, "tokens": 0}
        face.settle(over, tokens=100)
        assert used(face.peek("bob")) == {"requests": 0, "tokens": 30}
        face.settle(face.acquire("alice", tokens=70), tokens=20)
        assert used(face.peek("alice")) == {"requests": 1, "tokens": 20}


@each_face
def test_a_server_that_comes_back_between_two_attempts_is_charged_once(
    face_of: FaceMaker, server: RedisServer, proxy: FaultProxy, tally: Tally
) -> None:
    """Charged, killed with its memory, restarted: the repeat finds an empty server and charges that."""
    with face_of(proxy.url) as face:
        held = face.acquire("alice", tokens=70)
        server.kill()
        server.start()
        again = face.acquire("alice", tokens=30)
        assert used(again.standings) == {"requests": 1, "tokens": 30}
        assert face.settle(held, tokens=0).returned == {"requests": 0, "tokens": 0}
        assert used(face.peek("alice")) == {"requests": 1, "tokens": 30}
