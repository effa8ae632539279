"""Start a server process and wait until it answers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import hiredis

from . import reaper, resp
from .waiting import eventually

__all__ = ("PortTakenError", "Process", "ServerFailedError", "launch", "terminate_now")

Process = subprocess.Popen[bytes]


class ServerFailedError(RuntimeError):
    """The server did not start; the message ends with its log."""


class PortTakenError(ServerFailedError):
    """The server did not start because somebody else listens on its port."""


def launch(command: Sequence[str | Path], *, log: Path, unix_path: str) -> Process:
    """Start *command* in the folder of *log*, to which its output is appended, and return once it answers PING.

    It is asked over its unix socket: on a TCP port that somebody else took, somebody else would answer. Redis opens
    the unix socket after the TCP ones, so an answer means that all of them are open.
    """
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        # A session of its own, so that Ctrl-C reaches the tests only; the reaper sees to the rest.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent, start_new_session=True
        )
    reaper.watch_process(process.pid)
    try:
        eventually(lambda: _exited(process) or _answers(unix_path), what="the server answers PING")
        if _exited(process):
            raise ServerFailedError(f"exited with status {process.returncode}")
    except (TimeoutError, ServerFailedError) as error:
        terminate_now(process)
        raise _explained(error, command, log, before) from None
    except BaseException:
        terminate_now(process)  # interrupted: nobody else knows the process
        raise
    return process


def terminate_now(process: Process) -> None:
    """End the process with SIGKILL and wait for its end."""
    process.kill()
    reaper.forget_process(process.pid)
    process.wait()


def _exited(process: Process) -> bool:
    return process.poll() is not None


def _answers(unix_path: str) -> bool:
    try:
        return resp.call(unix_path, "PING") == "PONG"
    except OSError:
        return False
    except hiredis.ReplyError as error:
        return not str(error).startswith("LOADING")  # NOAUTH and the like come from a server that is up


def _explained(error: Exception, command: Sequence[str | Path], log: Path, before: int) -> ServerFailedError:
    output = log.read_bytes()[before:].decode(errors="replace")
    kind = PortTakenError if "Address already in use" in output else ServerFailedError
    return kind(f"{' '.join(map(str, command))}: {error}\n{output}")
