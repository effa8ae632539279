"""The keys file for those who change it: add, list, revoke. Needs the extra `llm-ratelimit[cli]`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from ratelimit.errors import ConfigError
from ratelimit.plans import PlanRegistry
from ratelimit.plans.faults import short
from ratelimit.plans.names import fold
from ratelimit.web.keys import reading
from ratelimit.web.keys.digest import KeyDigester, secret_bytes
from ratelimit.web.keys.mint import new_id, new_key, new_salt
from ratelimit.web.keys.models import VERSION, KeyEntry, KeysDocument
from ratelimit.web.keys.writing import replace

__all__ = ("Issued", "KeyStore")

_LOCK_S: Final = 10.0
_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key. `key` is nowhere else: only its digest is in the file."""

    entry: KeyEntry
    key: str = field(repr=False)


class KeyStore:
    """Changes a keys file. Several processes may do so at once: each change is made alone, and none is lost.

    Args:
        path: a .toml or .json file; :meth:`add` makes it if it is missing.
        plans: the plans that keys may be added under; None: the four built-in ones.
        secret: as for :class:`ratelimit.web.keys.ApiKeys`.

    Raises:
        ConfigError: another suffix, or a secret that is neither text nor bytes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        plans: PlanRegistry | None = None,
        secret: str | bytes | None = None,
    ) -> None:
        self._path = Path(path)
        reading.check_suffix(self._path)
        self._plans = PlanRegistry() if plans is None else plans
        self._secret = secret_bytes(secret)

    def __repr__(self) -> str:
        return f"<KeyStore {self._path}>"

    def entries(self) -> tuple[KeyEntry, ...]:
        """Everything in the file, in its order.

        Raises:
            ConfigError: the file is missing or wrong.
        """
        return self._document().keys

    def add(
        self,
        plan: str,
        *,
        subject: str | None = None,
        organisation: str | None = None,
        organisation_plan: str | None = None,
        note: str | None = None,
    ) -> Issued:
        """Make a key and write its digest down.

        `subject` is the key's id unless given. An organisation that is in the file already needs no plan.

        Raises:
            ConfigError: an unknown plan, a text that cannot be right, another secret than that of the keys in the
                file, or a file that is wrong or cannot be written. Nothing was changed.
        """
        with self._alone():
            document = self._empty() if reading.stamp_of(self._path) is None else self._document()
            digester = KeyDigester(document.salt, self._secret)
            with self._naming_the_file():
                digester.verify(document.check)
            key = new_key()
            entry = _entry(
                id=_fresh_id(document),
                digest=digester(key),
                subject=subject,
                plan=self._plans.get(plan).name,
                organisation=organisation,
                organisation_plan=self._organisation_plan(document, organisation, organisation_plan),
                note=note,
                created=datetime.now(UTC).replace(microsecond=0),
            )
            self._write(document, (*document.keys, entry))
        return Issued(entry, key)

    def revoke(self, id: str) -> KeyEntry:  # noqa: A002 - the word for it, here and on the command line
        """Take a key out of the file, and return what stood there.

        Raises:
            ConfigError: no key has that id, or the file is missing or wrong or cannot be written.
        """
        with self._alone():
            document = self._document()
            found = next((entry for entry in document.keys if entry.id == id), None)
            if found is None:
                # The id is not shown: it may be the key itself, from somebody who knows no better.
                raise ConfigError(f"{self._path}: no key has this id; `ratelimit keys list` shows the ids")
            self._write(document, tuple(entry for entry in document.keys if entry is not found))
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes and threads from changing the file in the meantime."""
        target = _target(self._path)
        if not target.parent.is_dir():  # which the lock would make
            raise ConfigError(f"{self._path}: its directory is not there; make it first")
        lock = FileLock(f"{target}.lock", timeout=_LOCK_S)
        try:
            lock.acquire(poll_interval=_POLL_S)
        except Timeout:
            raise ConfigError(f"{self._path}: still being changed by somebody else after {_LOCK_S:g} s") from None
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be locked: {error.strerror or error}") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            raise ConfigError(f"{self._path}: {error}") from None

    def _document(self) -> KeysDocument:
        return reading.parse(self._path, reading.read(self._path).raw)

    def _empty(self) -> KeysDocument:
        salt = new_salt()
        return KeysDocument(version=VERSION, salt=salt, check=KeyDigester(salt, self._secret).check)

    def _organisation_plan(self, document: KeysDocument, organisation: str | None, plan: str | None) -> str | None:
        given = None if plan is None else self._plans.get(plan).name
        if organisation is None:
            return given
        known = next((entry.organisation_plan for entry in document.keys if entry.organisation == organisation), None)
        if known is None and given is None:
            raise ConfigError(f"organisation {short(organisation)}: is new in {self._path}: say which plan it has")
        if known is not None and given is not None and fold(known) != fold(given):
            raise ConfigError(
                f"organisation {short(organisation)}: has plan {known!r} in {self._path}, and an organisation has one "
                "plan: leave it out, or change it in the file"
            )
        return known or given

    def _write(self, document: KeysDocument, entries: tuple[KeyEntry, ...]) -> None:
        with self._naming_the_file():
            body = {"version": document.version, "salt": document.salt, "check": document.check, "keys": entries}
            changed = KeysDocument.build(body, at="")
        replace(_target(self._path), changed)


def _target(path: Path) -> Path:
    """The file behind a link: its replacement must not take the place of the link."""
    return Path(os.path.realpath(path))


def _entry(**fields: object) -> KeyEntry:
    return KeyEntry.build({name: value for name, value in fields.items() if value is not None}, at="")


def _fresh_id(document: KeysDocument) -> str:
    taken = {entry.id for entry in document.keys}
    made = new_id()
    while made in taken:
        made = new_id()
    return made
