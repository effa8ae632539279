"""A marked API key goes through its whole life, and leaves no trace outside the process's memory."""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ratelimit import (
    AsyncLimiter,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConfigError,
    CostExceedsLimit,
    Limiter,
    RateLimited,
    RateLimitError,
    RetryPolicy,
    Scope,
    WireMismatch,
)
from tests.servers import DROP_REPLY, FaultProxy, RedisServer
from tests.servers.resp import pack

CANARY = "sk-" + "CANARY-" + "5f0b7e1d"
POLICY = RetryPolicy(timeout=0.1, deadline=0.3, attempts=2)
_RAW = CANARY.encode()

#: As it is, and as it might hide. Of base64 the middle part, which is the same at one of three offsets.
FORMS = (_RAW, _RAW.hex().encode(), *(base64.b64encode(b"x" * pad + _RAW)[4:-4] for pad in range(3)))


def traces(evidence: dict[str, bytes]) -> list[str]:
    """Where the canary was seen."""
    return [place for place, found in evidence.items() if any(form in found for form in FORMS)]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """A server that compresses nothing, or the canary might hide in its files."""
    with RedisServer(config={"rdbcompression": "no"}) as started:
        yield started


class Monitor:
    """Everything that the server was told, and what its scripts did."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(server.unix_path)
        self._socket.sendall(pack(["MONITOR"]))
        assert self._socket.recv(100) == b"+OK\r\n"

    def heard(self) -> bytes:
        """All until now."""
        self._server.call("ECHO", "end of monitor")
        heard = b""
        while b"end of monitor" not in heard:
            heard += self._socket.recv(65_536)
        self._socket.close()
        return heard


def stored(server: RedisServer) -> dict[str, bytes]:
    """Keys, values in every form, the snapshot on disk and the server's own log."""
    keys = server.call("KEYS", "*")
    assert isinstance(keys, list)
    evidence = {"log of the server": server.log.encode()}
    for key in map(str, keys):
        evidence[f"name of {key!r}"] = key.encode()
        read = {"string": ("GET", key), "hash": ("HGETALL", key)}[str(server.call("TYPE", key))]
        for command in (read, ("DUMP", key)):
            evidence[f"{command[0]} {key!r}"] = _flat(server.call(*command))
    server.call("SAVE")
    evidence["dump.rdb"] = (server.directory / "dump.rdb").read_bytes()
    return evidence


def _flat(reply: object) -> bytes:
    parts = reply if isinstance(reply, list) else [reply]
    return b"\n".join(str(part).encode(errors="surrogateescape") for part in parts)


