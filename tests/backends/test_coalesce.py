"""Promises of `ratelimit.backends.coalesce`: who travels with whom, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ratelimit import Retention, WireMismatch
from ratelimit.backends.base import Op
from ratelimit.backends.batches import Batches
from ratelimit.backends.calls import Attempt, Calls, ScriptCall, TryAgain
from ratelimit.backends.coalesce import BATCH_MAX, Coalescer, Member
from tests.core.holds import answered

CALLS = Calls(Retention().head)


def call(subject: str, number: int = 0, scopes: int = 1) -> ScriptCall:
    """A reserve under an op-id that says whose it is."""
    holds = [answered([1, 1], [], key=f"rl1:{{{subject}}}{scope or ''}") for scope in range(scopes)]
    return CALLS.reserve(holds, Op(f"{subject:.4}{number:04}".encode(), 0))


class Wire:
    """An executor whose attempts wait until told to be answered; `reply` makes the answer."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.attempts: list[Attempt] = []
        self.news = asyncio.Event()
        self.open: list[asyncio.Future[None]] = []
        self.reply: Callable[[ScriptCall, list[bytes]], object] = lambda call, ops: (
            [call.op, *ops] if call.script.name == "batch" else call.op
        )

    async def execute(self, attempt: Attempt) -> object:
        ops = [attempt.call.op]
        if attempt.call.script.name == "batch":
            sizes = attempt.call.args[1][2::3]
            starts = [2 + sum(sizes[:i]) for i in range(len(sizes))]
            ops = [attempt.call.args[start] for start in starts]
        self.sent.append([op.decode() for op in ops])
        self.attempts.append(attempt)
        self.news.set()
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open.append(answered)
        await answered
        return self.reply(attempt.call, ops)

    def answer(self) -> None:
        """Answer the oldest."""
        self.open.pop(0).set_result(None)


def drive(work: Callable[[Wire, Batches], Coroutine[Any, Any, None]], patience: float = 60.0) -> None:
    """Run `work` with a coalescer over a wire."""

    async def run() -> None:
        wire = Wire()
        await work(wire, Batches(Coalescer(patience), wire.execute, CALLS.batch, lambda _: 0))

    asyncio.run(run())


def ask(coalescer: Batches, call: ScriptCall, timeout: float = 60.0) -> asyncio.Task[object]:
    """A caller."""
    return asyncio.ensure_future(coalescer.execute(call, time.monotonic(), timeout))


async def settle_down() -> None:
    """Let everything happen that can."""
    for _ in range(12):
        await asyncio.sleep(0)


def test_who_is_alone_sends_his_own_call() -> None:
    """In the next step of the loop, as the attempt it would have been."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        one = ask(coalescer, call("alice"), timeout=7.0)
        for _ in range(3):
            await asyncio.sleep(0)
        (attempt,) = wire.attempts
        assert (attempt.call.script.name, attempt.by_text, attempt.pause) == ("reserve", False, 0.0)
        assert 0 < attempt.timeout <= 7.0
        wire.answer()
        assert await one == b"alic0000"

    drive(work)


def test_who_keeps_being_alone_looks_for_nobody_until_somebody_comes() -> None:
    """His call goes at once; those that come while it is under way look for each other again."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        for number in range(8):
            one = ask(coalescer, call("alice", number))
            await settle_down()
            wire.answer()
            await one
        one = ask(coalescer, call("alice", 8))
        await asyncio.sleep(0)
        assert wire.sent[8:] == [["alic0008"]]
        others = [ask(coalescer, call(subject)) for subject in ("b", "c")]
        await asyncio.sleep(0)
        assert wire.sent[9:] == []
        await settle_down()
        assert wire.sent[9:] == [["b0000", "c0000"]]
        while wire.open:
            wire.answer()
        await asyncio.gather(one, *others)

    drive(work)


