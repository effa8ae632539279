"""Who may do what: the least rights that the engine needs, and what happens with fewer or with none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest

from ratelimit import BackendUnavailable, RateLimited
from tests.faults.faces import LEDGER, FaceMaker, each_face, used
from tests.servers import RedisServer, redis_binaries


@pytest.fixture(scope="module", params=redis_binaries(), ids=str)
def shared_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Servers of different ages say the same things in different words."""
    with RedisServer(request.param) as started:
        yield started


#: What the engine needs: commands that clients send, and commands that its scripts call.
LEAST = ("evalsha", "eval", "time", "get", "hsetnx", "hget", "pexpire", "psetex", "del")


def cycle(server: RedisServer, face_of: FaceMaker) -> None:
    """Everything that a limiter ever does, as a user with few rights."""
    with face_of(f"redis://limiter:secret@127.0.0.1:{server.port}/0") as face:
        server.call("FLUSHALL")
        server.call("SCRIPT", "FLUSH")
        held = face.acquire("alice", tokens=70)
        face.settle(held, tokens=20)
        assert used(face.peek("alice")) == {"requests": 1, "tokens": 20}
        assert face.reset("alice")
        face.acquire("alice", tokens=LEDGER.limits[1].burst)
        with pytest.raises(RateLimited):
            face.acquire("alice", tokens=LEDGER.limits[1].burst)  # looks for an earlier attempt before it says no


def grant(server: RedisServer, commands: tuple[str, ...]) -> None:
    rules = chain(["reset", "on", ">secret", "resetchannels", "~rl1:*", "-@all"], (f"+{name}" for name in commands))
    server.call("ACL", "SETUSER", "limiter", *rules)


@each_face
def test_a_user_with_few_rights_can_do_all_that_the_engine_does(face_of: FaceMaker, server: RedisServer) -> None:
    """Keys of the prefix and nine commands are enough."""
    grant(server, LEAST)
    cycle(server, face_of)


@each_face
@pytest.mark.parametrize("missing", LEAST)
def test_a_user_with_fewer_rights_is_told_so(face_of: FaceMaker, missing: str, server: RedisServer) -> None:
    """Each of the nine commands is needed, and without it the engine says that it may not."""
    grant(server, tuple(name for name in LEAST if name != missing))
    with pytest.raises(BackendUnavailable, match=r"(?i)permission|can't run this command"):
        cycle(server, face_of)


@each_face
def test_a_wrong_password_is_unavailable_and_not_repeated_to_anybody(face_of: FaceMaker, server: RedisServer) -> None:
    """The error and everything that led to it name no password, neither ours nor the right one."""
    with server.client() as admin:
        admin.config_set("requirepass", "sesame")
        try:
            for login in (":hunter2", "bob:hunter2"):
                with face_of(f"redis://{login}@127.0.0.1:{server.port}/0") as face:
                    with pytest.raises(BackendUnavailable, match="the server refuses") as failure:
                        face.acquire("alice", tokens=70)
                    said = list(causes(failure.value))
                    assert not any(secret in text for text in said for secret in ("hunter2", "sesame"))
        finally:
            admin.config_set("requirepass", "")


def causes(error: BaseException | None) -> Iterator[str]:
    """What an error says, and everything behind it."""
    while error is not None:
        yield from (str(error), repr(error))
        error = error.__cause__ or error.__context__
