"""A Redis or Valkey server of one's own: free port, unix socket, temporary directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import reaper, resp
from .binaries import RedisBinary, redis_binaries
from .launch import PortTakenError, Process, launch, terminate_now
from .ports import HOST, free_port
from .waiting import PATIENCE

__all__ = ("RedisServer", "plain_client")

_DEFAULTS: Mapping[str, str | int] = {
    "bind": HOST,
    "daemonize": "no",
    "save": '""',
    "appendonly": "no",
    # Without these a replica waits up to 5 s for company before its first synchronisation.
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": 0,
}

# A unix socket's path is limited to 108 bytes and $TMPDIR can be long.
_LONGEST_TEMP = 60


def plain_client(port: int, **options: Any) -> redis.Redis:
    """A client that sends each command once: no retries, whatever the defaults of this redis-py."""
    settings: dict[str, Any] = {"socket_timeout": 5.0, "retry": Retry(NoBackoff(), 0), **options}
    return redis.Redis(host=HOST, port=port, **settings)


class RedisServer:
    """One server process.

    `stop`, `kill` and `restart` keep the port, the directory and the configuration file; data survives only if *config*
    turns persistence on. `close`, or the end of the `with` block, removes everything.
    """

    def __init__(
        self,
        binary: RedisBinary | None = None,
        *,
        config: Mapping[str, str | int] | None = None,
        args: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        """Describe the server: *config* adds to or replaces configuration lines, *args* go on the command line."""
        self.binary = binary or redis_binaries()[0]
        self.config = {**_DEFAULTS, **self._debug_option(), **(config or {})}
        self._args = tuple(args)
        self._fixed_port = port
        self._port = port
        self._directory: Path | None = None
        self._process: Process | None = None

    def _debug_option(self) -> Mapping[str, str]:
        return {"enable-debug-command": "yes"} if self.binary.version >= (7, 0, 0) else {}

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; known once started."""
        if self._port is None:
            raise RuntimeError("the server has not been started: it has no port yet")
        return self._port

    @property
    def directory(self) -> Path:
        """The server's working directory."""
        if self._directory is None:
            base = tempfile.gettempdir()
            short = base if len(base) <= _LONGEST_TEMP else "/tmp"
            self._directory = Path(tempfile.mkdtemp(prefix="redis-", dir=short))
            reaper.watch_directory(str(self._directory))
        return self._directory

    @property
    def unix_path(self) -> str:
        """The path of the unix socket."""
        return str(self.directory / "redis.sock")

    @property
    def url(self) -> str:
        """The TCP address for `redis.from_url`."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """The unix socket's address for `redis.from_url`."""
        return f"unix://{self.unix_path}?db=0"

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        """A new redis-py client over TCP that does not retry."""
        return plain_client(self.port, **options)

    def call(self, *command: str | int) -> resp.Reply:
        """Run one command over the unix socket and return the bare reply (see `resp.call`)."""
        return resp.call(self.unix_path, *command)

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO, its fields as strings."""
        lines = str(self.call("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def configure(self, **lines: str | int) -> None:
        """Replace configuration lines, `_` for `-`, from the next start on (this undoes any CONFIG REWRITE)."""
        self.config.update({name.replace("_", "-"): value for name, value in lines.items()})
        self._conf.unlink(missing_ok=True)

    def start(self) -> RedisServer:
        """Start and wait until commands are answered; a running server is left as it is."""
        known = self._port is not None  # clients know the port of a restarted server: it has to be that one
        for attempts_left in reversed(range(10)):
            if self.running:
                break
            try:
                self._launch()
            except PortTakenError:
                if known or not attempts_left:
                    raise
                self._port = None
                self._conf.unlink()  # names the port
        return self

    def stop(self) -> None:
        """Shut down in order (SIGTERM); a server that does not comply is killed."""
        if self._process is None:
            return
        self.resume()  # a stopped process would not see the signal
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE / 2)
        self.kill()

    def kill(self) -> None:
        """End the process with SIGKILL, also when it is paused."""
        process, self._process = self._process, None
        if process is not None:
            terminate_now(process)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and remove its directory."""
        self.kill()
        directory, self._directory = self._directory, None
        self._port = self._fixed_port
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
            reaper.forget_directory(str(directory))

    def __enter__(self) -> RedisServer:
        """Start."""
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def log(self) -> str:
        """What the server has written to its standard output and error since it was created."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    @property
    def _conf(self) -> Path:
        return self.directory / "redis.conf"

    def _launch(self) -> None:
        self.kill()  # if it died by itself: the reaper must forget its process id
        if self._port is None:
            self._port = free_port(bus="cluster-enabled" in self.config)
        if not self._conf.exists():
            lines = {**self.config, "port": self._port, "unixsocket": self.unix_path, "dir": self.directory}
            self._conf.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        command: list[str | Path] = [self.binary.path, self._conf, *self._args]
        self._process = launch(command, log=self._log, unix_path=self.unix_path)
