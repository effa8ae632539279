"""Promises of `ratelimit.backends.express`: what goes in one call, and whose answer is whose."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from ratelimit import BackendTimeout, BackendUnavailable, Retention, RetryPolicy, WireMismatch
from ratelimit.backends.base import Op
from ratelimit.backends.batches import Batches
from ratelimit.backends.calls import Attempt, Calls, ScriptCall
from ratelimit.backends.coalesce import BATCH_MAX, Coalescer
from ratelimit.backends.express import Express, ExpressScope
from ratelimit.backends.redis_asyncio import AsyncRedisBackend
from ratelimit.core.keys import page_key
from ratelimit.core.wire_express import NOT_ORDINARY, encode_settle
from tests.core.holds import MINUTE, TWO, answered, layout

CALLS = Calls(Retention().head)
OTHER = layout(("requests", 10, MINUTE), ("tokens", 60_000, MINUTE))
NOW = 1_700_000_000_000_000


class Sent:
    """One express call, taken apart as the script does it."""

    def __init__(self, call: ScriptCall) -> None:
        plans, subjects = struct.unpack("<BH", call.args[2])
        self.plans = list(call.args[3 : 3 + 2 * plans : 2])
        self.subjects: list[tuple[str, int, list[tuple[int, ...]], list[str]]] = []
        """Per subject its key, the number of its plan, (verb, first number) of each operation, and its pages."""
        keys = list(call.keys[1:])
        for asked in call.args[3 + 2 * plans : 3 + 2 * plans + subjects]:
            key, at, operations, pages = keys.pop(0), 1, [], []
            while at < len(asked):
                if asked[at] == 1:
                    operations.append(struct.unpack_from("<BI", asked, at))
                    at += 9
                else:
                    operations.append((2, *struct.unpack_from("<I", asked, at + 27)))
                    pages.append(keys.pop(0))
                    at += 55
            self.subjects.append((key, asked[0], operations, pages))
        assert not keys
        self.numbers = [operation[1] for subject in self.subjects for operation in subject[2]]


class Line:
    """Stands for all attempts of a call: notes it, and answers when told. An answer's level says which it is."""

    def __init__(self) -> None:
        self.calls: list[ScriptCall] = []
        self.began: list[float] = []
        self.open: list[asyncio.Future[None]] = []
        self.repeated = 1
        self.verdicts: dict[int, int] = {}
        """By operation; 1 unless told otherwise."""
        self.error: Exception | None = None

    async def run(self, call: ScriptCall, began: float) -> object:
        self.calls.append(call)
        self.began.append(began)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open.append(answered)
        await answered
        if self.error is not None:
            raise self.error
        answers = [
            struct.pack("<BIIIII", self.verdicts.get(number, 1), 7, number, 0, 0, 0) for number in Sent(call).numbers
        ]
        return call.op + struct.pack("<BQ", self.repeated, NOW) + b"".join(answers)

    @property
    def sent(self) -> list[Sent]:
        return [Sent(call) for call in self.calls]

    async def answer(self) -> None:
        """Answer all that come, one after the other."""
        await settle_down()
        while self.open:
            self.open.pop(0).set_result(None)
            await settle_down()


async def settle_down() -> None:
    """Let everything happen that can."""
    for _ in range(12):
        await asyncio.sleep(0)


def drive(work: Callable[[Line, Express], Coroutine[Any, Any, None]], slot: Callable[[str], int] | None = None) -> None:
    """Run `work` with a carrier over a line."""

    async def run() -> None:
        line = Line()
        await work(line, Express(Coalescer(60.0), CALLS, line.run, 60.0, slot or (lambda _: 0)))

    asyncio.run(run())


async def reserve(express: Express, scope: ExpressScope, number: int) -> Any:
    """A caller whose operation is known by what it asks for."""
    operation = express.reserve(scope, number, 0, time.monotonic())
    if express.coalescer.join(operation):
        await express.coalescer.lead(operation)
    return await operation.future


async def settle(express: Express, scope: ExpressScope, number: int, page: int = 5) -> Any:
    """Another one, who settles."""
    payload = encode_settle(2, b"12345678", page, 7, NOW, 0, number, 0, 0, 0, 0)
    operation = express.settle(scope, payload, page, time.monotonic())
    if express.coalescer.join(operation):
        await express.coalescer.lead(operation)
    return await operation.future


