"""From the key that a request presents to who it is charged to."""

from __future__ import annotations

from hmac import compare_digest
from typing import Self

from ratelimit.errors import ConfigError
from ratelimit.intake import Scope
from ratelimit.plans import PlanRegistry
from ratelimit.web.identity import Identity
from ratelimit.web.keys.digest import KeyDigester
from ratelimit.web.keys.models import KeyEntry, KeysDocument

__all__ = ("KeyTable",)


class KeyTable:
    """The identities of one keys file, by the digest of their keys. Immutable, so threads need no lock."""

    __slots__ = ("_digest", "_rows")

    def __init__(self, digester: KeyDigester, rows: dict[bytes, tuple[bytes, Identity]]) -> None:
        self._digest = digester
        self._rows = rows

    @classmethod
    def of(cls, document: KeysDocument, secret: bytes, plans: PlanRegistry | None) -> Self:
        """The table of a document; with `plans`, every plan that it names has to be one of them.

        Raises:
            ConfigError: another secret, an unknown plan, or an entry that shows its own key.
        """
        digester = KeyDigester(document.salt, secret)
        digester.verify(document.check)
        rows = {}
        for at, entry in enumerate(document.keys):
            _check_silent(entry, digester, at)
            if plans is not None:
                _check_plans(entry, plans, at)
            rows[entry.digest] = (entry.digest, _identity(entry))
        return cls(digester, rows)

    def __repr__(self) -> str:
        return f"<KeyTable: {self.size} keys>"

    @property
    def size(self) -> int:
        """How many keys there are."""
        return len(self._rows)

    def find(self, key: str) -> Identity | None:
        """Who presents this key; None for a key that is not in the file."""
        digest = self._digest(key)
        row = self._rows.get(digest)
        # What a dict leaks through time is about digests that nobody can choose; the comparison leaks nothing.
        return row[1] if row is not None and compare_digest(row[0], digest) else None


def _identity(entry: KeyEntry) -> Identity:
    own = Scope(entry.subject, entry.plan)
    if entry.organisation is None or entry.organisation_plan is None:
        return Identity((own,))
    return Identity((own, Scope(entry.organisation, entry.organisation_plan)), group=entry.organisation)


def _check_silent(entry: KeyEntry, digester: KeyDigester, at: int) -> None:
    for name in ("id", "subject", "organisation", "note"):
        text = getattr(entry, name)
        if text is not None and digester(text) == entry.digest:
            raise ConfigError(
                f"keys[{at}].{name}: is the API key itself, which must not be written down; choose a name"
            )


def _check_plans(entry: KeyEntry, plans: PlanRegistry, at: int) -> None:
    for name in ("plan", "organisation_plan"):
        plan = getattr(entry, name)
        if plan is not None and plan not in plans:
            try:
                plans.get(plan)
            except ConfigError as error:
                raise ConfigError(f"keys[{at}].{name}: {error}") from None
