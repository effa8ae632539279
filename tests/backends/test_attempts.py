"""Promises of `ratelimit.backends.calls`: what is sent, and when it is sent again."""

from __future__ import annotations

from collections.abc import Generator
from random import Random

import pytest

from ratelimit import BackendTimeout, BackendUnavailable, ConfigError, RetryPolicy
from ratelimit.backends.base import Op, Retention
from ratelimit.backends.calls import Attempt, Calls, ScriptCall, ScriptMissing, TryAgain, attempts
from tests.core.holds import TAG, answered

OP = Op(b"12345678", 70)
POLICY = RetryPolicy(timeout=0.5, deadline=2.0, attempts=3)
LOST = TryAgain(BackendUnavailable("lost"))
Flow = Generator[Attempt, object, object]


class Seconds:
    """A clock that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Longest(Random):
    """Jitter that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def call() -> ScriptCall:
    """Any call."""
    return Calls(Retention().head).peek([TAG], OP.id)


def started(policy: RetryPolicy = POLICY) -> tuple[Flow, Attempt, Seconds]:
    """A flow, its first attempt, and its clock."""
    seconds = Seconds()
    flow = attempts(call(), policy, seconds, Longest())
    return flow, next(flow), seconds


def test_the_first_attempt_is_by_digest_and_at_once() -> None:
    """Within the time of one attempt; its reply is the result."""
    flow, attempt, _ = started()
    assert (attempt.by_text, attempt.pause, attempt.timeout) == (False, 0.0, 0.5)
    with pytest.raises(StopIteration) as done:
        flow.send(b"reply")
    assert done.value.value == b"reply"


def test_a_missing_script_is_sent_as_text_at_once() -> None:
    """The same call under the same op-id, and it does not count as an attempt."""
    flow, first, _ = started(RetryPolicy(attempts=1))
    second = flow.throw(ScriptMissing())
    assert (second.by_text, second.pause) == (True, 0.0)
    assert second.call is first.call


def test_a_script_missing_twice_is_an_error() -> None:
    """A server that answers NOSCRIPT to EVAL cannot be served."""
    flow, _, _ = started()
    flow.throw(ScriptMissing())
    with pytest.raises(BackendUnavailable, match=r"^the server answers NOSCRIPT to EVAL"):
        flow.throw(ScriptMissing())


def test_what_can_be_tried_again_is_until_attempts_run_out() -> None:
    """Each under the same op-id, after pauses of up to 40 and 80 ms; then the last error is raised."""
    flow, first, _ = started()
    tried = [flow.throw(LOST), flow.throw(LOST)]
    assert [attempt.pause for attempt in tried] == [0.04, 0.08]
    assert all(attempt.call is first.call for attempt in tried)
    last = TryAgain(BackendUnavailable("the last one"))
    with pytest.raises(BackendUnavailable, match=r"^the last one$"):
        flow.throw(last)


def test_the_cause_of_the_last_error_is_kept() -> None:
    """What redis-py raised is shown below ours."""
    flow, _, _ = started(RetryPolicy(attempts=1))
    cause = OSError("refused")
    again = TryAgain(BackendUnavailable("lost"))
    again.__cause__ = cause
    with pytest.raises(BackendUnavailable) as caught:
        flow.throw(again)
    assert caught.value.__cause__ is cause


def test_pauses_are_jittered_in_full() -> None:
    """Workers that lost a server together do not come back together."""
    pauses = set()
    for seed in range(20):
        flow = attempts(call(), POLICY, Seconds(), Random(seed))
        next(flow)
        pauses.add(flow.throw(LOST).pause)
    assert len(pauses) == 20
    assert min(pauses) < 0.01
    assert 0.03 < max(pauses) <= 0.04


def test_text_stays_text_after_a_lost_answer() -> None:
    """A server that did not know the script has not learned it by losing an answer."""
    flow, _, _ = started()
    flow.throw(ScriptMissing())
    assert flow.throw(LOST).by_text