async def answers(line: Line, *jobs: Coroutine[Any, Any, Any]) -> list[Any]:
    """What each job got: the number in its answer, None, or the error."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    await line.answer()
    got: Sequence[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    return [one[1][2] if isinstance(one, tuple) else one for one in got]


def subject(express: Express, name: str, of: Any = TWO) -> ExpressScope:
    """A scope."""
    return express.scope(f"rl1:{{{name}}}", of)


def test_operations_go_by_subject_in_order_and_answers_come_back_to_whom_they_belong() -> None:
    """Reserves and settles mixed, a subject several times, in between others."""

    async def work(line: Line, express: Express) -> None:
        a, b = subject(express, "a"), subject(express, "b")
        jobs = [
            reserve(express, a, 1),
            settle(express, b, 2, 9),
            settle(express, a, 3, 5),
            reserve(express, b, 4),
            reserve(express, a, 5),
            settle(express, a, 6, 4),
        ]
        assert await answers(line, *jobs) == [1, 2, 3, 4, 5, 6]
        (sent,) = line.sent
        assert sent.subjects == [
            (a.key, 1, [(1, 1), (2, 3), (1, 5), (2, 6)], [page_key(a.key, 5), page_key(a.key, 4)]),
            (b.key, 1, [(2, 2), (1, 4)], [page_key(b.key, 9)]),
        ]
        (call,) = line.calls
        assert call.keys[0] == a.key + call.op.hex()

    drive(work)


def test_each_plan_is_named_once() -> None:
    """Whoever has it; subjects refer to it by number."""

    async def work(line: Line, express: Express) -> None:
        scopes = [subject(express, f"s{i}", OTHER if i % 3 == 1 else TWO) for i in range(6)]
        assert await answers(line, *[reserve(express, scope, i) for i, scope in enumerate(scopes)]) == list(range(6))
        (sent,) = line.sent
        assert len(sent.plans) == 2
        assert [number for _, number, _, _ in sent.subjects] == [1, 2, 1, 1, 2, 1]

    drive(work)


def test_who_is_alone_is_told_to_go_alone() -> None:
    """Nothing is sent for him."""

    async def work(line: Line, express: Express) -> None:
        assert await answers(line, reserve(express, subject(express, "a"), 1)) == [None]
        assert await answers(line, settle(express, subject(express, "a"), 1)) == [None]
        assert not line.calls

    drive(work)


def test_a_refusal_from_a_call_that_was_repeated_is_told_to_go_alone() -> None:
    """It is from the past. All else is told what the server says, also that it is not ordinary."""

    async def work(line: Line, express: Express) -> None:
        a, b = subject(express, "a"), subject(express, "b")
        line.verdicts = {2: NOT_ORDINARY, 3: 0, 4: 2, 5: 3}
        for line.repeated, third in ((1, 3), (2, None)):
            jobs = [reserve(express, a, 1), reserve(express, b, 2), reserve(express, a, 3)]
            jobs += [settle(express, a, 4), settle(express, b, 5)]
            assert await answers(line, *jobs) == [1, 2, third, 4, 5]

    drive(work)


def test_who_is_cancelled_leaves_the_others_their_answers() -> None:
    """Before the call he is not in it, afterwards his answer is nobody's."""

    async def work(line: Line, express: Express) -> None:
        a, b = subject(express, "a"), subject(express, "b")
        tasks = [asyncio.ensure_future(reserve(express, a if i < 4 else b, i)) for i in range(6)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # it would have sent the others off
        tasks[3].cancel()
        await settle_down()
        tasks[1].cancel()
        await line.answer()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [True, True, False, True, False, False]
        assert [task.result()[1][2] for task in tasks if not task.cancelled()] == [2, 4, 5]
        assert line.sent[0].numbers == [1, 2, 4, 5]

    drive(work)


def test_a_call_that_fails_gives_everybody_an_error_of_his_own() -> None:
    """With the common one as its cause; an error that is not ours goes to all as it is."""

    async def work(line: Line, express: Express) -> None:
        scope = subject(express, "a")
        for line.error in (BackendUnavailable("down"), BackendTimeout("late"), WireMismatch("no")):
            errors = await answers(line, *[reserve(express, scope, i) for i in range(3)])
            assert [(type(each), str(each)) for each in errors] == [(type(line.error), str(line.error))] * 3
            assert len({id(each) for each in (*errors, line.error)}) == 4
            assert all(each.__cause__ is line.error for each in errors)
        line.error = ZeroDivisionError("a bug")
        assert await answers(line, *[reserve(express, scope, i) for i in range(2)]) == [line.error] * 2
        line.error = None
        assert await answers(line, *[reserve(express, scope, i) for i in range(2)]) == [0, 1]

    drive(work)


@pytest.mark.parametrize("wrong", ["short", "long", "other", "none", "list"])
def test_an_answer_that_is_not_ours_is_believed_by_nobody(wrong: str) -> None:
    """Too short, too long, to somebody else, or of another kind."""

    async def work(line: Line, express: Express) -> None:
        run = line.run

        async def false(call: ScriptCall, began: float) -> object:
            reply = await run(call, began)
            assert isinstance(reply, bytes)
            replies = {"short": reply[:-1], "long": reply + b"\0", "other": b"x" * 8 + reply[8:], "list": [reply]}
            return replies.get(wrong)

        express = Express(Coalescer(60.0), CALLS, false, 60.0, lambda _: 0)
        errors = await answers(line, *[reserve(express, subject(express, "a"), i) for i in range(3)])
        assert [type(each) for each in errors] == [WireMismatch] * 3

    drive(work)


@pytest.mark.parametrize("same", [False, True], ids=["subjects", "subject"])
@pytest.mark.parametrize("count", [2, BATCH_MAX, BATCH_MAX + 1, 5 * BATCH_MAX - 3])
def test_a_call_is_bounded(same: bool, count: int) -> None:
    """As few calls as the bound allows; one subject's go one after the other, in order."""

    async def work(line: Line, express: Express) -> None:
        scopes = [subject(express, "a" if same else f"s{i}") for i in range(count)]
        jobs = [reserve(express, scopes[i], i) for i in range(count)]
        assert await answers(line, *jobs) == list(range(count))
        assert len(line.calls) == -(-count // BATCH_MAX)
        assert max(len(sent.numbers) for sent in line.sent) <= BATCH_MAX
        assert [number for sent in line.sent for number in sent.numbers] == list(range(count))

    drive(work)


def test_on_a_cluster_a_call_keeps_to_one_hash_slot() -> None:
    """Who is alone in his slot goes alone."""

    async def work(line: Line, express: Express) -> None:
        scopes = [subject(express, name) for name in ("a1", "b2", "c1", "d3", "e2")]
        assert await answers(line, *[reserve(express, scope, i) for i, scope in enumerate(scopes)]) == [
            0,
            1,
            2,
            None,
            4,
        ]
        assert [sent.numbers for sent in line.sent] == [[0, 2], [1, 4]]

    drive(work, lambda tag: int(tag[-1]))


def test_the_time_of_a_call_is_counted_from_its_first_member() -> None:
    """Nobody waits longer than he would alone."""

    async def work(line: Line, express: Express) -> None:
        scope = subject(express, "a")
        operations = [express.reserve(scope, i, 0, began) for i, began in enumerate((30.0, 10.0, 20.0))]
        assert [express.coalescer.join(each) for each in operations] == [True, False, False]
        await express.coalescer.lead(operations[0])
        await line.answer()
        assert line.began == [10.0]

    drive(work)


def test_what_the_lane_sends_on_has_what_is_left_of_the_time() -> None:
    """The deadline is one for the whole decision, however much of it went by on the lane."""
    made: list[Attempt] = []

    class Executor:
        async def execute(self, attempt: Attempt) -> object:
            made.append(attempt)
            raise ConnectionResetError

        async def close(self) -> None:
            pass

    async def run() -> None:
        backend = AsyncRedisBackend(Executor(), policy=RetryPolicy(timeout=50.0, deadline=60.0, attempts=1))
        hold = answered([1, 1], [1, 1])
        now = time.monotonic()
        with pytest.raises(BackendUnavailable):
            await backend.reserve_alone([hold], Op(b"12345678", 5), now - 40.0)
        with pytest.raises(BackendUnavailable):
            await backend.settle_alone([hold], [[0, 0]], Op(b"12345678", 5), now - 40.0)
        with pytest.raises(BackendTimeout, match="deadline of 60 s"):
            await backend.reserve_alone([hold], Op(b"12345678", 5), now - 60.0)

    asyncio.run(run())
    assert len(made) == 2
    assert all(0 < attempt.timeout <= 20.0 for attempt in made)


def test_carriers_that_meet_in_a_tick_keep_the_order_of_a_subject() -> None:
    """What one of them has under way, the other one waits for."""

    async def work(line: Line, express: Express) -> None:
        coalescer = Coalescer(60.0)
        express = Express(coalescer, CALLS, line.run, 60.0, lambda _: 0)
        order: list[str] = []

        async def execute(attempt: Attempt) -> object:
            order.append(attempt.call.script.name)
            call = attempt.call
            sizes = call.args[1][2::3]
            return [call.op, *[call.args[2 + sum(sizes[:i])] for i in range(len(sizes))]]

        batches = Batches(coalescer, execute, CALLS.batch, lambda _: 0)
        scope = subject(express, "a")

        def general(number: int) -> Coroutine[Any, Any, object]:
            hold = answered([number, 0], [], key=scope.key)
            return batches.execute(CALLS.reserve([hold], Op(b"general%d" % number, 5)), time.monotonic(), 60.0)

        tasks = [asyncio.ensure_future(reserve(express, scope, i)) for i in range(2)]
        tasks += [asyncio.ensure_future(general(i)) for i in range(2)]
        tasks += [asyncio.ensure_future(reserve(express, scope, i)) for i in range(2, 4)]
        await settle_down()
        assert (len(line.calls), order) == (1, [])
        line.open.pop(0).set_result(None)
        await settle_down()
        assert (len(line.calls), order) == (2, ["batch"])
        await line.answer()
        assert [type(each) for each in await asyncio.gather(*tasks)] == [tuple] * 2 + [bytes] * 2 + [tuple] * 2

    drive(work)
