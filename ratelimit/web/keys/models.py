"""What stands in a keys file. Its errors show no value that could be an API key put in the wrong place."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ratelimit.plans import notation
from ratelimit.plans.faults import fault, short
from ratelimit.plans.names import fold
from ratelimit.plans.strict import StrictModel
from ratelimit.web.keys.digest import CHECK_BYTES, DIGEST_BYTES
from ratelimit.web.keys.mint import SALT_BYTES

__all__ = ("HIDDEN", "VERSION", "KeyEntry", "KeysDocument")

VERSION: Final = 1
_TEXT_MAX: Final = 256
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+")
_WORD: Final = re.compile(r"[a-z_]{1,24}")
"""Shape of a misspelt field, which is shown. API keys have digits or capitals, or are longer."""


class _Hidden:
    """Stands in an error where a value would: `key = "sk-…"` is the likeliest mistake in this file."""

    def __repr__(self) -> str:
        return "<hidden>"


HIDDEN: Final = _Hidden()


def _text(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _TEXT_MAX or not value.isprintable():
        raise fault(None, HIDDEN, f"must be text of 1 to {_TEXT_MAX} printable characters")
    if value != value.strip():
        raise fault(None, HIDDEN, "must not begin or end with a space")
    return value


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise fault(None, HIDDEN, "must be 1 to 64 of A-Z, a-z, 0-9, _ and -")
    return value


def _plan(value: object) -> str:
    try:
        return notation.plan_name(value)
    except ValueError as error:
        raise fault(None, HIDDEN, str(error)) from None


def _base64(size: int) -> Callable[[object], bytes]:
    def decode(value: object) -> bytes:
        if isinstance(value, str) and _BASE64.fullmatch(value) and len(value) == -(-size * 4 // 3):
            return urlsafe_b64decode(value + "=" * (-len(value) % 4))
        if isinstance(value, bytes) and len(value) == size:
            return value
        raise fault(None, HIDDEN, f"must be {size} bytes in base64url without padding; `ratelimit keys add` writes it")

    return decode


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise fault(None, HIDDEN, "must be a date and time with a zone, such as 2026-11-25T09:30:00Z")
    return moment.astimezone(UTC)


def _version(value: object) -> int:
    if type(value) is not int or value != VERSION:
        shown = value if type(value) is int else HIDDEN
        raise fault(None, shown, f"must be {VERSION}, the version that this release reads and writes")
    return value


class _Table(StrictModel):
    """A table whose unknown keys are refused without showing what they hold."""

    positional: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _known_only(cls, data: object) -> object:
        return data if isinstance(data, cls) else cls._known(data)

    @classmethod
    def _known(cls, data: object) -> dict[str, Any]:
        known = ", ".join(cls.known_keys)
        if not isinstance(data, Mapping):
            raise fault(None, HIDDEN, f"must be a table with the keys {known}")
        for key in data:
            if key not in cls.known_keys:
                shown = key if isinstance(key, str) and _WORD.fullmatch(key) else repr(HIDDEN)
                raise fault(shown, HIDDEN, f"unknown key; known are {known}")
        return dict(data)


class KeyEntry(_Table):
    """One key: its public id, its digest, who it belongs to and under which plan.

    With an organisation, requests are charged to the subject and to the organisation, both or neither.

    Raises:
        ConfigError: path and rule of what is wrong.
    """

    known_keys: ClassVar[tuple[str, ...]] = (
        "id",
        "digest",
        "subject",
        "plan",
        "organisation",
        "organisation_plan",
        "note",
        "created",
    )

    id: Annotated[str, BeforeValidator(_id)]
    """Names the key to people; says nothing about it."""
    digest: Annotated[bytes, BeforeValidator(_base64(DIGEST_BYTES))] = Field(repr=False)
    """What is kept in place of the key; see `ratelimit.web.keys.digest`."""
    subject: Annotated[str, BeforeValidator(_text)] = Field(default_factory=lambda data: data["id"])
    """Who is limited; the id unless given. Keys of one subject share its buckets."""
    plan: Annotated[str, BeforeValidator(_plan)]
    organisation: Annotated[str | None, BeforeValidator(_text)] = None
    """The second subject that is limited, and the group of both."""
    organisation_plan: Annotated[str | None, BeforeValidator(_plan)] = None
    note: Annotated[str | None, BeforeValidator(_text)] = None
    created: Annotated[datetime | None, BeforeValidator(_moment)] = None
    """When the key was made, in UTC."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.organisation is None and self.organisation_plan is not None:
            raise fault("organisation", None, "is required with organisation_plan; give both or neither")
        if self.organisation is not None and self.organisation_plan is None:
            raise fault("organisation_plan", None, "is required with organisation; give both or neither")
        if self.organisation == self.subject:
            raise fault("subject", HIDDEN, "is the organisation too, and one decision charges nobody twice; rename one")
        return self

    def public(self) -> dict[str, Any]:
        """What may be shown of the entry: everything but the digest. None where a field is not set."""
        return {name: getattr(self, name) for name in self.known_keys if name != "digest"}

    def written(self) -> dict[str, Any]:
        """What stands in a file, unset fields left out."""
        body = {"id": self.id, "digest": _encoded(self.digest), **self.public()}
        return {key: value for key, value in body.items() if value is not None}