def test_a_carrier_that_fails_as_nobody_foresaw_leaves_nobody_waiting() -> None:
    """Its members get the error, and later ones of their subject go on."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        coalescer._merge = broken
        failed = await asyncio.gather(*[ask(coalescer, call("a", i)) for i in range(2)], return_exceptions=True)
        assert [type(error) for error in failed] == [LookupError] * 2
        coalescer._merge = CALLS.batch
        later = [ask(coalescer, call("a", i)) for i in range(2, 4)]
        await settle_down()
        wire.answer()
        assert await asyncio.gather(*later) == [b"a0002", b"a0003"]

    def broken(_: object) -> ScriptCall:
        raise LookupError

    drive(work)


def test_in_another_loop_it_begins_anew() -> None:
    """As in a child process, which was forked while somebody waited for company in the loop of its parent."""

    async def one(coalescer: Batches, wire: Wire) -> object:
        asked = ask(coalescer, call("alice"))
        await settle_down()
        wire.answer()
        return await asked

    wire = Wire()
    inner = Coalescer(60.0)
    coalescer = Batches(inner, wire.execute, CALLS.batch, lambda _: 0)
    assert asyncio.run(one(coalescer, wire)) == b"alic0000"
    inner._waiting.append(Member())
    inner.alone += 1
    assert asyncio.run(one(coalescer, wire)) == b"alic0000"


def test_a_tick_goes_in_order_in_as_few_batches_as_the_bound_allows_all_of_one_size() -> None:
    """Each caller gets the answer to his own operation."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        tasks = [ask(coalescer, call(f"s{i}")) for i in range(BATCH_MAX + 1)]
        await settle_down()
        assert sorted(len(ops) for ops in wire.sent) == [BATCH_MAX // 2, BATCH_MAX // 2 + 1]
        wire.answer()
        wire.answer()
        assert await asyncio.gather(*tasks) == [f"{f's{i}':.4}0000".encode() for i in range(BATCH_MAX + 1)]

    drive(work)


def test_a_subject_goes_in_order_batch_after_batch() -> None:
    """What is behind a batch of its subject waits for the answer; other subjects do not."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        tasks = [ask(coalescer, call("a", i)) for i in range(2)]
        await settle_down()
        tasks += [ask(coalescer, call("a", i)) for i in range(2, 4)] + [ask(coalescer, call("b", i)) for i in range(2)]
        await settle_down()
        tasks.append(ask(coalescer, call("a", 4)))
        await settle_down()
        assert wire.sent == [["a0000", "a0001"], ["b0000", "b0001"]]
        wire.answer()
        await settle_down()
        assert wire.sent[2:] == [["a0002", "a0003", "a0004"]]
        wire.answer()
        wire.answer()
        await asyncio.gather(*tasks)
        assert not coalescer._coalescer._busy
        assert not coalescer._coalescer._held

    drive(work)


def test_patience_ends() -> None:
    """A late answer holds up its own subject for a moment only; then the next batch goes, in order."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        tasks = [ask(coalescer, call("a", i)) for i in range(2)]
        await settle_down()
        tasks += [ask(coalescer, call("a", i)) for i in range(2, 4 + BATCH_MAX)]
        while len(wire.sent) < 2:  # the first is never answered before the second is under way
            wire.news.clear()
            await wire.news.wait()
        assert wire.sent[1] == [f"a{i:04}" for i in range(2, 2 + BATCH_MAX)]
        while wire.open:
            wire.answer()
            await settle_down()
        await asyncio.gather(*tasks)
        assert [op for ops in wire.sent for op in ops] == [f"a{i:04}" for i in range(4 + BATCH_MAX)]
        assert not coalescer._coalescer._busy
        assert not coalescer._coalescer._held

    drive(work, patience=0.01)


def test_who_is_cancelled_while_waiting_is_never_sent() -> None:
    """Neither from the tick nor from behind a batch."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        tasks = [ask(coalescer, call("a", i)) for i in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # it would have sent the others off
        tasks[2].cancel()
        await settle_down()
        tasks += [ask(coalescer, call("a", i)) for i in range(4, 7)]
        await settle_down()
        tasks[5].cancel()
        wire.answer()
        await settle_down()
        assert wire.sent == [["a0001", "a0003"], ["a0004", "a0006"]]
        wire.answer()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [True, False, True, False, False, True, False]

    drive(work)


def test_a_decision_on_very_many_scopes_goes_alone() -> None:
    """It is a batch by itself."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        tasks = [ask(coalescer, call("a", i, scopes=40)) for i in range(2)]
        await settle_down()
        assert wire.sent == [["a0000"], ["a0001"]]
        wire.answer()
        wire.answer()
        await asyncio.gather(*tasks)

    drive(work)


@pytest.mark.parametrize("reply", [b"a0000", [], [b"a0000", b"a0000"], [b"other", b"a0000", b"a0001"], None])
def test_an_answer_that_is_not_ours_is_believed_by_nobody(reply: object) -> None:
    """Too short, too long, or to somebody else."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        wire.reply = lambda _call, _ops: reply
        tasks = [ask(coalescer, call("a", i)) for i in range(2)]
        await settle_down()
        wire.answer()
        for task in tasks:
            with pytest.raises(WireMismatch, match=r"^expected 2 answers under our op-id, got "):
                await task

    drive(work)


def test_errors_of_the_network_are_translated_for_each() -> None:
    """Another object for every member, with the cause; what is not foreign is raised as it is."""

    async def work(wire: Wire, coalescer: Batches) -> None:
        for error, seen in ((ConnectionResetError("gone"), TryAgain), (ZeroDivisionError("a bug"), ZeroDivisionError)):

            def fail(_call: ScriptCall, _ops: list[bytes], error: Exception = error) -> object:
                raise error

            wire.reply = fail
            tasks = [ask(coalescer, call("a", i)) for i in range(3)]
            await settle_down()
            wire.answer()
            errors = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(each) for each in errors] == [seen] * 3
            assert len({id(each) for each in errors}) == (3 if seen is TryAgain else 1)

    drive(work)
