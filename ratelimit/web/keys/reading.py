"""A keys file as it is read: its bytes, how to tell that it has changed, and what stands in it."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final

from ratelimit.errors import ConfigError
from ratelimit.plans.faults import short
from ratelimit.plans.formats import PARSERS
from ratelimit.web.keys.models import HIDDEN, KeysDocument

__all__ = ("FILE_MAX_BYTES", "SUFFIXES", "Source", "Stamp", "check_suffix", "parse", "read", "stamp_of")

FILE_MAX_BYTES: Final = 64 * 1024 * 1024
SUFFIXES: Final = (".toml", ".json")

_SETTLED_NS: Final = 2_000_000_000
"""Coarser than the time of any file system: two writes so close together may leave a file with the same stamp."""
_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$)""", re.DOTALL)
"""What an error quotes, as far as the end where the closing quote was cut off."""

Stamp = tuple[int, int, int, int]
"""Modification time in ns, size, inode and device: whatever changes when a file is written or replaced."""


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of a file, and the stamp that it had when they were read."""

    stamp: Stamp
    raw: bytes = field(repr=False)

    @property
    def settled(self) -> bool:
        """False while the file is so new that it could change once more without a change of its stamp."""
        return abs(time.time_ns() - self.stamp[0]) > _SETTLED_NS

    @property
    def fingerprint(self) -> bytes:
        """The same for the same bytes only."""
        return blake2b(self.raw, digest_size=32).digest()


def check_suffix(file: Path) -> None:
    """Refuse a file that is neither TOML nor JSON.

    Raises:
        ConfigError: names the file and the suffixes that are known.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{file}: suffix {short(file.suffix)}: a keys file must be one of {', '.join(SUFFIXES)}")


def stamp_of(file: Path) -> Stamp | None:
    """The stamp of a file as it is now; None if there is no such file."""
    try:
        return _stamp(os.stat(file))
    except OSError:
        return None


def read(file: Path) -> Source:
    """Read a file whole.

    Raises:
        ConfigError: it is missing, unreadable or too large.
    """
    try:
        with file.open("rb") as stream:
            # The stamp goes before the bytes: what is written in between makes the next look differ.
            stamp = _stamp(os.fstat(stream.fileno()))
            raw = stream.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(raw) > FILE_MAX_BYTES:
        raise ConfigError(f"{file}: larger than {FILE_MAX_BYTES} bytes: a keys file must be at most 64 MiB")
    return Source(stamp, raw)


def parse(file: Path, raw: bytes) -> KeysDocument:
    """What stands in a file.

    Raises:
        ConfigError: names the file, and the path and rule of what is wrong. No value that could be a key is shown.
    """
    try:
        text = raw.decode("utf-8-sig")  # editors on Windows begin files with a byte order mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: line {line}: byte {raw[error.start]:#04x}: must be UTF-8 text") from None
    try:
        body = PARSERS[file.suffix.lower()](text)
    except ConfigError as error:
        # Parsers quote the names and values that they stumble over.
        raise ConfigError(f"{file}: {_QUOTED.sub(_hide, str(error))}") from None
    try:
        if not isinstance(body, dict):
            raise ConfigError(f"must be a table with the keys {', '.join(KeysDocument.known_keys)}")
        return KeysDocument.build(body, at="")
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _hide(quoted: re.Match[str]) -> str:
    # One character is punctuation that the parser expected, or met.
    return quoted[0] if len(quoted[0]) <= len("'='") else repr(HIDDEN)


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
