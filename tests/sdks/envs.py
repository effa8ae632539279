"""One folder per version of an SDK, with all that it needs and nothing else; made once, and kept."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ("SdkNotInstalledError", "environment", "installed")

_ROOT = Path(__file__).resolve().parents[2]
_FOLDER = _ROOT / ".sdk-envs"
_PINS = Path(__file__).with_name("pins.txt")


class SdkNotInstalledError(RuntimeError):
    """pip could not install an SDK; the message ends with what it said."""


def installed(name: str, version: str, *beside: str, root: Path = _FOLDER, pins: Path = _PINS) -> Path:
    """The folder that holds this version of an SDK; installs it there if it is not there yet, with what is `beside` it.

    Raises:
        SdkNotInstalledError: pip failed, or this interpreter has none.
    """
    # What is compiled fits one interpreter only, and other pins are another environment.
    made_of = hashlib.sha256(pins.read_bytes() + " ".join([*beside, sys.version]).encode()).hexdigest()[:8]
    folder = root / f"{name}-{version}-{made_of}"
    root.mkdir(exist_ok=True)
    with _alone(folder.with_suffix(f"{folder.suffix}.lock")):
        if not folder.exists():
            # Renamed when all of it is there: a folder of that name is whole.
            partial = folder.with_suffix(f"{folder.suffix}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            _install([f"{name}=={version}", *beside], partial, pins)
            partial.rename(folder)
    return folder


def environment(folder: Path, home: Path) -> dict[str, str]:
    """Environment variables for a Python that runs with `-S`: the SDK in that folder, and nobody's settings or keys."""
    return {"PYTHONPATH": str(folder), "HOME": str(home), "PYTHONUTF8": "1"}


def _install(requirements: Sequence[str], target: Path, pins: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ]
    # Compiling all modules takes as long as installing them; few are ever imported, and Python compiles those.
    command += ["--no-compile", "--constraint", str(pins), "--target", str(target), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode:
        raise SdkNotInstalledError(
            f"{requirements[0]} was not installed: {' '.join(command)}\n{done.stdout}{done.stderr}"
        )


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes out: two test runs may want the same folder at once."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
