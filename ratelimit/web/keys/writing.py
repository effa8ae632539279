"""Replaces a keys file by its next version: all of it or nothing, whatever happens in between."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from stat import S_IMODE
from typing import Any, Final

import tomli_w

from ratelimit.errors import ConfigError
from ratelimit.web.keys.models import KeysDocument

__all__ = ("replace",)

_HEAD: Final = (
    "# API keys of a gateway: digests, never the keys. Changed with `ratelimit keys`, which keeps no comments.\n\n"
)


def replace(file: Path, document: KeysDocument) -> None:
    """Write a document in the format of the file's suffix. A new file is for its owner only (mode 0600).

    An existing file keeps its mode and owner, so that the gateway can read what an administrator writes.

    Raises:
        ConfigError: the file cannot be written, or not under the same owner. It is as it was.
    """
    text = _WRITERS[file.suffix.lower()](document.written())
    try:
        _replace(file, text.encode())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror or error}") from None


def _replace(file: Path, raw: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            _take_after(file, stream.fileno())
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_directory(file.parent)


def _take_after(file: Path, handle: int) -> None:
    try:
        old = os.stat(file)
    except FileNotFoundError:
        return
    if os.name == "posix":
        new = os.fstat(handle)
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            os.fchown(handle, old.st_uid, old.st_gid)
        os.fchmod(handle, S_IMODE(old.st_mode))


def _sync_directory(directory: Path) -> None:
    """Make the new name last through a loss of power; only POSIX lets a directory be opened for that."""
    if os.name == "posix":
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _toml(body: Mapping[str, Any]) -> str:
    return _HEAD + tomli_w.dumps(body)


def _json(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False, default=_iso) + "\n"


def _iso(value: datetime) -> str:
    return value.isoformat()


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {".toml": _toml, ".json": _json}
