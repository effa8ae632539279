"""Maps what redis-py and the server say to this package's errors, at one place."""

from __future__ import annotations

import redis.exceptions as said

from ratelimit.backends.calls import ScriptMissing, TryAgain
from ratelimit.backends.scripts import Script
from ratelimit.core.wire import OP_BYTES
from ratelimit.errors import BackendTimeout, BackendUnavailable, WireMismatch

__all__ = ("FOREIGN", "drops_connection", "explain", "is_whole", "translate")

FOREIGN = (said.RedisError, said.RedisClusterException, OSError)
"""What redis-py and the network raise. Anything else, as from a signal handler, is not ours to translate."""


_REDIRECTED = (
    said.ReadOnlyError,
    said.BusyLoadingError,
    said.MasterDownError,
    said.ClusterDownError,
    said.TryAgainError,
)
"""The server behind this connection cannot serve us now; another connection may find one that can."""


def drops_connection(error: BaseException) -> bool:
    """True unless the server answered in full and would answer again: then the connection is as good as before."""
    return not isinstance(error, said.ResponseError) or _leads_elsewhere(error)


def _leads_elsewhere(error: BaseException) -> bool:
    # Servers before 7.0 wrap what a script meets: "ERR Error running script (...): ...: -READONLY You can't write ...".
    return isinstance(error, _REDIRECTED) or (isinstance(error, said.ResponseError) and "-READONLY " in str(error))


def is_whole(reply: object, op: bytes) -> bool:
    """True for an answer to this call, from a server that would answer again."""
    if isinstance(reply, list):
        lost = [part for part in reply if isinstance(part, Exception) and drops_connection(part)]
        return not lost and reply[:1] == [op]
    return isinstance(reply, bytes) and reply[:OP_BYTES] == op


def explain(error: Exception, script: Script) -> Exception:
    """:func:`translate` for what is foreign, with the cause set as `raise from` would; anything else as it is."""
    if not isinstance(error, FOREIGN):
        return error
    ours = translate(error, script)
    ours.__cause__ = error
    return ours


def translate(error: Exception, script: Script) -> Exception:
    """The error to throw into the attempts, or to raise when no attempt can help.

    Server texts are passed on with the script's line numbers resolved; they hold hashed keys at most.
    """
    text = script.locate(str(error))
    if isinstance(error, said.NoScriptError):
        return ScriptMissing(text)
    if isinstance(error, (said.TimeoutError, TimeoutError)):
        return TryAgain(BackendTimeout("no answer within the time of one attempt; the operation may have happened"))
    if isinstance(error, said.AuthenticationError):
        return BackendUnavailable(f"the server refuses user or password: {text}; check them in the URL or the client")
    if isinstance(error, (said.AuthorizationError, said.NoPermissionError)):
        return BackendUnavailable(f"the user may not do this: {text}; docs/redis.md has the rights that are needed")
    if isinstance(error, (said.ConnectionError, OSError, said.RedisClusterException)) or _leads_elsewhere(error):
        return TryAgain(BackendUnavailable(f"cannot reach a server that serves: {text}"))
    if isinstance(error, said.ResponseError):
        return _refused(text)
    return BackendUnavailable(f"{type(error).__name__}: {text}")


def _refused(text: str) -> Exception:
    if "NOSCRIPT" in text[:16]:
        return ScriptMissing(text)
    if text.startswith("BUSY") or "BUSY Redis is busy" in text:
        return TryAgain(BackendUnavailable(f"another script blocks the server: {text}"))
    if "RL_LOST" in text:
        return BackendUnavailable(f"a call was broken off on the server, and may have happened in part: {text}")
    if "RL_" in text:
        return WireMismatch(f"the script refuses the call: {text}")
    if "WRONGTYPE" in text or "data string too short" in text:
        return WireMismatch(f"a key of ours holds somebody else's data: {text}; choose another prefix")
    return BackendUnavailable(f"the server refuses to serve: {text}")
