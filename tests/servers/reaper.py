"""Kill leftover servers and remove their directories when the test process ends, however it ends.

A child process reads, line by line, what to clean up from a pipe. The kernel closes the pipe when the test process
exits, is killed or crashes; the child then cleans up and ends too. Why not the alternatives: `atexit` alone does not
run after SIGKILL, PR_SET_PDEATHSIG needs code between fork and exec and fires when the *thread* that forked ends.

The module is both sides: imported, it is the sender; run as a script (see `main`), it is the child.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable

__all__ = ("forget_directory", "forget_process", "watch_directory", "watch_process")

_lock = threading.Lock()
_children: dict[int, subprocess.Popen[str]] = {}  # by the process they clean up for: see `_running_child`


def watch_process(pid: int) -> None:
    """Have the process killed at the end."""
    _tell(f"+pid {pid}")


def forget_process(pid: int) -> None:
    """Take the process off the list; call before it is waited for, while its id cannot be reused."""
    _tell(f"-pid {pid}")


def watch_directory(path: str) -> None:
    """Have the directory removed at the end."""
    _tell(f"+dir {path}")


def forget_directory(path: str) -> None:
    """Take the directory off the list."""
    _tell(f"-dir {path}")


def _tell(line: str) -> None:
    with _lock:
        pipe = _running_child().stdin
        assert pipe is not None
        pipe.write(line + "\n")
        pipe.flush()


def _running_child() -> subprocess.Popen[str]:
    """The child of this process; a forked process starts its own and leaves its parent's alone."""
    owner = os.getpid()
    if owner not in _children:
        # A session of its own, so that Ctrl-C on the terminal ends the tests and not their cleaner.
        command = [sys.executable, "-I", "-S", __file__]
        _children[owner] = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        atexit.register(_finish, _children[owner], owner)
    return _children[owner]


def _finish(child: subprocess.Popen[str], owner: int) -> None:
    """At a regular exit, wait until everything is cleaned up."""
    if owner == os.getpid():
        child.communicate()


def main(lines: Iterable[str]) -> None:
    """The child: keep the list until the pipe is closed, then clean up."""
    leftovers: dict[tuple[str, str], None] = {}
    for line in lines:
        verb, value = line.rstrip("\n").split(" ", 1)
        if verb.startswith("+"):
            leftovers[verb[1:], value] = None
        else:
            leftovers.pop((verb[1:], value), None)
    # Processes first, or they could write into a directory that is being removed.
    for kind, value in sorted(leftovers, reverse=True):
        if kind == "pid":
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(value), signal.SIGKILL)
        else:
            shutil.rmtree(value, ignore_errors=True)


if __name__ == "__main__":
    main(sys.stdin)