class KeysDocument(_Table):
    """A whole keys file.

    Raises:
        ConfigError: path and rule of what is wrong; an id or a key twice; an organisation under two plans.
    """

    known_keys: ClassVar[tuple[str, ...]] = ("version", "salt", "check", "keys")

    version: Annotated[int, BeforeValidator(_version)]
    salt: Annotated[bytes, BeforeValidator(_base64(SALT_BYTES))] = Field(repr=False)
    check: Annotated[bytes, BeforeValidator(_base64(CHECK_BYTES))] = Field(repr=False)
    keys: tuple[KeyEntry, ...] = ()

    if TYPE_CHECKING:  # the signature for callers; StrictModel.__init__ does the work

        def __init__(self, *, version: int, salt: bytes, check: bytes, keys: tuple[KeyEntry, ...] = ()) -> None: ...

    @field_validator("keys", mode="before")
    @classmethod
    def _listed(cls, keys: object) -> object:
        if not isinstance(keys, list | tuple):
            raise fault(None, HIDDEN, "must be a list of tables, [[keys]] in TOML")
        return tuple(keys)

    @field_validator("keys")
    @classmethod
    def _distinct(cls, keys: tuple[KeyEntry, ...]) -> tuple[KeyEntry, ...]:
        """Refuse entries of which the second would silently win over the first."""
        ids: dict[str, int] = {}
        digests: dict[bytes, int] = {}
        plans: dict[str, tuple[int, str]] = {}
        for at, entry in enumerate(keys):
            twin = ids.setdefault(entry.id, at)
            if twin != at:
                raise fault(at, entry.id, f"keys[{twin}] has this id too; each key needs its own")
            twin = digests.setdefault(entry.digest, at)
            if twin != at:
                raise fault(at, entry.id, f"keys[{twin}] has this digest too: it is the same key; keep one")
            if entry.organisation is not None and entry.organisation_plan is not None:
                twin, plan = plans.setdefault(entry.organisation, (at, entry.organisation_plan))
                if fold(plan) != fold(entry.organisation_plan):
                    rule = f"its organisation has plan {short(plan)} in keys[{twin}], and an organisation has one plan"
                    raise fault(at, entry.organisation_plan, rule)
        return keys

    def written(self) -> dict[str, Any]:
        """What stands in a file."""
        return {
            "version": self.version,
            "salt": _encoded(self.salt),
            "check": _encoded(self.check),
            "keys": [entry.written() for entry in self.keys],
        }