class Evidence:
    """What the package says in its own words: reprs, errors with all that led to them, tokens, pickles."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}

    def note(self, what: str, *things: object) -> None:
        for thing in things:
            place = f"{what}: {type(thing).__name__}"
            self.said[place] = f"{thing!r} {thing!s}".encode()

    def note_bytes(self, what: str, raw: bytes) -> None:
        self.said[what] = raw

    @contextmanager
    def raising(self, kind: type[RateLimitError]) -> Iterator[None]:
        """An error is expected; what a log would show of it is noted."""
        with pytest.raises(kind) as failure:
            yield
        error = failure.value
        self.note(kind.__name__, error, error.args, vars(error))
        self.said[f"{kind.__name__}: traceback {len(self.said)}"] = "".join(traceback.format_exception(error)).encode()


def live(limiter: Limiter, evidence: Evidence) -> None:
    """All verbs, allowed and refused, and arguments that cannot be right."""
    scope = Scope(CANARY, "Pro", group=CANARY)
    reservation = limiter.acquire(CANARY, plan="Pro", tokens=70)
    token = reservation.to_token()
    evidence.note("life", limiter, limiter.plans, scope, token)
    evidence.note("reservation", reservation, reservation.standings, reservation.estimate)
    evidence.note_bytes("token, decoded", base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    evidence.note("life", limiter.resume(token), reservation.settle(tokens=20), limiter.peek(CANARY, plan="Pro"))
    held = limiter.acquire([scope, Scope("another", "Lite")], group=CANARY, tokens=5)
    evidence.note("group", held, held.cancel())
    with evidence.raising(RateLimited):
        for _ in range(100):
            evidence.note("decision", limiter.try_acquire(CANARY, plan="Lite", tokens=10_000))
            limiter.acquire(CANARY, plan="Lite", tokens=10_000)
    with evidence.raising(RateLimited):
        limiter.acquire(CANARY, plan="Lite", tokens=60_000, timeout=0.01)
    with evidence.raising(CostExceedsLimit):
        limiter.acquire(CANARY, plan="Lite", tokens=60_001)
    refused = limiter.try_acquire(CANARY, plan="Lite", tokens=60_000)
    evidence.note("refusal", refused, refused.binding)
    evidence.note_bytes("pickle", pickle.dumps(RateLimited(refused)))
    evidence.note("reset", limiter.reset(CANARY))


def mistakes(limiter: Limiter, evidence: Evidence) -> None:
    """The subject in every place where an error message might show it."""
    wrong: list[Callable[[], object]] = [
        lambda: limiter.acquire(CANARY),
        lambda: limiter.acquire(CANARY, plan="No such plan"),
        lambda: limiter.acquire(CANARY, plan="Pro", tokens=-1),
        lambda: limiter.acquire(CANARY, plan="Pro", images=1),
        lambda: limiter.acquire(CANARY.encode(), plan="Pro"),  # type: ignore[arg-type]
        lambda: limiter.acquire(CANARY * 1_000, plan="Pro"),
        lambda: limiter.acquire([CANARY, CANARY], plan="Pro"),  # type: ignore[list-item]
        lambda: limiter.acquire([Scope(CANARY, "Pro"), Scope(CANARY, "Lite")]),
        lambda: limiter.acquire([Scope(CANARY, "Pro"), Scope(CANARY + "2", "Lite")]),
        lambda: limiter.acquire([Scope(CANARY.encode(), "Pro")]),  # type: ignore[arg-type]
        lambda: limiter.acquire("x", plan="Pro", group=CANARY.encode()),  # type: ignore[arg-type]
        lambda: limiter.resume(CANARY),
        lambda: limiter.resume(f"rl1.{CANARY}.{CANARY}"),
    ]
    for mistake in wrong:
        with evidence.raising(ConfigError):
            mistake()


def trouble(server: RedisServer, evidence: Evidence) -> None:
    """The backend fails in every way while the canary is in its hands."""
    with FaultProxy("127.0.0.1", server.port) as proxy, Limiter.from_url(proxy.url, policy=POLICY) as limiter:
        limiter.acquire(CANARY, plan="Pro", tokens=70)
        proxy.random(1, {DROP_REPLY: 1.0})
        with evidence.raising(BackendTimeout):
            limiter.acquire(CANARY, plan="Pro", tokens=70)
        proxy.clear()
        reservation = limiter.acquire(CANARY, plan="Pro", tokens=70)
        proxy.random(1, {DROP_REPLY: 1.0})
        with pytest.raises(ZeroDivisionError), reservation:
            raise ZeroDivisionError  # what cannot be given back is logged
        proxy.clear()
        limiter.reset(CANARY)
        key = limiter._intake.key(CANARY, None)
        server.call("HSET", key, "field", "value")
        with evidence.raising(WireMismatch):
            limiter.acquire(CANARY, plan="Pro", tokens=70)
        server.call("DEL", key)
        server.call("SET", key, "short")
        with evidence.raising(BackendError):
            limiter.acquire(CANARY, plan="Pro", tokens=70)
        limiter.reset(CANARY)
        limiter.acquire(CANARY, plan="Pro", tokens=70)


async def asyncio_life(server: RedisServer, evidence: Evidence) -> None:
    """The asyncio face says no more than the sync one."""
    async with AsyncLimiter.from_url(server.url, policy=POLICY) as limiter:
        begun = limiter.acquire(CANARY, plan="Pro", tokens=70)
        reservation = await begun
        evidence.note("asyncio", limiter, begun, reservation, reservation.to_token())
        evidence.note("asyncio, settled", reservation, await reservation.settle(tokens=1))
        server.kill()
        with evidence.raising(BackendUnavailable):
            await limiter.acquire(CANARY, plan="Pro", tokens=70)


def test_an_api_key_leaves_no_trace(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Not in keys, values, commands, snapshots, logs, reprs, errors or tokens, whatever happens to it."""
    evidence = Evidence()
    with ExitStack() as stack:
        stack.enter_context(caplog.at_level(logging.DEBUG))
        for logger in logging.root.manager.loggerDict:
            stack.enter_context(caplog.at_level(logging.DEBUG, logger))
        monitor = Monitor(server)
        with Limiter.from_url(server.url, policy=POLICY) as limiter:
            live(limiter, evidence)
            mistakes(limiter, evidence)
        trouble(server, evidence)
        found = {"MONITOR": monitor.heard(), **stored(server)}
        asyncio.run(asyncio_life(server, evidence))
        with Limiter.from_url(server.url, policy=POLICY) as limiter, evidence.raising(BackendUnavailable):
            limiter.acquire(CANARY, plan="Pro", tokens=70)
    found |= evidence.said
    found["logs"] = caplog.text.encode()
    assert b"its estimate stays charged" in found["logs"]
    assert found["MONITOR"].count(b'"rl1:{') > 100
    assert {place.split()[0] for place in found} >= {"GET", "HGETALL", "DUMP"}  # state and page
    assert traces(found) == []


def test_the_search_would_find_a_trace(server: RedisServer) -> None:
    """A key, a value, a command, the snapshot, and every encoding that is looked for."""
    monitor = Monitor(server)
    server.call("SET", CANARY, "value")
    server.call("HSET", "hash", "field", f"<{CANARY}>")
    found = traces({"MONITOR": monitor.heard(), **stored(server)})
    planted = [f"name of {CANARY!r}", "HGETALL 'hash'", "DUMP 'hash'"]
    assert sorted(found) == sorted(["MONITOR", "dump.rdb", *planted])
    for hidden in (_RAW.hex().encode(), *(base64.b64encode(b"12345"[:pad] + _RAW + b"rest") for pad in range(5))):
        assert traces({"here": hidden}) == ["here"]
