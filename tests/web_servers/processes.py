"""Web servers as processes of their own, started as an operator starts them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.servers import eventually, free_port
from tests.servers.reaper import forget_process, watch_process

__all__ = ("ASGI_SERVERS", "GRACE", "QUICK", "WSGI_SERVERS", "WebServer")

GRACE: Final = 2
"""Seconds after which servers give up what has not ended by itself."""
_ROOT: Final = Path(__file__).parents[2]
_ASGI: Final = "tests.web_servers.asgi_target:app"
_WSGI: Final = "tests.web_servers.wsgi_target:app"
_UVICORN: Final = f"uvicorn {_ASGI} --host 127.0.0.1 --port PORT --timeout-graceful-shutdown {GRACE} --log-level error"
# Its workers may take a second to hear of the signal.
_GUNICORN: Final = f"gunicorn {_WSGI} -b 127.0.0.1:PORT --graceful-timeout {GRACE + 3} --log-level error"

ASGI_SERVERS: Final = {
    "uvicorn-h11": f"{_UVICORN} --http h11",
    "uvicorn-httptools": f"{_UVICORN} --http httptools",
    "hypercorn": f"hypercorn {_ASGI} --bind 127.0.0.1:PORT --graceful-timeout {GRACE}",
    "granian": f"granian {_ASGI} --interface asgi --host 127.0.0.1 --port PORT --workers-kill-timeout 5 --no-log",
}
WSGI_SERVERS: Final = {
    "gunicorn-sync": f"{_GUNICORN} -k sync",
    "gunicorn-gthread": f"{_GUNICORN} -k gthread --threads 16",
    "waitress": f"waitress --listen=127.0.0.1:PORT --threads=16 {_WSGI}",
}

QUICK: Final = {
    ("uvicorn-h11", "django"),
    ("uvicorn-httptools", "starlette"),
    ("hypercorn", "quart"),
    ("granian", "fastapi"),
    ("gunicorn-sync", "django"),
    ("gunicorn-gthread", "flask"),
    ("waitress", "django"),
}
"""Every server and every framework once."""


class WebServer:
    """A server by its name, serving one framework's app on one backend."""

    def __init__(self, server: str, app: str, backend: str = "memory") -> None:
        self.server = server
        self.app = app
        self.backend = backend
        self.port = free_port()
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        command = {**ASGI_SERVERS, **WSGI_SERVERS}[self.server].replace("PORT", str(self.port))
        wanted = {"TEST_APP": self.app, "TEST_BACKEND": self.backend, "PYTHONPATH": str(_ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            cwd=_ROOT,
            env={**os.environ, **wanted},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        watch_process(self._process.pid)
        try:
            eventually(self._answers, within=60, what=f"{self.server} listens")
        except BaseException as error:
            output = self._killed()
            raise RuntimeError(f"{command}\n{output}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._killed()

    def terminate(self) -> None:
        """SIGTERM, as from a service manager; returns once it takes no more connections.

        gunicorn's workers keep the listening socket to their end, so there it returns at once.
        """
        self._process.send_signal(signal.SIGTERM)
        if not self.server.startswith("gunicorn"):
            eventually(lambda: not self._connects(), what="the server listens no more")

    def wait(self) -> str:
        """Wait for the end of the process; what it has printed."""
        output, _ = self._process.communicate(timeout=60)
        return output.decode(errors="replace")

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the server has ended"
        return self._connects()

    def _connects(self) -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return False

    def _killed(self) -> str:
        """End the whole process group: some servers have workers."""
        forget_process(self._process.pid)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self.wait() if self._process.stdout and not self._process.stdout.closed else ""
