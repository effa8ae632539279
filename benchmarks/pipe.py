"""Many script calls in flight on one connection: the way to time the server, and to fill it fast."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.plans import ESTIMATE, REAL
from ratelimit import Plan, Retention
from ratelimit.backends.base import Op
from ratelimit.backends.calls import Calls
from ratelimit.backends.scripts import load_script
from ratelimit.core.hold import Hold
from ratelimit.core.keys import KeyMaker, page_key
from ratelimit.core.wire import OP_BYTES, decode_peek, decode_reserve, decode_settle
from ratelimit.intake import price, real_cost
from tests.servers import RedisServer

__all__ = ("Command", "Pending", "Pipe", "Piped", "script_time")

Command = Sequence[str | bytes | int]
Pending = tuple[Hold, Op]
"""A reservation between reserve and settle."""


class Pipe:
    """One connection of redis-py; at most `depth` commands are under way."""

    def __init__(self, client: redis.Redis, depth: int) -> None:
        self._depth = depth
        self._connection: Any = client.connection_pool.get_connection()

    @classmethod
    @contextmanager
    def to(cls, url: str, depth: int = 50) -> Iterator[Pipe]:
        """Connect with our scripts loaded, and leave no connection behind: its buffers count as used memory."""
        with redis.Redis.from_url(url, protocol=2) as client:
            for name in ("reserve", "settle", "peek"):
                client.script_load(load_script(name).text)
            pipe = cls(client, depth)
            try:
                yield pipe
            finally:
                client.connection_pool.disconnect()

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """All the answers, in order.

        Raises:
            redis.ResponseError: the server refused one of them.
        """
        answers: list[Any] = []
        connection = self._connection
        for start in range(0, len(commands), self._depth):
            part = commands[start : start + self._depth]
            connection.send_packed_command(connection.pack_commands(part))
            answers += [connection.read_response(disable_decoding=True) for _ in part]
        return answers

    def load(self, text: str | bytes) -> str:
        """Teach the server a script; its SHA-1."""
        (sha,) = self.run([("SCRIPT", "LOAD", text)])
        return str(sha, "ascii")


class Piped:
    """The verbs of the engine on many subjects of one plan at once, with the keys and bytes of a Limiter.

    A record goes to the page that the caller names, instead of the page of the moment.
    """

    def __init__(self, pipe: Pipe, plan: Plan) -> None:
        self.pipe = pipe
        self._layout = plan.layout
        self._calls = Calls(Retention().head)
        self._key = KeyMaker().scope_key
        self._bits = random.Random().getrandbits

    def reserve(
        self,
        subjects: Sequence[str],
        page: int = 0,
        *,
        requests: int = 1,
        tokens: int = ESTIMATE,
        admitted: bool = True,
    ) -> list[Pending]:
        """One reserve per subject; all must be `admitted`, or none."""
        costs = price(self._layout, {"requests": requests, "tokens": tokens})
        pending = [(Hold(self._key(subject), self._layout, costs), self._op(page)) for subject in subjects]
        calls = [self._calls.reserve([hold], op).command(by_text=False) for hold, op in pending]
        for (hold, op), answer in zip(pending, self.pipe.run(calls), strict=True):
            if decode_reserve(answer, op.id, [hold]) != admitted:
                raise AssertionError(f"admitted should be {admitted}")
        return pending

    def settle(self, pending: Sequence[Pending], tokens: int = REAL) -> None:
        """Settle them all."""
        amounts = {"tokens": tokens}
        calls = [
            self._calls.settle([hold], [real_cost(hold, amounts)], op).command(by_text=False) for hold, op in pending
        ]
        for (hold, op), answer in zip(pending, self.pipe.run(calls), strict=True):
            decode_settle(answer, op.id, [hold])

    def pairs(self, subjects: Sequence[str], page: int = 0) -> None:
        """Reserve and settle, fifty subjects at a time."""
        for start in range(0, len(subjects), 50):
            self.settle(self.reserve(subjects[start : start + 50], page))

    def peek(self, subjects: Sequence[str]) -> None:
        """Peek at them all."""
        ops = [self._op(0).id for _ in subjects]
        calls = [
            self._calls.peek([self._key(subject)], op).command(by_text=False)
            for subject, op in zip(subjects, ops, strict=True)
        ]
        for op, answer in zip(ops, self.pipe.run(calls), strict=True):
            decode_peek(answer, op, 1)

    def forget_pages(self, subjects: Sequence[str], page: int = 0) -> None:
        """Delete a page of each, as time would."""
        self.pipe.run([("DEL", *[page_key(self._key(subject), page) for subject in subjects])])

    def _op(self, page: int) -> Op:
        return Op(self._bits(8 * OP_BYTES).to_bytes(OP_BYTES, "little"), page)


def script_time(server: RedisServer) -> tuple[int, int]:
    """(EVALSHA calls so far, microseconds that they took the server) from INFO commandstats."""
    line = server.info("commandstats").get("cmdstat_evalsha", "calls=0,usec=0")
    found = re.match(r"calls=(\d+),usec=(\d+)", line)
    if found is None:
        raise AssertionError(f"commandstats of another kind: {line}")
    return int(found[1]), int(found[2])