def test_an_attempt_never_outlives_the_deadline() -> None:
    """The last one gets what is left, pause included."""
    flow, _, seconds = started()
    seconds.now += 1.7
    attempt = flow.throw(LOST)
    assert attempt.pause == 0.04
    assert attempt.timeout == pytest.approx(0.26)


def test_a_decision_that_began_earlier_has_what_is_left_of_its_time() -> None:
    """Also its first attempt here; without any time left there is none."""
    first = next(attempts(call(), POLICY, Seconds(), Longest(), deadline=100.2))
    assert first.timeout == pytest.approx(0.2)
    with pytest.raises(BackendTimeout):
        next(attempts(call(), POLICY, Seconds(), Longest(), deadline=100.0))


def test_after_the_deadline_nothing_is_tried() -> None:
    """The error says that the operation may have happened."""
    flow, _, seconds = started()
    seconds.now += 1.97
    with pytest.raises(
        BackendTimeout, match=r"^no answer within the deadline of 2 s; the operation may have happened$"
    ):
        flow.throw(LOST)


def test_other_errors_end_it() -> None:
    """What another attempt cannot help is raised as it is."""
    flow, _, _ = started()
    with pytest.raises(BackendUnavailable, match=r"^wrong password$"):
        flow.throw(BackendUnavailable("wrong password"))


@pytest.mark.parametrize(
    "values",
    [{"timeout": 0}, {"timeout": True}, {"deadline": 301}, {"deadline": -1}, {"attempts": 0}, {"attempts": 1.0}],
)
def test_a_policy_refuses_what_makes_no_sense(values: dict[str, float]) -> None:
    """With the name and the range."""
    (name,) = values
    with pytest.raises(ConfigError, match=f"^{name} is .*: must be "):
        RetryPolicy(**values)  # type: ignore[arg-type]  # that is the point


def test_a_command_names_the_script_by_digest_or_text() -> None:
    """Same keys, same arguments."""
    made = Calls(Retention().head).reserve([answered([1, 1], [])], OP)
    by_sha, by_text = made.command(by_text=False), made.command(by_text=True)
    assert by_sha[:2] == ("EVALSHA", made.script.sha)
    assert by_text[:2] == ("EVAL", made.script.text)
    assert by_sha[2:] == by_text[2:]
    assert int(by_sha[2]) == len(made.keys) == 2
    assert by_sha[3:] == (*made.keys, *made.args)


def test_the_page_key_belongs_to_the_first_scope() -> None:
    """Every key is declared, in the order that the headers say."""
    other = TAG + "B" * 22
    holds = [answered([1, 1], [1, 1]), answered([1, 1], [1, 1], key=other)]
    made = Calls(Retention().head).settle(holds, [[1, 1], [1, 1]], OP)
    assert list(made.keys) == [TAG, TAG + "bg", other]


def test_the_head_changes_with_the_page() -> None:
    """It is packed once per page."""
    calls = Calls(Retention().head)
    pages = [1, 1, 2, 1]
    heads = [calls.reserve([answered([1, 1], [])], Op(b"12345678", page)).args[1] for page in pages]
    assert heads[0] is heads[1]
    assert heads[0] == heads[3] != heads[2]


def test_a_virtual_clock_is_the_last_argument() -> None:
    """For every verb, and only then."""
    calls, plain = Calls(Retention().head, lambda: 123), Calls(Retention().head)
    hold = answered([1, 1], [1, 1])
    for virtual, real in (
        (calls.reserve([hold], OP), plain.reserve([hold], OP)),
        (calls.settle([hold], [[1, 1]], OP), plain.settle([hold], [[1, 1]], OP)),
        (calls.peek([TAG], OP.id), plain.peek([TAG], OP.id)),
        (calls.reset([TAG], OP.id), plain.reset([TAG], OP.id)),
    ):
        assert list(virtual.args) == [*real.args, b"123"]
