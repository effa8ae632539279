"""Promises of `ratelimit.backends.failures`: one table from what redis-py raises to what we raise."""

from __future__ import annotations

import pytest
import redis.exceptions as said

from ratelimit.backends.calls import ScriptMissing, TryAgain
from ratelimit.backends.failures import drops_connection, translate
from ratelimit.backends.scripts import load_script
from ratelimit.errors import BackendTimeout, BackendUnavailable, WireMismatch

AGAIN, FINAL = True, False
TABLE: list[tuple[Exception, type[Exception], bool, str]] = [
    (said.TimeoutError("slow"), BackendTimeout, AGAIN, "may have happened"),
    (TimeoutError(), BackendTimeout, AGAIN, "may have happened"),
    (said.ConnectionError("reset"), BackendUnavailable, AGAIN, "cannot reach a server that serves: reset"),
    (said.MaxConnectionsError("full"), BackendUnavailable, AGAIN, "cannot reach"),
    (OSError("refused"), BackendUnavailable, AGAIN, "cannot reach"),
    (said.ReadOnlyError("replica"), BackendUnavailable, AGAIN, "cannot reach"),
    (said.BusyLoadingError("LOADING"), BackendUnavailable, AGAIN, "cannot reach"),
    (said.MasterDownError("MASTERDOWN"), BackendUnavailable, AGAIN, "cannot reach"),
    (said.ClusterDownError("CLUSTERDOWN"), BackendUnavailable, AGAIN, "cannot reach"),
    (said.TryAgainError("TRYAGAIN"), BackendUnavailable, AGAIN, "cannot reach"),
    (said.RedisClusterException("no slot"), BackendUnavailable, AGAIN, "cannot reach"),
    (said.ResponseError("BUSY Redis is busy running a script"), BackendUnavailable, AGAIN, "another script blocks"),
    (said.AuthenticationError("WRONGPASS"), BackendUnavailable, FINAL, "refuses .*: WRONGPASS"),
    (said.AuthorizationError("no"), BackendUnavailable, FINAL, "may not do this"),
    (said.NoPermissionError("NOPERM"), BackendUnavailable, FINAL, "may not do this: NOPERM"),
    (said.OutOfMemoryError("command not allowed"), BackendUnavailable, FINAL, "refuses to serve: command not allowed"),
    (said.ResponseError("RL_WIRE version 2"), WireMismatch, FINAL, "the script refuses the call: RL_WIRE version 2"),
    (said.ResponseError("WRONGTYPE Operation"), WireMismatch, FINAL, "choose another prefix"),
    (said.ResponseError("ERR unknown"), BackendUnavailable, FINAL, "refuses to serve: ERR unknown"),
    (said.DataError("odd"), BackendUnavailable, FINAL, "DataError: odd"),
    (ValueError("odd"), BackendUnavailable, FINAL, "ValueError: odd"),
]


@pytest.mark.parametrize(("error", "kind", "again", "text"), TABLE, ids=lambda value: type(value).__name__)
def test_every_failure_has_its_place(error: Exception, kind: type[Exception], again: bool, text: str) -> None:
    """Whether another attempt may help, and who must act when none does."""
    thrown = translate(error, load_script("reserve"))
    assert isinstance(thrown, TryAgain) is again
    ours = thrown.error if isinstance(thrown, TryAgain) else thrown
    assert type(ours) is kind
    with pytest.raises(kind, match=text):
        raise ours


@pytest.mark.parametrize(
    "error", [said.NoScriptError("No matching script"), said.ResponseError("NOSCRIPT No matching")]
)
def test_a_forgotten_script_is_sent_again(error: Exception) -> None:
    """However this redis-py calls it."""
    assert type(translate(error, load_script("reserve"))) is ScriptMissing


def test_line_numbers_are_those_of_the_sources() -> None:
    """An operator can find the line in lua/."""
    script = load_script("settle")
    number = script.lines.index("lib/save_scope.lua:10") + 1
    thrown = translate(said.ResponseError(f"ERR user_script:{number}: attempt to index"), script)
    assert "lib/save_scope.lua:10: attempt to index" in str(thrown)


@pytest.mark.parametrize(
    ("error", "drops"),
    [
        (said.ResponseError("ERR"), False),
        (said.NoScriptError("NOSCRIPT"), False),
        (said.OutOfMemoryError("OOM"), False),
        (said.NoPermissionError("NOPERM"), False),
        (said.ReadOnlyError("READONLY"), True),
        (said.BusyLoadingError("LOADING"), True),
        (said.MasterDownError("MASTERDOWN"), True),
        (said.ClusterDownError("CLUSTERDOWN"), True),
        (said.TimeoutError("slow"), True),
        (said.ConnectionError("reset"), True),
        (OSError("refused"), True),
        (said.AuthenticationError("WRONGPASS"), True),
        (KeyboardInterrupt(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_connection_is_kept_only_after_a_full_answer(error: BaseException, drops: bool) -> None:
    """Anything else might leave an answer behind for the next caller, or a server that cannot serve."""
    assert drops_connection(error) is drops
