"""The identify callable that is shipped: API keys from a file, which is read again when it changes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from ratelimit.errors import ConfigError
from ratelimit.plans import PlanRegistry
from ratelimit.web.credentials import api_key
from ratelimit.web.head import RequestHead
from ratelimit.web.identity import Identity
from ratelimit.web.keys import reading
from ratelimit.web.keys.digest import secret_bytes
from ratelimit.web.keys.table import KeyTable
from ratelimit.web.routes import dialect_of

__all__ = ("ApiKeys",)

_log = logging.getLogger("ratelimit.web")

_AT_ONCE_BYTES: Final = 64 * 1024
"""A larger file takes tens of milliseconds to read, for which no event loop should stand still: a thread does it."""


class ApiKeys:
    """Identifies requests by the keys in a TOML or JSON file. Thread-safe; one look-up takes about 2 us.

    The file is looked at when a request comes, at most every `reload_every` seconds, and read again if it has changed.
    A file that has become wrong, or is gone, leaves the keys in force as they were and logs one warning per change.

    Args:
        path: a keys file, as `ratelimit keys add` makes them.
        plans: the plans that may be named in it; None: whatever it says, to be found wrong by the limiter.
        secret: what the digests are keyed with besides the file's salt; None: the environment variable
            RATELIMIT_KEYS_SECRET, if it is set.
        reload_every: seconds from one look at the file to the next.
        clock: seconds of any origin, which only go forwards.

    Raises:
        ConfigError: the file is missing, unreadable or wrong, or was made with another secret.
    """

    __slots__ = (
        "_clock",
        "_complaint",
        "_due",
        "_every",
        "_fingerprint",
        "_lock",
        "_path",
        "_pid",
        "_plans",
        "_secret",
        "_stamp",
        "_table",
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        plans: PlanRegistry | None = None,
        secret: str | bytes | None = None,
        reload_every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_seconds(reload_every)
        self._path = Path(path)
        reading.check_suffix(self._path)
        self._plans = plans
        self._secret = secret_bytes(secret)
        self._every = reload_every
        self._clock = clock
        self._lock = Lock()
        self._pid = os.getpid()
        self._stamp: reading.Stamp | None = None
        self._fingerprint = b""
        self._complaint = ""
        self._table: KeyTable
        self._due = clock() + reload_every
        self._read()

    def __repr__(self) -> str:
        return f"<ApiKeys {self._path}: {self._table.size} keys>"

    def __call__(self, head: RequestHead) -> Identity | None:
        """Who sends this request; None where it presents no key, or none that is in the file."""
        if self._clock() >= self._due:
            self._look()
        key = api_key(head, dialect_of(head.path))
        return None if key is None else self._table.find(key)

    def reload(self) -> None:
        """Read the file now, whether it looks changed or not.

        Raises:
            ConfigError: it is missing, unreadable or wrong. The keys in force stay as they were.
        """
        with self._own_lock():
            self._fingerprint = b""
            self._read()

    def _look(self) -> None:
        """Read the file again if it has changed; where that takes long, in a thread."""
        self._due = self._clock() + self._every
        lock = self._own_lock()
        if not lock.acquire(blocking=False):
            return  # another thread is at it
        stamp = reading.stamp_of(self._path)
        if stamp is not None and stamp == self._stamp:
            lock.release()
        elif stamp is None or stamp[1] <= _AT_ONCE_BYTES:
            self._refresh(lock)
        else:
            self._refresh_aside(lock)

    def _refresh_aside(self, lock: Lock) -> None:
        try:
            Thread(target=self._refresh, args=(lock,), name="ratelimit-keys", daemon=True).start()
        except RuntimeError:  # no thread to be had: slow is better than never
            self._refresh(lock)

    def _refresh(self, lock: Lock) -> None:
        try:
            self._read()
        except ConfigError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log.warning("the %d keys read before stay in force: %s", self._table.size, error)
        finally:
            lock.release()

    def _read(self) -> None:
        self._stamp = None  # a file that was gone and is back, the same, is a change too
        source = reading.read(self._path)
        self._complaint = ""
        self._stamp = source.stamp if source.settled else None
        fingerprint = source.fingerprint
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            document = reading.parse(self._path, source.raw)
            try:
                self._table = KeyTable.of(document, self._secret, self._plans)
            except ConfigError as error:
                raise ConfigError(f"{self._path}: {error}") from None
            _log.info("%s: %d keys", self._path, self._table.size)

    def _own_lock(self) -> Lock:
        """The lock of this process: one that another thread held at a fork would never be released in the child."""
        if self._pid != os.getpid():
            self._lock, self._pid = Lock(), os.getpid()
        return self._lock


def _check_seconds(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
        raise ConfigError(f"reload_every is {value!r}: must be seconds from 0, such as 1.0")
